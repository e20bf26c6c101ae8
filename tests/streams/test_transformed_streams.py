"""Permuted, rotated and many-dataset streams: what becomes of the values."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocl import streams
from neurocl.primitives.checks import BadInput
from neurocl.streams.five_datasets import Canvas
from neurocl.streams.permuted import HLOP_SEEDS, draw_permutations, shuffled_places
from neurocl.streams.rotated import Rotation

HLOP_FIRST_PLACES = (
    [745, 491, 157, 422, 329, 168],
    [387, 477, 590, 542, 596, 507],
)  # of tasks 0 and 1, as computed once


def real_data() -> None:
    """Skip where the real sets are not at hand."""
    folder = os.environ.get("NEUROCL_DATA")
    if not folder or not Path(folder, "mnist").is_dir():
        pytest.skip("NEUROCL_DATA is unset or lacks the datasets")


def test_hlop_seeds_are_those_of_the_published_rule() -> None:
    from sklearn.utils import shuffle

    order = shuffle(np.arange(10), random_state=2022)
    assert [100 * number + task for task, number in enumerate(order)] == list(HLOP_SEEDS)
    assert HLOP_SEEDS == (400, 701, 302, 503, 204, 605, 906, 807, 108, 9)


def test_hlop_permutations_are_those_of_scikit_learn_with_the_same_seeds() -> None:
    from sklearn.utils import shuffle

    permutations = draw_permutations("hlop", tasks=10, places=784, seed=5)
    for number, permutation in zip(HLOP_SEEDS, permutations, strict=True):
        assert (permutation == shuffle(np.arange(784), random_state=number)).all()
    assert [permutation[:6].tolist() for permutation in permutations[:2]] == [*HLOP_FIRST_PLACES]


def test_hlop_inputs_are_normalised_and_permuted_as_published() -> None:
    real_data()
    from neurocl.streams.datasets import load

    options = {"permutation": "hlop", "normalise": "published"}
    stream = streams.open("permuted-mnist", options=options)
    flat = load("mnist").test.flatten(1).double()
    expected = ((flat / 255 - 0.1307) / 0.3081)[:, torch.from_numpy(shuffled_places(302, 784))]
    assert stream.setting == "domain-incremental"
    assert len(stream) == 10
    assert torch.allclose(stream.test(2).inputs.flatten(1).double(), expected, atol=1e-6)  # float32 rounding


@settings(max_examples=30, deadline=None)
@given(places=st.integers(1, 60), tasks=st.integers(1, 5), seed=st.integers(0, 999))
def test_a_permutation_is_a_bijection(places: int, tasks: int, seed: int) -> None:
    for permutation in draw_permutations("own", tasks=tasks, places=places, seed=seed):
        assert sorted(permutation.tolist()) == list(range(places))


def test_permuting_moves_the_channels_of_a_pixel_together() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    x = np.concatenate([image, image + 100, image + 200], axis=1).repeat(4, axis=0)
    stream = streams.permuted(x, [0, 1] * 2, x, [0, 1] * 2, tasks=2, permutation=[3, 4], layout="channels-first")
    for index, number in enumerate([3, 4]):
        moved = (stream.test(index).inputs[0] * 255).round().long().flatten(1)
        places = torch.from_numpy(shuffled_places(number, 6))
        assert torch.equal(moved, torch.stack([places, places + 100, places + 200]))


def test_the_sample_order_of_the_hlop_code_is_one_shuffle_a_task_of_one_generator() -> None:
    x = np.arange(4 * 12, dtype=np.uint8).reshape(12, 4)
    options = {"tasks": 3, "permutation": [3, 4, 5], "seed": 2022}
    stream = streams.permuted(x, [0, 1] * 6, x, [0, 1] * 6, sample_order="hlop", **options)
    generator = np.random.RandomState(2022)
    for task in stream:
        expected = np.arange(12)
        generator.shuffle(expected)
        for _ in range(2):  # asking again changes nothing
            found = torch.cat([batch.sample_ids for batch in task.batches(5, 0)]) - 12 * task.index
            assert found.tolist() == expected.tolist()
        assert [len(batch) for batch in task.batches(5, 0)] == [5, 5, 2]
        later = torch.cat([batch.sample_ids for batch in task.batches(12, 1)]) - 12 * task.index
        assert later.tolist() != expected.tolist()
        assert sorted(later.tolist()) == list(range(12))
    own = streams.permuted(x, [0, 1] * 6, x, [0, 1] * 6, **options)
    assert own.digest != stream.digest
    named = streams.open("permuted-digits", seed=3, options={"sample_order": "hlop", "tasks": 2})
    assert named.digest != streams.open("permuted-digits", seed=3, options={"tasks": 2}).digest
    with pytest.raises(BadInput, match="sample order"):
        streams.permuted(x, [0, 1] * 6, x, [0, 1] * 6, sample_order="theirs", **options)


def test_tasks_of_a_permuted_stream_differ_and_the_first_is_permuted_too() -> None:
    x = np.tile(np.arange(64, dtype=np.uint8), (4, 1))
    stream = streams.permuted(x, [0, 1] * 2, x, [0, 1] * 2, tasks=3)
    rows = [tuple(stream.test(index).inputs[0].tolist()) for index in range(3)]
    assert len({*rows, tuple(torch.arange(64).div(255).tolist())}) == 4


def test_a_quarter_turn_is_anticlockwise_and_exact() -> None:
    draw = np.random.default_rng(0)
    for shape in ((3, 1, 6, 6), (2, 3, 5, 5)):
        images = torch.from_numpy(draw.integers(0, 256, shape, dtype=np.uint8))
        for turns in range(4):
            turned = Rotation(angle_degrees=90.0 * turns, background=0.0)(images)
            assert torch.equal(turned, torch.rot90(images, turns, dims=(-2, -1)))


def test_a_turn_and_back_nearly_returns_a_smooth_image() -> None:
    at = torch.linspace(-1, 1, 28)
    image = torch.exp(-8 * ((at[:, None] - 0.2) ** 2 + (at[None] + 0.1) ** 2))[None, None]
    back = Rotation(angle_degrees=-33.0, background=0.0)(Rotation(angle_degrees=33.0, background=0.0)(image))
    assert float((back - image).abs().max()) < 0.05  # twice h^2 / 8 times the curvature, 16 at most, along two axes


def test_an_oblong_image_keeps_its_scale_when_turned() -> None:
    image = torch.zeros(1, 1, 9, 31)
    image[..., 4, 12:19] = 1.0  # a bar 7 long in the middle of a wide image
    turned = Rotation(angle_degrees=90.0, background=0.0)(image)
    assert torch.allclose(turned[..., 1:8, 15], torch.ones(7), atol=1e-5)
    assert float(turned.sum()) == pytest.approx(7.0, abs=1e-3)


def test_what_a_turn_uncovers_is_background() -> None:
    dark = torch.full((1, 1, 8, 8), -1.0)
    assert torch.allclose(Rotation(angle_degrees=45.0, background=-1.0)(dark), dark)
    sequence = torch.rand(2, 3, 1, 8, 8)
    turned = Rotation(angle_degrees=20.0, background=0.0)(sequence)
    assert torch.equal(turned[1, 2], Rotation(angle_degrees=20.0, background=0.0)(sequence[1, 2][None])[0])


def test_default_angles_step_through_half_a_turn() -> None:
    x = np.zeros((4, 3, 3), np.uint8)
    stream = streams.rotated(x, [0, 1] * 2, x, [0, 1] * 2, tasks=4, setting="class-incremental")
    assert stream.class_names[::2] == ("0 degrees: 0", "45 degrees: 0", "90 degrees: 0", "135 degrees: 0")
    assert [task.classes for task in stream] == [(0, 1), (2, 3), (4, 5), (6, 7)]


@pytest.mark.parametrize(("side", "factor", "edge"), [(8, 4, 0), (16, 2, 0), (28, 1, 2), (32, 1, 0)])
def test_a_canvas_enlarges_by_whole_factors_pads_with_black_and_copies_grey(side: int, factor: int, edge: int) -> None:
    image = torch.randint(1, 256, (2, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    colour = Canvas(channels=3)(image)
    assert colour.shape == (2, 3, 32, 32)
    inner = colour[:, 1, edge : 32 - edge, edge : 32 - edge]
    assert torch.equal(inner[:, ::factor, ::factor], image[:, 0])
    assert torch.equal(inner[:, factor - 1 :: factor, factor - 1 :: factor], image[:, 0])
    assert int(colour.long().sum()) == 3 * factor**2 * int(image.long().sum())


def test_five_datasets_number_their_classes_and_name_a_stand_in() -> None:
    real_data()
    stream = streams.open("five-datasets", options={"train_per_class": 5, "test_per_class": 5})
    assert (stream.setting, len(stream), len(stream.class_names)) == ("task-incremental", 5, 50)
    assert stream.name == "five-datasets-with-usps"
    assert [stream.class_names[10 * index + 3] for index in range(5)] == [
        "cifar10: cat", "mnist: 3", "usps: 3", "fashion-mnist: dress", "notmnist: D",
    ]  # fmt: skip
    assert [task.classes[0] for task in stream] == [0, 10, 20, 30, 40]
    ids = [number for task in stream for batch in task.batches(50, 0) for number in batch.sample_ids.tolist()]
    assert len(set(ids)) == len(ids) == 250


def test_digit_domains_share_labels_and_one_scale() -> None:
    real_data()
    options = {"datasets": "mnist,usps,digits", "train_per_class": "4"}
    stream = streams.open("five-datasets", setting="domain-incremental", options=options)
    assert stream.name == "datasets-mnist-usps-digits"
    assert stream.shape.input_shape == (1, 32, 32)
    assert stream.class_names[7] == "7/7/7"
    tops = [float(stream.test(index).inputs.max()) for index in range(3)]
    assert tops == [1.0, 1.0, 1.0]
    assert all(float(stream.test(index).inputs.min()) == 0.0 for index in range(3))


def test_published_constants_of_five_datasets_are_each_sets_own() -> None:
    real_data()
    options = {"datasets": "mnist,fashion-mnist", "normalise": "published", "train_per_class": 2}
    stream = streams.open("five-datasets", options=options)
    for index, (mean, deviation) in enumerate([(0.1, 0.2752), (0.2190, 0.3318)]):
        assert float(stream.test(index).inputs.min()) == pytest.approx(-mean / deviation, rel=1e-5)
        assert float(stream.test(index).inputs.max()) == pytest.approx((1 - mean) / deviation, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options"), [("permuted-digits", {"tasks": 2}), ("rotated-digits", {"tasks": 2}), ("split-digits", {})]
)
def test_test_samples_made_a_few_at_a_time_are_those_made_all_at_once(name: str, options: dict) -> None:
    stream = streams.open(name, seed=1, options=options)
    every, few = stream.test(1), stream.tests(1)
    places = torch.tensor([7, 0, 3, 3])
    some = few.at(places)
    assert len(few) == len(every)
    assert torch.equal(some.inputs, every.inputs[places])
    assert torch.equal(some.labels, every.labels[places])
    assert torch.equal(some.sample_ids, every.sample_ids[places])
    assert some.inputs.dtype == torch.float32
