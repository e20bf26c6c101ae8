"""How a network whose units freeze is read out: by neighbours among stored vectors, or by nested discriminants."""

from collections.abc import Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurocl.learners.active_network import ActiveNetwork
from neurocl.learners.gradient_learner import Part
from neurocl.memory import MaskedNeighbours, NestedDiscriminant
from neurocl.networks import Network
from neurocl.plasticity import StructuralPlasticity
from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.tasks import Task

AT_ONCE = 1024  # samples whose activity is computed together


@runtime_checkable
class Past(Protocol):
    """Who can still show what belongs to classes of the last tasks."""

    def classes(self) -> list[int]:
        """Return the labels kept."""
        ...

    def features_of(self, network: Network, label: int) -> Tensor:
        """Return features of all that is kept of a class, in evaluation mode and without gradient."""
        ...


@runtime_checkable
class UnitReadout(Part, Protocol):
    """Contract: learns at the end of a task, answers at any time."""

    def learn(self, working: ActiveNetwork, task: Task, past: Past | None) -> None:
        """Look back on ``task``, whose units have just been promoted; ``past`` shows older classes of the window."""
        ...

    def known(self) -> list[int]:
        """Return the classes it can answer with."""
        ...

    def scores(self, working: ActiveNetwork, inputs: Tensor) -> Float[Tensor, "sample label"]:
        """Return a score for every label."""
        ...


class Neighbours:
    """Vectors of the first samples of each class, on the units it was learnt with; those of the window made anew.

    Args:
        network: Without a head.
        plasticity: Of the same network.
        memory: Where vectors are kept.
        per_class: Vectors of each class.
    """

    def __init__(
        self, network: Network, plasticity: StructuralPlasticity, memory: MaskedNeighbours, *, per_class: int
    ) -> None:
        self.network, self.plasticity, self.memory = network, plasticity, memory
        self.per_class = check_count("per_class", per_class)

    def learn(self, working: ActiveNetwork, task: Task, past: Past | None) -> None:
        """Remember classes of ``task``; make vectors of other classes anew where ``past`` can still show them."""
        if past is not None:
            for label in sorted(set(past.classes()) - set(task.classes)):
                features = past.features_of(self.network, label)
                self.memory.remember(label, self._active(features), self.memory.classes[label].mask)
        learnt = self.plasticity.ranks[-1] >= 2
        for label, inputs in first_of_classes(self.network, task, self.per_class):
            self.memory.remember(label, self.features(working, inputs), learnt)

    def known(self) -> list[int]:
        """Return the classes it can answer with."""
        return sorted(self.memory.classes)

    def scores(self, working: ActiveNetwork, inputs: Tensor) -> Float[Tensor, "sample label"]:
        """Return a score for every label."""
        return self.memory.scores(self.features(working, inputs))

    def features(self, working: ActiveNetwork, inputs: Tensor) -> Float[Tensor, "sample unit"]:
        """Return the last layer's activity, that of idle units 0."""
        return self._active(working.hidden_features(inputs, last=1))

    def _active(self, features: Tensor) -> Tensor:
        return features * self.plasticity.active().to(features)

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, bytes of vectors and masks)."""
        return 0, self.memory.bytes

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered."""
        return self.memory.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.memory.load_state_dict(state)


class Discriminants:
    """Statistics of all samples on the units that are frozen when their task ends; no sample is kept.

    Args:
        network: Without a head.
        plasticity: Of the same network.
        last: Number of layers, counted from the last one, whose units are read.
        shrinkage: See :class:`~neurocl.memory.NestedDiscriminant`.
    """

    def __init__(
        self, network: Network, plasticity: StructuralPlasticity, *, last: int, shrinkage: float = 0.01
    ) -> None:
        depth = len(plasticity.layers)
        if not 1 <= check_count("last", last) <= depth:
            raise BadInput(f"last must be at most the number of layers, {depth}; got {last}")
        self.network, self.plasticity, self.last = network, plasticity, last
        self.shrinkage = shrinkage
        self.memory: NestedDiscriminant | None = None
        NestedDiscriminant([1], shrinkage=shrinkage)

    def learn(self, working: ActiveNetwork, task: Task, past: Past | None) -> None:
        """Begin a level of what is frozen now, and add all samples of ``task`` to all levels."""
        for batch in task.batches(AT_ONCE, -1):
            features = self.features(working, batch.inputs.to(next(self.network.parameters()).device))
            if self.memory is None:
                self.memory = NestedDiscriminant(self._sizes(features), shrinkage=self.shrinkage)
            self.memory.open_level(self._frozen())
            self.memory.update(features, batch.labels.to(features.device))

    def known(self) -> list[int]:
        """Return the classes it can answer with."""
        return [] if self.memory is None else self.memory.labels()

    def scores(self, working: ActiveNetwork, inputs: Tensor) -> Float[Tensor, "sample label"]:
        """Return a score for every label."""
        if self.memory is None:
            raise BadInput("no class is known yet: learn a task first")
        return self.memory.scores(self.features(working, inputs))

    def features(self, working: ActiveNetwork, inputs: Tensor) -> Float[Tensor, "sample unit"]:
        """Return the activity of the layers read, one after another."""
        return working.hidden_features(inputs, last=self.last)

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of the statistics, 0)."""
        return 0 if self.memory is None else self.memory.bytes, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics."""
        if self.memory is None:
            return {}
        return {"layers": list(self.memory.layers), **self.memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.memory = None
        if state:
            self.memory = NestedDiscriminant(state["layers"], shrinkage=self.shrinkage)
            self.memory.load_state_dict(state)

    def _read(self) -> range:
        """Return the places of the layers read."""
        return range(len(self.plasticity.layers) - self.last, len(self.plasticity.layers))

    def _sizes(self, features: Tensor) -> list[int]:
        """Return how many features each layer gives: more than units where they have places."""
        units = [self.plasticity.layers[place].units for place in self._read()]
        blocks = [self._block(place) for place in self._read()]
        sizes = [count * block for count, block in zip(units, blocks, strict=True)]
        if sum(sizes) != features.shape[1]:
            raise BadInput(f"layers read must give {sum(sizes)} features; the network gives {features.shape[1]}")
        return sizes

    def _block(self, place: int) -> int:
        """Return how many places a unit of a layer has behind its pooling."""
        if place + 1 < len(self.plasticity.layers):
            behind = self.plasticity.layers[place + 1].afferents[0]
            if isinstance(behind.module, torch.nn.Linear):
                return behind.block
        if isinstance(self.plasticity.layers[place].afferents[0].module, torch.nn.Linear):
            return 1
        raise BadInput("layers read must be linear, or feed a linear layer; read fewer layers")

    def _frozen(self) -> Bool[Tensor, " unit"]:
        """Return which features belong to frozen units."""
        return torch.cat([self.plasticity.frozen(p).repeat_interleave(self._block(p)) for p in self._read()])


ReadoutKind = Literal["discriminant", "nearest"]


def first_of_classes(network: Network, task: Task, per_class: int) -> Iterator[tuple[int, Tensor]]:
    """Yield each class of the task with its first samples in the stream's order, on the network's device."""
    found: dict[int, list[Tensor]] = {label: [] for label in task.classes}
    axis = 0 if network.shape.time_steps is None else 1
    for batch in task.batches(AT_ONCE, -1):
        for label in batch.labels.unique().tolist():
            missing = per_class - sum(part.shape[axis] for part in found[label])
            rows = (batch.labels == label).nonzero().squeeze(1)[: max(missing, 0)]
            found[label].append(batch.inputs.index_select(axis, rows))
    device = next(network.parameters()).device
    for label, parts in found.items():
        yield label, torch.cat(parts, dim=axis).to(device)
