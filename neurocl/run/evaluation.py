"""One evaluation: every task's test samples in one mixed pass, counted by task, true and predicted class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor

from neurocl.learners.learner import Diverged, Learner
from neurocl.primitives.annotation import annotated
from neurocl.primitives.seeding import generator
from neurocl.streams.samples import HeldOut, Samples
from neurocl.streams.stream import Stream

BATCH_SIZE = 256  # of evaluation: bounds the activity of a spiking convolution over time to some hundred megabytes


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Counts of one evaluation. Tasks that share one test set share one row of it.

    Attributes:
        rows: For each task evaluated, its row below.
        confusion: ``confusion[row, true, predicted]``, predicted over all classes seen.
        right_within_task: Samples that are right when only the classes of their own test set are allowed.
    """

    rows: list[int]
    confusion: Int64[ndarray, "row true predicted"]
    right_within_task: Int64[ndarray, " row"]

    @property
    def accuracy(self) -> list[float]:
        """Accuracy by task over all classes seen."""
        right = self.confusion.diagonal(axis1=1, axis2=2).sum(axis=1)
        return (right[self.rows] / self.sizes).tolist()

    @property
    def accuracy_within_task(self) -> list[float]:
        """Accuracy by task with the argmax limited to the task's own classes (task-incremental accuracy)."""
        return (self.right_within_task[self.rows] / self.sizes).tolist()

    @property
    def sizes(self) -> Int64[ndarray, " task"]:
        """Number of test samples by task."""
        return self.confusion.sum(axis=(1, 2))[self.rows]

    def counts(self) -> list[list[int]]:
        """Every count above 0 as ``[task, true, predicted, count]``; a shared test set goes by its first task."""
        row, true, predicted = self.confusion.nonzero()
        task = np.array([self.rows.index(r) for r in range(len(self.confusion))])[row]
        return np.stack([task, true, predicted, self.confusion[row, true, predicted]], axis=1).tolist()


class TestSets:
    """The test sets of a stream: one for each group of tasks that share theirs."""

    __test__ = False  # pytest need not look for tests in here

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.kept: dict[int, HeldOut] = {}

    def of(self, task: int) -> HeldOut:
        """Test samples of ``task``."""
        own = self.stream.setting == "task-incremental"  # carries the task's own id
        group = task if own else self.stream.test_group(task)
        if group not in self.kept:
            self.kept[group] = self.stream.tests(task)
        return self.kept[group]

    def classes(self, task: int) -> tuple[int, ...]:
        """Classes in the task's test data: those that count as its own."""
        return tuple(self.of(task).labels.unique().tolist())


def evaluate(
    learner: Learner, tests: TestSets, tasks: Sequence[int], *, seed: int = 0, device: str = "cpu"
) -> Evaluation:
    """Evaluate on the test data of ``tasks``, their samples mixed in one pass.

    Batches mix all tasks, so that statistics taken over a batch cannot tell which task a sample is from. Only in a
    task-incremental stream, where the task is told anyway, batches hold one task each.

    Args:
        learner: Asked for scores; changes nothing.
        tests: The stream's test data.
        tasks: Indices of the tasks to evaluate.
        seed: Decides how samples are mixed.
        device: Where the learner computes.

    Raises:
        Diverged: If a score is NaN.
    """
    classes = tests.stream.shape.num_classes
    firsts: dict[int, int] = {}  # one row for each test set, whichever task asks for it
    rows = [firsts.setdefault(id(tests.of(task)), len(firsts)) for task in tasks]
    of_row = [tasks[rows.index(row)] for row in range(len(firsts))]
    allowed = torch.zeros(len(of_row), classes, dtype=torch.bool)
    for row, task in enumerate(of_row):
        allowed[row, list(tests.classes(task))] = True
    confusion = torch.zeros(len(of_row) * classes * classes, dtype=torch.int64)
    right = torch.zeros(len(of_row), dtype=torch.int64)
    numbers = torch.tensor(of_row)
    for samples, row in mixed(tests, of_row, seed=seed):
        known = {"labels": samples.labels, "sample_ids": samples.sample_ids, "task": numbers[row]}
        with annotated(phase="evaluation", **known):
            scores = scores_of(learner, samples, device)[:, :classes]
        place = (row * classes + samples.labels) * classes + scores.argmax(dim=1)
        confusion += torch.bincount(place, minlength=len(confusion))
        hit = within_task(scores, allowed[row]) == samples.labels
        right += torch.bincount(row[hit], minlength=len(right))
    counts = confusion.view(len(of_row), classes, classes).numpy()
    return Evaluation(rows=rows, confusion=counts, right_within_task=right.numpy())


def scores_of(learner: Learner, samples: Samples, device: str) -> Float[Tensor, "batch label"]:
    """Ask the learner for its scores and refuse NaN."""
    with torch.no_grad():
        scores = learner.predict(samples.inputs.to(device), samples.task_id).cpu()
    if scores.isnan().any():
        raise Diverged(
            "the learner's scores are NaN, so learning diverged: lower its learning rate or strength with --set"
        )
    return scores


def within_task(
    scores: Float[Tensor, "batch label"], allowed: Bool[Tensor, "batch every_label"]
) -> Int64[Tensor, " batch"]:
    """Return the best class among the allowed ones; a class without a column of scores is never chosen."""
    return scores.masked_fill(~allowed[:, : scores.shape[1]], -torch.inf).argmax(dim=1)


def mixed(tests: TestSets, tasks: Sequence[int], *, seed: int) -> Iterator[tuple[Samples, Int64[Tensor, " batch"]]]:
    """Yield batches over the tests of ``tasks`` in mixed order, and for each sample its place in ``tasks``."""
    samples = [tests.of(task) for task in tasks]
    sizes = torch.tensor([len(test) for test in samples])
    ends = sizes.cumsum(0)
    if tests.stream.setting == "task-incremental":
        chunks = [part for own in torch.arange(int(ends[-1])).split(sizes.tolist()) for part in own.split(BATCH_SIZE)]
    else:
        order = torch.randperm(int(ends[-1]), generator=generator(seed, "evaluation", len(tasks)))
        chunks = order.split(BATCH_SIZE)
    for chunk in chunks:
        places = chunk.sort().values
        row = torch.bucketize(places, ends, right=True)
        parts = [samples[i].at(places[row == i] - ends[i] + sizes[i]) for i in row.unique().tolist()]
        yield (
            Samples(
                inputs=torch.cat([part.inputs for part in parts], dim=1 if samples[0].sequence else 0),
                labels=torch.cat([part.labels for part in parts]),
                sample_ids=torch.cat([part.sample_ids for part in parts]),
                task_id=parts[0].task_id,
                sequence=samples[0].sequence,
            ),
            row,
        )
