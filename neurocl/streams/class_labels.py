"""Which classes belong to which task, and which label each class gets under a setting."""

from collections.abc import Sequence

import numpy as np

from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.tasks import Setting


def class_groups(
    order: np.ndarray,
    setting: Setting,
    *,
    classes_per_task: int | None = None,
    tasks: int | None = None,
    first_task_classes: int | None = None,
) -> list[np.ndarray]:
    """Cut the class order into tasks; see :func:`neurocl.streams.split` for the rules."""
    count = len(order)
    first = 0 if first_task_classes is None else check_count("first_task_classes", first_task_classes)
    if first > count:
        raise BadInput(f"first_task_classes must be at most the number of classes, {count}; got {first}")
    left = count - first
    if tasks is not None:
        more = check_count("tasks", tasks) - (first > 0)
        if classes_per_task is not None:
            raise BadInput(
                f"give tasks or classes_per_task, not both; got tasks={tasks} and classes_per_task={classes_per_task}"
            )
        if (more == 0) != (left == 0) or (more and left % more):
            raise BadInput(
                f"tasks must share out {left} classes evenly; got tasks={tasks}: "
                "use classes_per_task for a smaller last task"
            )
        size = left // more if more else 1
    else:
        size = check_count("classes_per_task", 2 if classes_per_task is None else classes_per_task)
        if size > count:
            raise BadInput(f"classes_per_task must be at most the number of classes, {count}; got {size}")
    cuts = list(range(first or size, count, size))
    groups = np.split(order, cuts)
    if setting != "class-incremental" and min(map(len, groups)) < 2:
        raise BadInput(
            f"a {setting} task with one class asks nothing, and {count} classes cut by {size} leave one; "
            "change classes_per_task"
        )
    return groups


def number_classes(
    groups: list[np.ndarray], setting: Setting, class_names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the label of each class index, and the name of each label.

    Classes get their place in order of appearance or, in a domain-incremental stream, their position inside the task;
    there a label's name joins the classes that share it: ``"0/2/4/6/8"``.
    """
    label_of_class = np.zeros(len(class_names), np.int64)
    if setting != "domain-incremental":
        order = np.concatenate(groups)
        label_of_class[order] = np.arange(len(order))
        return label_of_class, tuple(class_names[label] for label in order)
    for group in groups:
        label_of_class[group] = np.arange(len(group))
    positions = range(max(map(len, groups)))
    return label_of_class, tuple("/".join(class_names[g[at]] for g in groups if at < len(g)) for at in positions)


def number_by_appearance(
    classes_of_task: Sequence[np.ndarray], order: np.ndarray, class_names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number classes that may occur in several tasks: by the first one, then as each task lists them.

    Returns what :func:`number_classes` does. Classes that never occur come last, in ``order``.
    """
    listed = np.concatenate([*classes_of_task, order])
    found, first = np.unique(listed, return_index=True)
    appearance = found[np.argsort(first)]
    label_of_class = np.empty(len(order), np.int64)
    label_of_class[appearance] = np.arange(len(order))
    return label_of_class, tuple(class_names[index] for index in appearance)
