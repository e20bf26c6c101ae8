"""A lateral circuit at work on one layer of a network: it watches the calls, and changes the weight gradient.

The forward pass stays as it is. A call's rows wait in the graph of its output, so that calls without a backward pass
leave nothing behind; when the weight's gradient arrives, the circuit learns from the rows of all its calls at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocl.plasticity.lateral_circuit import LateralCircuit
from neurocl.plasticity.subspaces import orthonormal_rows
from neurocl.primitives.checks import BadInput

SIDES = ("auto", "input", "weight")


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """State of one layer's circuits.

    Attributes:
        layer: Name of the layer.
        rows: Lateral neurons, all groups together.
        inputs: Dimensions of the input, all groups together.
        captured: Share of the last batches' energy that the rows explained; ``None`` where the task showed no batch.
        room: Dimensions left for learning.
        drift: Largest entry of H Hᵀ - I.
        leak: Share of the energy of the last task's weight change inside the span that was protected; ``None`` where
            there was nothing to protect.
    """

    layer: str
    rows: int
    inputs: int
    captured: float | None
    room: int
    drift: float
    leak: float | None


class LayerCircuits:
    """The circuits of one ``nn.Linear`` or ``nn.Conv2d``, one for each group of its input; also the layer's hooks.

    Args:
        name: The layer's name, for messages.
        layer: Whose input is watched.
        circuits: One for each group.
        side: Where projection happens: ``"input"`` rows, ``"weight"`` gradient, or the side with fewer rows.
        most_rows: Activity rows (samples, steps, positions) used in one Hebbian update; more are thinned out evenly.
        freeze_bias: Whether the bias stays what it was once there are old rows.
    """

    def __init__(
        self,
        name: str,
        layer: nn.Linear | nn.Conv2d,
        circuits: list[LateralCircuit],
        *,
        side: str,
        most_rows: int,
        freeze_bias: bool,
    ) -> None:
        self.name, self.layer, self.circuits = name, layer, circuits
        self.side, self.most_rows, self.freeze_bias = side, most_rows, freeze_bias
        self.learning = True
        self.resting = False  # neither learns nor projects
        self._collected: list[Tensor] = []
        self.updates = 0
        self._positions = 1  # of a convolution's kernel on its input
        self._by_weight = False
        self._before: Tensor | None = None
        self._leak: float | None = None
        self._handles: list[Any] = [layer.register_forward_hook(self, with_kwargs=True)]
        self._hooked: Tensor | None = None
        self.hook_parameters()

    @property
    def projecting(self) -> bool:
        """Whether there are old rows, and they do not rest."""
        return not self.resting and any(len(circuit.old) for circuit in self.circuits)

    def hook_parameters(self) -> None:
        """Watch the gradients of the layer's parameters, which a head that grows replaces."""
        if self._hooked is self.layer.weight:
            return
        self._release_parameters()
        self._hooked = self.layer.weight
        self._handles.append(self.layer.weight.register_hook(self._on_weight_gradient))
        if self.layer.bias is not None:
            self._handles.append(self.layer.bias.register_hook(self._on_bias_gradient))

    def begin(self, rows: int) -> None:
        """Grow every group's circuit, and remember the weights that the task begins with."""
        self.hook_parameters()
        self._before = self.layer.weight.detach().clone() if self.projecting else None
        self._leak = None
        for circuit in self.circuits:
            circuit.grow(rows)

    def end(self) -> None:
        """Measure what leaked into the protected span, and freeze the new rows."""
        if self._before is not None and self._before.shape == self.layer.weight.shape:
            change = self.layer.weight.detach() - self._before
            self._leak = self._share_inside(change)
        self._before = None
        with naming(self.name):
            for circuit in self.circuits:
                circuit.consolidate()

    def report(self) -> "LayerReport":
        """Return the state of the layer's circuits."""
        total, left = torch.stack([circuit.energy for circuit in self.circuits]).sum(0).tolist()
        return LayerReport(
            layer=self.name,
            rows=sum(circuit.rows for circuit in self.circuits),
            inputs=sum(circuit.inputs for circuit in self.circuits),
            captured=1.0 - left / total if total > 0 else None,
            room=sum(circuit.room for circuit in self.circuits),
            drift=max(circuit.drift for circuit in self.circuits),
            leak=self._leak,
        )

    def detach(self) -> None:
        """Take the hooks off the layer."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def project(self, change: Tensor) -> Tensor:
        """Return a change of the weights without what old rows protect; linear lateral neurons only."""
        groups = change.flatten(1).chunk(len(self.circuits))
        return torch.cat([circuit.project(part) for circuit, part in zip(self.circuits, groups, strict=True)]).view_as(
            change
        )

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Tensor) -> Any:
        """Watch one call; return another output where the input's rows are projected."""
        if not (torch.is_grad_enabled() and layer.training and self.layer.weight.requires_grad):
            return None
        x = cast(Tensor, inputs[0] if inputs else options["input"])
        credit = options.get("credit")
        pairs = x if credit is None else credit
        result = None
        if self.projecting:
            if self._chooses_input(pairs, output):
                projected = self._projected(pairs.detach())
                backward = cast(Any, layer).backward_weight() if hasattr(layer, "backward_weight") else None
                result = _Credited.apply(
                    output.detach(), x, self.layer.weight, self.layer.bias, projected, backward, self
                )
            else:
                self._by_weight = True
        if self.learning and not self.resting:
            observed = options.get("observed")
            rows = (pairs if observed is None else observed).detach()
            watched = output if result is None else result
            self._positions = output[0, 0].numel() if isinstance(layer, nn.Conv2d) and output.ndim == 4 else 1
            watched.register_hook(lambda gradient: self._collected.append(rows))
        return result

    def rows_of(self, x: Tensor) -> Tensor:
        """Return what each weight's error is paired with: ``[group, row, pre]``."""
        if isinstance(self.layer, nn.Linear):
            return x.reshape(1, -1, self.layer.in_features)
        return self._patches(x.reshape(-1, *x.shape[-3:]))

    def gradient_of(self, error: Tensor, projected: Tensor) -> Tensor:
        """Return the weight gradient of ``error`` and projected rows ``[group, row, pre]``."""
        if isinstance(self.layer, nn.Linear):
            rows = error.reshape(1, -1, self.layer.out_features)
        else:
            channels = error.reshape(-1, *error.shape[-3:]).movedim(1, -1).flatten(0, 2)
            rows = channels.unflatten(1, (len(self.circuits), -1)).movedim(1, 0)
        # group by group: a batched product of one is several times slower than a plain one
        gradients = [error.T @ part for error, part in zip(rows, projected, strict=True)]
        return (
            torch.cat(gradients).view_as(self.layer.weight)
            if len(gradients) > 1
            else gradients[0].view_as(self.layer.weight)
        )

    def input_gradient(self, error: Tensor, x: Tensor, backward: Tensor) -> Tensor:
        """Return the error at the layer's input."""
        if isinstance(self.layer, nn.Linear):
            return error @ backward
        with torch.enable_grad():  # the layer's own forward pass knows every kind of padding
            source = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.layer._conv_forward(source, backward, None), source, error)
        return gradient

    def _share_inside(self, change: Tensor) -> float:
        """Return the share of a change's energy inside the span of the old rows."""
        parts = change.flatten(1).chunk(len(self.circuits))
        pairs = [(part, orthonormal_rows(c.old)) for part, c in zip(parts, self.circuits, strict=True) if len(c.old)]
        inside = sum(float((part @ basis.T).double().square().sum()) for part, basis in pairs)
        return inside / max(float(change.double().square().sum()), torch.finfo(torch.float64).tiny)

    def _chooses_input(self, pairs: Tensor, output: Tensor) -> bool:
        """Whether this call's rows are projected, not the gradient."""
        if self.side != "auto":
            return self.side == "input"
        if not all(circuit.neurons.linear for circuit in self.circuits):
            return True
        if isinstance(self.layer, nn.Conv2d) or self._by_weight:
            return False
        return pairs.numel() // self.layer.in_features < self.layer.out_features

    def _projected(self, x: Tensor) -> Tensor:
        """Return the input's rows without what old rows explain, ``[group, row, pre]``."""
        parts = [circuit.project(part) for circuit, part in zip(self.circuits, self.rows_of(x), strict=True)]
        return torch.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0)

    def _patches(self, x: Tensor) -> Tensor:
        """Return the patches that a convolution sees, ``[group, image and position, pre]``."""
        layer = cast(nn.Conv2d, self.layer)
        if isinstance(layer.padding, str):
            before_after = _same_sides(layer) if layer.padding == "same" else (0, 0, 0, 0)
        else:
            rows, columns = layer.padding
            before_after = (columns, columns, rows, rows)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = functional.pad(x, before_after, mode=mode) if any(before_after) else x
        patches = functional.unfold(padded, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)
        return patches.unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)

    def _on_weight_gradient(self, gradient: Tensor) -> Tensor:
        """Learn from the batch's rows, and project the gradient where rows were not."""
        if self._collected:
            collected, self._collected = self._collected, []
            with torch.no_grad():
                self._learn(collected)
        if self._by_weight:
            self._by_weight = False
            return self.project(gradient)
        return gradient

    def _on_bias_gradient(self, gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient) if self.freeze_bias and self.projecting else gradient

    def _learn(self, collected: list[Tensor]) -> None:
        """Let every circuit learn from the rows, thinned out evenly where there are too many."""
        rows = torch.cat([self.rows_of(x) for x in self._thinned(collected)], dim=1)
        apart = -(-rows.shape[1] // self.most_rows)
        chosen = rows[:, self.updates % apart :: apart]
        self.updates += 1
        with naming(self.name):
            for circuit, part in zip(self.circuits, chosen, strict=True):
                circuit.hebbian_update(part)

    def _thinned(self, collected: list[Tensor]) -> list[Tensor]:
        """Return images enough for the rows that are wanted: patches of all would cost memory for nothing."""
        if isinstance(self.layer, nn.Linear):
            return collected
        images = torch.cat([x.reshape(-1, *x.shape[-3:]) for x in collected])
        apart = max(1, len(images) * self._positions // self.most_rows)
        return [images[self.updates % apart :: apart]]

    def _release_parameters(self) -> None:
        for handle in self._handles[1:]:
            handle.remove()
        self._handles = self._handles[:1]


@contextmanager
def naming(layer: str) -> Iterator[None]:
    """Put the layer's name before the message of a :class:`BadInput` raised inside."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"layer {layer!r}: {error}") from error


class _Credited(torch.autograd.Function):
    """The layer's output as it is; its weight gradient pairs the error with other rows than the input's."""

    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        projected: Tensor,
        backward: Tensor | None,
        layer: LayerCircuits,
    ) -> Tensor:
        ctx.layer, ctx.has_bias = layer, bias is not None
        ctx.save_for_backward(x, weight if backward is None else backward, projected)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        x, backward, projected = ctx.saved_tensors
        error, wants = grad_outputs[0], ctx.needs_input_grad
        layer: LayerCircuits = ctx.layer
        of_input = layer.input_gradient(error, x, backward) if wants[1] else None
        of_weight = layer.gradient_of(error, projected) if wants[2] else None
        of_bias = None
        if ctx.has_bias and wants[3]:
            of_bias = error.flatten(0, -2).sum(0) if isinstance(layer.layer, nn.Linear) else error.sum((-1, -2)).sum(0)
        return None, of_input, of_weight, of_bias, None, None, None


def _same_sides(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Return the zeros that ``padding="same"`` adds: left, right, top, bottom."""
    (high, wide), (down, right) = layer.kernel_size, layer.dilation
    rows, columns = down * (high - 1), right * (wide - 1)
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
