"""Lateral circuits on the layers of any torch module: neurocl's, snnTorch's, Norse's, SpikingJelly's, plain ones."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import nn, optim

from neurocl.plasticity.lateral_choice import Rows, check_rows, check_rules, choose_layers, inputs_of
from neurocl.plasticity.lateral_circuit import LateralCircuit
from neurocl.plasticity.lateral_layers import SIDES, LayerCircuits
from neurocl.plasticity.lateral_neurons import LateralNeurons, LinearNeurons, check_neurons
from neurocl.plasticity.lateral_protection import complaint_about, is_plain, protect, refuse_spiking
from neurocl.plasticity.lateral_reports import LayerReport
from neurocl.plasticity.lateral_rows import check_weight
from neurocl.plasticity.lateral_rules import LateralRule, SimilarityMatching, check_rule
from neurocl.plasticity.lateral_state import check_state, load_layer, state_of_layer
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
        """Grow every circuit by the rows that stand for this task. Rows learn until it ends.

        Gradients left over from before are projected; where lateral neurons spike they are dropped.

        Raises:
            BadInput: If the last task has not ended, circuits were detached, a circuit has not so much room, or a
                weight is computed from others by now; nothing is changed then.
        """
        self._check_attached()
        if self.in_task:
            raise BadInput(f"begin_task must wait for end_task of task {self.tasks_begun - 1}: call that first")
        wanted = {name: self._rows_for(name) for name in self.layers}
        for name, layer in self.layers.items():
            check_weight(name, layer.layer)
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

        Warns (``UserWarning``) of a layer whose weights moved in the protected span by more than rounding: where an
        optimiser was not under :meth:`protect`, say.

        Raises:
            BadInput: If lateral weights are not finite, or circuits were detached; nothing is changed then.
        """
        self._check_attached()
        for layer in self.layers.values():
            layer.check()
        for layer in self.layers.values():
            layer.end()
        self.in_task = False
        self.reports = [layer.report(ended=True) for layer in self.layers.values()]
        complaint = complaint_about(self.layers)
        if complaint is not None:
            warnings.warn(complaint, stacklevel=2)

    def protect(self, optimiser: optim.Optimizer, *, always: bool = False) -> optim.Optimizer:
        """Project what ``optimiser`` changes, after each of its steps, and return it.

        ``optim.SGD`` without momentum and weight decay changes weights along the projected gradient and is left alone.
        torch drops the hooks of an optimiser that is copied or unpickled: protect it again. :meth:`end_task` warns
        where that was forgotten.

        Args:
            optimiser: Of the network's parameters.
            always: Project for plain SGD too: gradients are changed element by element before the step
                (``clip_grad_value_``, signs, noise). Clipping by norm does not need it.

        Raises:
            BadInput: If lateral neurons spike: changes of weights are smaller than a spike stands for.
        """
        protect(optimiser, self.layers, always=always)
        return optimiser

    def protecting(self, make: Callable[..., optim.Optimizer]) -> Callable[..., optim.Optimizer]:
        """Return ``make`` with its optimisers under :meth:`protect`; those that it would refuse are refused at once."""
        if not all(layer.linear for layer in self.layers.values()):
            probe = make([nn.Parameter(torch.zeros(1))])
            if not is_plain(probe):
                refuse_spiking(type(probe).__name__, self.layers)
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
                layer.resting = layer.rested = True
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
        """Return the circuits' weights, counters and reports, and within a task the weights it began with."""
        return {
            "tasks_begun": self.tasks_begun,
            "in_task": self.in_task,
            "reports": [asdict(report) for report in self.reports],
            "layers": {name: state_of_layer(layer) for name, layer in self.layers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; the circuits must be attached to the same layers.

        Raises:
            BadInput: If the state is not of circuits on these layers, or not finite; nothing is changed then.
        """
        check_state(state, self.layers)
        self.tasks_begun, self.in_task = state["tasks_begun"], state["in_task"]
        self.reports = [LayerReport(**report) for report in state.get("reports", [])]
        for name, stored in state["layers"].items():
            load_layer(self.layers[name], stored, in_task=self.in_task)

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of lateral weights, 0); the copy of weights that the leak is measured by is left out."""
        buffers = [b for layer in self.layers.values() for circuit in layer.circuits for b in circuit.buffers()]
        return sum(buffer.numel() * buffer.element_size() for buffer in buffers), 0

    def _check_attached(self) -> None:
        if not all(layer.attached for layer in self.layers.values()):
            raise BadInput("circuits must be attached to the network; these were detached: call attach_lateral again")

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
    once a time step; in evaluation mode, and between tasks, they project and do not learn. Where lateral neurons spike,
    gradients that do not come from the layers' calls (penalties on weights) are refused in the backward pass. Attach
    before ``torch.compile``, and before hooks that change a layer's output.

    Args:
        network: Any torch module.
        rows: Lateral neurons added in each task: a number; one for each task (the last holds on); a mapping from layer
            names to these; or ``"explained-variance"``: as many as capture ``share`` of the activity. A convolution
            with groups has so many for each group.
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
    check_number("share", share, above=0, below=1)
    neurons = LinearNeurons() if neurons is None else check_neurons(neurons)
    rule = SimilarityMatching() if rule is None else check_rule(rule)
    if side == "weight" and not neurons.linear:
        raise BadInput(
            "side must be 'input' or 'auto' for lateral neurons that spike; got 'weight': entries of a gradient are "
            "smaller than one spike stands for, and would be rounded to nothing"
        )
    chosen = choose_layers(network, layers)
    check_rows(rows, chosen)
    rules = check_rules(rules, chosen)
    made: dict[str, list[LateralCircuit]] = {}
    for name, layer in chosen.items():
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        made[name] = [
            LateralCircuit(
                inputs_of(layer),
                rule=rules.get(name, rule),
                neurons=neurons,
                orthonormalise=orthonormalise,
                share=share if rows == "explained-variance" else None,
                seed=derive(seed, "lateral", name, group),
            ).to(layer.weight)
            for group in range(groups)
        ]
    attached: dict[str, LayerCircuits] = {}
    try:
        for name, layer in chosen.items():
            attached[name] = LayerCircuits(
                name, layer, made[name], side=side, most_rows=most_rows, freeze_bias=freeze_bias
            )
    except BaseException:
        for layer in attached.values():
            layer.detach()
        raise
    return LateralCircuits(attached, rows)
