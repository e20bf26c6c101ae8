"""How a network whose units freeze is read out: by neighbours among stored vectors, or by nested discriminants."""

from collections.abc import Iterator
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurocl.learners.active_network import ActiveNetwork
from neurocl.learners.gradient_learner import Part
from neurocl.memory import MaskedNeighbours, NestedDiscriminant
from neurocl.memory.nested_discriminant import Level
from neurocl.networks import Network, Read
from neurocl.plasticity import StructuralPlasticity
from neurocl.primitives.checks import BadInput, check_count, check_name
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

    def hidden_of(self, network: Network, label: int, *, last: int, read: str = "spikes") -> Tensor:
        """Return what :meth:`~neurocl.networks.Network.hidden_features` gives for all that is kept of a class."""
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

    def products(self) -> int:
        """Return the products that the scores of one sample take, once its features are there."""
        ...


class Neighbours:
    """Vectors of the first samples of each class, on the units it was learnt with; those of the window made anew.

    Args:
        network: Without a head.
        plasticity: Of the same network.
        memory: Where vectors are kept.
        per_class: Vectors of each class; made anew of no more samples either, however many the window has.
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
                features = past.features_of(self.network, label)[: self.per_class]
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

    def products(self) -> int:
        """Return one for every vector and unit of its mask."""
        return sum(len(one.vectors) * int(one.mask.sum()) for one in self.memory.classes.values())

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

    Where all layers read can still be corrected by replay, no unit is frozen until later tasks. Classes of the first
    tasks then get their statistics, as soon as there is a frozen unit, from what the window still shows of them; until
    then all units learnt answer, with statistics that are made anew after each task. A class of which the window shows
    nothing any more keeps the last it had, on the units they were taken of.

    Args:
        network: Without a head.
        plasticity: Of the same network.
        last: Number of layers, counted from the last one, whose units are read.
        shrinkage: See :class:`~neurocl.memory.NestedDiscriminant`.
        read: What is read of spiking units, see :meth:`~neurocl.networks.Network.hidden_features`. Currents into
            frozen units are as frozen as their spikes: they come from units that are frozen too.
    """

    def __init__(
        self,
        network: Network,
        plasticity: StructuralPlasticity,
        *,
        last: int,
        shrinkage: float = 0.01,
        read: str = "spikes",
    ) -> None:
        depth = len(plasticity.layers)
        if not 1 <= check_count("last", last) <= depth:
            raise BadInput(f"last must be at most the number of layers, {depth}; got {last}")
        self.network, self.plasticity, self.last = network, plasticity, last
        self.shrinkage, self.reads = shrinkage, check_name("what to read", read, get_args(Read))
        self.memory: NestedDiscriminant | None = None
        self.provisional: NestedDiscriminant | None = None  # before the first unit is frozen
        for place in reversed(self._read()):
            self._block(place)  # refuses layers that cannot be read
        self._empty()  # and a shrinkage that cannot be

    def learn(self, working: ActiveNetwork, task: Task, past: Past | None) -> None:
        """Begin a level of what is frozen now, and add all samples of ``task`` to all levels."""
        frozen = self._units([self.plasticity.frozen(place) for place in self._read()])
        learnt = self._units([self.plasticity.ranks[place] >= 2 for place in self._read()])
        any_frozen = bool(frozen.any())
        memory, shown = self.memory, set(task.classes) | set([] if past is None else past.classes())
        if memory is None or not any_frozen:
            memory = self._empty()
            if self.provisional is not None:
                within = frozen if any_frozen else learnt
                memory.begin_with(kept_levels(self.provisional, without=shown, within=within))
        memory.open_level(frozen if any_frozen else learnt)
        device = next(self.network.parameters()).device
        for batch in task.batches(AT_ONCE, -1):
            features = self.features(working, batch.inputs.to(device))
            memory.update(features, batch.labels.to(features.device))
        if past is not None:
            for label in sorted(set(past.classes()) - set(memory.labels())):
                features = past.hidden_of(self.network, label, last=self.last, read=self.reads)
                memory.update(features, torch.full((len(features),), label, device=features.device))
        self.memory, self.provisional = (memory, None) if any_frozen else (None, memory)

    def known(self) -> list[int]:
        """Return the classes it can answer with."""
        answering = self.memory or self.provisional
        return [] if answering is None else answering.labels()

    def scores(self, working: ActiveNetwork, inputs: Tensor) -> Float[Tensor, "sample label"]:
        """Return a score for every label."""
        answering = self.memory or self.provisional
        if answering is None:
            raise BadInput("no class is known yet: learn a task first")
        return answering.scores(self.features(working, inputs))

    def products(self) -> int:
        """Return one for every unit and class of every level; currents read are those the network has computed."""
        answering = self.memory or self.provisional
        return 0 if answering is None else sum(len(level.scatter) * len(level.means) for level in answering.levels)

    def features(self, working: ActiveNetwork, inputs: Tensor) -> Float[Tensor, "sample unit"]:
        """Return the activity of the layers read, one after another."""
        features = working.hidden_features(inputs, last=self.last, read=self.reads)
        if features.shape[1] != sum(self._sizes()):
            raise BadInput(
                f"layers read must give {sum(self._sizes())} features; the network gives {features.shape[1]}"
            )
        return features

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of the statistics, 0)."""
        answering = self.memory or self.provisional
        return 0 if answering is None else answering.bytes, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics."""
        kept = {"memory": self.memory, "provisional": self.provisional}
        return {name: memory.state_dict() for name, memory in kept.items() if memory is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.memory, self.provisional = (self._restored(state.get(name)) for name in ("memory", "provisional"))

    def _restored(self, state: dict[str, Any] | None) -> NestedDiscriminant | None:
        """Return statistics as they were, or nothing."""
        memory = None if state is None else self._empty()
        if memory is not None and state is not None:
            memory.load_state_dict(state)
        return memory

    def _empty(self) -> NestedDiscriminant:
        return NestedDiscriminant(self._sizes(), shrinkage=self.shrinkage)

    def _read(self) -> range:
        """Return the places of the layers read."""
        return range(len(self.plasticity.layers) - self.last, len(self.plasticity.layers))

    def _sizes(self) -> list[int]:
        """Return how many features each layer gives: more than units where they have places."""
        return [self.plasticity.layers[place].units * self._block(place) for place in self._read()]

    def _block(self, place: int) -> int:
        """Return how many places a unit of a layer has behind its pooling."""
        if place + 1 < len(self.plasticity.layers):
            behind = self.plasticity.layers[place + 1].afferents[0]
            if isinstance(behind.module, torch.nn.Linear):
                return behind.block
        if isinstance(self.plasticity.layers[place].afferents[0].module, torch.nn.Linear):
            return 1
        raise BadInput(
            f"last must reach back to layers that are linear, or feed a linear layer, alone; got {self.last}, and "
            f"layers.{place} is neither: read at most {len(self.plasticity.layers) - 1 - place}"
        )

    def _units(self, of_layers: list[Tensor]) -> Bool[Tensor, " unit"]:
        """Return which features belong to the units told by layer."""
        return torch.cat(
            [own.repeat_interleave(self._block(p)) for p, own in zip(self._read(), of_layers, strict=True)]
        )


def kept_levels(memory: NestedDiscriminant, *, without: set[int], within: Bool[Tensor, " unit"]) -> list[Level]:
    """Return statistics of the classes that are not in ``without``, on the units ``within``.

    The covariance of all classes is theirs. Means are those of samples scaled on all units: where some are left out,
    they are scaled as the mean sample has to be, so that its layers have length 1 again.
    """
    levels = []
    for level in memory.levels:
        labels = sorted(set(level.counts) - without)
        if not labels:
            continue
        mask = level.mask & within.to(level.mask.device)
        rows = mask[level.mask].to(level.scatter.device)
        counts = {label: level.counts[label] for label in labels}
        covariance = level.scatter[rows][:, rows] / sum(level.counts.values())
        means = {label: level.means[label][rows.to(level.means[label].device)] for label in labels}
        if not bool(rows.all()):
            owners = torch.repeat_interleave(torch.arange(len(memory.layers)), torch.tensor(memory.layers))
            own = owners.to(mask.device)[mask].to(covariance.device)
            squares = covariance.diagonal() + torch.stack([*means.values()]).to(covariance).square().mean(0)
            lengths = squares.new_zeros(len(memory.layers)).index_add(0, own, squares).sqrt().clamp_min(1e-6)[own]
            covariance = covariance / lengths[:, None] / lengths
            means = {label: mean / lengths.to(mean) for label, mean in means.items()}
        levels.append(Level(mask=mask, scatter=covariance * sum(counts.values()), counts=counts, means=means))
    return levels


ReadoutKind = Literal["discriminant", "nearest"]


def first_of_classes(network: Network, task: Task, per_class: int) -> Iterator[tuple[int, Tensor]]:
    """Yield each class of the task with its first samples in the stream's order, on the network's device."""
    found: dict[int, list[Tensor]] = {label: [] for label in task.classes}
    axis = 0 if network.shape.time_steps is None else 1
    for batch in task.batches(AT_ONCE, -1):
        for label in batch.labels.unique().tolist():
            if label not in found:
                raise BadInput(f"labels of a task must be among its classes, {list(task.classes)}; got {label}")
            missing = per_class - sum(part.shape[axis] for part in found[label])
            rows = (batch.labels == label).nonzero().squeeze(1)[: max(missing, 0)]
            found[label].append(batch.inputs.index_select(axis, rows))
    device = next(network.parameters()).device
    for label, parts in found.items():
        if not parts:
            raise BadInput(f"class {label} of task {task.index} must have at least one sample; its batches show none")
        yield label, torch.cat(parts, dim=axis).to(device)
