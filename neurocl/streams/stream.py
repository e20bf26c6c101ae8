"""The stream: an ordered, re-iterable sequence of tasks over labelled data, and its test sets.

Everything follows from the data, the options and one seed: iterating twice, or in another process, gives the same
batches. What a setting hides is in neither :class:`Task` nor :class:`Batch`: outside task-incremental streams
``task_id`` is ``None`` everywhere.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_count, check_name
from neurocl.primitives.seeding import numpy_generator
from neurocl.primitives.tasks import SETTINGS, Batch, Boundary, Setting, Task, TaskShape
from neurocl.streams.portion import Portion
from neurocl.streams.samples import HeldOut, Samples

Order = Callable[[int, int, int], np.ndarray]


class Stream:
    """Tasks in order, each with training, test and (if asked for) validation samples.

    Args:
        portions: What each task is made of.
        name: What the stream is called in results.
        setting: ``"class-incremental"``, ``"domain-incremental"`` or ``"task-incremental"``.
        boundary: ``"clear"``, ``"blurry"`` or ``"recurring"``.
        class_names: Name of each label.
        seed: Decides the order of samples.
        order: ``order(task, epoch, size)`` gives the places of a task's samples in one pass; ``None``: by the seed.

    Attributes:
        shape: What a model has to know before it is built.
    """

    def __init__(
        self,
        portions: Sequence[Portion],
        *,
        name: str,
        setting: Setting,
        boundary: Boundary = "clear",
        class_names: Sequence[str],
        seed: int = 0,
        order: Order | None = None,
    ) -> None:
        self.name = name
        self.setting: Setting = setting
        self.boundary: Boundary = boundary
        self.class_names = tuple(class_names)
        self.seed = check_count("seed", seed, at_least=0)
        self._order: Order = partial(seeded_order, self.seed) if order is None else order
        self._portions = tuple(portions)
        self._feeds: dict[int, _Feed] = {}
        _check_portions(self._portions)
        first = self._portions[0].inputs(self._portions[0].raw("train", np.arange(1)))
        sequence = self._portions[0].data.sequence
        self.shape = TaskShape(
            input_shape=tuple(first.shape[2 if sequence else 1 :]),
            num_classes=len(self.class_names),
            num_tasks=len(self._portions),
            setting=setting,
            time_steps=int(first.shape[1]) if sequence else None,
        )
        self._classes = tuple(tuple(np.unique(portion.train.labels).tolist()) for portion in self._portions)

    def __len__(self) -> int:
        return len(self._portions)

    def __iter__(self) -> Iterator[Task]:
        return (self.task(index) for index in range(len(self)))

    def __repr__(self) -> str:
        train = sum(len(portion.train) for portion in self._portions)
        shape = " x ".join(map(str, self.shape.input_shape))
        steps = f", {self.shape.time_steps} time steps" if self.shape.time_steps else ""
        return (
            f"{self.name}: {len(self)} {self.setting} tasks ({self.boundary} boundaries), "
            f"{len(self.class_names)} labels, "
            f"{train} training samples of {shape}{steps}, seed {self.seed}"
        )

    def task(self, index: int) -> Task:
        """Task ``index`` as a learner sees it."""
        self._check_index(index)
        feed = self._feeds.get(index)
        if feed is None:  # one at a time is kept: a view's transformed samples may be large
            feed = _Feed(self._portions[index], index, self._order, self._visible_id(index))
            self._feeds = {index: feed}
        return Task(
            index=index,
            task_id=self._visible_id(index),
            classes=self._classes[index],
            seen_classes=tuple(sorted(set().union(*self._classes[: index + 1]))),
            boundary=self.boundary,
            batches=feed.batches(),
            size=len(self._portions[index].train),
        )

    def test(self, index: int) -> Samples:
        """Test samples of task ``index``; of all classes where classes come back."""
        return self.tests(index).all()

    def tests(self, index: int) -> HeldOut:
        """The same, made a few at a time as they are asked for."""
        self._check_index(index)
        return HeldOut(self._portions[index], "test", self._visible_id(index))

    def validation(self, index: int) -> Samples:
        """Training samples of task ``index`` that were held out, to choose hyperparameters on."""
        self._check_index(index)
        if not len(self._portions[index].validation):
            raise BadInput(
                "this stream holds nothing out; open it with validation=0.1 (a share of each class's training samples)"
            )
        return HeldOut(self._portions[index], "validation", self._visible_id(index)).all()

    def test_group(self, index: int) -> int:
        """Tasks with the same number share one test set, so that one evaluation serves them all."""
        self._check_index(index)
        return self._portions[index].test_group

    @cached_property
    def digest(self) -> str:
        """SHA-256 over data, indices, labels, order, transformations and setting: equal digests, equal streams."""
        total = hashlib.sha256(repr((self.setting, self.boundary, self.class_names)).encode())
        for index, portion in enumerate(self._portions):
            total.update(portion.data.digest.encode())
            for rows in (portion.train, portion.validation, portion.test):
                total.update(np.stack([rows.ids, rows.labels]).astype("<i8").tobytes())
            total.update(self._order(index, 0, len(portion.train)).astype("<i8").tobytes())
            total.update(repr((portion.view and portion.view.recipe, portion.scale.recipe)).encode())
            total.update(b"" if portion.permutation is None else portion.permutation.astype("<i8").tobytes())
        return total.hexdigest()

    def _visible_id(self, index: int) -> int | None:
        """The task id where the setting shows it."""
        return index if self.setting == "task-incremental" else None

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise BadInput(f"task index must lie between 0 and {len(self) - 1}; got {index}")


class _Feed:
    """Training batches of one task; knows that task's share of the data and nothing of the rest of the stream."""

    def __init__(self, portion: Portion, index: int, order: Order, task_id: int | None) -> None:
        self.portion, self.index, self.order, self.task_id = portion, index, order, task_id

    @cached_property
    def viewed(self) -> Tensor:
        """All training samples after the view, so that a costly view runs once."""
        return self.portion.raw("train", np.arange(len(self.portion.train)))

    def batches(self) -> Callable[[int, int], Iterator[Batch]]:
        """The function that a task hands to its learner."""

        def batches(batch_size: int, epoch: int) -> Iterator[Batch]:
            size = check_count("batch_size", batch_size)
            return self._iterate(size, epoch)

        return batches

    def _iterate(self, batch_size: int, epoch: int) -> Iterator[Batch]:
        """Iterate once over the training samples in the order of ``epoch``."""
        portion, rows = self.portion, self.portion.train
        order = np.arange(len(rows)) if epoch < 0 else self.order(self.index, epoch, len(rows))
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            raw = portion.raw("train", places) if portion.view is None else self.viewed[torch.from_numpy(places)]
            inputs = portion.inputs(raw)
            yield Batch(
                inputs=inputs.transpose(0, 1) if portion.data.sequence else inputs,
                labels=torch.from_numpy(rows.labels[places]),
                sample_ids=torch.from_numpy(rows.ids[places] + portion.first_id),
                task_id=self.task_id,
            )


def check_setting(setting: str) -> Setting:
    """Return ``setting`` if it is one of the three."""
    return cast(Setting, check_name("setting", setting, SETTINGS))


def seeded_order(seed: int, index: int, epoch: int, size: int) -> np.ndarray:
    """Order of a task's samples in one epoch."""
    return numpy_generator(seed, "sample order", index, epoch).permutation(size)


def _check_portions(portions: Sequence[Portion]) -> None:
    """Refuse a stream without tasks, and a task without samples."""
    if not portions:
        raise BadInput("a stream needs at least one task; got none")
    for index, portion in enumerate(portions):
        for part, rows in (("training", portion.train), ("test", portion.test)):
            if not len(rows):
                raise BadInput(f"task {index} has no {part} samples; give every task some, or leave its classes out")
