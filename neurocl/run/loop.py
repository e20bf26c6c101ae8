"""The loop every experiment runs through: tasks, batches, evaluation. Nothing happens anywhere else."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from neurocl.learners.learner import Abilities, Diverged, Learner, Schedule
from neurocl.primitives.annotation import annotated
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import Batch, Task
from neurocl.run.evaluation import Evaluation, TestSets, evaluate, mixed, scores_of
from neurocl.run.peak import peak_bytes
from neurocl.streams.stream import Stream

PROBE_SIZE = 64  # test samples on which operations and firing rates are counted after the last task


@runtime_checkable
class Watcher(Protocol):
    """Told of what the loop does; a progress display implements it, the loop knows none."""

    def task_begins(self, task: int, tasks: int, batches: int) -> None:
        """Learning of ``task``, of so many ``tasks``, begins and takes ``batches`` batches."""

    def batch_done(self, losses: dict[str, float]) -> None:
        """A batch was learnt."""

    def task_learnt(self, task: int) -> None:
        """``task`` was learnt, and is about to be evaluated."""

    def task_ends(self, task: int, accuracy: list[float | None]) -> None:
        """``task`` was learnt; ``accuracy`` by task, ``None`` where not measured."""


@runtime_checkable
class Diagnosed(Protocol):
    """A learner whose mechanisms have something to say of each task."""

    def diagnostics(self) -> dict[str, Any]:
        """Return plain numbers, texts, lists and dicts."""
        ...


class Nobody:
    """A watcher that looks away."""

    def task_begins(self, task: int, tasks: int, batches: int) -> None:
        """Say nothing."""

    def batch_done(self, losses: dict[str, float]) -> None:
        """Say nothing."""

    def task_learnt(self, task: int) -> None:
        """Say nothing."""

    def task_ends(self, task: int, accuracy: list[float | None]) -> None:
        """Say nothing."""


@dataclass(kw_only=True)
class History:
    """What a run measures, as plain lists and numbers that JSON holds exactly.

    Attributes:
        accuracy: ``accuracy[t][i]`` on task ``i`` after task ``t``; ``None`` where not measured.
        accuracy_within_task: The same with the argmax limited to task ``i``'s classes.
        confusion: ``[t, i, true, predicted, count]`` for every count above 0.
        test_sizes: Test samples by task.
        untrained: Accuracy by task after the head was made and before the first batch; ``None`` where undefined.
        diagnostics: What the learner's mechanisms had to say of each task, where it has ``diagnostics``.
        cost: The learner's ``cost()`` after the last task.
        samples: Training samples observed, repetitions included.
        train_seconds: Time in begin_task, observe and end_task.
        evaluate_seconds: Time in evaluations.
        peak_bytes: Largest memory of the process, or of the GPU where one is used; ``None`` where unknown.
    """

    accuracy: list[list[float | None]] = field(default_factory=list)
    accuracy_within_task: list[list[float | None]] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    test_sizes: list[int] = field(default_factory=list)
    untrained: list[float | None] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    diagnostics: list[dict[str, Any]] = field(default_factory=list)
    samples: int = 0
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    peak_bytes: int | None = None

    def add(self, evaluation: Evaluation, tasks: int) -> None:
        """Add the row of an evaluation on the tasks so far; a stream has ``tasks`` of them."""
        after = len(self.accuracy)
        missing = [None] * (tasks - len(evaluation.rows))
        self.accuracy.append([*evaluation.accuracy, *missing])
        self.accuracy_within_task.append([*evaluation.accuracy_within_task, *missing])
        self.test_sizes = evaluation.sizes.tolist()
        self.confusion += [[after, *count] for count in evaluation.counts()]


def run(
    learner: Learner,
    stream: Stream,
    *,
    seed: int = 0,
    device: str = "cpu",
    history: History | None = None,
    save: Callable[[int, History], object] | None = None,
    watcher: Watcher | None = None,
) -> History:
    """Let ``learner`` learn the tasks of ``stream`` in order and evaluate it after each.

    Args:
        learner: Freshly built, or loaded with the state that belongs to ``history``.
        stream: The tasks.
        seed: Decides how test samples are mixed; training order is the stream's.
        device: Where batches are put.
        history: Of the tasks already learnt, to go on from a checkpoint.
        save: Called after every task with its index and the history so far.
        watcher: Told of the progress.

    Raises:
        BadInput: If the setting hides what the learner needs, or a task is empty.
        Diverged: If learning comes to numbers that are not finite.
    """
    check_abilities(learner.abilities, stream)
    history, watcher, tests = history or History(), watcher or Nobody(), TestSets(stream)
    for task in stream:
        if task.index < len(history.accuracy):
            continue  # learnt before the run was interrupted
        watcher.task_begins(task.index, len(stream), learner.schedule.batches_in(task))
        with measured(history, "train_seconds", device), annotated(phase="consolidation", stage=task.index):
            learner.begin_task(task)
        if task.index == 0:
            history.untrained = untrained_accuracy(learner, tests, seed=seed, device=device)
        with measured(history, "train_seconds", device):
            for batch in scheduled(task, learner.schedule):
                known = {"labels": batch.labels, "sample_ids": batch.sample_ids, "task": task.index}
                with annotated(phase="training", stage=task.index, **known):
                    losses = learner.observe(on(batch, device))
                history.samples += len(batch)
                check_losses(losses, task)
                watcher.batch_done(losses)
            with annotated(phase="consolidation", stage=task.index):
                learner.end_task(task)
        watcher.task_learnt(task.index)
        if isinstance(learner, Diagnosed):
            history.diagnostics.append(learner.diagnostics())
        with measured(history, "evaluate_seconds", device), annotated(stage=task.index):
            history.add(evaluate(learner, tests, range(task.index + 1), seed=seed, device=device), len(stream))
            if stream.setting == "domain-incremental" and task.index + 1 < len(stream):
                ahead = evaluate(learner, tests, [task.index + 1], seed=seed, device=device)
                history.accuracy[-1][task.index + 1] = ahead.accuracy[0]
        if task.index + 1 == len(stream):
            history.cost = cost_of(learner, tests, device=device)
        if save is not None:
            save(task.index, history)
        watcher.task_ends(task.index, history.accuracy[-1])
    return history


def check_abilities(abilities: Abilities, stream: Stream) -> None:
    """Refuse a learner that needs what the stream hides."""
    needs_id = {"training": abilities.needs_task_id_train, "test": abilities.needs_task_id_test}
    for when, needed in needs_id.items():
        if needed and stream.setting != "task-incremental":
            raise BadInput(
                f"the learner needs to know the task at {when}, which a {stream.setting} stream hides: "
                "use --setting task-incremental, or another model"
            )
    if abilities.needs_boundaries and stream.boundary == "blurry":
        raise BadInput(
            f"the learner needs to know where tasks end, which {stream.name} hides (blurry boundaries): "
            "use a stream with clear boundaries, or another model"
        )


def scheduled(task: Task, schedule: Schedule) -> Iterator[Batch]:
    """Yield a task's batches: whole epochs, or a number of batches from passes that are reshuffled each time.

    Which batches come is decided by the stream's seed alone. The last batch of a pass may be smaller.
    """
    if task.size < 1:
        raise BadInput(f"task {task.index} has no training samples; give every task some, or leave its classes out")
    left = schedule.batches_in(task)
    for epoch in count():
        for batch in task.batches(schedule.batch_size, epoch):
            yield batch
            left -= 1
            if not left:
                return


def on(batch: Batch, device: str) -> Batch:
    """Return the batch with inputs and labels on ``device``."""
    return replace(batch, inputs=batch.inputs.to(device), labels=batch.labels.to(device))


def check_losses(losses: dict[str, float], task: Task) -> None:
    """Refuse to go on once learning has diverged."""
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss {name!r} became {loss} in task {task.index}, so learning diverged: "
                "lower the model's learning rate or strength with --set"
            )


def untrained_accuracy(learner: Learner, tests: TestSets, *, seed: int, device: str) -> list[float | None]:
    """Return each task's accuracy before the first batch, or ``None`` for each where it says nothing.

    It says something where all tasks share one set of classes and the learner scores all of them before it has learnt.
    """
    tasks = range(len(tests.stream))
    if tests.stream.setting == "domain-incremental":
        first = next(mixed(tests, [0], seed=seed))[0]
        scores = scores_of(learner, first, device)
        if scores.shape[1] >= tests.stream.shape.num_classes and bool(torch.isfinite(scores).all()):
            return list(evaluate(learner, tests, tasks, seed=seed, device=device).accuracy)
    return [None for _ in tasks]


def cost_of(learner: Learner, tests: TestSets, *, device: str) -> dict[str, Any]:
    """Return the learner's cost, operations counted on test samples taken evenly from all tasks."""
    sets = [tests.of(task) for task in range(len(tests.stream))]
    each = math.ceil(PROBE_SIZE / len(sets))
    axis = 1 if sets[0].sequence else 0
    probe = torch.cat([test.at(torch.arange(min(each, len(test)))).inputs for test in sets], dim=axis)
    with annotated(phase="consolidation"):  # no activity of the experiment
        return asdict(learner.cost(probe.narrow(axis, 0, min(PROBE_SIZE, probe.shape[axis])).to(device)))


@contextmanager
def measured(history: History, name: Literal["train_seconds", "evaluate_seconds"], device: str) -> Iterator[None]:
    """Add the block's wall-clock time to ``history`` and note the largest memory so far."""
    started = time.perf_counter()
    yield
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    setattr(history, name, getattr(history, name) + time.perf_counter() - started)
    history.peak_bytes = max(peak_bytes(device) or 0, history.peak_bytes or 0) or None
