"""Are intervals and their variation what their formulas say, and does none bridge two samples?"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurocl.primitives.checks import BadInput
from neurocl.record import analysis

draw = np.random.default_rng(0)
rasters = arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 5)))
positive = arrays(np.float64, st.integers(2, 30), elements=st.floats(0.1, 100))


def test_intervals_of_one_train_worked_by_hand():
    assert analysis.interspike_intervals([1, 4, 5, 11]).tolist() == [3, 1, 6]
    assert analysis.interspike_intervals([7.5]).size == 0
    assert analysis.interspike_intervals([]).size == 0


def test_variation_of_two_intervals_worked_by_hand():
    assert analysis.coefficient_of_variation([1, 3]) == pytest.approx(1 / 2)
    assert analysis.cv2([1, 3]) == pytest.approx(2 * 2 / 4)
    assert analysis.local_variation([1, 3]) == pytest.approx(3 * (2 / 4) ** 2)


def test_a_clock_does_not_vary():
    for measure in (analysis.coefficient_of_variation, analysis.cv2, analysis.local_variation):
        assert measure(np.full(10, 5.0)) == 0


@pytest.mark.parametrize("shape", [1, 2, 4])
def test_gamma_intervals_vary_as_theory_says(shape):
    intervals = draw.gamma(shape, 10, 100_000)
    assert analysis.coefficient_of_variation(intervals) == pytest.approx(shape**-0.5, rel=0.02)
    assert analysis.local_variation(intervals) == pytest.approx(3 / (2 * shape + 1), rel=0.02)
    if shape == 1:  # a Poisson process
        assert analysis.cv2(intervals) == pytest.approx(1, rel=0.02)


def test_a_drift_of_the_rate_raises_cv_and_hardly_the_local_measures():
    intervals = draw.exponential(1, 50_000) * np.linspace(1, 20, 50_000)
    assert analysis.coefficient_of_variation(intervals) > 1.2
    assert analysis.cv2(intervals) == pytest.approx(1, rel=0.02)
    assert analysis.local_variation(intervals) == pytest.approx(1, rel=0.03)


@given(positive, st.floats(0.01, 100))
def test_variation_does_not_depend_on_the_unit_of_time(intervals, factor):
    for measure in (analysis.coefficient_of_variation, analysis.cv2, analysis.local_variation):
        assert measure(factor * intervals) == pytest.approx(measure(intervals), abs=1e-9)


@given(positive)
def test_variation_is_that_of_elephant(intervals):
    statistics = pytest.importorskip("elephant.statistics")
    variation = pytest.importorskip("scipy.stats").variation
    assert analysis.coefficient_of_variation(intervals) == pytest.approx(variation(intervals), abs=1e-12)
    assert analysis.cv2(intervals) == pytest.approx(statistics.cv2(intervals), abs=1e-12)
    assert analysis.local_variation(intervals) == pytest.approx(statistics.lv(intervals), abs=1e-12)


def test_trains_of_a_raster_worked_by_hand():
    raster = np.zeros((2, 5, 3), bool)
    raster[0, [1, 4], 0] = raster[0, 2, 2] = raster[1, [0, 3], 2] = True
    times, neurons, samples = analysis.spike_trains(raster, dt_ms=2.0)
    assert times.tolist() == [2, 8, 4, 0, 6]
    assert neurons.tolist() == [0, 0, 2, 2, 2]
    assert samples.tolist() == [0, 0, 0, 1, 1]
    assert [train.tolist() for train in analysis.trains_of_neuron(raster, 2, dt_ms=2.0)] == [[4], [0, 6]]
    assert [train.tolist() for train in analysis.trains_of_sample(raster, 0, dt_ms=2.0)] == [[2, 8], [], [4]]


def test_no_interval_and_no_pair_of_intervals_bridges_two_samples():
    raster = np.zeros((2, 6, 1), bool)
    raster[0, [0, 1, 5]] = raster[1, [0, 2]] = True  # intervals 1 and 4, then 2
    found = analysis.intervals_by_neuron(raster, dt_ms=1.0)
    assert found.intervals_ms.tolist() == [1, 4, 2]
    assert found.sample_ids.tolist() == [0, 0, 1]
    assert analysis.cv2_by_neuron(raster, dt_ms=1.0) == pytest.approx(2 * 3 / 5)  # the pair 4 and 2 is none
    assert analysis.local_variation_by_neuron(raster, dt_ms=1.0) == pytest.approx(3 * (3 / 5) ** 2)
    expected = np.std([1, 4, 2]) / np.mean([1, 4, 2])
    assert analysis.coefficient_of_variation_by_neuron(raster, dt_ms=1.0) == pytest.approx(expected)


@given(rasters)
def test_each_neuron_gets_what_its_own_trains_give(raster):
    found = analysis.intervals_by_neuron(raster, dt_ms=0.5)
    cv = analysis.coefficient_of_variation_by_neuron(raster, dt_ms=0.5)
    local = analysis.local_variation_by_neuron(raster, dt_ms=0.5)
    for neuron in range(raster.shape[2]):
        trains = analysis.trains_of_neuron(raster, neuron, dt_ms=0.5)
        own = [analysis.interspike_intervals(train) for train in trains]
        together = np.concatenate(own)
        assert found.intervals_ms[found.neuron_ids == neuron].tolist() == together.tolist()
        if len(together) < 2:
            assert np.isnan(cv[neuron])
        else:
            assert cv[neuron] == pytest.approx(analysis.coefficient_of_variation(together), abs=1e-12)
        values = [analysis.local_variation(each) for each in own if len(each) > 1]
        weights = [len(each) - 1 for each in own if len(each) > 1]
        expected = np.average(values, weights=weights) if values else np.nan
        assert local[neuron] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(rasters, st.randoms(use_true_random=False))
def test_permuting_neurons_permutes_what_they_get(raster, random):
    order = random.sample(range(raster.shape[2]), raster.shape[2])
    for measure in (analysis.coefficient_of_variation_by_neuron, analysis.cv2_by_neuron, analysis.firing_rates):
        np.testing.assert_array_equal(measure(raster[:, :, order], dt_ms=1.0), measure(raster, dt_ms=1.0)[order])


def test_torch_tensors_floats_and_lists_are_taken_alike():
    raster = torch.rand(3, 20, 4) < 0.4
    expected = analysis.cv2_by_neuron(raster.numpy(), dt_ms=1.0)
    for same in (raster, raster.float().requires_grad_(), raster.bfloat16(), raster.int().tolist()):
        np.testing.assert_array_equal(analysis.cv2_by_neuron(same, dt_ms=1.0), expected)
    assert np.isfinite(expected).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis.interspike_intervals([3, 1]), "times_ms must be in the order of time"),
        (lambda: analysis.interspike_intervals([[1, 2]]), r"times_ms must have the axes \[spike\]; got shape \[1, 2\]"),
        (lambda: analysis.interspike_intervals([1, np.nan]), "times_ms must be finite; 1 of 2"),
        (lambda: analysis.interspike_intervals(["a"]), "times_ms must hold real numbers"),
        (lambda: analysis.cv2([3]), "at least 2 intervals"),
        (lambda: analysis.local_variation([3, 0]), "intervals must be above 0; got 0"),
        (
            lambda: analysis.spike_trains(np.ones((2, 3)), dt_ms=1),
            r"raster must have the axes \[sample, time, n",
        ),
        (lambda: analysis.spike_trains(np.ones((2, 0, 3)), dt_ms=1), "at least one time"),
        (lambda: analysis.spike_trains(np.full((1, 2, 3), 0.5), dt_ms=1), "raster must hold 0 and 1 only"),
        (lambda: analysis.spike_trains([[[1], [1, 0]]], dt_ms=1), "rows of equal length"),
        (lambda: analysis.spike_trains(np.ones((1, 2, 3)), dt_ms=0), "dt_ms must be a finite number greater than 0"),
        (
            lambda: analysis.trains_of_neuron(np.ones((1, 2, 3)), 3, dt_ms=1),
            "neuron must be a whole number from 0 to",
        ),
        (lambda: analysis.trains_of_sample(np.ones((1, 2, 3)), -1, dt_ms=1), "sample must be a whole number from 0 to"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(BadInput, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
