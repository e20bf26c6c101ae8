"""Does every stream keep the contract: deterministic, complete, silent about what its setting hides?"""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from neurocl import streams
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import SETTINGS, Batch, Task
from neurocl.streams.builders import BUILDERS
from neurocl.streams.stream import Stream

CLASSES, TRAIN, TEST = 6, 7, 3  # a class
KINDS = ("split", "permuted", "rotated", "blurry", "recurring", "episodic")
COME_BACK = ("recurring", "episodic")  # kinds that show a sample in several tasks
CASES = [(kind, setting) for kind in KINDS for setting in SETTINGS if (kind, setting) != ("blurry", "task-incremental")]
REAL = (
    "split-digits", "split-mnist", "permuted-fashion-mnist", "blurry-cifar10", "recurring-usps", "episodic-usps",
    "five-datasets",
)  # fmt: skip


def small_arrays(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Random images of 4 x 5 bytes, classes in random order."""
    draw = np.random.default_rng(seed)
    y_train = draw.permutation(np.repeat(np.arange(CLASSES), TRAIN))
    y_test = draw.permutation(np.repeat(np.arange(CLASSES), TEST))
    return (
        draw.integers(0, 256, (CLASSES * TRAIN, 4, 5), dtype=np.uint8), y_train,
        draw.integers(0, 256, (CLASSES * TEST, 4, 5), dtype=np.uint8), y_test,
    )  # fmt: skip


def small(kind: str, setting: str, seed: int = 0, **options: object) -> Stream:
    """A small stream of one kind."""
    sizes = {"permuted": {"tasks": 3}, "rotated": {"tasks": 3}, "recurring": {"tasks": 6}}
    options = {**sizes.get(kind, {}), **options}
    return getattr(streams, kind)(*small_arrays(), setting=setting, seed=seed, **options)


def parts_of(task: Task, batch_size: int = 4, epoch: int = 0) -> list[Batch]:
    """A task's batches."""
    return list(task.batches(batch_size, epoch))


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches hold the same."""
    return one.task_id == other.task_id and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("inputs", "labels", "sample_ids")
    )


every_small = pytest.mark.parametrize(("kind", "setting"), CASES)


def test_every_builder_is_under_contract() -> None:
    assert set(KINDS) == set(BUILDERS)
    assert set(KINDS) < set(streams.__all__)


@every_small
def test_iterating_again_and_building_again_gives_the_same_batches(kind: str, setting: str) -> None:
    one, other = small(kind, setting), small(kind, setting)
    again = [batch for task in one for batch in parts_of(task)]
    for stream in (one, other):
        batches = [batch for task in stream for batch in parts_of(task)]
        assert len(batches) == len(again)
        assert all(same(a, b) for a, b in zip(batches, again, strict=True))
    assert one.digest == other.digest


@every_small
def test_an_epoch_shows_every_sample_of_a_task_once(kind: str, setting: str) -> None:
    for task in small(kind, setting):
        batches = parts_of(task, batch_size=4)
        ids = torch.cat([batch.sample_ids for batch in batches])
        assert len(ids.unique()) == len(ids) == task.size
        assert [len(batch) for batch in batches[:-1]] == [4] * (len(batches) - 1)
        assert len(batches[-1]) == (task.size - 1) % 4 + 1
        assert torch.equal(ids.sort().values, torch.cat([b.sample_ids for b in parts_of(task, epoch=-1)]))


@every_small
def test_sample_ids_are_unique_over_the_stream_unless_samples_come_back(kind: str, setting: str) -> None:
    x_train, y_train, x_test, y_test = small_arrays()
    options = {"permuted": {"tasks": 3}, "rotated": {"tasks": 3}, "recurring": {"tasks": 6}}.get(kind, {})
    for arrays in ((x_train, y_train, x_test, y_test), (x_test, y_test, x_train, y_train)):  # either part the larger
        stream = getattr(streams, kind)(*arrays, setting=setting, **options)
        trained = torch.cat([batch.sample_ids for task in stream for batch in parts_of(task)])
        tested = torch.cat([stream.test(index).sample_ids for index in range(len(stream))])
        for ids in (trained, tested):
            assert (len(ids.unique()) == len(ids)) == (kind not in COME_BACK)


@every_small
def test_epochs_differ_in_order_and_batch_size_does_not_change_it(kind: str, setting: str) -> None:
    task = small(kind, setting).task(1)
    orders = [torch.cat([batch.sample_ids for batch in parts_of(task, epoch=epoch)]).tolist() for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert torch.cat([batch.sample_ids for batch in parts_of(task, batch_size=7)]).tolist() == orders[0]


@every_small
def test_types_and_shapes_are_those_of_the_contract(kind: str, setting: str) -> None:
    stream = small(kind, setting)
    shape = stream.shape
    assert (shape.setting, shape.num_tasks, shape.num_classes) == (setting, len(stream), len(stream.class_names))
    assert shape.input_shape == (1, 4, 5)
    assert shape.time_steps is None
    for index, task in enumerate(stream):
        assert (task.index, task.boundary) == (index, stream.boundary)
        for batch in [*parts_of(task), *stream.test(index).batches(4)]:
            assert batch.inputs.dtype == torch.float32
            assert batch.labels.dtype == batch.sample_ids.dtype == torch.int64
            assert batch.inputs.shape == (len(batch), *shape.input_shape)
            assert len(batch.labels) == len(batch.sample_ids)
            assert bool(torch.isfinite(batch.inputs).all())
            assert 0 <= int(batch.labels.min()) <= int(batch.labels.max()) < shape.num_classes


@every_small
def test_a_task_names_exactly_its_classes_and_those_seen(kind: str, setting: str) -> None:
    seen: set[int] = set()
    for task in small(kind, setting):
        labels = torch.cat([batch.labels for batch in parts_of(task)]).unique().tolist()
        assert list(task.classes) == labels
        seen |= set(labels)
        assert list(task.seen_classes) == sorted(seen)
        assert sorted(seen) == list(range(len(seen)))  # a head that grows never has gaps


@every_small
def test_the_task_id_shows_only_where_the_setting_says_so(kind: str, setting: str) -> None:
    stream = small(kind, setting, validation=0.3)
    for index, task in enumerate(stream):
        expected = index if setting == "task-incremental" else None
        shown = [task, *parts_of(task), stream.test(index), stream.validation(index), *stream.test(index).batches(2)]
        assert {each.task_id for each in shown} == {expected}


def test_task_and_batch_have_no_other_place_to_hide_a_task_id_in() -> None:
    fields = {"index", "task_id", "classes", "seen_classes", "boundary", "batches", "size"}
    assert {field.name for field in dataclasses.fields(Task)} == fields
    assert {field.name for field in dataclasses.fields(Batch)} == {"inputs", "labels", "sample_ids", "task_id"}


@every_small
def test_the_function_a_task_hands_out_reaches_no_other_task(kind: str, setting: str) -> None:
    stream = small(kind, setting)
    task = stream.task(0)
    reached, front = set(), [task.batches]
    while front:  # everything that closures and attributes lead to
        thing = front.pop()
        if id(thing) in reached:
            continue
        reached.add(id(thing))
        front += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
        front += [thing.__self__] if hasattr(thing, "__self__") else []
        front += list(getattr(thing, "__dict__", {}).values())
    assert id(stream) not in reached
    assert not any(id(portion) in reached for portion in stream._portions[1:])


@every_small
def test_batches_and_test_samples_are_copies(kind: str, setting: str) -> None:
    stream = small(kind, setting, normalise=(0.0, 1.0))
    before = [same_values.clone() for batch in parts_of(stream.task(0)) for same_values in (batch.inputs, batch.labels)]
    tests = stream.test(0).inputs.clone(), stream.test(0).labels.clone()
    for batch in [*parts_of(stream.task(0)), stream.test(0)]:
        batch.inputs.fill_(7.0)
        batch.labels.fill_(0)
        batch.sample_ids.fill_(0)
    after = [same_values for batch in parts_of(stream.task(0)) for same_values in (batch.inputs, batch.labels)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert torch.equal(stream.test(0).inputs, tests[0])
    assert torch.equal(stream.test(0).labels, tests[1])


@every_small
def test_training_and_test_samples_carry_the_label_of_their_class(kind: str, setting: str) -> None:
    x_train, y_train, x_test, y_test = small_arrays()
    x_train[:, 0, 0], x_test[:, 0, 0] = y_train, y_test  # one pixel tells the class, another pins the range
    options = {"permuted": {"tasks": 3}, "rotated": {"tasks": 1, "angles": [0.0]}, "recurring": {"tasks": 6}}
    stream = getattr(streams, kind)(x_train, y_train, x_test, y_test, setting=setting, **options.get(kind, {}))
    for index, task in enumerate(stream):
        portion = stream._portions[index]
        place = 0 if portion.permutation is None else portion.permutation.tolist().index(0)
        for batch in [*parts_of(task), *stream.test(index).batches(5)]:
            pixels = (batch.inputs.flatten(1)[:, place] * 255).round().long()
            for pixel, label in zip(pixels.tolist(), batch.labels.tolist(), strict=True):
                name = stream.class_names[label].split(": ")[-1]
                assert str(pixel) in name.split("/")


@every_small
def test_held_out_samples_are_never_trained_on_and_cover_the_rest(kind: str, setting: str) -> None:
    whole, stream = small(kind, setting), small(kind, setting, validation=0.3)
    trained, held, every = set(), set(), set()
    for index, task in enumerate(stream):
        trained |= set(torch.cat([batch.sample_ids for batch in parts_of(task)]).tolist())
        held |= set(stream.validation(index).sample_ids.tolist())
        every |= set(torch.cat([batch.sample_ids for batch in parts_of(whole.task(index))]).tolist())
    assert held
    assert not trained & held
    if kind not in COME_BACK:
        assert trained | held == every
    with pytest.raises(BadInput, match=r"validation=0\.1"):
        whole.validation(0)


@every_small
@pytest.mark.parametrize("normalise", ["unit", "standardise"])
def test_later_tasks_change_nothing_in_the_first(kind: str, setting: str, normalise: str) -> None:
    x_train, y_train, x_test, y_test = small_arrays()
    x_train, x_test = x_train.astype(np.float32) - 3.5, x_test.astype(np.float32)
    options = {"permuted": {"tasks": 2}, "rotated": {"tasks": 2}, "recurring": {"tasks": 3}}.get(kind, {})
    make = getattr(streams, kind)
    one = make(x_train, y_train, x_test, y_test, setting=setting, normalise=normalise, **options)
    used = torch.cat([batch.sample_ids for batch in parts_of(one.task(0))]).numpy()
    later = np.setdiff1d(np.arange(len(x_train)), used)
    x_train[later] = x_train[later] * 100 - 5000
    other = make(x_train, y_train, x_test * 3, y_test, setting=setting, normalise=normalise, **options)
    assert all(same(a, b) for a, b in zip(parts_of(one.task(0)), parts_of(other.task(0)), strict=True))


@every_small
def test_another_seed_gives_another_order(kind: str, setting: str) -> None:
    one, other = small(kind, setting, seed=0), small(kind, setting, seed=1)
    orders = [torch.cat([b.sample_ids for b in parts_of(stream.task(0))]).tolist() for stream in (one, other)]
    assert orders[0] != orders[1]
    assert one.digest != other.digest


@every_small
@pytest.mark.parametrize("index", [-1, 99])
def test_a_task_that_is_not_there_is_refused(kind: str, setting: str, index: int) -> None:
    stream = small(kind, setting)
    for ask in (stream.task, stream.test, stream.validation, stream.test_group):
        with pytest.raises(BadInput, match="task index"):
            ask(index)


@every_small
def test_a_batch_size_of_nothing_is_refused(kind: str, setting: str) -> None:
    with pytest.raises(BadInput, match="batch_size"):
        small(kind, setting).task(0).batches(0, 0)


@pytest.mark.parametrize("spec", REAL)
@pytest.mark.parametrize("setting", SETTINGS)
def test_streams_over_real_data_keep_the_contract(spec: str, setting: str) -> None:
    folder = os.environ.get("NEUROCL_DATA", "")
    if spec != "split-digits" and not Path(folder, "mnist").is_dir():
        pytest.skip("NEUROCL_DATA is unset or lacks the datasets")
    if spec.startswith("blurry") and setting == "task-incremental":
        with pytest.raises(BadInput, match="no task id can be shown"):
            streams.open(spec, setting=setting)
        return
    stream = streams.open(spec, setting=setting, options={"train_per_class": 20, "test_per_class": 10})
    for task in (stream.task(0), stream.task(len(stream) - 1)):
        batches = parts_of(task, batch_size=32)
        assert sum(map(len, batches)) == task.size
        assert all(same(a, b) for a, b in zip(batches, parts_of(task, batch_size=32), strict=True))
        assert batches[0].inputs.shape[1:] == stream.shape.input_shape
        assert {batch.task_id for batch in batches} == {task.index if setting == "task-incremental" else None}
        inputs = torch.cat([batch.inputs for batch in batches])
        assert 0 <= float(inputs.min()) < 0.05 < 0.5 < float(inputs.max()) <= 1
        assert set(torch.cat([batch.labels for batch in batches]).tolist()) == set(task.classes)
