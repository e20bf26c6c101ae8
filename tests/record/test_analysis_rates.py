"""Are counts, rates, their spread and their correlation what their definitions say?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurocl.primitives.checks import BadInput
from neurocl.record import analysis

draw = np.random.default_rng(0)
RASTER = np.array([[[1, 0], [0, 0], [1, 0], [1, 1]], [[0, 0], [0, 0], [0, 0], [0, 1]]])  # two samples of four steps
counts = arrays(np.int64, st.tuples(st.integers(2, 12), st.integers(1, 5)), elements=st.integers(0, 9))


def test_counts_and_rates_worked_by_hand():
    assert analysis.spike_counts(RASTER, bin_ms=4, dt_ms=2).tolist() == [[[1, 0], [2, 1]], [[0, 0], [0, 1]]]
    assert analysis.firing_rates_by_sample(RASTER, dt_ms=2).tolist() == [[375, 125], [0, 125]]
    assert analysis.firing_rates(RASTER, dt_ms=2).tolist() == [187.5, 125]
    assert analysis.population_rate(RASTER, dt_ms=2).tolist() == [[250, 0, 250, 500], [0, 0, 0, 250]]
    assert analysis.fraction_silent(RASTER) == 0
    assert analysis.fraction_silent(np.concatenate([RASTER, np.zeros_like(RASTER)], axis=2)) == 0.5


def test_rates_of_many_samples_do_not_overflow_small_counters():
    assert analysis.firing_rates(np.ones((2, 300, 1), bool), dt_ms=1).tolist() == [1000]
    assert analysis.population_rate(np.ones((1, 2, 300), bool), dt_ms=1).tolist() == [[1000, 1000]]


def test_smoothing_keeps_the_mean_of_each_sample_and_lowers_its_peak():
    rate = analysis.population_rate(RASTER, dt_ms=2)
    smooth = analysis.smoothed_rate(rate, width_ms=2, dt_ms=2)
    assert smooth.mean(axis=1) == pytest.approx(rate.mean(axis=1))
    assert (smooth.max(axis=1) < rate.max(axis=1)).all()


def test_fano_factor_worked_by_hand():
    values = analysis.fano_factor([[1, 0, 2], [3, 0, 2]])
    assert values[[0, 2]].tolist() == [0.5, 0]
    assert np.isnan(values[1])
    assert float(analysis.fano_factor([1, 3])) == 0.5


def test_a_poisson_process_has_a_fano_factor_of_one_and_a_clock_of_none():
    poisson = draw.poisson(4, (2000, 50))
    assert analysis.fano_factor(poisson).mean() == pytest.approx(1, abs=0.02)
    assert analysis.fano_factor(draw.binomial(10, 0.8, (2000, 50))).mean() == pytest.approx(0.2, abs=0.02)


def test_fano_factor_is_that_of_elephant():
    statistics = pytest.importorskip("elephant.statistics")
    trains = [np.sort(draw.uniform(0, 100, n)) for n in (3, 5, 4, 9)]
    assert float(analysis.fano_factor([3, 5, 4, 9])) == pytest.approx(statistics.fanofactor(trains))


@given(counts)
def test_correlations_are_those_of_numpy_where_neurons_vary(values):
    found = analysis.pairwise_correlation(values)
    varies = values.std(axis=0) > 0
    assert np.isnan(found[~varies]).all()
    if varies.any():
        expected = np.atleast_2d(np.corrcoef(values[:, varies].T))
        np.testing.assert_allclose(found[np.ix_(varies, varies)], expected, atol=1e-9)
    np.testing.assert_array_equal(found, found.T)


def test_samples_and_bins_are_both_observations():
    values = draw.poisson(3, (5, 4, 3))
    np.testing.assert_array_equal(
        analysis.pairwise_correlation(values), analysis.pairwise_correlation(values.reshape(20, 3))
    )


def test_a_shared_signal_correlates_neurons_and_its_removal_leaves_the_noise():
    labels = np.repeat([3, 8], 500)
    noise = draw.normal(size=(1000, 2)) @ np.array([[1, -0.6], [0, 0.8]])  # correlated by -0.6
    activity = 10 * (labels == 8)[:, None] + noise
    assert analysis.pairwise_correlation(activity)[0, 1] > 0.9
    assert analysis.noise_correlation(activity, labels)[0, 1] == pytest.approx(-0.6, abs=0.07)


def test_noise_correlation_has_no_value_without_noise():
    assert np.isnan(analysis.noise_correlation([[0.1, 1], [0.1, 1], [0.7, 2], [0.7, 2]], [0, 0, 1, 1])).all()


def test_synchrony_is_one_in_step_and_falls_with_the_root_of_independent_neurons():
    same = np.repeat(draw.poisson(2, (100, 1)), 7, axis=1)
    assert analysis.synchrony(same) == pytest.approx(1)
    assert analysis.synchrony(draw.poisson(2, (4000, 25))) == pytest.approx(1 / 5, abs=0.02)


def test_a_correlogram_worked_by_hand():
    found = analysis.cross_correlogram(RASTER, (0, 1), max_lag_ms=6, dt_ms=2)
    assert found.lags_ms.tolist() == [-6, -4, -2, 0, 2, 4, 6]
    assert found.coincidences.tolist() == [0, 0, 0, 1, 1, 0, 1]
    assert found.rates_hz[3:].tolist() == pytest.approx([500 / 3, 250, 0, 500])
    own = analysis.autocorrelogram(RASTER, 0, max_lag_ms=4, dt_ms=2)
    assert own.coincidences.tolist() == [1, 1, 3, 1, 1]


def test_turning_the_pair_round_mirrors_the_coincidences():
    raster = draw.random((5, 30, 2)) < 0.3
    one = analysis.cross_correlogram(raster, (0, 1), max_lag_ms=10, dt_ms=1).coincidences
    other = analysis.cross_correlogram(raster, (1, 0), max_lag_ms=10, dt_ms=1).coincidences
    assert one.tolist() == other[::-1].tolist()
    assert one.sum() > 0


def test_the_correlogram_of_independent_trains_is_flat_at_the_rate_of_the_target():
    raster = draw.random((400, 50, 2)) < np.array([0.3, 0.1])
    rates = analysis.cross_correlogram(raster, (0, 1), max_lag_ms=40, dt_ms=1).rates_hz
    assert rates == pytest.approx(100, rel=0.2)
    assert rates.mean() == pytest.approx(100, rel=0.03)


@pytest.mark.filterwarnings("ignore:The 'copy' argument in Quantity")  # neo's, not ours
def test_coincidences_are_those_of_elephant():
    correlation = pytest.importorskip("elephant.spike_train_correlation")
    conversion, neo = pytest.importorskip("elephant.conversion"), pytest.importorskip("neo")
    raster = draw.random((1, 60, 2)) < 0.3
    first, second = (
        conversion.BinnedSpikeTrain(
            neo.SpikeTrain(np.flatnonzero(raster[0, :, n]) + 0.5, units="ms", t_stop=60), n_bins=60
        )
        for n in (0, 1)
    )
    theirs, lags = correlation.cross_correlation_histogram(first, second, window=[-8, 8])
    ours = analysis.cross_correlogram(raster, (0, 1), max_lag_ms=8, dt_ms=1)
    assert ours.lags_ms.tolist() == lags.tolist()
    assert ours.coincidences.tolist() == theirs.magnitude.flatten().tolist()


def test_sparseness_tells_a_lone_neuron_from_a_lone_sample():
    one_neuron = np.zeros((4, 5))
    one_neuron[:, 2] = 3
    assert analysis.population_sparseness(one_neuron) == pytest.approx(1)
    assert analysis.lifetime_sparseness(one_neuron) == pytest.approx(0)
    assert analysis.lifetime_sparseness(one_neuron.T) == pytest.approx(1)
    assert analysis.population_sparseness(one_neuron[::-1]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis.spike_counts(RASTER, bin_ms=6, dt_ms=2), r"whole bins; .* give raster\[:, :3\]"),
        (lambda: analysis.spike_counts(RASTER, bin_ms=3, dt_ms=2), "bin_ms must be a whole number of steps"),
        (lambda: analysis.spike_counts(RASTER, bin_ms=0, dt_ms=2), "at least 1; got 0"),
        (lambda: analysis.fano_factor([[1, 2]]), "at least 2 samples"),
        (lambda: analysis.fano_factor([-1, 2]), "the least count -1"),
        (lambda: analysis.fano_factor(np.float64(3) * np.ones(())), r"\[sample\]; got shape \[\]"),
        (lambda: analysis.pairwise_correlation([[1, 2]]), "at least 2 observations"),
        (lambda: analysis.pairwise_correlation([1, 2]), "none empty; got shape"),
        (lambda: analysis.noise_correlation([[1, 2], [3, 4]], [0]), "labels must name each of 2 samples; got 1"),
        (lambda: analysis.noise_correlation([[1, 2], [3, 4]], [0, 0.5]), "labels must be whole numbers"),
        (lambda: analysis.synchrony([[1, 2], [1, 2]]), "a neuron whose counts vary"),
        (lambda: analysis.synchrony(np.full((7, 3), 0.1)), "neuron whose counts vary"),  # but for rounding
        (lambda: analysis.autocorrelogram(RASTER, 0, max_lag_ms=8, dt_ms=2), "shorter than a sample of 8 ms; got 8"),
        (lambda: analysis.autocorrelogram(RASTER, 2, max_lag_ms=2, dt_ms=2), "from 0 to 1; got 2"),
        (lambda: analysis.smoothed_rate([[1, 2]], width_ms=0, dt_ms=1), "width_ms must be a finite number greater"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(BadInput, match=message):
        call()
