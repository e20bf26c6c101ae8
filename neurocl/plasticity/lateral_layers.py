"""A lateral circuit at work on one layer of a network: it watches the calls, and changes the weight gradient.

The forward pass stays as it is. A call's rows wait in the graph of its output, so that calls without a backward pass
leave nothing behind; when the weight's gradient arrives, the circuit learns from the rows of all its calls at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from neurocl.plasticity.activity import check_activity
from neurocl.plasticity.lateral_circuit import LateralCircuit
from neurocl.plasticity.lateral_rows import Credited, rows_of, thinned
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
        captured: Share of the activity's energy that the rows explain: of recent activity at a task's end where rows
            follow a share, else of the last batches before each was learnt; ``None`` where the task showed no batch.
        room: Dimensions left for learning.
        drift: Largest entry of H Hᵀ - I.
        leak: Share of the energy of the last task's weight change inside the span that was protected; ``None`` where
            there was nothing to protect. Rounding alone makes some 1e-11 of it, more where weights hardly changed.
        missed: Share of the energy of old rows' drive that answers in whole spikes round away; 0 for linear neurons.
    """

    layer: str
    rows: int
    inputs: int
    captured: float | None
    room: int
    drift: float
    leak: float | None
    missed: float = 0.0


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
        self.attached = True
        self.updates = 0
        # of the calls of a backward pass: its number, the rows, and what is left of them where that is known
        self._collected: list[tuple[int, Tensor, Tensor | None]] = []
        self._positions = 1  # of a convolution's kernel on its input
        self._by_weight = False  # whether a call of this task's left projection to the weight gradient
        self._made: list[int] = []  # where the gradients of this backward pass's projected rows lie
        self._before: Tensor | None = None
        self._leak: float | None = None
        self._seen = 0  # value of ``updates`` when the task began
        self._handles: list[Any] = [layer.register_forward_hook(self, with_kwargs=True)]
        self._hooked: Tensor | None = None
        self.hook_parameters()

    def __deepcopy__(self, memo: dict[int, Any]) -> "LayerCircuits":
        """Copy with the layer: the copy's circuits watch the copied weights from its next call on."""
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        fresh = {"_handles": [], "_hooked": None, "_collected": [], "_made": []}
        copy.__dict__ = {k: fresh[k] if k in fresh else deepcopy(v, memo) for k, v in self.__dict__.items()}
        return copy

    @property
    def projecting(self) -> bool:
        """Whether there are old rows, and they do not rest."""
        return self.attached and not self.resting and any(len(circuit.old) for circuit in self.circuits)

    @property
    def linear(self) -> bool:
        """Whether all lateral neurons are linear."""
        return all(circuit.neurons.linear for circuit in self.circuits)

    def hook_parameters(self) -> None:
        """Watch the gradients of the layer's parameters, which loading, copying or growing replaces."""
        if self._hooked is self.layer.weight:
            return
        for handle in self._handles[1:]:
            handle.remove()
        self._hooked = self.layer.weight
        self._handles[1:] = [self.layer.weight.register_hook(self._on_weight_gradient)]
        if self.layer.bias is not None:
            self._handles.append(self.layer.bias.register_hook(self._on_bias_gradient))
        self._follow()

    def begin(self, rows: int) -> None:
        """Grow every group's circuit, and remember the weights that the task begins with."""
        self.hook_parameters()
        self._follow()
        self._before = self.layer.weight.detach().clone() if self.projecting else None
        self._leak, self._by_weight, self._seen = None, False, self.updates
        for circuit in self.circuits:
            circuit.grow(rows)

    def check(self) -> None:
        """Refuse to end the task with lateral weights that are not finite."""
        with naming(self.name):
            for circuit in self.circuits:
                circuit.check_weights()

    def end(self) -> None:
        """Measure what leaked into the protected span, and freeze the new rows; rows that saw nothing are dropped."""
        if self._before is not None and self._before.shape == self.layer.weight.shape:
            change = self.layer.weight.detach() - self._before
            self._leak = self._share_inside(change)
        self._before = None
        for circuit in self.circuits:
            if self.updates == self._seen:
                circuit.discard()
            circuit.consolidate()

    def report(self, *, ended: bool = False) -> LayerReport:
        """Return the state of the layer's circuits, within a task or of the one that has just ended."""
        total, left = torch.stack([circuit.energy for circuit in self.circuits]).sum(0).tolist()
        captured = 1.0 - left / total if total > 0 else None
        if ended:
            known = [circuit.explained for circuit in self.circuits if circuit.explained is not None]
            captured = sum(known) / len(known) if known else None
        return LayerReport(
            layer=self.name,
            rows=sum(circuit.rows for circuit in self.circuits),
            inputs=sum(circuit.inputs for circuit in self.circuits),
            captured=captured,
            room=sum(circuit.room for circuit in self.circuits),
            drift=max(circuit.drift for circuit in self.circuits),
            leak=self._leak,
            missed=max(circuit.missed for circuit in self.circuits),
        )

    def detach(self) -> None:
        """Take the hooks off the layer."""
        for handle in self._handles:
            handle.remove()
        self._handles, self.attached = [], False

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
        self.hook_parameters()
        x = cast(Tensor, inputs[0] if inputs else options["input"])
        credit = options.get("credit")
        pairs = x if credit is None else credit
        result, projected = None, None
        if self.projecting:
            if self._chooses_input(pairs):
                projected = self._projected(pairs.detach())
                backward = cast(Any, layer).backward_weight() if hasattr(layer, "backward_weight") else None
                result = Credited.apply(
                    output.detach(), x, self.layer.weight, self.layer.bias, projected, backward, self.layer, self._made
                )
            else:
                self._by_weight = True
        if self.learning and not self.resting:
            observed = options.get("observed")
            rows = (pairs if observed is None else observed).detach()
            if rows.device.type == "cpu":  # elsewhere the host would wait; there the end of the task looks
                with naming(self.name):
                    check_activity(rows)
            watched = output if result is None else result
            self._positions = output.shape[-2:].numel() if isinstance(layer, nn.Conv2d) else 1
            known = projected if observed is None else None
            watched.register_hook(lambda gradient: self._collect(rows, known))
        return result

    def _follow(self) -> None:
        """Let the circuits live where the layer does, in its type of numbers."""
        for circuit in self.circuits:
            circuit.to(self.layer.weight)

    def _share_inside(self, change: Tensor) -> float:
        """Return the share of a change's energy inside the span of the old rows."""
        parts = change.flatten(1).chunk(len(self.circuits))
        pairs = [(part, orthonormal_rows(c.old)) for part, c in zip(parts, self.circuits, strict=True) if len(c.old)]
        inside = sum(float((part @ basis.T).double().square().sum()) for part, basis in pairs)
        return inside / max(float(change.double().square().sum()), torch.finfo(torch.float64).tiny)

    def _chooses_input(self, pairs: Tensor) -> bool:
        """Whether this call's rows are projected, not the gradient."""
        if self.side != "auto":
            return self.side == "input"
        if not self.linear:
            return True
        if isinstance(self.layer, nn.Conv2d) or self._by_weight:
            return False
        return pairs.numel() // self.layer.in_features < self.layer.out_features

    def _projected(self, x: Tensor) -> Tensor:
        """Return the input's rows without what old rows explain, ``[group, row, pre]``."""
        with torch.autocast(x.device.type, enabled=False):
            rows = rows_of(self.layer, x).to(self.layer.weight.dtype)
            parts = [circuit.project(part) for circuit, part in zip(self.circuits, rows, strict=True)]
        return torch.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0)

    def _on_weight_gradient(self, gradient: Tensor) -> Tensor:
        """Learn from the batch's rows, and project the gradient where it is not made of projected rows alone."""
        if self._collected:
            now = torch._C._current_graph_task_id()
            collected, self._collected = [pair for task, *pair in self._collected if task == now], []
            with torch.no_grad(), torch.autocast(gradient.device.type, enabled=False):
                self._learn(collected)
        made = self._made[:]
        self._made.clear()
        if not self.projecting or not self.linear or (made == [gradient.data_ptr()] and not self._by_weight):
            return gradient
        return self.project(gradient)

    def _collect(self, rows: Tensor, projected: Tensor | None) -> None:
        """Remember what a call showed, for the weight gradient of the same backward pass."""
        now = torch._C._current_graph_task_id()
        self._collected = [*(entry for entry in self._collected if entry[0] == now), (now, rows, projected)]

    def _on_bias_gradient(self, gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient) if self.freeze_bias and self.projecting else gradient

    def _learn(self, collected: list[list[Tensor | None]]) -> None:
        """Let every circuit learn from the rows, thinned out evenly where there are too many."""
        shown = [cast(Tensor, rows) for rows, _ in collected]
        seen = (
            thinned(self.layer, shown, positions=self._positions, most_rows=self.most_rows, turn=self.updates)
            if shown
            else []
        )
        rows = [rows_of(self.layer, x) for x in seen if x.numel()]
        if not rows:
            return
        every = torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]
        apart = -(-every.shape[1] // self.most_rows)
        chosen = every[:, self.updates % apart :: apart].to(self.layer.weight.dtype)
        left = collected[0][1] if len(collected) == 1 else None
        self.updates += 1
        with naming(self.name):
            for place, (circuit, part) in enumerate(zip(self.circuits, chosen, strict=True)):
                known = left[place] if left is not None and left.shape == chosen.shape else None
                circuit.learn_from(part, known)


@contextmanager
def naming(layer: str) -> Iterator[None]:
    """Put the layer's name before the message of a :class:`BadInput` raised inside."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"layer {layer!r}: {error}") from error
