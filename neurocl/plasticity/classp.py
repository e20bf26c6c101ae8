"""CLASSP: thresholded, saturating plasticity as an optimiser for any torch module."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, optim

from neurocl.plasticity.classp_options import OWN_TYPES, as_number, check_options, gate_of, kept_type, saturation_of
from neurocl.plasticity.finite_gradients import check_gradients, named
from neurocl.plasticity.saturating_step import all_gated, cut_into_lots, step_in_chunks, step_over_lists
from neurocl.plasticity.saved_histories import matched
from neurocl.primitives.checks import BadInput

SMALL = 2**17  # synapses up to which a tensor is computed in a list with others: their Python then costs less


class CLASSP(optim.Optimizer):
    r"""Gradient descent with an induction threshold and a saturation for every weight.

    With the drive :math:`d = -\partial L / \partial w` of a step, where it passes the gate,

    .. math:: G \leftarrow G + |d|^p, \qquad w \leftarrow w + \alpha\, d\, (\epsilon + G)^{-1/p};

    elsewhere neither weight nor history changes. No task labels, boundaries or stored data; one number a weight. With
    threshold 0, power 2 and epsilon 0 it is AdaGrad. Parameter groups may differ in every option but the two ways of
    computing; scheduled rates, closures, gradient scaling and named parameters work as with torch's own optimisers.

    Args:
        params: Parameters, named parameters, or groups of them. Named ones are called by name in errors.
        lr: :math:`\alpha`, about the first change of a weight whatever its gradient (large against
            :math:`\epsilon^{1/p}`): 0.001 to 0.03.
        power: p, see :class:`Saturation`.
        threshold: Of the gate, see :class:`DriveGate`: scale-free but for the ``"absolute"`` kind; for ``"quantile"``
            and ``"winners"`` the share of synapses that may move.
        epsilon: :math:`\epsilon`, in the p-th power of the gradient's unit; 0 makes the rule free of the loss's scale,
            while :math:`|d|^p` stays within the type's range (see :class:`Saturation`).
        gate: ``"relative"``, ``"absolute"`` (the printed rule), ``"quantile"`` or ``"winners"``; the last two select
            among all drives of a tensor at every step, which about doubles its time.
        threshold_depression: The threshold of drives that lower a weight; ``None``: as for those that raise it.
        history: What saturates a weight: ``"gated"`` (the pseudo-code), ``"all"`` (the printed sum) or ``"decaying"``.
        keep: What a ``"decaying"`` history keeps a step.
        plain_steps: So many first steps of a parameter move by ``lr`` times the gated gradient, while the history
            fills: the published vision schedule, as long as its first task.
        maximize: Climb.
        foreach: Lists of tensors at once; the default on a GPU, and on a CPU for small tensors under gates that do not
            select. Results equal those of the other ways to rounding.
        fused: In one pass over memory, without temporaries of the weights' size but for masks and quantiles: on a CPU,
            where it is the default, in chunks that stay in the cache; on a CUDA device as one Triton kernel a tensor
            (tensors of float64 or odd layouts are computed one by one there). ``False`` for both: tensor by tensor.

    Attributes:
        state: By parameter ``history`` (of its shape; float32 for half precision), ``step``, and ``frozen`` if asked.

    Raises:
        BadInput: For hyperparameters out of range, no parameters, or parameters that are not real floating-point
            numbers or not where ``fused=True`` works; from ``step`` for sparse or non-finite gradients, the parameter
            named: no weight and no history has changed then. On a GPU that look takes one wait for the device a step.

    Source:
        Ludwig 2024, CLASSP, arXiv:2405.09637: the rule of its pseudo-code. Differs from the released code, whose
        threshold compares a truth value for the whole tensor and whose power leaves the history alone; ours is by
        weight. Differs from the paper: gates, two thresholds, histories; epsilon is never below the smallest
        normal number.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        power: float = 2.0,
        threshold: float = 0.1,
        epsilon: float = 1e-10,
        *,
        gate: str = "relative",
        threshold_depression: float | None = None,
        history: str = "gated",
        keep: float = 0.999,
        plain_steps: int = 0,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        params = params if isinstance(params, Tensor) else list(params)  # torch says what is wrong with a tensor
        if not isinstance(params, Tensor) and not params:
            raise BadInput("CLASSP needs at least one parameter; got an empty list: has the network any that learns?")
        if foreach and fused:
            raise BadInput("foreach and fused cannot both be True: choose one way of computing")
        self.foreach, self.fused = foreach, fused
        defaults = {
            "lr": lr,
            "power": power,
            "threshold": threshold,
            "epsilon": epsilon,
            "gate": gate,
            "threshold_depression": threshold_depression,
            "history": history,
            "keep": keep,
            "plain_steps": plain_steps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)
        if not any(group["params"] for group in self.param_groups):
            raise BadInput("CLASSP needs at least one parameter; got groups of none: has the network any that learns?")

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"foreach": self.foreach, "fused": self.fused}  # for copies and pickles

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own.

        Raises:
            BadInput: If an option is out of range, or a parameter cannot be learnt; the optimiser is as before then.
        """
        check_options(self.defaults | param_group)
        super().add_param_group(param_group)
        for name, parameter in named(self.param_groups[-1], len(self.param_groups) - 1):
            wrong = None
            if not parameter.is_floating_point():
                wrong = f"{name} must hold real floating-point numbers to be learnt; got {parameter.dtype}"
            elif self.fused and not (parameter.is_cpu or parameter.is_cuda):
                wrong = f"fused=True is for the CPU and CUDA devices; {name} is on {parameter.device}: leave fused out"
            elif self.fused and parameter.is_cuda and find_spec("triton") is None:
                wrong = f"fused=True on {parameter.device} needs Triton: pip install triton, or leave fused out"
            if wrong:
                del self.param_groups[-1]
                raise BadInput(wrong)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; with a closure, on the loss that it computes and returns.

        Raises:
            BadInput: If a gradient is sparse, or not finite, or an option of a group is out of range by now.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        norms = check_gradients(self.param_groups)
        for group in self.param_groups:  # all before the first weight moves: options may have changed since
            check_options(group)
        for group in self.param_groups:
            due = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in due:
                self._prepare(parameter)
                if "frozen" in self.state[parameter]:
                    norms.pop(parameter, None)  # of all entries
            together: list[Tensor] = []
            for parameter in due:
                if self._in_lists(group, parameter):
                    together.append(parameter)
                else:
                    self._step_alone(group, parameter, norms.get(parameter))
            self._step_lists(group, together, norms)
            for parameter in due:
                self.state[parameter]["step"] += 1
        return loss

    @torch.no_grad()
    def fraction_updated(self) -> float:
        """Return the share of weights that the gates let move at the present gradients; changes nothing.

        Raises:
            BadInput: If no parameter has a gradient: ask between the backward pass and ``zero_grad``; or if ``step``
                would refuse the gradients.
        """
        moving, there = 0, 0
        check_gradients(self.param_groups)
        for group in self.param_groups:
            check_options(group)
            gate = gate_of(group)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    moving += int(torch.count_nonzero(gate.passed(self._drive(group, parameter))))
                    there += parameter.numel()
        if not there:
            raise BadInput("no parameter has a gradient: ask for fraction_updated() after backward, before zero_grad")
        return moving / there

    def freeze(self, parameter: Tensor, mask: Tensor) -> None:
        """Let no step of this rule move a weight, and no history grow, where ``mask`` is True.

        To the gate they are synapses without drive: they count in a tensor's mean square and among its synapses. What
        changes weights behind the rule, projection by lateral circuits or a consolidation's pull, is not bound by it.

        Raises:
            BadInput: If the parameter is not this optimiser's, or the mask is not boolean and of its shape.
        """
        if not any(parameter is own for group in self.param_groups for own in group["params"]):
            raise BadInput("freeze takes a parameter that this optimiser learns; got another tensor")
        if mask.dtype != torch.bool or mask.shape != parameter.shape:
            raise BadInput(
                f"mask must be boolean and of the parameter's shape, {list(parameter.shape)}; got {mask.dtype} of "
                f"{list(mask.shape)}"
            )
        self._prepare(parameter)
        self.state[parameter]["frozen"] = mask.detach().clone().to(parameter.device)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of what ``state_dict`` returned, histories in the precision that is computed in.

        Where both name the parameters of a group, and the same ones, they are matched by name; else by order.

        Raises:
            BadInput: If it is another optimiser's, or does not fit the parameters; nothing changes then.
        """
        saved, found = matched(self.param_groups, state_dict, self.defaults)
        super().load_state_dict(state_dict | {"param_groups": saved})
        for parameter, state in found:  # torch casts all to the parameter's type, and copies none
            self.state[parameter]["history"] = state["history"].to(parameter.device, kept_type(parameter), copy=True)
            if "frozen" in state:
                self.state[parameter]["frozen"] = state["frozen"].to(parameter.device, copy=True)

    def _prepare(self, parameter: Tensor) -> None:
        """Give a parameter its state, or follow it to another type or device."""
        state, kept = self.state[parameter], kept_type(parameter)
        if "history" not in state:
            state["step"] = 0
            state["history"] = torch.zeros_like(parameter, dtype=kept, memory_format=torch.preserve_format)
        if state["history"].dtype != kept or state["history"].device != parameter.device:
            state["history"] = state["history"].to(parameter.device, kept)
        if "frozen" in state:
            state["frozen"] = state["frozen"].to(parameter.device)

    def _gradient(self, parameter: Tensor) -> Tensor:
        """Return the gradient, 0 where frozen."""
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        frozen = self.state[parameter].get("frozen") if parameter in self.state else None
        return gradient if frozen is None else gradient.masked_fill(frozen.to(gradient.device), 0)

    def _drive(self, group: dict[str, Any], parameter: Tensor) -> Tensor:
        """Return the drive in the type that is computed in; positive where a weight shall grow."""
        gradient = self._gradient(parameter)
        gradient = gradient if gradient.dtype in OWN_TYPES else gradient.float()
        return gradient if group["maximize"] else -gradient

    def _in_lists(self, group: dict[str, Any], parameter: Tensor) -> bool:
        """Whether a parameter is computed together with others."""
        if parameter.dtype not in OWN_TYPES or self.fused is not None:
            return bool(self.foreach) and parameter.dtype in OWN_TYPES
        if self.foreach is not None:
            return self.foreach
        small = parameter.numel() <= SMALL and group["gate"] in {"absolute", "relative"}
        return not parameter.is_cpu or small

    def _step_alone(self, group: dict[str, Any], parameter: Tensor, norm: float | None) -> None:
        state, rate, gradient = self.state[parameter], as_number(group["lr"]), self._gradient(parameter)
        step = step_in_chunks
        if self.fused and fits_kernel(parameter, state["history"], gradient):
            step = kernel()
        step(
            parameter.detach(),
            state["history"],
            gradient,
            gate=gate_of(group),
            step_size=rate,
            climb=group["maximize"],
            saturation=saturation_of(group),
            plain=state["step"] < group["plain_steps"],
            norm=norm,
            **({"chunk": parameter.numel() or 1} if self.fused is False else {}),
        )

    def _step_lists(self, group: dict[str, Any], parameters: list[Tensor], norms: dict[Tensor, float]) -> None:
        rate = as_number(group["lr"])
        alike: dict[tuple[Any, ...], list[Tensor]] = {}
        for parameter in parameters:
            plain = self.state[parameter]["step"] < group["plain_steps"]
            alike.setdefault((parameter.device, parameter.dtype, plain), []).append(parameter)
        lots = [(plain, lot) for (device, _, plain), some in alike.items() for lot in cut_into_lots(some, device)]
        for plain, some in lots:
            gradients = [self._gradient(parameter) for parameter in some]
            step_over_lists(
                [parameter.detach() for parameter in some],
                [self.state[parameter]["history"] for parameter in some],
                gradients,
                all_gated(gradients, gate_of(group), climb=group["maximize"], norms=[norms.get(p) for p in some]),
                step_size=-rate if group["maximize"] else rate,
                saturation=saturation_of(group),
                plain=plain,
            )


def fits_kernel(*tensors: Tensor) -> bool:
    """Whether weight, history and gradient can pass through the kernel of a GPU."""
    plain = all(tensor.is_contiguous() and tensor.dtype != torch.float64 for tensor in tensors)
    return plain and all(tensor.is_cuda for tensor in tensors)


def kernel() -> Callable[..., None]:
    """Return the step of a GPU; only here is Triton needed."""
    from neurocl.plasticity.saturating_kernel import step_in_one_kernel

    return step_in_one_kernel
