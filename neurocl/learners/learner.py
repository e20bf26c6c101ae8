"""The contract of a learner, and what it tells of itself."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.tasks import Batch, Task


class Diverged(BadInput):
    """Learning came to numbers that are not finite; the same run would come to them again."""


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a learner needs and does; printed in tables and checked against the stream before a run."""

    needs_task_id_train: bool = False
    needs_task_id_test: bool = False
    needs_boundaries: bool = False
    replays: bool = False
    closed_form: bool = False
    grows: bool = False


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the run feeds a learner: the run owns epochs and order, the learner only says what it wants.

    Attributes:
        batch_size: Samples a batch.
        epochs: Passes over each task's data; used where ``iterations`` is 0.
        iterations: Batches a task, drawn by reshuffled passes; 0 means whole epochs.

    Raises:
        BadInput: If one is not a whole number, or the learner would be fed nothing.
    """

    batch_size: int
    epochs: int = 1
    iterations: int = 0

    def batches_in(self, task: Task) -> int:
        """Return the number of batches that a task's data make."""
        return self.iterations or self.epochs * math.ceil(task.size / self.batch_size)

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        check_count("epochs", self.epochs)
        check_count("iterations", self.iterations, at_least=0)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a learner takes up between tasks, and what one prediction costs.

    Attributes:
        parameter_bytes: Weights and other numbers that prediction reads.
        auxiliary_bytes: Importance, anchors, statistics, optimiser state and copies that outlive a task.
        memory_bytes: Stored samples, labels or activity of past data.
        synaptic_operations_per_sample: Spikes times fan-out, one accumulation each; ``None`` where not measured.
        multiply_accumulates_per_sample: Products with analogue inputs; ``None`` where not measured.
        mean_firing_rate: Spikes per hidden neuron and step (rate coding: share of active units).
    """

    parameter_bytes: int
    auxiliary_bytes: int = 0
    memory_bytes: int = 0
    synaptic_operations_per_sample: float | None = None
    multiply_accumulates_per_sample: float | None = None
    mean_firing_rate: float | None = None


@runtime_checkable
class Learner(Protocol):
    """Anything that learns from a stream of tasks.

    The run calls ``begin_task``, then ``observe`` for every batch, then ``end_task``; ``predict`` at any time.
    ``predict`` returns scores ``[B, C]`` whose column is the label, C at least one more than the largest label seen;
    columns of classes not yet seen (and, with ``task_id`` in a task-incremental stream, of other tasks) hold ``-inf``.
    It changes nothing: neither weights, nor statistics, nor any random state.
    """

    abilities: Abilities
    schedule: Schedule

    def begin_task(self, task: Task) -> None: ...

    def observe(self, batch: Batch) -> dict[str, float]:
        """Learn from one batch and return the losses by name."""
        ...

    def end_task(self, task: Task) -> None: ...

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Tensor: ...

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes; with ``probe`` (inputs of some samples) measure operations and firing rates too."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs: nested dicts and lists of tensors, numbers, strings, booleans and None."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
