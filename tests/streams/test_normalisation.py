"""Normalisation: constants, or statistics of the first task alone."""

import numpy as np
import pytest
import torch

from neurocl import streams
from neurocl.streams import normalisation

Y = np.arange(40) % 4


def inputs_of(stream: streams.Stream, index: int) -> np.ndarray:
    """All training inputs of a task as they lie."""
    return torch.cat([batch.inputs for batch in stream.task(index).batches(100, -1)]).double().numpy()


def test_bytes_go_to_0_and_1_whatever_values_occur() -> None:
    x = np.random.default_rng(0).integers(10, 90, (40, 5, 5), dtype=np.uint8)
    stream = streams.split(x, Y, x, Y)
    assert np.allclose(inputs_of(stream, 0)[:, 0], x[Y < 2] / 255, atol=1e-7)


def test_whole_numbers_share_the_range_of_the_first_task() -> None:
    x = np.random.default_rng(0).integers(0, 17, (40, 6))
    x[0, 0], x[1, 0], x[:, 5] = 0, 16, 3
    x[Y >= 2] += 5
    for kind in (np.int64, np.float64):
        stream = streams.split(x.astype(kind), Y, x.astype(kind), Y)
        assert np.allclose(inputs_of(stream, 0), x[Y < 2] / 16, atol=1e-6)
        assert inputs_of(stream, 1).max() > 1


def test_features_of_other_vectors_have_each_their_own_range() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)) * [1, 1000, 1e-4] + [0, 5000, 3]
    x[:, 2] = 3.5
    x[30, 2] = 4.5  # varies only in the second task: no scale of its own in the first
    stream = streams.split(x, Y, x, Y)
    first = inputs_of(stream, 0)
    assert np.allclose(first[:, :2].min(0), 0, atol=1e-6)
    assert np.allclose(first[:, :2].max(0), 1, atol=1e-6)
    assert np.allclose(first[:, 2], 0, atol=1e-6)
    assert 0 < inputs_of(stream, 1)[:, 2].max() < 0.001  # against the widest feature, instead of a division by zero


def test_float_images_share_one_range_and_unit_data_stay_as_they_are() -> None:
    images = np.random.default_rng(0).random((40, 3, 4, 4)) * [[[[2.0]], [[4.0]], [[8.0]]]] - 1
    stream = streams.split(images, Y, images, Y)
    low, high = images[Y < 2].min(), images[Y < 2].max()
    assert np.allclose(inputs_of(stream, 0), (images[Y < 2] - low) / (high - low), atol=1e-6)
    unit = np.random.default_rng(0).random((40, 7)) * 0.4 + 0.3
    assert np.allclose(inputs_of(streams.split(unit, Y, unit, Y), 0), unit[Y < 2], atol=1e-7)


@pytest.mark.parametrize("shape", [(5,), (3, 4, 4), (6, 5)])
def test_standardising_gives_the_first_task_mean_0_and_deviation_1(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalisation, "ROWS_AT_ONCE", 7)
    x = np.random.default_rng(0).normal(size=(40, *shape)) * 20 + 1e4
    layout = "sequence" if len(shape) == 2 else "auto"
    stream = streams.split(x, Y, x, Y, normalise="standardise", layout=layout)
    first = inputs_of(stream, 0)
    axes = {(5,): (0,), (3, 4, 4): (0, 2, 3), (6, 5): (0, 1)}[shape]
    assert np.allclose(first.mean(axes), 0, atol=1e-3)  # float32 inputs of size 1e4
    assert np.allclose(first.std(axes), 1, atol=1e-3)


def test_a_given_mean_and_deviation_apply_after_bytes_went_to_unit_and_to_raw_floats() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
    mean, deviation = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    stream = streams.split(images, Y, images, Y, normalise=(mean, deviation))  # type: ignore[arg-type]
    expected = (images[Y < 2] / 255 - np.array(mean)[:, None, None]) / np.array(deviation)[:, None, None]
    assert np.allclose(inputs_of(stream, 0), expected, atol=1e-6)
    floats = images / 10.0
    stream = streams.split(floats, Y, floats, Y, normalise=(2.0, 4.0))
    assert np.allclose(inputs_of(stream, 0), (floats[Y < 2] - 2) / 4, atol=1e-5)


def test_constant_data_become_zeros() -> None:
    x = np.full((40, 3), 7.25)
    for way in ("unit", "standardise"):
        assert (inputs_of(streams.split(x, Y, x, Y, normalise=way), 0) == 0).all()


def test_scaling_floats_leaves_them_as_they_are() -> None:
    scale = normalisation.Scale(offset=torch.ones(1), divisor=torch.full((1,), 4.0), recipe="test")
    raw = torch.tensor([[5.0, 9.0]])
    assert scale(raw).tolist() == [[1.0, 2.0]]
    assert raw.tolist() == [[5.0, 9.0]]
