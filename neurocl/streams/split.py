"""Split streams: the classes of one dataset, a few at a time."""

from typing import Any, Unpack

import numpy as np

from neurocl.streams.class_labels import class_groups, number_classes
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
