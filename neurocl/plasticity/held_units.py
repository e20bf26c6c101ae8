"""What learning must not move: rows of frozen units and absent connections, held bit for bit through any optimiser."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim

from neurocl.plasticity.unit_layers import UnitLayer


class HeldUnits:
    """Puts everything that belongs to frozen units back after every step, and keeps absent connections at 0.

    Before a step gradients of what is held are set to 0, those of a closure too, so that histories of optimisers do not
    count them; after it values are put back. Running statistics are put back after every call of their module and every
    step. A parameter or statistic that all units of a layer share, or whose rows are no units (features behind a
    flattened convolution, steps of time), is held as soon as one unit of the layer is frozen: give each unit its own
    (``BatchNorm2d`` ahead of the flattening) where later units are to have others.

    Args:
        layers: The network's units.
    """

    def __init__(self, layers: Sequence[UnitLayer]) -> None:
        self._layers = layers
        self._learns: dict[int, tuple[Tensor, Tensor]] = {}  # by id: parameter, and where it may learn
        self._saved: dict[int, Tensor] = {}
        self._statistics: dict[nn.Module, dict[str, tuple[Tensor | None, Tensor]]] = {}  # no rows: held as a whole
        self._hooks: list[Any] = []
        self.follow(layers)

    def follow(self, layers: Sequence[UnitLayer]) -> None:
        """Take ``layers`` for the network's units from now on; :meth:`hold` says what is held of them."""
        for hook in self._hooks:
            hook.remove()
        self._layers = layers
        kept = [module for layer in layers for _, module, _ in layer.statistics()]
        self._hooks = [module.register_forward_hook(self._restore_statistics) for module in dict.fromkeys(kept)]

    def hold(self, frozen: Sequence[Tensor], masks: Mapping[str, Tensor]) -> None:
        """Hold rows of ``frozen`` units of each layer, and connections absent from ``masks``."""
        self._learns, self._statistics = {}, {}
        for layer, rows in zip(self._layers, frozen, strict=True):
            for one in layer.afferents:
                learns = masks[one.name] & ~rows[:, None]
                if not bool(learns.all()):
                    self._note(one.module.weight, one.spread(learns))
            if not bool(rows.any()):
                continue
            for _, tensor in layer.rows():
                if isinstance(tensor, nn.Parameter):
                    self._note(tensor, (~rows).view(-1, *[1] * (tensor.ndim - 1)))
            for _, parameter in layer.shared():
                self._note(parameter, torch.zeros((), dtype=torch.bool))
            for name, module, by_unit in layer.statistics():
                held = self._statistics.setdefault(module, {})
                if name not in held or held[name][0] is not None:  # of a module behind several layers: whole for any
                    value = module.get_buffer(name).detach()
                    held[name] = (rows, value[rows.to(value.device)].clone()) if by_unit else (None, value.clone())

    def guard(self, optimiser: optim.Optimizer) -> optim.Optimizer:
        """Make every step of ``optimiser`` respect what is held, now and later, and return it."""
        optimiser.register_step_pre_hook(self._before)
        optimiser.register_step_post_hook(self._after)
        return optimiser

    def _note(self, parameter: Tensor, learns: Tensor) -> None:
        learns = learns.to(parameter.device)
        if id(parameter) in self._learns:  # of a parameter that several layers use: held for any of them
            learns = learns & self._learns[id(parameter)][1]
        self._learns[id(parameter)] = (parameter, learns)

    def _before(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Take the gradient from what is held, and keep a copy; gradients that a closure makes come later."""
        self._mask()
        for key, (parameter, _) in self._learns.items():
            self._saved[key] = parameter.detach().clone()
        if len(args) > 1 and args[1] is not None:  # the first is the optimiser itself
            return (args[0], self._masking(args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, kwargs | {"closure": self._masking(kwargs["closure"])}
        return args, kwargs

    def _masking(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """Return the closure, behind which gradients of what is held are 0."""

        def masked() -> Any:
            loss = closure()
            self._mask()
            return loss

        return masked

    def _mask(self) -> None:
        """Take the gradient from what is held."""
        for key, (parameter, learns) in self._learns.items():
            if learns.device != parameter.device:  # the network has moved since
                learns = learns.to(parameter.device)
                self._learns[key] = (parameter, learns)
            if parameter.grad is not None:
                parameter.grad.mul_(learns)

    def _after(self, *_: Any) -> None:
        """Put back what is held."""
        with torch.no_grad():
            for key, (parameter, learns) in self._learns.items():
                before = self._saved.pop(key, None)
                if before is not None:
                    parameter.copy_(torch.where(learns, parameter, before))
        for module in self._statistics:  # a method of the network's own may have moved them
            self._restore_statistics(module)

    def _restore_statistics(self, module: nn.Module, *_: Any) -> None:
        """Put running statistics of frozen units back."""
        for name, (rows, values) in self._statistics.get(module, {}).items():
            buffer = module.get_buffer(name)  # by name: a network that moves, or changes its precision, has new ones
            if rows is not None:
                buffer.data[rows.to(buffer.device)] = values.to(
                    buffer
                )  # what a backward pass saved of the buffer in training it does not read
            elif buffer.shape == values.shape and not torch.equal(buffer, values.to(buffer)):
                setattr(module, name, values.to(buffer, copy=True))  # a new one: a backward pass may read the old one
