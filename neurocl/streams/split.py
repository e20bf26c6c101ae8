"""Split streams: the classes of one dataset, a few at a time."""

from typing import Any, Unpack

import numpy as np

from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.tasks import Setting
from neurocl.streams.labelled_data import LabelledData, labelled_data
from neurocl.streams.portion import Portion
from neurocl.streams.preparation import Preparation, Prepared, prepare
from neurocl.streams.stream import Stream, check_setting


def split(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    classes_per_task: int | None = None,
    *,
    tasks: int | None = None,
    first_task_classes: int | None = None,
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "split-data",
    layout: str = "auto",
    **preparation: Unpack[Preparation],
) -> Stream:
    """Split your own arrays into tasks of a few classes each.

    Labels follow the setting: class- and task-incremental streams number classes 0, 1, 2, ... in order of appearance;
    a domain-incremental stream labels each class by its position inside its task (with two classes a task: 0 or 1).

    Args:
        x_train: ``[n, features]``, ``[n, height, width]`` or images with channels; integer or floating point.
        y_train: Whole numbers from 0, or strings.
        x_test: Test samples of the same shape.
        y_test: Their labels.
        classes_per_task: Classes in each task (default 2). If it does not divide the number of classes, the last task
            is smaller.
        tasks: Number of tasks instead; it must divide the number of classes.
        first_task_classes: Classes of the first task, where it is to be larger (half of all, say).
        setting: ``"class-incremental"``, ``"domain-incremental"`` or ``"task-incremental"``.
        seed: Decides sample order and every seeded choice.
        name: What the stream is called in results.
        layout: See :mod:`neurocl.streams.labelled_data`.
        **preparation: See :mod:`neurocl.streams.preparation`.

    Raises:
        BadInput: On data or options that cannot make a stream, naming what to change.
    """
    return split_stream(
        labelled_data(x_train, y_train, x_test, y_test, name=name, layout=layout),
        classes_per_task=classes_per_task,
        tasks=tasks,
        first_task_classes=first_task_classes,
        setting=setting,
        seed=seed,
        name=name,
        **preparation,
    )


def split_stream(
    data: LabelledData,
    *,
    classes_per_task: int | None = None,
    tasks: int | None = None,
    first_task_classes: int | None = None,
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "",
    **preparation: Unpack[Preparation],
) -> Stream:
    """As :func:`split`, over data already read."""
    checked = check_setting(setting)
    prepared = prepare(data, seed=seed, **preparation)
    groups = class_groups(
        prepared.order, checked, classes_per_task=classes_per_task, tasks=tasks, first_task_classes=first_task_classes
    )
    label_of_class, names = number_classes(groups, checked, data.class_names)
    return Stream(
        split_portions(prepared, groups, label_of_class),
        name=name or f"split-{data.name}",
        setting=checked,
        class_names=names,
        seed=seed,
    )


def split_portions(prepared: Prepared, groups: list[np.ndarray], label_of_class: np.ndarray) -> list[Portion]:
    """One portion a group of classes, all under the scale of the first."""
    rows = [prepared.of_classes(group, label_of_class) for group in groups]
    scale = prepared.scale(rows[0][0].ids)
    return [
        Portion(data=prepared.data, train=train, validation=validation, test=test, scale=scale, test_group=index)
        for index, (train, validation, test) in enumerate(rows)
    ]


def class_groups(
    order: np.ndarray,
    setting: Setting,
    *,
    classes_per_task: int | None = None,
    tasks: int | None = None,
    first_task_classes: int | None = None,
) -> list[np.ndarray]:
    """Cut the class order into tasks; see :func:`split` for the rules."""
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
