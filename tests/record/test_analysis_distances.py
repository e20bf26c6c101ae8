"""Are spike-train distances metrics, and those of the papers and of Elephant?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocl.primitives.checks import BadInput
from neurocl.record import analysis

trains = st.lists(st.integers(0, 60), max_size=8).map(sorted)  # whole numbers: many coincidences, and doubles
three = st.tuples(trains, trains, trains)


def both(group):
    yield analysis.victor_purpura_distances(group, cost_per_ms=0.13)
    yield analysis.van_rossum_distances(group, tau_ms=9.0)


def test_victor_purpura_worked_by_hand():
    # 10 to 12 is moved (0.2), 20 to 24 too (0.4), 30 stays, 90 is removed and added (2) as moving it by 60 costs 6
    distance = analysis.victor_purpura_distance([10, 20, 30, 90], [12, 24, 30, 150], cost_per_ms=0.1)
    assert distance == pytest.approx(2.6)
    assert analysis.victor_purpura_distance([], [1, 2, 3], cost_per_ms=0.1) == 3


def test_victor_purpura_at_the_ends_of_its_cost():
    group = [[1, 2, 3], [2, 3], [], [1, 2, 3]]
    assert analysis.victor_purpura_distances(group, cost_per_ms=0)[0].tolist() == [0, 1, 3, 0]
    assert analysis.victor_purpura_distances(group, cost_per_ms=math.inf)[0].tolist() == [0, 1, 3, 0]
    assert analysis.victor_purpura_distance([1, 2], [1, 2.5], cost_per_ms=math.inf) == 2


def test_van_rossum_worked_by_hand():
    group = [[], [5], [5, 1e6], [5 + 10 * math.log(2)], [5, 5]]
    distances = analysis.van_rossum_distances(group, tau_ms=10.0)
    # squared: one spike 1, two far apart 2, two moved apart to half 1 + 1 - 2 / 2, two at once 2² - 0
    assert np.square(distances[0]) == pytest.approx([0, 1, 2, 1, 4])
    assert distances[1, 3] == pytest.approx(1)


def test_van_rossum_is_its_integral():
    first, second, tau = [3.0, 10.0, 11.0], [4.0, 20.0], 5.0
    t = np.arange(0, 200, 0.001) + 0.0005
    f, g = (sum(np.where(t >= s, np.exp(-(t - s) / tau), 0) for s in train) for train in (first, second))
    expected = math.sqrt(2 / tau * np.square(f - g).sum() * 0.001)
    assert analysis.van_rossum_distance(first, second, tau_ms=tau) == pytest.approx(expected, rel=1e-3)


def test_van_rossum_at_the_ends_of_its_time_constant():
    group = [[1, 2, 3], [2, 3.5], []]
    assert analysis.van_rossum_distances(group, tau_ms=math.inf)[0] == pytest.approx([0, 1, 3])
    assert np.square(analysis.van_rossum_distances(group, tau_ms=1e-6)[0]) == pytest.approx([0, 3, 3])


@given(three)
def test_distances_are_metrics(group):
    for d in both(group):
        np.testing.assert_array_equal(d, d.T)
        assert (d.diagonal() == 0).all()
        assert (d >= 0).all()
        assert d[0, 2] <= d[0, 1] + d[1, 2] + 1e-6
        assert (group[0] == group[1]) == (d[0, 1] < 1e-6)


@given(three, st.floats(0.5, 4), st.integers(0, 40))
def test_distances_do_not_depend_on_the_start_or_on_the_unit_of_time(group, factor, shift):
    moved = [[factor * (time + shift) for time in train] for train in group]
    again = analysis.victor_purpura_distances(moved, cost_per_ms=0.13 / factor)
    np.testing.assert_allclose(again, analysis.victor_purpura_distances(group, cost_per_ms=0.13), atol=1e-9)
    again = analysis.van_rossum_distances(moved, tau_ms=9.0 * factor)
    np.testing.assert_allclose(again, analysis.van_rossum_distances(group, tau_ms=9.0), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The 'copy' argument in Quantity")  # neo's, not ours
def test_distances_are_those_of_elephant():
    dissimilarity = pytest.importorskip("elephant.spike_train_dissimilarity")
    neo, pq = pytest.importorskip("neo"), pytest.importorskip("quantities")
    draw = np.random.default_rng(0)
    group = [np.sort(draw.uniform(0, 100, n)) for n in (0, 1, 4, 7, 7, 12)]
    theirs = [neo.SpikeTrain(train, units="ms", t_stop=100) for train in group]
    ours = analysis.victor_purpura_distances(group, cost_per_ms=0.1)
    np.testing.assert_allclose(ours, dissimilarity.victor_purpura_distance(theirs, 0.1 / pq.ms), atol=1e-9)
    ours = analysis.van_rossum_distances(group, tau_ms=10.0)
    np.testing.assert_allclose(ours, dissimilarity.van_rossum_distance(theirs, 10 * pq.ms), atol=1e-6)
    assert ours.max() > 2


@pytest.mark.parametrize("group", [[[]], [[], []], [[4.0]]])
def test_silent_and_single_trains_have_distances(group):
    for d in both(group):
        assert d.tolist() == np.zeros((len(group), len(group))).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis.van_rossum_distances([], tau_ms=1.0), "at least one spike train"),
        (lambda: analysis.van_rossum_distance([1], [2], tau_ms=0), "tau_ms must be a finite number greater than 0"),
        (lambda: analysis.victor_purpura_distance([1], [3, 2], cost_per_ms=1), r"trains\[1\] must be in the order"),
        (lambda: analysis.victor_purpura_distance([1], [2], cost_per_ms=-1), "cost_per_ms must be a finite number at"),
        (lambda: analysis.victor_purpura_distance([1], [np.inf], cost_per_ms=1), r"trains\[1\] must be finite"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(BadInput, match=message):
        call()
