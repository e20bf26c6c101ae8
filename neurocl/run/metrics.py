r"""Metrics of continual learning, each from the raw record of a run.

Notation: ``accuracy[t, i]`` (:math:`R_{t,i}`) is the accuracy on task ``i``'s test data after training on task ``t``,
T tasks, NaN where it was not measured; ``sizes[i]`` (:math:`n_i`) the number of test samples of task ``i``;
``untrained[i]`` (:math:`b_i`) the accuracy before anything was learnt; ``confusion[i, true, predicted]`` counts of one
evaluation. Libraries compute different things under the same names, so each function states its formula.
A metric that is undefined (a single task, say) is ``None``.
"""

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

Matrix = Float64[ndarray, "task task"]
Sizes = Int64[ndarray, " task"]
Counts = Int64[ndarray, "task true predicted"]


def average_accuracy(accuracy: Matrix) -> float:
    r"""Macro ACC: :math:`\frac1T\sum_i R_{T,i}`. Every task counts alike."""
    return float(accuracy[-1].mean())


def average_accuracy_micro(accuracy: Matrix, sizes: Sizes) -> float:
    r"""Micro ACC: :math:`\sum_i n_i R_{T,i} / \sum_i n_i`. Every test sample counts alike."""
    return float(np.average(accuracy[-1], weights=sizes))


def accuracy_by_row(accuracy: Matrix) -> Float64[ndarray, " task"]:
    r"""Macro accuracy over the tasks so far, :math:`A_t = \frac1t\sum_{i\le t} R_{t,i}`, for every t."""
    return np.array([row[: t + 1].mean() for t, row in enumerate(accuracy)])


def accuracy_by_row_micro(accuracy: Matrix, sizes: Sizes) -> Float64[ndarray, " task"]:
    r"""Micro accuracy over the tasks so far, weighted by :math:`n_i`, for every t."""
    return np.array([np.average(row[: t + 1], weights=sizes[: t + 1]) for t, row in enumerate(accuracy)])


def accuracy_by_row_of_stream(accuracy: Matrix, sizes: Sizes) -> Float64[ndarray, " task"]:
    r"""Micro accuracy over the whole stream, unseen tasks included, for every t (Avalanche's stream accuracy)."""
    return np.array([np.average(row, weights=sizes) for row in accuracy])


def average_incremental_accuracy(accuracy: Matrix) -> float:
    r"""Macro AIA: :math:`\frac1T\sum_{t=1}^T A_t`. The first task is included (BiC and WA leave it out)."""
    return float(accuracy_by_row(accuracy).mean())


def average_incremental_accuracy_micro(accuracy: Matrix, sizes: Sizes) -> float:
    r"""Micro AIA: the mean over t of the sample-weighted accuracy over the tasks so far, first task included."""
    return float(accuracy_by_row_micro(accuracy, sizes).mean())


def lower_triangle_mean(accuracy: Matrix) -> float:
    r"""Mean of :math:`R_{t,i}` over all :math:`i\le t` (continuum's ``A``); early tasks weigh more than in AIA."""
    return float(accuracy[np.tril_indices(len(accuracy))].mean())


def backward_transfer(accuracy: Matrix) -> float | None:
    r"""BWT: :math:`\frac1{T-1}\sum_{i<T} (R_{T,i} - R_{i,i})`.

    Source:
        Lopez-Paz & Ranzato 2017, Gradient episodic memory for continual learning.
    """
    if len(accuracy) < 2:
        return None
    return float((accuracy[-1] - np.diag(accuracy))[:-1].mean())


def backward_transfer_all_pairs(accuracy: Matrix) -> float | None:
    r"""Mean of :math:`R_{t,i} - R_{i,i}` over all pairs :math:`t>i`, as continuum computes it."""
    if len(accuracy) < 2:
        return None
    rows, columns = np.tril_indices(len(accuracy), k=-1)
    return float((accuracy[rows, columns] - np.diag(accuracy)[columns]).mean())


def forgetting(accuracy: Matrix) -> float | None:
    r"""F: :math:`\frac1{T-1}\sum_{i<T} (\max_{i\le t<T} R_{t,i} - R_{T,i})`.

    The final row is not in the maximum, so F is negative where a task got better; BWT is at least -F.

    Source:
        Chaudhry et al. 2018, Riemannian walk for incremental learning.
    """
    tasks = len(accuracy)
    if tasks < 2:
        return None
    return float(np.mean([accuracy[i:-1, i].max() - accuracy[-1, i] for i in range(tasks - 1)]))


def forgetting_final_row_included(accuracy: Matrix) -> float | None:
    r"""F with the final row in the maximum, :math:`\max_{i\le t\le T}`: never negative (Mammoth, PyCIL)."""
    tasks = len(accuracy)
    if tasks < 2:
        return None
    return float(np.mean([accuracy[i:, i].max() - accuracy[-1, i] for i in range(tasks - 1)]))


def forward_transfer(accuracy: Matrix, untrained: Float64[ndarray, " task"]) -> float | None:
    r"""FWT: :math:`\frac1{T-1}\sum_{i>1} (R_{i-1,i} - b_i)`.

    ``None`` where a term was not measured. Where classes not yet seen are masked it says nothing of the learner and
    must not be measured at all.

    Source:
        Lopez-Paz & Ranzato 2017.
    """
    if len(accuracy) < 2:
        return None
    value = float((np.diag(accuracy, k=1) - untrained[1:]).mean())
    return None if np.isnan(value) else value


def accuracy_before_training(accuracy: Matrix) -> float | None:
    r"""FWT without its baseline: :math:`\frac1{T-1}\sum_{i>1} R_{i-1,i}` (what continuum calls forward transfer)."""
    if len(accuracy) < 2:
        return None
    value = float(np.diag(accuracy, k=1).mean())
    return None if np.isnan(value) else value


def learning_accuracy(accuracy: Matrix) -> float:
    r"""LA: :math:`\frac1T\sum_i R_{i,i}`, how well each task was learnt when its turn came."""
    return float(np.diag(accuracy).mean())


def task_inference_accuracy(confusion: Counts, classes: list[tuple[int, ...]]) -> float | None:
    r"""Share of test samples whose predicted class belongs to their own task, whether or not it is the right class.

    Args:
        confusion: Counts of one evaluation.
        classes: Each task's classes. Where two tasks share one, the question has no answer and ``None`` comes back.
    """
    if shared(classes):
        return None
    right = sum(int(confusion[i][:, list(own)].sum()) for i, own in enumerate(classes))
    return right / int(confusion.sum())


def recency_bias(confusion: Counts, classes: list[tuple[int, ...]]) -> float | None:
    r"""Share of predictions that fall in the last task's classes, minus the share of samples that belong there.

    0 is unbiased; :math:`1 - 1/T` is the most a stream of T equal tasks allows. ``None`` where tasks share classes.
    """
    if shared(classes):
        return None
    last = list(classes[-1])
    return float((confusion[:, :, last].sum() - confusion[:, last].sum()) / confusion.sum())


def shared(classes: list[tuple[int, ...]]) -> bool:
    """Whether two tasks have a class in common."""
    return len({label for own in classes for label in own}) < sum(map(len, classes))
