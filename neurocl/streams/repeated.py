"""Rows and labels of streams that show the same classes in every task (permuted, rotated)."""

from collections.abc import Sequence

import numpy as np

from neurocl.primitives.tasks import Setting
from neurocl.streams.portion import Rows
from neurocl.streams.preparation import Prepared


def repeated_rows(
    prepared: Prepared, task_names: Sequence[str], setting: Setting
) -> tuple[list[tuple[Rows, Rows, Rows]], list[str]]:
    """Return training, validation and test rows of every task, and the name of every label.

    In a domain-incremental stream all tasks share the labels 0, 1, 2, ...; otherwise task ``t`` of ``C`` classes has
    the labels ``t C`` to ``t C + C - 1``.
    """
    order = prepared.order
    label_of_class = np.empty(len(order), np.int64)
    label_of_class[order] = np.arange(len(order))
    shared = setting == "domain-incremental"
    starts = [0 if shared else task * len(order) for task in range(len(task_names))]
    rows = [prepared.of_classes(order, label_of_class + start) for start in starts]
    classes = [prepared.data.class_names[index] for index in order]
    if shared:
        return rows, classes
    return rows, [f"{task}: {name}" for task in task_names for name in classes]
