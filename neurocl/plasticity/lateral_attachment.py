"""Lateral circuits on the layers of any torch module: neurocl's, snnTorch's, Norse's, SpikingJelly's, plain ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn, optim

from neurocl.plasticity.lateral_choice import Rows, check_rows, choose_layers, inputs_of
from neurocl.plasticity.lateral_circuit import LateralCircuit
from neurocl.plasticity.lateral_layers import SIDES, LayerCircuits, LayerReport
from neurocl.plasticity.lateral_neurons import LateralNeurons, LinearNeurons
from neurocl.plasticity.lateral_rules import LateralRule, SimilarityMatching
from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.primitives.seeding import derive


class LateralCircuits:
    """Handle of the circuits on a network; :func:`attach_lateral` makes it.

    Around each task: :meth:`begin_task`, training as ever, :meth:`end_task`. An optimiser with momentum, weight decay
    or a step by element (Adam) leaves the projected direction: put it under :meth:`protect`.

    Attributes:
        tasks_begun: Number of tasks so far.
        reports: State of every layer at the end of the task that ended last.
    """

    def __init__(self, layers: Mapping[str, LayerCircuits], rows: Rows) -> None:
        self.layers = dict(layers)
        self.rows = rows
        self.tasks_begun = 0
        self.in_task = False
        self.reports: list[LayerReport] = []

    def begin_task(self) -> None:
        """Grow every circuit by the rows that stand for this task.

        Raises:
            BadInput: If the last task has not ended, or a circuit has not so much room; nothing is changed then.
        """
        if self.in_task:
            raise BadInput(f"begin_task must wait for end_task of task {self.tasks_begun - 1}: call that first")
        wanted = {name: self._rows_for(name) for name in self.layers}
        for name, layer in self.layers.items():
            short = min(circuit.room for circuit in layer.circuits)
            if wanted[name] > short:
                raise BadInput(
                    f"layer {name!r}: rows must not exceed the room that is left, {short} of "
                    f"{layer.circuits[0].inputs} dimensions; got {wanted[name]} for task {self.tasks_begun}: ask for "
                    "fewer, or let rows='explained-variance' choose"
                )
        for name, layer in self.layers.items():
            layer.begin(wanted[name])
        self.tasks_begun += 1
        self.in_task = True

    def end_task(self) -> None:
        """Freeze what was learnt in this task: it projects from now on. :attr:`reports` tells of the task.

        Raises:
            BadInput: If lateral weights are not finite; nothing is changed then.
        """
        for layer in self.layers.values():
            layer.check()
        for layer in self.layers.values():
            layer.end()
        self.in_task = False
        self.reports = [layer.report(ended=True) for layer in self.layers.values()]

    def protect(self, optimiser: optim.Optimizer, *, always: bool = False) -> optim.Optimizer:
        """Project what ``optimiser`` changes, after each of its steps, and return it.

        ``optim.SGD`` without momentum and weight decay changes weights along the projected gradient and is left alone.

        Args:
            optimiser: Of the network's parameters.
            always: Project for plain SGD too: gradients are changed element by element before the step
                (``clip_grad_value_``, signs, noise). Clipping by norm does not need it.

        Raises:
            BadInput: If lateral neurons spike: changes of weights are smaller than a spike stands for.
        """
        spiking = next((name for name, layer in self.layers.items() if not layer.linear), None)
        before: dict[str, tuple[Tensor, Tensor | None]] = {}

        def must_project() -> bool:
            needed = always or not is_plain(optimiser)
            if needed and spiking is not None:
                raise BadInput(
                    f"layer {spiking!r}: lateral neurons that spike cannot project the change that "
                    f"{type(optimiser).__name__} makes: it is smaller than one spike stands for, and would be rounded "
                    "to nothing; use SGD without momentum and weight decay, or LinearNeurons()"
                )
            return needed

        def remember(*_: object) -> None:
            before.clear()
            for name, layer in self.layers.items() if must_project() else ():
                if layer.projecting:
                    bias = layer.layer.bias if layer.freeze_bias else None
                    before[name] = (
                        layer.layer.weight.detach().clone(),
                        None if bias is None else bias.detach().clone(),
                    )

        @torch.no_grad()
        def project(*_: object) -> None:
            for name, (weight, bias) in before.items():
                layer = self.layers[name]
                layer.layer.weight.copy_(weight + layer.project(layer.layer.weight - weight))
                if bias is not None and layer.layer.bias is not None:
                    layer.layer.bias.copy_(bias)

        must_project()
        optimiser.register_step_pre_hook(remember)
        optimiser.register_step_post_hook(project)
        return optimiser

    def protecting(self, make: Callable[..., optim.Optimizer]) -> Callable[..., optim.Optimizer]:
        """Return ``make`` with its optimisers under :meth:`protect`."""
        return lambda parameters: self.protect(make(parameters))

    def learn(self, learning: bool = True) -> None:
        """Let Hebbian learning rest, or go on; projection stays."""
        for layer in self.layers.values():
            layer.learning = learning

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Within, the network learns as if there were no circuits: no projection, and no Hebbian learning."""
        try:
            for layer in self.layers.values():
                layer.resting = True
            yield
        finally:
            for layer in self.layers.values():
                layer.resting = False

    def report(self) -> list[LayerReport]:
        """Return the state of every layer."""
        return [layer.report() for layer in self.layers.values()]

    def detach(self) -> None:
        """Take everything off the network; weights stay as they are."""
        for layer in self.layers.values():
            layer.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return the circuits' weights and counters."""
        return {
            "tasks_begun": self.tasks_begun,
            "in_task": self.in_task,
            "layers": {
                name: {
                    "updates": layer.updates,
                    "circuits": {str(place): dict(c.state_dict()) for place, c in enumerate(layer.circuits)},
                }
                for name, layer in self.layers.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; the circuits must be attached to the same layers."""
        strange = sorted(set(state["layers"]) ^ set(self.layers))
        if strange:
            raise BadInput(f"the state must be of circuits on the same layers; these differ: {', '.join(strange)}")
        for name, stored in state["layers"].items():
            widths = [c.inputs for c in self.layers[name].circuits]
            given = [c["old"].shape[1] for _, c in sorted(stored["circuits"].items(), key=lambda pair: int(pair[0]))]
            if given != widths:
                raise BadInput(f"layer {name!r}: the state's rows must have {widths} values; got {given}")
        self.tasks_begun, self.in_task = state["tasks_begun"], state["in_task"]
        for name, stored in state["layers"].items():
            layer = self.layers[name]
            layer.updates = stored["updates"]
            layer.hook_parameters()
            for place, circuit in enumerate(layer.circuits):
                circuit.load_state_dict(stored["circuits"][str(place)])

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of lateral weights, 0); the copy of weights that the leak is measured by is left out."""
        buffers = [b for layer in self.layers.values() for circuit in layer.circuits for b in circuit.buffers()]
        return sum(buffer.numel() * buffer.element_size() for buffer in buffers), 0

    def _rows_for(self, name: str) -> int:
        """Return the number of rows that a layer gets in the task that begins; the last one given holds on."""
        rows = self.rows[name] if isinstance(self.rows, Mapping) else self.rows
        if isinstance(rows, str):
            return 0
        if isinstance(rows, int):
            return rows
        return rows[min(self.tasks_begun, len(rows) - 1)]


def attach_lateral(
    network: nn.Module,
    *,
    rows: Rows,
    layers: Sequence[str] | None = None,
    share: float = 0.99,
    rule: LateralRule | None = None,
    rules: Mapping[str, LateralRule] | None = None,
    neurons: LateralNeurons | None = None,
    side: str = "auto",
    orthonormalise: str = "task",
    freeze_bias: bool = True,
    most_rows: int = 8192,
    seed: int = 0,
) -> LateralCircuits:
    """Put lateral circuits on linear and convolutional layers of a network, from outside, and return their handle.

    What a layer's input is like is learnt while the network trains; nothing needs to be called but the handle's
    ``begin_task`` and ``end_task``, and ``protect`` for optimisers other than plain SGD. Layers may run once a batch or
    once a time step; in evaluation mode they project and do not learn. Attach before ``torch.compile``, and before
    hooks that change a layer's output.

    Args:
        network: Any torch module.
        rows: Lateral neurons added in each task: a number; one for each task (the last holds on); a mapping from layer
            names to these; or ``"explained-variance"``: as many as capture ``share`` of the activity.
        layers: Names, or patterns such as ``"layers.*"``; ``None`` means every ``nn.Linear`` and ``nn.Conv2d``
            that learns. Leave out heads that belong to one task.
        share: For ``"explained-variance"``.
        rule: How rows learn; :class:`SimilarityMatching` unless given, :class:`HebbianRule` as published.
        rules: The same by layer, where it differs.
        neurons: How lateral neurons answer; linear unless given.
        side: What is projected: ``"input"`` rows, the ``"weight"`` gradient (equal for linear lateral neurons,
            impossible for spiking ones), or ``"auto"``, the side with fewer rows.
        orthonormalise: See :class:`LateralCircuit`.
        freeze_bias: Whether biases of these layers stay what they were after the first task; a bias that learns moves
            the answer to old inputs.
        most_rows: Rows of activity in one Hebbian update; more are thinned out evenly.
        seed: Source of the lateral weights.

    Raises:
        BadInput: For an unknown layer, one that is shared, of fewer than 32 bits, has circuits already or whose weight
            is computed from others, for rows beyond the layer's inputs, or for a side that the neurons cannot project;
            nothing is changed then.

    Source:
        Xiao et al. 2024, Hebbian learning based orthogonal projection, ICLR. Differs: see :class:`LateralCircuit`; all
        rows of one backward pass make one Hebbian update.
    """
    check_name("side", side, SIDES)
    check_count("most_rows", most_rows)
    neurons, rule = neurons or LinearNeurons(), rule or SimilarityMatching()
    if side == "weight" and not neurons.linear:
        raise BadInput(
            "side must be 'input' or 'auto' for lateral neurons that spike; got 'weight': entries of a gradient are "
            "smaller than one spike stands for, and would be rounded to nothing"
        )
    check_number("share", share, above=0, below=1)
    if not isinstance(neurons, LateralNeurons) or not isinstance(rule, LateralRule):
        raise BadInput(
            "neurons and rule must be objects such as LinearNeurons() or SpikeRates(), SimilarityMatching() or "
            f"HebbianRule(); got {neurons!r} and {rule!r}"
        )
    chosen = choose_layers(network, layers)
    check_rows(rows, chosen)
    for name in rules or {}:
        check_name("layer", name, chosen)
    made: dict[str, list[LateralCircuit]] = {}
    for name, layer in chosen.items():
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        made[name] = [
            LateralCircuit(
                inputs_of(layer),
                rule=(rules or {}).get(name, rule),
                neurons=neurons,
                orthonormalise=orthonormalise,
                share=share if rows == "explained-variance" else None,
                seed=derive(seed, "lateral", name, group),
            ).to(layer.weight)
            for group in range(groups)
        ]
    attached = {
        name: LayerCircuits(name, layer, made[name], side=side, most_rows=most_rows, freeze_bias=freeze_bias)
        for name, layer in chosen.items()
    }
    return LateralCircuits(attached, rows)


def is_plain(optimiser: optim.Optimizer) -> bool:
    """Whether steps go along the gradient: torch's SGD itself, without momentum and weight decay."""
    return type(optimiser) is optim.SGD and not any(
        group["weight_decay"] or group["momentum"] for group in optimiser.param_groups
    )
