"""Tasks against tasks: how their activity overlaps, and what later tasks did to the activity of earlier ones.

``history[i][j]`` is the activity [sample, neuron] of task j's fixed samples after task i, None where it was not
recorded; matrices come as [after task, of task], as accuracy matrices do, NaN where there is nothing to compare.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput
from neurocl.record.analysis.arrays import NoValue
from neurocl.record.analysis.representation import (
    Metric,
    activity_drift,
    linear_cka,
    rdm_similarity,
    representational_dissimilarity,
)
from neurocl.record.analysis.subspaces import activity_subspace, captured_share, principal_angles, subspace_overlap

History = Sequence[Sequence[ArrayLike | None]]
Compare = Callable[[ArrayLike, ArrayLike], float]


def overlap_matrix(activities: Sequence[ArrayLike], *, share: float = 0.99) -> Float64[ndarray, "task task"]:
    """Return the mean squared cosine between the activity subspaces of each two tasks; NaN for silent ones.

    Args:
        activities: Of each task, [sample, neuron].
        share: Of its energy that the subspace of a task holds.
    """
    return between(bases_of(activities, share), subspace_overlap)


def angle_matrix(activities: Sequence[ArrayLike], *, share: float = 0.99) -> Float64[ndarray, "task task"]:
    """Return the mean principal angle in radians between the activity subspaces of each two tasks; NaN for silent ones.

    Args:
        activities: Of each task, [sample, neuron].
        share: Of its energy that the subspace of a task holds.
    """
    return between(bases_of(activities, share), lambda a, b: float(principal_angles(a, b).mean()))


def captured_matrix(activities: Sequence[ArrayLike], *, share: float = 0.99) -> Float64[ndarray, "task of_task"]:
    """Return the share of the energy of each task's activity (down) in the subspace of each task (across).

    Args:
        activities: Of each task, [sample, neuron]; rows of silent ones are NaN, columns 0.
        share: Of its energy that the subspace of a task holds.
    """
    bases = bases_of(activities, share)
    values = np.full((len(bases), len(bases)), np.nan)
    for row, activity in enumerate(activities):
        if len(bases[row]):
            values[row] = [captured_share(activity, basis) for basis in bases]
    return values


def subspace_sizes(activities: Sequence[ArrayLike], *, share: float = 0.99) -> list[int]:
    """Return how many directions the subspace of each task has; 0 where it is silent.

    Args:
        activities: Of each task, [sample, neuron].
        share: Of its energy that the subspace of a task holds.
    """
    return [len(basis) for basis in bases_of(activities, share)]


def drift_matrix(history: History) -> Float64[ndarray, "after of_task"]:
    """Return :func:`activity_drift` of each task's activity from the end of that task on."""
    return since_learnt(history, activity_drift)


def cka_matrix(history: History) -> Float64[ndarray, "after of_task"]:
    """Return :func:`linear_cka` of each task's activity with that at the end of the task."""
    return since_learnt(history, linear_cka)


def rdm_similarity_matrix(history: History, *, metric: Metric = "correlation") -> Float64[ndarray, "after of_task"]:
    """Return :func:`rdm_similarity` of each task's samples with the same at the end of the task."""
    return since_learnt(history, by_dissimilarity(metric))


def rdm_similarity_by_task(history: History, *, metric: Metric = "correlation") -> Float64[ndarray, "after of_task"]:
    """Return :func:`rdm_similarity` of each task's samples before and after each later task."""
    return by_each_task(history, by_dissimilarity(metric))


def since_learnt(history: History, compare: Compare) -> Float64[ndarray, "after of_task"]:
    """Return ``compare(activity after its own task, activity after a later one)`` of each task.

    Args:
        history: Activity of task j after task i at ``history[i][j]``.
        compare: Any comparison of two activities of the same samples.

    Returns:
        NaN before a task is learnt, where nothing was recorded, and where ``compare`` has no value (silence).

    Raises:
        BadInput: If there is no task, or shapes of a task's activity differ.
    """
    return compared(history, compare, reference=lambda after, task: task)


def by_each_task(history: History, compare: Compare) -> Float64[ndarray, "after of_task"]:
    """Return ``compare(activity before the last task, activity after it)`` of each task: what a single one changed.

    Args:
        history: Activity of task j after task i at ``history[i][j]``.
        compare: Any comparison of two activities of the same samples.

    Returns:
        NaN up to the task itself, where nothing was recorded, and where ``compare`` has no value (silence).

    Raises:
        BadInput: If there is no task, or shapes of a task's activity differ.
    """
    return compared(history, compare, reference=lambda after, task: after - 1)


def compared(history: History, compare: Compare, *, reference: Callable[[int, int], int]) -> ndarray:
    """Matrix of comparisons with the row of ``history`` that ``reference`` names."""
    tasks = max((len(row) for row in history), default=0)
    if not tasks:
        raise BadInput("history must hold the activity of at least one task; got none")
    values = np.full((len(history), tasks), np.nan)
    for after, row in enumerate(history):
        for task, activity in enumerate(row):
            start = reference(after, task)
            before = history[start][task] if task <= start <= after and task < len(history[start]) else None
            if before is not None and activity is not None:
                check_shapes(before, activity, task)
                values[after, task] = value_or_nan(compare, before, activity)
    return values


def value_or_nan(compare: Compare, first: ArrayLike, second: ArrayLike) -> float:
    """Compare, with NaN where silence leaves no value."""
    try:
        return compare(first, second)
    except NoValue:
        return float("nan")


def check_shapes(before: ArrayLike, activity: ArrayLike, task: int) -> None:
    """Refuse activity of one task in two shapes."""
    if np.shape(before) != np.shape(activity):
        raise BadInput(
            f"activity of task {task} must be of the same samples and neurons throughout; "
            f"got shapes {list(np.shape(before))} and {list(np.shape(activity))}"
        )


def by_dissimilarity(metric: Metric) -> Compare:
    """Comparison of two activities by how their dissimilarity matrices agree."""

    def compare(first: ArrayLike, second: ArrayLike) -> float:
        return rdm_similarity(
            representational_dissimilarity(first, metric=metric), representational_dissimilarity(second, metric=metric)
        )

    return compare


def bases_of(activities: Sequence[ArrayLike], share: float) -> list[Float64[ndarray, "direction neuron"]]:
    """Activity subspace of each task; empty ones where all is silent."""
    if not len(activities):
        raise BadInput("activities must hold at least one task; got none")
    return [activity_subspace(activity, share=share) for activity in activities]


def between(bases: Sequence[ndarray], measure: Callable[[ndarray, ndarray], float]) -> Float64[ndarray, "task task"]:
    """Symmetric matrix of a measure between subspaces; NaN where one has no direction."""
    values = np.full((len(bases), len(bases)), np.nan)
    for row, first in enumerate(bases):
        for column, second in enumerate(bases[: row + 1]):
            if len(first) and len(second):
                values[row, column] = values[column, row] = measure(first, second)
    return values
