"""Recurring streams (SCoLe): many short tasks, each of a few classes drawn anew, so that classes come back."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import numpy as np

from neurocl.primitives.checks import BadInput, check_count, check_number
from neurocl.primitives.seeding import numpy_generator
from neurocl.primitives.tasks import Setting
from neurocl.streams.class_labels import number_by_appearance
from neurocl.streams.labelled_data import LabelledData, labelled_data
from neurocl.streams.portion import Portion, Rows
from neurocl.streams.preparation import Preparation, Prepared, prepare
from neurocl.streams.stream import Stream, check_setting


def recurring(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int = 50,
    *,
    classes_per_task: int = 2,
    skew: float = 1.0,
    samples_per_class: int | None = None,
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "recurring-data",
    layout: str = "auto",
    **preparation: Unpack[Preparation],
) -> Stream:
    """Make a stream of ``tasks`` tasks over your own arrays, each of ``classes_per_task`` classes drawn at random.

    Learn each task for one epoch; accuracy is over all classes after every task: the tasks share one test set. Only in
    a task-incremental stream is task ``t`` tested on its own classes.

    Args:
        x_train: As for :func:`neurocl.streams.split`.
        y_train: Likewise.
        x_test: Likewise.
        y_test: Likewise.
        tasks: Number of tasks; the published runs have 500 and more.
        classes_per_task: Classes in each task, at least 2.
        skew: How often a class is drawn, relative to the class before it in the class order: 1 is uniform, 0.5 halves
            from class to class.
        samples_per_class: Samples drawn of each class in each task (default: all of them).
        setting: Class- and task-incremental number classes in order of appearance. Domain-incremental labels a class by
            its place in the class order modulo ``classes_per_task``, and a task has one class of each label.
        seed: Decides the draws, sample order and every seeded choice.
        name: What the stream is called in results.
        layout: See :mod:`neurocl.streams.labelled_data`.
        **preparation: See :mod:`neurocl.streams.preparation`.

    Raises:
        BadInput: On data or options that cannot make a stream, naming what to change.

    Source:
        Lesort et al. 2022, arXiv:2207.04543 (SCoLe). Differs: skewed frequencies are geometric over the class order.
    """
    return recurring_stream(
        labelled_data(x_train, y_train, x_test, y_test, name=name, layout=layout),
        tasks=tasks,
        classes_per_task=classes_per_task,
        skew=skew,
        samples_per_class=samples_per_class,
        setting=setting,
        seed=seed,
        name=name,
        **preparation,
    )


def recurring_stream(
    data: LabelledData,
    *,
    tasks: int = 50,
    classes_per_task: int = 2,
    skew: float = 1.0,
    samples_per_class: int | None = None,
    setting: str = "class-incremental",
    seed: int = 0,
    name: str = "",
    **preparation: Unpack[Preparation],
) -> Stream:
    """As :func:`recurring`, over data already read."""
    checked, count = check_setting(setting), check_count("tasks", tasks)
    prepared = prepare(data, seed=seed, **preparation)
    size = check_count("classes_per_task", classes_per_task, at_least=2)
    if size > len(prepared.order):
        raise BadInput(f"classes_per_task must be at most the number of classes, {len(prepared.order)}; got {size}")
    drawn = draw_classes(prepared.order, checked, tasks=count, size=size, skew=skew, seed=seed)
    label_of_class, names = numbered(drawn, prepared.order, data.class_names, checked, size=size)
    limit = None if samples_per_class is None else check_count("samples_per_class", samples_per_class)
    return Stream(
        portions_of(prepared, drawn, label_of_class, checked, amount=lambda found: limit, seed=seed),
        name=name or f"recurring-{data.name}",
        setting=checked,
        boundary="recurring",
        class_names=names,
        seed=seed,
    )


def numbered(
    drawn: list[np.ndarray], order: np.ndarray, class_names: tuple[str, ...], setting: Setting, *, size: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return each class's label, and the labels' names: by appearance, or shared, by place modulo ``size``."""
    if setting != "domain-incremental":
        return number_by_appearance(drawn, order, class_names)
    label_of_class = np.empty(len(order), np.int64)
    label_of_class[order] = np.arange(len(order)) % size
    return label_of_class, tuple("/".join(class_names[c] for c in order[at::size]) for at in range(size))


def draw_classes(
    order: np.ndarray, setting: Setting, *, tasks: int, size: int, skew: float, seed: int
) -> list[np.ndarray]:
    """Return the classes of each task; in a domain-incremental stream one class for each label."""
    ratio = check_number("skew", skew, above=0.0, at_most=1.0)
    draw = numpy_generator(seed, "recurring classes")
    weights = np.maximum(ratio ** np.arange(len(order)), np.finfo(np.float64).tiny)  # never 0: each class can be drawn
    if setting != "domain-incremental":
        shares = weights / weights.sum()
        return [draw.choice(order, size, replace=False, p=shares) for _ in range(tasks)]
    by_label = [(order[at::size], weights[at::size] / weights[at::size].sum()) for at in range(size)]
    return [np.array([draw.choice(classes, p=shares) for classes, shares in by_label]) for _ in range(tasks)]


def portions_of(
    prepared: Prepared,
    drawn: Sequence[np.ndarray],
    label_of_class: np.ndarray,
    setting: Setting,
    *,
    amount: Callable[[int], int | None],
    seed: int,
) -> list[Portion]:
    """One portion a task; unless tasks are told apart they share one test set.

    ``amount`` tells how many of a class's samples each task draws, given how many there are; ``None``: all.
    """
    classes = prepared.data.train_classes[prepared.train]
    ids_of_class = {label: prepared.train[classes == label] for label in prepared.order.tolist()}
    _, validation, test = prepared.of_classes(prepared.order, label_of_class)
    shared = setting != "task-incremental"
    portions, scale = [], None
    for index, group in enumerate(drawn):
        draw = numpy_generator(seed, "recurring samples", index)
        chosen = [ids_of_class[label] for label in group.tolist()]
        limits = [amount(len(ids)) for ids in chosen]
        parts = [ids if n is None else draw.permutation(ids)[:n] for ids, n in zip(chosen, limits, strict=True)]
        ids = np.sort(np.concatenate(parts))
        scale = prepared.scale(ids) if scale is None else scale
        if not shared:
            _, validation, test = prepared.of_classes(group, label_of_class)
        train = Rows(ids=ids, labels=label_of_class[prepared.data.train_classes[ids]])
        portions.append(
            Portion(
                data=prepared.data, train=train, validation=validation, test=test, scale=scale,
                test_group=0 if shared else index,
            )
        )  # fmt: skip
    return portions
