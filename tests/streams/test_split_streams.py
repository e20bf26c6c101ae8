"""Split, blurry, recurring and episodic streams: which class and which sample goes where."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocl import streams
from neurocl.primitives.checks import BadInput
from neurocl.streams.builders import BUILDERS
from neurocl.streams.stream import Stream


def arrays(classes: int, train: int = 4, test: int = 2, features: int = 3) -> tuple[np.ndarray, ...]:
    """Feature vectors whose first number tells the class, classes in random order."""
    draw = np.random.default_rng(classes)
    y_train, y_test = (draw.permutation(np.repeat(np.arange(classes), count)) for count in (train, test))
    x_train, x_test = (np.column_stack([y, draw.random((len(y), features - 1))]) for y in (y_train, y_test))
    return x_train.astype(np.float32), y_train, x_test.astype(np.float32), y_test


def ids_of(stream: Stream, index: int, epoch: int = 0) -> list[int]:
    """Sample ids of a task in the order of an epoch."""
    return torch.cat([batch.sample_ids for batch in stream.task(index).batches(3, epoch)]).tolist()


def labels_of(stream: Stream, index: int) -> list[int]:
    """Labels of a task's training samples."""
    return torch.cat([batch.labels for batch in stream.task(index).batches(3, -1)]).tolist()


counts = st.integers(2, 9)


@settings(max_examples=40, deadline=None)
@given(
    classes=counts, per_task=st.integers(1, 9), seed=st.integers(0, 99), order=st.sampled_from(["natural", "seeded"])
)
def test_a_split_shows_every_training_and_test_sample_once(classes: int, per_task: int, seed: int, order: str) -> None:
    data = arrays(classes)
    stream = streams.split(*data, classes_per_task=min(per_task, classes), seed=seed, class_order=order)
    trained = [number for index in range(len(stream)) for number in ids_of(stream, index)]
    tested = [number for index in range(len(stream)) for number in stream.test(index).sample_ids.tolist()]
    assert sorted(trained) == list(range(len(data[0])))
    assert sorted(tested) == list(range(len(data[2])))


@settings(max_examples=40, deadline=None)
@given(classes=counts, per_task=st.integers(1, 9), seed=st.integers(0, 99))
def test_clear_class_incremental_tasks_share_no_class_and_labels_have_no_gap(
    classes: int, per_task: int, seed: int
) -> None:
    stream = streams.split(*arrays(classes), classes_per_task=min(per_task, classes), seed=seed, class_order="seeded")
    sets = [task.classes for task in stream]
    assert [label for labels in sets for label in labels] == list(range(classes))
    assert sorted(stream.class_names) == [str(label) for label in range(classes)]


@settings(max_examples=30, deadline=None)
@given(
    classes=st.integers(4, 9), blur=st.floats(0.0, 0.9), disjoint=st.floats(0.0, 1.0), seed=st.integers(0, 99),
    spread=st.sampled_from(["all", "neighbours"]),
)  # fmt: skip
def test_a_blurry_stream_moves_samples_and_loses_none(
    classes: int, blur: float, disjoint: float, seed: int, spread: str
) -> None:
    data = arrays(classes, train=10)
    stream = streams.blurry(*data, blur=blur, disjoint=disjoint, spread=spread, seed=seed)
    assert sorted(number for index in range(len(stream)) for number in ids_of(stream, index)) == list(
        range(len(data[0]))
    )
    strangers = 0
    for index, task in enumerate(stream):
        home = set(stream.test(index).labels.tolist())
        away = [label for label in labels_of(stream, index) if label not in home]
        strangers += len(away)
        if spread == "neighbours":
            near = {label for at in (index - 1, index + 1) if 0 <= at < len(stream) for label in stream.test(at).labels}
            assert set(away) <= {int(label) for label in near}
        assert home <= set(task.classes)
    mixed = classes - round(disjoint * classes)
    assert strangers == mixed * round(blur * 10)


@settings(max_examples=30, deadline=None)
@given(classes=st.integers(3, 9), tasks=st.integers(1, 12), seed=st.integers(0, 99), skew=st.floats(0.05, 1.0))
def test_a_recurring_task_has_all_samples_of_two_classes(classes: int, tasks: int, seed: int, skew: float) -> None:
    stream = streams.recurring(*arrays(classes), tasks=tasks, seed=seed, skew=skew)
    assert len(stream) == tasks
    for index, task in enumerate(stream):
        assert len(task.classes) == 2
        assert task.size == 8
        assert stream.test_group(index) == 0
    assert sorted(stream.test(0).labels.tolist()) == sorted(list(range(classes)) * 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), other=st.floats(-5.0, 5.0))
def test_the_order_depends_on_the_seed_and_not_on_the_values(seed: int, other: float) -> None:
    x_train, y_train, x_test, y_test = arrays(4)
    one = streams.split(x_train, y_train, x_test, y_test, seed=seed)
    two = streams.split(x_train * other + 1, y_train, x_test, y_test, seed=seed)
    assert [ids_of(one, index, epoch=3) for index in range(2)] == [ids_of(two, index, epoch=3) for index in range(2)]


def test_domain_incremental_labels_are_positions_inside_the_task() -> None:
    stream = streams.split(*arrays(6), setting="domain-incremental", class_order=[5, 0, 3, 1, 2, 4])
    assert stream.class_names == ("5/3/2", "0/1/4")
    assert [task.classes for task in stream] == [(0, 1)] * 3
    x_train, y_train, *_ = arrays(6)
    for index, group in enumerate([(5, 0), (3, 1), (2, 4)]):
        truth = [group.index(y_train[number]) for number in ids_of(stream, index, epoch=-1)]
        assert labels_of(stream, index) == truth
    assert stream.shape.num_classes == 2
    assert x_train.shape[0] == 24


def test_the_last_task_is_smaller_where_classes_do_not_divide() -> None:
    assert [task.classes for task in streams.split(*arrays(5), classes_per_task=3)] == [(0, 1, 2), (3, 4)]
    assert [len(task.classes) for task in streams.split(*arrays(7), classes_per_task=3)] == [3, 3, 1]
    for setting in ("domain-incremental", "task-incremental"):
        with pytest.raises(BadInput, match="one class asks nothing"):
            streams.split(*arrays(7), classes_per_task=3, setting=setting)


def test_tasks_and_a_larger_first_task_cut_the_classes() -> None:
    assert [len(task.classes) for task in streams.split(*arrays(9), tasks=3)] == [3, 3, 3]
    sizes = [len(task.classes) for task in streams.split(*arrays(9), first_task_classes=5, classes_per_task=2)]
    assert sizes == [5, 2, 2]
    assert [len(task.classes) for task in streams.split(*arrays(9), first_task_classes=5, tasks=3)] == [5, 2, 2]
    assert [len(task.classes) for task in streams.split(*arrays(4), tasks=1)] == [4]


def test_subsets_take_the_first_or_seeded_samples_of_each_class() -> None:
    x_train, y_train, *rest = arrays(4, train=9)
    first = streams.split(x_train, y_train, *rest, train_per_class=3, test_per_class=1)
    expected = sorted(number for label in range(4) for number in np.flatnonzero(y_train == label)[:3])
    assert sorted(ids_of(first, 0) + ids_of(first, 1)) == expected
    assert [len(first.test(index)) for index in range(2)] == [2, 2]
    draws = [
        sorted(ids_of(streams.split(x_train, y_train, *rest, train_per_class=3, subset="seeded", seed=seed), 0))
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0]) == 6


def test_held_out_samples_are_the_asked_share_of_every_class() -> None:
    stream = streams.split(*arrays(4, train=10), validation=0.2)
    assert stream.validation(0).labels.bincount().tolist() == [2, 2]
    assert stream.task(0).size == 16


@pytest.mark.parametrize("spec", [f"{kind}-digits" for kind in BUILDERS])
def test_who_judges_on_held_out_samples_never_looks_at_test_samples(spec: str) -> None:
    options = {"validation": 0.2, "train_per_class": 20}
    held_out = streams.open(spec, seed=3, options=options)
    judged = streams.open(spec, seed=3, options=options | {"judged_on": "validation"})
    assert judged.shape == held_out.shape
    assert judged.digest != held_out.digest
    trained: set[int] = set()
    for index in range(len(judged)):
        trained.update(ids_of(judged, index))
        assert ids_of(judged, index) == ids_of(held_out, index)
        wanted, found = held_out.validation(index), judged.test(index)
        assert torch.equal(found.inputs, wanted.inputs)
        assert torch.equal(found.labels, wanted.labels)
        assert torch.equal(found.sample_ids, wanted.sample_ids)
        assert torch.equal(judged.validation(index).labels, wanted.labels)
        assert not trained & set(found.sample_ids.tolist())


def test_classes_without_test_samples_can_be_judged_on_held_out_ones() -> None:
    x, y, x_test, y_test = arrays(4, train=10)
    rest = y_test != 3
    with pytest.raises(BadInput, match="has no test samples"):
        streams.split(x, y, x_test[rest], y_test[rest], validation=0.2)
    stream = streams.split(x, y, x_test[rest], y_test[rest], validation=0.2, judged_on="validation")
    assert stream.test(1).labels.bincount().tolist() == [0, 0, 2, 2]


def test_skew_makes_the_first_classes_frequent() -> None:
    counts = []
    for skew in (1.0, 0.3):
        stream = streams.recurring(*arrays(6), tasks=200, skew=skew, seed=3)
        drawn = [int(stream.class_names[label]) for task in stream for label in task.classes]
        counts.append(np.bincount(drawn, minlength=6))
    even, skewed = counts
    assert even.min() > 40  # 400 draws of 6 classes: 67 expected each
    assert skewed[0] > 150 > 20 > skewed[5]


def test_a_recurring_domain_stream_never_contradicts_itself() -> None:
    stream = streams.recurring(*arrays(7), tasks=30, classes_per_task=3, setting="domain-incremental")
    assert stream.class_names == ("0/3/6", "1/4", "2/5")
    assert {task.classes for task in stream} == {(0, 1, 2)}
    assert len(stream.test(4)) == 14


def test_samples_of_each_recurrence_are_drawn_anew() -> None:
    stream = streams.recurring(*arrays(2, train=40), tasks=4, samples_per_class=5)
    draws = [tuple(sorted(ids_of(stream, index))) for index in range(4)]
    assert [len(draw) for draw in draws] == [10] * 4
    assert len(set(draws)) == 4


@settings(max_examples=40, deadline=None)
@given(
    classes=st.integers(3, 9), size=st.integers(2, 3), seed=st.integers(0, 99), novel=st.floats(0.1, 1.0),
    share=st.floats(0.05, 1.0),
)  # fmt: skip
def test_an_episode_has_some_classes_and_the_last_one_brings_the_last_class(
    classes: int, size: int, seed: int, novel: float, share: float
) -> None:
    data = arrays(classes)
    stream = streams.episodic(*data, classes_per_task=size, novel=novel, share=share, seed=seed)
    assert stream.task(0).seen_classes == tuple(range(size))
    for index, task in enumerate(stream):
        assert len(task.classes) == size
        assert task.size == size * max(1, round(share * 4))
        assert sorted(labels_of(stream, index)) == sorted(list(task.classes) * (task.size // size))
        assert stream.test_group(index) == 0
        assert (len(task.seen_classes) == classes) == (index == len(stream) - 1)
    assert stream.shape.num_tasks == len(stream)
    assert stream.class_names == tuple(str(label) for label in range(classes))  # novel ones in the class order
    assert sorted(stream.test(0).labels.tolist()) == sorted(list(range(classes)) * 2)


def test_a_slot_is_novel_with_the_chance_given() -> None:
    for novel in (0.1, 0.4):
        stream = streams.episodic(*arrays(400, train=1, test=1), novel=novel)
        slots = 3 * (len(stream) - 1) - 3  # the first episode has no choice, and the last one ends early
        assert 397 / slots == pytest.approx(novel, rel=0.15)
    assert len(streams.episodic(*arrays(9), novel=1.0)) == 3
    sizes = [len(streams.episodic(*arrays(6), novel=0.1, seed=seed)) for seed in range(3)]
    assert len(set(sizes)) > 1


def test_an_episode_may_bring_no_novel_class_and_classes_come_back() -> None:
    stream = streams.episodic(*arrays(8), novel=0.1)
    seen = [set(task.seen_classes) for task in stream]
    assert any(one == other for one, other in itertools.pairwise(seen))
    assert any(0 in task.classes for task in list(stream)[1:])


def test_samples_of_a_class_are_drawn_anew_in_each_episode() -> None:
    data = arrays(4, train=40)
    stream = streams.episodic(*data, classes_per_task=2, novel=0.1, share=0.25, seed=4)
    draws = [
        (label, tuple(sorted(number for number in ids_of(stream, index) if data[1][number] == label)))
        for index in range(len(stream))
        for label in range(4)
    ]
    shown = [(label, ids) for label, ids in draws if ids]
    assert {len(ids) for _, ids in shown} == {10}
    assert len(set(shown)) == len(shown) > 8


def test_an_episodic_domain_stream_never_contradicts_itself() -> None:
    y_train = arrays(7)[1]
    for seed in range(4):
        stream = streams.episodic(*arrays(7), novel=0.1, setting="domain-incremental", seed=seed)
        assert stream.class_names == ("0/3/6", "1/4", "2/5")
        assert {task.classes for task in stream} == {(0, 1, 2)}
        for index in range(len(stream)):
            assert labels_of(stream, index) == (y_train[ids_of(stream, index, epoch=-1)] % 3).tolist()
        met = {int(y_train[number]) for index in range(len(stream)) for number in ids_of(stream, index)}
        assert met == set(range(7))


def test_sequences_have_time_first() -> None:
    draw = np.random.default_rng(0)
    x_train, x_test = draw.random((8, 5, 2), np.float32), draw.random((4, 5, 2), np.float32)
    stream = streams.split(x_train, [0, 1] * 4, x_test, [0, 1] * 2, layout="sequence")
    assert (stream.shape.time_steps, stream.shape.input_shape) == (5, (2,))
    batch = next(iter(stream.task(0).batches(3, -1)))
    assert batch.inputs.shape == (5, 3, 2)
    assert torch.equal(batch.inputs[:, 1], torch.from_numpy(x_train[1]))
    test = stream.test(0)
    assert test.sequence
    assert test.inputs.shape == (5, 4, 2)
    assert [part.inputs.shape for part in test.batches(3)] == [(5, 3, 2), (5, 1, 2)]
    moved = streams.permuted(x_train, [0, 1] * 4, x_test, [0, 1] * 2, tasks=2, permutation=[1, 2], layout="sequence")
    assert moved.test(0).inputs.shape == (5, 4, 2)
