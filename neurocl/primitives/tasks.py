"""What passes between a stream and a learner: batches, tasks, and the shape a model is built for.

Labels are whole numbers from 0. In a split stream they are numbered in order of appearance, so that a head that
grows never has gaps; the stream keeps the names. Inputs are ``[B, ...]`` (static) or ``[T, B, ...]`` (a sequence).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

Setting = Literal["class-incremental", "domain-incremental", "task-incremental"]
Boundary = Literal["clear", "blurry", "recurring"]
Coding = Literal["spiking", "rate"]
SETTINGS: tuple[str, ...] = get_args(Setting)
BOUNDARIES: tuple[str, ...] = get_args(Boundary)
CODINGS: tuple[str, ...] = get_args(Coding)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some samples of the current task.

    Attributes:
        inputs: ``[B, ...]`` float32, or ``[T, B, ...]`` where the stream's samples are sequences.
        labels: ``[B]`` int64.
        sample_ids: ``[B]`` int64, each sample's place in the stream's training set; constant over epochs.
        task_id: The task's index where the setting shows it (task-incremental), otherwise ``None``.
    """

    inputs: Tensor
    labels: Tensor
    sample_ids: Tensor
    task_id: int | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a learner may know of the task at hand, and one view of that task's training data.

    Attributes:
        index: Position in the stream, from 0.
        task_id: ``index`` where the setting shows it (task-incremental), otherwise ``None``.
        classes: Labels that occur in this task's training data, ascending.
        seen_classes: Labels that occurred in this task or any earlier one, ascending.
        boundary: Whether the stream announces where tasks begin and end.
        batches: ``batches(batch_size, epoch)`` iterates once over the task's training data. Epoch numbers shuffle
            differently, each the same on every call; a negative epoch gives the unshuffled order.
        size: Number of training samples of the task.
    """

    index: int
    task_id: int | None
    classes: tuple[int, ...]
    seen_classes: tuple[int, ...]
    boundary: Boundary
    batches: Callable[[int, int], Iterator[Batch]]
    size: int


@dataclass(frozen=True, kw_only=True)
class TaskShape:
    """What a model has to know of a stream before it is built; nothing of the order of its classes.

    Attributes:
        input_shape: One sample without time: ``(features,)`` or ``(channels, height, width)``.
        time_steps: Length of a sample's sequence, or ``None`` where samples are static.
        num_classes: Size of the label space; a head that expands may ignore it.
        num_tasks: Number of tasks.
        setting: What the learner is told and asked.
    """

    input_shape: tuple[int, ...]
    num_classes: int
    num_tasks: int
    setting: Setting = "class-incremental"
    time_steps: int | None = None

    @property
    def features(self) -> int:
        """Number of values in one sample at one time."""
        total = 1
        for size in self.input_shape:
            total *= size
        return total
