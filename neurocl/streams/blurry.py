"""Blurry streams: split tasks whose samples partly turn up in other tasks, so that boundaries cannot be told."""

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from neurocl.primitives.checks import BadInput, check_name, check_number
from neurocl.primitives.seeding import numpy_generator
from neurocl.streams.class_labels import class_groups, number_by_appearance, number_classes
from neurocl.streams.labelled_data import LabelledData, labelled_data
from neurocl.streams.portion import Portion, Rows
from neurocl.streams.preparation import Preparation, Prepared, prepare
from neurocl.streams.stream import Stream, check_setting

SPREADS = ("all", "neighbours")


def blurry(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    classes_per_task: int | None = None,
    *,
    tasks: int | None = None,
    first_task_classes: int | None = None,
    blur: float = 0.1,
    disjoint: float = 0.0,
    spread: str = "all",
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "blurry-data",
    layout: str = "auto",
    **preparation: Unpack[Preparation],
) -> Stream:
    """Split your own arrays into tasks without clear boundaries.

    Every class has a home task, which its test samples stay with. Of its training samples the share ``blur`` moves to
    other tasks, unless the class is among the disjoint ones.

    Args:
        x_train: As for :func:`neurocl.streams.split`.
        y_train: Likewise.
        x_test: Likewise.
        y_test: Likewise.
        classes_per_task: As for :func:`neurocl.streams.split`.
        tasks: Likewise.
        first_task_classes: Likewise.
        blur: Share of a class's training samples that leave home, from 0 to below 1.
        disjoint: Share of classes, drawn by the seed, that stay at home altogether, from 0 to 1.
        spread: Where samples go: ``"all"``: evenly to all other tasks; ``"neighbours"``: to the tasks just before and
            after.
        setting: Class-incremental (labels in order of appearance) or domain-incremental (position in the home task). A
            task-incremental stream tells tasks apart and is refused.
        seed: Decides what moves, sample order and every seeded choice.
        name: What the stream is called in results.
        layout: See :mod:`neurocl.streams.labelled_data`.
        **preparation: See :mod:`neurocl.streams.preparation`.

    Raises:
        BadInput: On data or options that cannot make a stream, naming what to change.

    Source:
        Koh et al. 2022, arXiv:2110.10031 (i-Blurry: ``disjoint`` is its N, ``blur`` its M, as shares). Differs: the
        number that moves is exact, theirs is drawn. ``"neighbours"`` is after the fuzzy boundaries of van de Ven et
        al. 2022, where the share grows towards the boundary.
    """
    return blurry_stream(
        labelled_data(x_train, y_train, x_test, y_test, name=name, layout=layout),
        classes_per_task=classes_per_task,
        tasks=tasks,
        first_task_classes=first_task_classes,
        blur=blur,
        disjoint=disjoint,
        spread=spread,
        setting=setting,
        seed=seed,
        name=name,
        **preparation,
    )


def blurry_stream(
    data: LabelledData,
    *,
    classes_per_task: int | None = None,
    tasks: int | None = None,
    first_task_classes: int | None = None,
    blur: float = 0.1,
    disjoint: float = 0.0,
    spread: str = "all",
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "",
    **preparation: Unpack[Preparation],
) -> Stream:
    """As :func:`blurry`, over data already read."""
    checked = check_setting(setting)
    if checked == "task-incremental":
        raise BadInput("a blurry stream mixes tasks within a batch, so no task id can be shown: choose another setting")
    prepared = prepare(data, seed=seed, **preparation)
    groups = class_groups(
        prepared.order, checked, classes_per_task=classes_per_task, tasks=tasks, first_task_classes=first_task_classes
    )
    if len(groups) < 2:
        raise BadInput("a blurry stream needs at least two tasks to mix; lower classes_per_task")
    train = mix(prepared, groups, blur=blur, disjoint=disjoint, spread=spread, seed=seed)
    if checked == "domain-incremental":
        label_of_class, names = number_classes(groups, checked, data.class_names)
    else:
        met = [_met(data.train_classes[ids], group, prepared.order) for ids, group in zip(train, groups, strict=True)]
        label_of_class, names = number_by_appearance(met, prepared.order, data.class_names)
    scale = prepared.scale(train[0])
    portions = []
    for index, (ids, group) in enumerate(zip(train, groups, strict=True)):
        _, validation, test = prepared.of_classes(group, label_of_class)
        own = Rows(ids=ids, labels=label_of_class[data.train_classes[ids]])
        portions.append(
            Portion(data=prepared.data, train=own, validation=validation, test=test, scale=scale, test_group=index)
        )
    return Stream(
        portions,
        name=name or f"blurry-{data.name}",
        setting=checked,
        boundary="blurry",
        class_names=names,
        seed=seed,
    )


def mix(
    prepared: Prepared, groups: Sequence[np.ndarray], *, blur: float, disjoint: float, spread: str, seed: int
) -> list[np.ndarray]:
    """Return the training indices of each task after mixing, ascending; every index in exactly one task."""
    share = check_number("blur", blur, at_least=0.0, below=1.0)
    apart = check_number("disjoint", disjoint, at_least=0.0, at_most=1.0)
    spread = check_name("spread", spread, SPREADS)
    draw = numpy_generator(seed, "blur")
    stays = draw.permutation(prepared.order)[: round(apart * len(prepared.order))]
    classes = prepared.data.train_classes[prepared.train]
    pieces: list[list[np.ndarray]] = [[] for _ in groups]
    for home, group in enumerate(groups):
        near = range(max(0, home - 1), min(len(groups), home + 2)) if spread == "neighbours" else range(len(groups))
        others = np.array([task for task in near if task != home])
        for label in group:
            mine = draw.permutation(prepared.train[classes == label])
            leave = 0 if label in stays else round(share * len(mine))
            pieces[home].append(mine[leave:])
            goal = np.resize(draw.permutation(others), leave)
            for task in others:
                pieces[task].append(mine[:leave][goal == task])
    return [np.sort(np.concatenate(piece)) for piece in pieces]


def _met(classes: np.ndarray, home: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Classes that occur in a task, those at home in it first."""
    listed = np.concatenate([home, np.setdiff1d(order, home)])
    return listed[np.isin(listed, classes)]
