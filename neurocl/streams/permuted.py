"""Permuted streams: the same classes in every task, the places of the pixels (or features) shuffled."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np

from neurocl.primitives.checks import BadInput, check_count, check_name
from neurocl.primitives.seeding import numpy_generator
from neurocl.streams.labelled_data import LabelledData, labelled_data
from neurocl.streams.portion import Portion
from neurocl.streams.preparation import Preparation, prepare
from neurocl.streams.repeated import repeated_rows
from neurocl.streams.stream import Stream, check_setting, seeded_order

HLOP_SEEDS = (400, 701, 302, 503, 204, 605, 906, 807, 108, 9)  # 100 r + i, r = 0..9 shuffled by scikit-learn, seed 2022
PERMUTATIONS = ("own", "hlop")
SAMPLE_ORDERS = ("own", "hlop")


def permuted(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int = 10,
    *,
    permutation: str | Sequence[int] = "own",
    sample_order: str = "own",
    setting: str = "domain-incremental",
    seed: int = 0,
    name: str = "permuted-data",
    layout: str = "auto",
    **preparation: Unpack[Preparation],
) -> Stream:
    """Make a stream of ``tasks`` permutations of your own arrays; the first task is permuted too.

    Args:
        x_train: As for :func:`neurocl.streams.split`.
        y_train: Likewise.
        x_test: Likewise.
        y_test: Likewise.
        tasks: Number of tasks.
        permutation: ``"own"``: drawn from the stream's seed. ``"hlop"``: the ten of the HLOP paper's code. Or one NumPy
            seed a task.
        sample_order: ``"own"``: drawn from the stream's seed, task by task. ``"hlop"``: that of the HLOP paper's code
            with the stream's seed (theirs is 2022): NumPy's old generator shuffles ``arange(n)`` for one task after
            another; passes behind a task's first are our own.
        setting: Domain-incremental: all tasks share the classes' labels. Class- and task-incremental: every task's
            classes are labels of their own.
        seed: Decides permutations, sample order and every seeded choice.
        name: What the stream is called in results.
        layout: See :mod:`neurocl.streams.labelled_data`.
        **preparation: See :mod:`neurocl.streams.preparation`.

    Raises:
        BadInput: On data or options that cannot make a stream, naming what to change.

    Source:
        Goodfellow et al. 2013, arXiv:1312.6211. ``"hlop"``: Xiao et al. 2024, arXiv:2402.11984, whose code shuffles
        ``arange(784)`` with these seeds and normalises by the published mean and deviation
        (``normalise="published"`` does the same).
    """
    data = labelled_data(x_train, y_train, x_test, y_test, name=name, layout=layout)
    options = {"tasks": tasks, "permutation": permutation, "sample_order": sample_order, "setting": setting}
    return permuted_stream(data, **options, seed=seed, name=name, **preparation)


def permuted_stream(
    data: LabelledData,
    *,
    tasks: int = 10,
    permutation: str | Sequence[int] = "own",
    sample_order: str = "own",
    setting: str = "domain-incremental",
    seed: int = 0,
    name: str = "",
    **preparation: Unpack[Preparation],
) -> Stream:
    """As :func:`permuted`, over data already read."""
    checked, count = check_setting(setting), check_count("tasks", tasks)
    way = check_name("sample order", sample_order, SAMPLE_ORDERS)
    prepared = prepare(data, seed=seed, **preparation)
    permutations = draw_permutations(permutation, tasks=count, places=places_of(data), seed=seed)
    names = [f"permutation {index + 1}" for index in range(count)]
    rows, class_names = repeated_rows(prepared, names, checked)
    scale = prepared.scale(prepared.train)
    portions = [
        Portion(
            data=prepared.data, train=train, validation=validation, test=test, scale=scale,
            permutation=permutations[index], first_id=index * data.largest, test_group=index,
        )
        for index, (train, validation, test) in enumerate(rows)
    ]  # fmt: skip
    return Stream(
        portions, name=name or f"permuted-{data.name}", setting=checked, class_names=class_names, seed=seed,
        order=partial(hlop_order, seed) if way == "hlop" else None,
    )  # fmt: skip


def places_of(data: LabelledData) -> int:
    """Number of places to permute: pixels of an image (channels move together), or features."""
    shape = data.input_shape
    return int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]


def draw_permutations(permutation: str | Sequence[int], *, tasks: int, places: int, seed: int) -> list[np.ndarray]:
    """Return one permutation of ``places`` a task; ``new[j] = old[permutation[j]]``.

    Raises:
        BadInput: Unknown way, or fewer NumPy seeds than tasks.
    """
    if isinstance(permutation, str):
        way = check_name("permutation", permutation, PERMUTATIONS)
        if way == "own":
            return [numpy_generator(seed, "permutation", task).permutation(places) for task in range(tasks)]
        seeds: Sequence[int] = HLOP_SEEDS
    else:
        seeds = [check_count("a permutation seed", number, at_least=0) for number in permutation]
    if len(seeds) < tasks:
        raise BadInput(f"permutation gives {len(seeds)} NumPy seeds for {tasks} tasks: give fewer tasks or more seeds")
    return [shuffled_places(number, places) for number in seeds[:tasks]]


def hlop_order(seed: int, task: int, epoch: int, size: int) -> np.ndarray:
    """Return the order of a task's samples; all tasks have so many."""
    if epoch:
        return seeded_order(seed, task, epoch, size)
    generator = np.random.RandomState(seed)
    orders = np.tile(np.arange(size), (task + 1, 1))
    for order in orders:
        generator.shuffle(order)
    return orders[-1]


def shuffled_places(numpy_seed: int, places: int) -> np.ndarray:
    """Return ``arange(places)`` shuffled by NumPy's old generator, whose numbers never change."""
    order = np.arange(places)
    np.random.RandomState(numpy_seed).shuffle(order)
    return order
