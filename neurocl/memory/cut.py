"""The cut: what passes a named module is recorded there, and injected there again.

Three ways, the first that fits. A network that can start behind a layer says so (:class:`CutNetwork`). A plain
``nn.Sequential`` is run child by child. Everything else runs whole under a forward hook: while recording, the hook
collects the module's outputs, call after call; while replaying, the network runs on zeros up to the cut, in evaluation
mode and without a graph, and the hook puts the t-th stored step in place of the module's t-th output.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neurocl.memory.injection import Injection, replaced, tensor_in
from neurocl.neurons.hidden import reset
from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.modes import evaluating

Run = Callable[..., Any]


@runtime_checkable
class CutNetwork(Protocol):
    """Contract of a network that runs up to a layer, and from behind it; ours do."""

    def activity_at(self, cut: str | int, inputs: Tensor) -> Tensor:
        """Return ``[T, B, ...]``, what passes the cut, in evaluation mode and without gradients."""
        ...

    def forward_from(self, cut: str | int, activity: Tensor, task_id: int | None = None) -> Tensor:
        """Return what the network makes of activity at the cut."""
        ...


class Cut:
    """A named module of any network, and what was seen there.

    Args:
        name: The module's name, as in ``named_modules()``; the number of a layer for networks that know numbers.
        run: How the network runs over inputs, ``run(network, inputs, ...)``, where ``network(inputs, ...)`` is one
            step alone; ``None`` means the latter is all.

    Attributes:
        seen: What the last recording looked like, and a replay has to.
    """

    def __init__(self, name: str | int, run: Run | None = None) -> None:
        if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
            raise BadInput(f"cut must be the name of a module, as named_modules() lists them; got {name!r}")
        self.name, self.run = name, run
        self.seen: dict[str, Any] = {}

    def record(self, network: nn.Module, inputs: Tensor, *args: Any, sequence: bool | None = None, **kw: Any) -> Tensor:
        """Return what passes the cut; see :meth:`ActivationReplay.record`."""
        check_module(network)
        own = self._own_way(network)
        if own is not None:
            recorded = own.activity_at(self.name, inputs).detach()
            self.seen = {"timed": True}
            return recorded
        self._target(network)
        with at_rest(network), torch.no_grad(), evaluating(network):
            chain = None if self.run or args or kw else split_chain(network, str(self.name))
            if chain is not None:
                passed = inputs
                for module in chain[0]:
                    passed = module(passed)
                calls = [check_tensor(tensor_in(passed), self.name).detach().clone()]
            else:
                calls = self._collected(network, inputs, args, kw)
                if not self.seen:
                    self._check_bottleneck(network, inputs, args, kw)
        by_step = len(calls) > 1 or (sequence is True and is_one_step(tuple(calls[0].shape), tuple(inputs.shape)))
        recorded = stacked(calls, self.name) if by_step else calls[0]
        self.seen = {
            "inputs": list(inputs.shape),
            "dtype": str(inputs.dtype).removeprefix("torch."),
            "calls": len(calls),
            "activity": list(recorded.shape),
            "timed": True if by_step else None,
        }
        return recorded

    @property
    def timed(self) -> bool | None:
        """Whether what passes has a time axis; ``None`` where that is not known."""
        return self.seen.get("timed")

    def replay(self, network: nn.Module, activity: Tensor, *args: Any, sequence: bool | None, **kw: Any) -> Any:
        """Return what the network makes of ``activity`` at the cut; see :meth:`ActivationReplay.replay`."""
        check_module(network)
        kind = next((each for each in network.parameters() if each.is_floating_point()), activity)
        activity = activity.to(kind.device)
        own = self._own_way(network)
        if own is not None:
            return own.forward_from(self.name, activity, *args, **kw)
        target = self._target(network)
        chain = None if self.run or args or kw else split_chain(network, str(self.name))
        if chain is not None:
            self._check_units(activity)
            if self.timed and len(activity) != 1:
                raise BadInput(f"activity must be of one step, as was recorded at {self.name!r}; got {len(activity)}")
            with at_rest(network):
                passed = activity.to(kind.dtype).clone()  # a module in place would write into the caller's
                passed = passed[0] if self.timed else passed
                for module in chain[1]:
                    passed = module(passed)
                return passed
        stand_in = self._stand_in(activity, sequence)
        injection = Injection(network, target, str(self.name), activity)
        with at_rest(network), injection:
            result = self._running(network, stand_in, args, kw)
            injection.check_complete()
            return result

    def _own_way(self, network: object) -> CutNetwork | None:
        """Return the network if it can start behind a layer."""
        return network if self.run is None and isinstance(network, CutNetwork) else None

    def _collected(self, network: nn.Module, inputs: Tensor, args: tuple[Any, ...], kw: dict[str, Any]) -> list[Tensor]:
        """Return the module's outputs, call by call, of a whole pass."""
        calls: list[Tensor] = []

        def collect(_: nn.Module, __: Any, output: Any) -> None:
            calls.append(check_tensor(tensor_in(output), self.name).detach().clone())  # clone: later work in place

        hook = self._target(network).register_forward_hook(collect)
        try:
            self._running(network, inputs, args, kw)
        finally:
            hook.remove()
        if not calls:
            raise BadInput(
                f"cut must run in the network's forward pass; {self.name!r} was never called as a module: "
                "name one that is, or give run= the loop that calls it"
            )
        return calls

    def _check_bottleneck(self, network: nn.Module, inputs: Tensor, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        """Refuse a cut that the output depends on the inputs past, as far as gradients tell: replay would be wrong."""

        def detach(_: nn.Module, __: Any, output: Any) -> Any:
            return replaced(output, check_tensor(tensor_in(output), self.name).detach())

        hook = self._target(network).register_forward_hook(detach)
        try:
            reset(network)
            with torch.enable_grad():
                probe = inputs.detach().clone().requires_grad_(inputs.is_floating_point())
                result = tensor_in(self._running(network, probe.clone(), args, kw))
                if result is None or not result.requires_grad or not probe.requires_grad:
                    return
                shares = torch.linspace(0.5, 1.5, result.numel()).to(result).view_as(result)
                (past,) = torch.autograd.grad((result * shares).sum(), probe, allow_unused=True)
        finally:
            hook.remove()
        if past is not None and bool(past.any()):
            raise BadInput(
                f"cut must be passed by all that goes on; the output depends on the inputs past {self.name!r} too: "
                "cut before or behind the whole block that the shortcut goes around"
            )

    def _running(self, network: nn.Module, inputs: Tensor, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        return network(inputs, *args, **kw) if self.run is None else self.run(network, inputs, *args, **kw)

    def _target(self, network: nn.Module) -> nn.Module:
        """Return the module at the cut."""
        modules = {name: module for name, module in network.named_modules(remove_duplicate=False) if name}
        return modules[check_name("cut", self.name, modules)]

    def _check_units(self, activity: Tensor) -> None:
        """Refuse activity of other units than were recorded; time and samples may be more or fewer."""
        wanted, given = self.seen.get("activity", list(activity.shape)), list(activity.shape)
        leading = 2 if len(wanted) > 2 and self.timed is not False else 1
        if len(given) != len(wanted) or given[leading:] != wanted[leading:]:
            raise BadInput(f"activity must be like what was recorded at {self.name!r}, {wanted}; got {given}")

    def _stand_in(self, activity: Tensor, sequence: bool | None) -> Tensor:
        """Return zeros in place of inputs for as many samples as ``activity`` has.

        Raises:
            BadInput: If nothing was recorded, or the activity differs in more than the number of samples.
        """
        if "inputs" not in self.seen:
            raise BadInput(
                f"replay at {self.name!r} must know what inputs look like, and nothing was recorded: call record first"
            )
        wanted, given, shape = self.seen["activity"], list(activity.shape), list(self.seen["inputs"])
        known = self.timed if sequence is None else sequence
        differ = [axis for axis in range(len(wanted)) if len(given) == len(wanted) and wanted[axis] != given[axis]]
        axis = int(known) if known is not None else differ[0] if differ else 0
        if len(given) != len(wanted) or differ not in ([], [axis]) or axis > 1:
            found = ", ".join("B" if place == axis else str(size) for place, size in enumerate(wanted))
            raise BadInput(f"activity must be [{found}], as recorded at {self.name!r}; got {given}")
        if differ:
            shape[self._batch_axis(axis)] = given[axis]
        return torch.zeros(shape, dtype=getattr(torch, self.seen["dtype"]), device=activity.device)

    def _batch_axis(self, axis: int) -> int:
        """Return which axis of the recorded inputs counts samples, as ``axis`` of the recorded activity does.

        0 unless they look like ``[T, B, ...]``: samples are as many along their second axis, and not along the first,
        or there are as many steps.
        """
        shape, recorded = self.seen["inputs"], self.seen["activity"]
        if len(shape) < 3 or shape[1] != recorded[axis]:
            return 0
        return 1 if shape[0] != shape[1] or (axis and shape[0] == recorded[0]) else 0


def check_module(network: object) -> None:
    """Refuse what is no module."""
    if not isinstance(network, nn.Module):
        raise BadInput(f"network must be a torch module; got {type(network).__name__}: give the object, not its class")


def check_tensor(output: Tensor | None, name: str | int) -> Tensor:
    """Return the floating-point tensor that was found in an output, if one was."""
    if output is None:
        raise BadInput(
            f"cut must be a module whose output holds a floating-point tensor; {name!r} gives none: name another, "
            "or give a neurocl network itself and not a module around it"
        )
    return output


def stacked(calls: list[Tensor], name: str | int) -> Tensor:
    """Return the outputs of several calls along a new time axis."""
    shapes = {tuple(call.shape) for call in calls}
    if len(shapes) > 1:
        raise BadInput(
            f"cut must give one shape at every call; {name!r} gave {sorted(shapes)}: it serves several places, "
            "use a module of its own at the cut"
        )
    return torch.stack(calls)


def is_one_step(output: tuple[int, ...], inputs: tuple[int, ...]) -> bool:
    """Return whether the output of a single call is ``[B, ...]`` of one step, and not ``[T, B, ...]`` of several.

    Where sizes leave it open it is several: a step of its own costs nothing but a refusal there.
    """
    if len(output) < 3:
        return True
    return inputs[0] == 1 and len(output) == len(inputs) - 1 and output[0] == inputs[1] and output[1] != 1


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Reset hidden states before and after: nothing of the past enters, and nothing of this pass stays."""
    reset(network)
    try:
        yield
    finally:
        reset(network)


def split_chain(network: nn.Module, name: str) -> tuple[list[nn.Module], list[nn.Module]] | None:
    """Return the modules up to the cut and those behind it, where plain ``nn.Sequential`` alone hold them."""
    before: list[nn.Module] = []
    behind: list[nn.Module] = []
    here: nn.Module = network
    for part in name.split("."):
        hooked = here._forward_hooks or here._forward_pre_hooks or here._backward_hooks or here._backward_pre_hooks
        if not isinstance(here, nn.Sequential) or type(here).forward is not nn.Sequential.forward or hooked:
            return None
        names, children = list(here._modules), [*here]
        place = names.index(part)
        before, behind = before + children[:place], children[place + 1 :] + behind
        here = children[place]
    return [*before, here], behind
