"""A lateral circuit at work on one layer of a network: it watches the calls, and changes the weight gradient.

The forward pass stays as it is. A call's rows wait in the graph of its output, so that calls without a backward pass
leave nothing behind; when the weight's gradient arrives, the circuit learns from the rows of all its calls at once.

Longer than others: what a call shows and what the gradient makes of it are to be seen together.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from neurocl.plasticity.activity import check_activity
from neurocl.plasticity.lateral_circuit import LateralCircuit
from neurocl.plasticity.lateral_credit import Made
from neurocl.plasticity.lateral_reports import LayerReport, naming
from neurocl.plasticity.lateral_rows import Credited, check_weight, rows_of, thinned
from neurocl.plasticity.subspaces import orthonormal_rows
from neurocl.primitives.checks import BadInput

SIDES = ("auto", "input", "weight")
ROUNDING = 64  # spacings of a number: weights that change by less, as a whole, moved by rounding alone
OTHERS = 1e-10  # share of energy in a gradient: rounding of sums, not a penalty on weights


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

    keeps_values = True  # as a hook: what it returns has the values of the layer's output

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
        self.rested = False  # at any time in this task
        self.attached = True
        self.in_task = False
        self.updates = 0
        # of the calls of a backward pass: its number, the rows, positions of a kernel on them, and what is left of them
        self.collected: list[tuple[int, Tensor, int, Tensor | None]] = []
        self.by_weight = False  # whether a call of this task's left projection to the weight gradient
        self.made = Made(summed=not self.linear)
        self.before: Tensor | None = None
        self.leak: float | None = None
        self.seen = 0  # value of ``updates`` when the task began
        self._watched: dict[str, tuple[Tensor, Any]] = {}  # parameters whose gradients are, and the hooks' handles
        self.hook_parameters()
        layer.register_forward_hook(self, with_kwargs=True)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles take over: they watch the copied weights from the next call on."""
        return self.__dict__ | {"_watched": {}, "collected": [], "made": Made(summed=not self.linear)}

    @property
    def projecting(self) -> bool:
        """Whether there are old rows, and they do not rest."""
        return self.attached and not self.resting and any(len(circuit.old) for circuit in self.circuits)

    @property
    def linear(self) -> bool:
        """Whether all lateral neurons are linear."""
        return all(circuit.neurons.linear for circuit in self.circuits)

    def hook_parameters(self) -> None:
        """Watch the gradients of the layer's parameters, and live where they do; both may have been replaced.

        Raises:
            BadInput: If the weight is computed from others by now, or has fewer than 32 bits.
        """
        for name, hook in (("weight", self._on_weight_gradient), ("bias", self._on_bias_gradient)):
            parameter = getattr(self.layer, name)
            watched, handle = self._watched.get(name, (None, None))
            if parameter is None or parameter is watched or not parameter.requires_grad:
                continue
            check_weight(self.name, self.layer)
            if handle is not None:
                handle.remove()
            self._watched[name] = parameter, parameter.register_hook(hook)
        self._follow()

    def begin(self, rows: int) -> None:
        """Grow every group's circuit, and remember the weights that the task begins with."""
        self.hook_parameters()
        self.before = self.layer.weight.detach().clone() if self.projecting else None
        self.leak, self.by_weight, self.seen = None, False, self.updates
        self.in_task, self.rested = True, self.resting
        for circuit in self.circuits:
            circuit.grow(rows)

    def check(self) -> None:
        """Refuse to end the task with lateral weights that are not finite."""
        with naming(self.name):
            for circuit in self.circuits:
                circuit.check_weights()

    def end(self) -> None:
        """Measure what leaked into the protected span, and freeze the new rows; rows that saw nothing are dropped."""
        weight = self.layer.weight.detach()
        if self.before is not None and self.before.shape == weight.shape:
            change = weight - self.before.to(weight)
            moved = float(change.norm()) > ROUNDING * torch.finfo(weight.dtype).eps * float(weight.norm())
            self.leak = self._share_inside(change) if moved else None
        self.before, self.in_task = None, False
        for circuit in self.circuits:
            if self.updates == self.seen:
                circuit.discard()
            circuit.consolidate()
        self.made.forget()
        self.project_gradients()

    def project_gradients(self) -> None:
        """Project gradients that were there before the rows that project now; spiking neurons cannot: they go."""
        weight, bias = self.layer.weight, self.layer.bias
        if not self.projecting:
            return
        if weight.grad is not None:
            weight.grad = self.project(weight.grad) if self.linear else None
        if bias is not None and self.freeze_bias:
            bias.grad = None

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
            leak=self.leak,
            missed=max(circuit.missed for circuit in self.circuits),
        )

    def detach(self) -> None:
        """Take the hooks off the layer."""
        for _, handle in self._watched.values():
            handle.remove()
        for number in [number for number, hook in self.layer._forward_hooks.items() if hook is self]:
            del self.layer._forward_hooks[number]
            self.layer._forward_hooks_with_kwargs.pop(number, None)
        self._watched, self.attached = {}, False

    def project(self, change: Tensor) -> Tensor:
        """Return a change of the weights without what old rows protect; linear lateral neurons only."""
        groups = change.flatten(1).chunk(len(self.circuits))
        return torch.cat([circuit.project(part) for circuit, part in zip(self.circuits, groups, strict=True)]).view_as(
            change
        )

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Tensor) -> Any:
        """Watch one call; return another output where the input's rows are projected."""
        if not (torch.is_grad_enabled() and self.layer.weight.requires_grad) or self.resting:
            return None
        learning = layer.training and self.learning and self.in_task
        if not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None:
            self._refuse_transforms(learning)
            return None
        self.hook_parameters()
        x = cast(Tensor, inputs[0] if inputs else options["input"])
        credit, observed = options.get("credit"), options.get("observed")
        steps = None if self.linear else options.get("steps")  # what linear neurons answer to an average is the same
        pairs = x if credit is None else credit
        rows = (pairs if observed is None else observed).detach()
        # in evaluation mode linear neurons leave it to the gradient, as it takes no more than that
        projecting = self.projecting and (layer.training or not self.linear)
        by_input = projecting and self._chooses_input(pairs)
        if learning:
            self._check(rows)
        if by_input and not self.linear and not (learning and observed is None):
            self._check(pairs.detach())
        result, projected = None, None
        if by_input:
            projected = self._projected(pairs.detach(), steps)
            backward = cast(Any, layer).backward_weight() if hasattr(layer, "backward_weight") else None
            result = Credited.apply(
                output.detach(), x, self.layer.weight, self.layer.bias, projected, backward, self.layer, self.made
            )
        elif projecting:
            self.by_weight = True
        if learning:
            watched = output if result is None else result
            positions = output.shape[-2:].numel() if isinstance(layer, nn.Conv2d) else 1
            known = projected if observed is None and steps is None else None
            watched.register_hook(lambda gradient: self._collect(rows, positions, known))
        return result

    def _follow(self) -> None:
        """Let the circuits live where the layer does, in its type of numbers."""
        here, weight = self.circuits[0].old, self.layer.weight
        if here.dtype is not weight.dtype or here.device != weight.device:
            check_weight(self.name, self.layer)
            for circuit in self.circuits:
                circuit.to(weight)

    def _check(self, rows: Tensor) -> None:
        """Refuse activity that is not finite, before anything is done with it."""
        if rows.device.type == "cpu":  # elsewhere the host would wait; there the end of the task looks
            with naming(self.name):
                check_activity(rows)

    def _refuse_transforms(self, learning: bool) -> None:
        """Refuse a call within ``torch.func``, whose gradients never reach the weight."""
        if learning or self.projecting:
            raise BadInput(
                f"layer {self.name!r}: lateral circuits must see gradients arrive at the weight, which those of "
                "torch.func (grad, vmap) do not: call the network outside, or within circuits.resting()"
            )

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
        if isinstance(self.layer, nn.Conv2d) or self.by_weight:
            return False
        return pairs.numel() // self.layer.in_features < self.layer.out_features

    def _projected(self, x: Tensor, steps: Any = None) -> Tensor:
        """Return the input's rows without what old rows explain, ``[group, row, pre]``.

        Lateral neurons that spike answer every step where the input is an average over ``steps``.
        """
        with torch.autocast(x.device.type, enabled=False):
            rows = rows_of(self.layer, x if steps is None else steps.rows()).to(self.layer.weight.dtype)
            parts = [circuit.project(part) for circuit, part in zip(self.circuits, rows, strict=True)]
            if steps is not None:
                shares = rows.new_tensor(steps.shares)
                parts = [torch.tensordot(shares, part.unflatten(0, (len(shares), -1)), 1) for part in parts]
        return torch.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0)

    def _on_weight_gradient(self, gradient: Tensor) -> Tensor:
        """Learn from the batch's rows, and project the gradient where it is not made of projected rows alone."""
        self._follow()
        if self.projecting and not self.linear:
            self._refuse_others(gradient)
        if self.collected:
            now = torch._C._current_graph_task_id()
            collected, self.collected = [call for task, *call in self.collected if task == now], []
            with torch.no_grad(), torch.autocast(gradient.device.type, enabled=False):
                self._learn(collected)
        if not self.projecting or not self.linear or self.made.is_all_of(gradient):
            return gradient
        return self.project(gradient)

    def _refuse_others(self, gradient: Tensor) -> None:
        """Refuse a gradient that spiking neurons did not project, and cannot."""
        others = self.made.share_of_others(gradient)
        if not others <= OTHERS:
            raise BadInput(
                f"layer {self.name!r}: where lateral neurons spike, the weight's gradient must come from calls of the "
                f"layer since the task began; {min(others, 1.0):.2g} of its energy does not, and could not be "
                "projected: leave penalties on weights out, or use LinearNeurons()"
            )

    def _collect(self, rows: Tensor, positions: int, projected: Tensor | None) -> None:
        """Remember what a call showed, for the weight gradient of the same backward pass."""
        now = torch._C._current_graph_task_id()
        self.collected = [*(call for call in self.collected if call[0] == now), (now, rows, positions, projected)]

    def _on_bias_gradient(self, gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient) if self.freeze_bias and self.projecting else gradient

    def _learn(self, collected: list[list[Any]]) -> None:
        """Let every circuit learn from the rows, thinned out evenly where there are too many."""
        shown, positions = [call[0] for call in collected], [call[1] for call in collected]
        rows = thinned(self.layer, shown, positions, most_rows=self.most_rows, turn=self.updates)
        if not rows:
            return
        every = torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]
        apart = -(-every.shape[1] // self.most_rows)
        chosen = every[:, self.updates % apart :: apart].to(self.layer.weight)
        left = collected[0][2] if len(collected) == 1 else None
        self.updates += 1
        with naming(self.name):
            for place, (circuit, part) in enumerate(zip(self.circuits, chosen, strict=True)):
                known = left[place].to(part) if left is not None and left.shape == chosen.shape else None
                circuit.learn_from(part, known)
