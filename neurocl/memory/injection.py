"""A forward pass in which one module's output is replaced by stored activity, step by step."""

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from neurocl.primitives.checks import BadInput


def tensor_in(output: Any) -> Tensor | None:
    """Return the first floating-point tensor of a module's output, a tensor or a tuple or list of things."""
    parts = output if isinstance(output, tuple | list) else (output,)
    return next((part for part in parts if isinstance(part, Tensor) and part.is_floating_point()), None)


def replaced(output: Any, tensor: Tensor) -> Any:
    """Return ``output`` with ``tensor`` where :func:`tensor_in` finds one."""
    if isinstance(output, Tensor):
        return tensor
    found = tensor_in(output)
    parts = [tensor if part is found else part for part in output]
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)


class Injection:
    """Within the context, ``target`` gives stored activity whatever it is fed.

    Modules that ran before the target's first output stay in evaluation mode where they hold buffers, and run without
    a graph until then; the others keep the modes they had. Normalisation behind the cut is put back should the pass
    fail.

    Args:
        network: Holds the target.
        target: Module at the cut.
        name: The target's name.
        activity: ``[T, B, ...]`` for a target that is called T times, or all that it gives in one call.
    """

    def __init__(self, network: nn.Module, target: nn.Module, name: str, activity: Tensor) -> None:
        self.network, self.target, self.name, self.activity = network, target, name, activity
        self.steps: tuple[Tensor, ...] = ()
        self.given = 0

    def __enter__(self) -> "Injection":
        above = [self.network]
        for part in self.name.split(".")[:-1]:
            above.append(above[-1].get_submodule(part))
        self._modes = [(part, part.training) for part in self.network.modules()]
        self._below: set[nn.Module] = set()
        self._suspended: list[tuple[nn.Module, bool]] = []
        self._hooks = []
        for part, _ in self._modes:
            if part not in above:
                part.training = False
                self._hooks.append(part.register_forward_pre_hook(self._enter))
                self._hooks.append(part.register_forward_hook(self._leave, always_call=True))
        self._hooks.append(self.target.register_forward_hook(self._inject))
        kinds = nn.modules.batchnorm._NormBase
        norms = [part for part, training in self._modes if training and isinstance(part, kinds)]
        self._statistics = [(buffer, buffer.clone()) for part in norms for buffer in part.buffers(recurse=False)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        for part, training in self._modes:
            part.training = training
        while self._suspended:
            torch.set_grad_enabled(self._suspended.pop()[1])
        if kind is not None:
            with torch.no_grad():
                for buffer, before in self._statistics:
                    buffer.copy_(before)

    def check_complete(self) -> None:
        """Refuse a pass that has not used every step."""
        if self.given != max(len(self.steps), 1):
            raise BadInput(
                f"cut {self.name!r} must run as often as it was recorded; it ran {self.given} times for "
                f"{len(self.steps)} stored steps: replay with as many time steps as were stored"
            )

    def _enter(self, module: nn.Module, _: Any) -> None:
        if not self.given:
            self._below.add(module)
            self._suspended.append((module, torch.is_grad_enabled()))
            torch.set_grad_enabled(False)

    def _leave(self, module: nn.Module, _: Any, __: Any) -> None:
        if self._suspended and self._suspended[-1][0] is module:
            torch.set_grad_enabled(self._suspended.pop()[1])

    def _inject(self, _: nn.Module, __: Any, output: Any) -> Any:
        """Return the next step in place of ``output``."""
        found = tensor_in(output)
        if found is None:
            raise BadInput(f"cut {self.name!r} must give a floating-point tensor; got {type(output).__name__}")
        if not self.given:
            whole = found.shape == self.activity.shape
            self.steps = (self.activity,) if whole else self.activity.unbind(0)
            for part, training in self._modes:
                if part not in self._below or not part._buffers:
                    part.training = training
        if self.given >= len(self.steps) or self.steps[self.given].shape != found.shape:
            self._refuse(found)
        step = self.steps[self.given]
        self.given += 1
        return replaced(output, step.to(found.dtype).clone())  # clone: later work in place is not the caller's

    def _refuse(self, found: Tensor) -> None:
        if self.given >= len(self.steps):
            raise BadInput(
                f"cut {self.name!r} must run as often as it was recorded, {len(self.steps)} times; it runs more often: "
                "replay with as many time steps as were stored"
            )
        raise BadInput(
            f"activity at {self.name!r} must be {list(found.shape)} a call, as the network gives there; got "
            f"{list(self.steps[self.given].shape)}: replay into the network and the batch size it was recorded for"
        )
