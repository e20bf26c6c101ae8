"""Do dissimilarities, similarities of codes and drifts agree with what their definitions give by hand?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurocl.primitives.checks import BadInput
from neurocl.record import analysis
from neurocl.record.analysis import NoValue

draw = np.random.default_rng(0)
TURNED = np.linalg.qr(draw.normal(size=(6, 6)))[0]
activities = arrays(np.float64, (7, 6), elements=st.floats(-5, 5, width=16))


def moved(of, by):
    """Activity after a drift of this size."""
    step = draw.normal(size=of.shape)
    return of + by * np.linalg.norm(of) * step / np.linalg.norm(step)


def test_dissimilarities_worked_by_hand():
    activity = [[1, 2, 3], [10, 20, 30], [3, 2, 1], [0, 0, 0]]
    rdm = analysis.representational_dissimilarity(activity)
    assert rdm[0, 1] == pytest.approx(0, abs=1e-12)
    assert rdm[0, 2] == pytest.approx(2)
    assert np.isnan(rdm[3, :3]).all()
    assert rdm.diagonal().tolist() == [0, 0, 0, 0]
    assert analysis.representational_dissimilarity(activity, metric="euclidean")[0, 2] == pytest.approx(math.sqrt(8))
    assert analysis.representational_dissimilarity(activity, metric="cityblock")[0, 3] == 6
    assert analysis.representational_dissimilarity([[1, 2]]).tolist() == [[0]]


@given(activities)
def test_correlation_distance_is_one_less_the_correlation(activity):
    rdm = analysis.representational_dissimilarity(activity)
    varies = np.ptp(activity, axis=1) > 0
    if varies.sum() > 1:
        expected = 1 - np.corrcoef(activity[varies])
        np.testing.assert_allclose(rdm[np.ix_(varies, varies)], expected, atol=1e-7)


def test_classes_are_averaged_before_they_are_compared():
    means = analysis.class_means([[0, 2], [4, 6], [1, 1]], [7, 7, 2])
    assert means.classes.tolist() == [2, 7]
    assert means.activity.tolist() == [[1, 1], [2, 4]]
    rdm = analysis.class_dissimilarity([[0, 2], [4, 6], [1, 1]], [7, 7, 2], metric="euclidean")
    assert rdm[0, 1] == pytest.approx(math.sqrt(10))


def test_similarity_of_matrices_is_by_rank_and_leaves_out_what_has_no_value():
    first = analysis.representational_dissimilarity(draw.normal(size=(6, 9)))
    assert analysis.rdm_similarity(first, np.exp(3 * first)) == pytest.approx(1)
    assert analysis.rdm_similarity(first, -first) == pytest.approx(-1)
    holes = first.copy()
    holes[2] = holes[:, 2] = np.nan
    assert analysis.rdm_similarity(first, holes) == pytest.approx(1)
    several = [analysis.representational_dissimilarity(draw.normal(size=(20, 9))) for _ in range(10)]
    assert abs(np.mean([analysis.rdm_similarity(several[0], other) for other in several[1:]])) < 0.1


def test_cka_worked_by_hand():
    first = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert analysis.linear_cka(first, first[:, :1]) == pytest.approx(1 / math.sqrt(2))  # 4 / (√8 · 2)
    assert analysis.linear_cka(first[:, :1], first[:, 1:]) == 0


@given(activities, st.floats(0.01, 100))
def test_cka_is_blind_to_turning_scaling_and_the_mean_and_symmetric(activity, factor):
    if np.ptp(activity, axis=0).max() < 0.1:
        return
    other = np.random.default_rng(1).normal(size=(7, 4))
    value = analysis.linear_cka(activity, other)
    assert analysis.linear_cka(factor * activity @ TURNED + 3, other) == pytest.approx(value, abs=1e-6)
    assert analysis.linear_cka(other, activity) == pytest.approx(value, abs=1e-9)
    assert analysis.linear_cka(activity, activity) == pytest.approx(1)


def test_cka_by_samples_is_cka_by_neurons():
    first, second = draw.normal(size=(20, 15)), draw.normal(size=(20, 15)) + 1
    by_neurons = analysis.linear_cka(first, second)
    by_samples = analysis.linear_cka(*(np.pad(a, [(0, 0), (0, 10)]) for a in (first, second)))
    assert by_neurons == pytest.approx(by_samples)


def test_drift_worked_by_hand():
    before = np.array([[3.0, 0], [0, 4]])
    assert analysis.activity_drift(before, before) == 0
    assert analysis.activity_drift(before, 0 * before) == 1
    assert analysis.activity_drift(before, before[:, ::-1]) == pytest.approx(math.sqrt(2))
    assert analysis.activity_drift(before, moved(before, 0.3)) == pytest.approx(0.3)
    assert analysis.weight_drift([before, before, 3 * before]).tolist() == [0, 0, 2]


def history_of(tasks, drift):
    """Activity of each task after each, which moves by ``drift`` with every later task."""
    rows = [[draw.normal(size=(10, 8)) for _ in range(tasks)]]
    for after in range(1, tasks):
        rows.append([moved(rows[-1][j], drift) if j < after else rows[0][j] for j in range(tasks)])
    return [[row[j] if j <= i else None for j in range(tasks)] for i, row in enumerate(rows)]


def test_what_later_tasks_did_is_compared_with_the_end_of_the_task_itself():
    history = history_of(3, 0.2)
    drift = analysis.drift_matrix(history)
    assert drift.diagonal().tolist() == [0, 0, 0]
    assert np.isnan(drift[np.triu_indices(3, 1)]).all()
    assert drift[2, 0] == pytest.approx(analysis.activity_drift(history[0][0], history[2][0]))
    assert drift[1, 0] == pytest.approx(0.2)
    assert analysis.cka_matrix(history).diagonal() == pytest.approx(1)
    similar = analysis.rdm_similarity_matrix(history, metric="euclidean")
    assert similar.diagonal() == pytest.approx(1)
    assert similar[2, 0] < similar[0, 0]


def test_what_a_single_task_did_is_compared_with_the_task_before():
    history = history_of(3, 0.2)
    drift = analysis.by_each_task(history, analysis.activity_drift)
    assert drift[2, 0] == pytest.approx(analysis.activity_drift(history[1][0], history[2][0]))
    assert np.isfinite(drift).tolist() == [[False] * 3, [True, False, False], [True, True, False]]
    similar = analysis.rdm_similarity_by_task(history)
    assert np.isfinite(similar).tolist() == np.isfinite(drift).tolist()


@pytest.mark.usefixtures("as_installed")
def test_silence_and_gaps_are_not_a_number_and_mistakes_still_are_errors():
    history = history_of(3, 0.2)
    history[0][0] = np.zeros((10, 8))
    history[1][1] = None
    assert np.isnan(analysis.drift_matrix(history)[:, :2]).all()
    history[0][0] = np.full((10, 8), np.inf)
    with pytest.raises(BadInput, match="must be finite"):
        analysis.drift_matrix(history)
    with pytest.raises(BadInput, match="no metric named 'wrong'"):
        analysis.rdm_similarity_matrix(history_of(2, 0.1), metric="wrong")


def test_tasks_in_separate_neurons_do_not_overlap_and_equal_ones_do():
    one, other = np.zeros((2, 20, 8))
    one[:, :3], other[:, 4:6] = draw.normal(size=(20, 3)), draw.normal(size=(20, 2))
    tasks = [one, other, one + other, np.zeros((20, 8))]
    assert analysis.subspace_sizes(tasks, share=1) == [3, 2, 5, 0]
    expected = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1]])
    assert analysis.overlap_matrix(tasks, share=1)[:3, :3] == pytest.approx(expected, abs=1e-9)
    assert analysis.angle_matrix(tasks, share=1)[:3, :3] == pytest.approx((1 - expected) * math.pi / 2, abs=1e-6)
    captured = analysis.captured_matrix(tasks, share=1)
    assert captured[0, :3] == pytest.approx([1, 0, 1], abs=1e-9)
    assert 0.2 < captured[2, 1] < 0.8
    assert np.isnan(captured[3]).all()
    assert captured[:3, 3].tolist() == [0, 0, 0]
    assert np.isnan(analysis.overlap_matrix(tasks)[3]).all()


@pytest.mark.parametrize(
    ("call", "message", "kind"),
    [
        (lambda: analysis.activity_drift(np.zeros((2, 2)), np.ones((2, 2))), "before must not be silent", NoValue),
        (lambda: analysis.activity_drift(np.ones((2, 2)), np.ones((2, 3))), "same samples and neurons", BadInput),
        (lambda: analysis.weight_drift(np.zeros((2, 2))), "first snapshot must not be all 0", NoValue),
        (lambda: analysis.weight_drift([1, 2]), r"snapshots must be \[snapshot", BadInput),
        (lambda: analysis.linear_cka(np.ones((3, 2)), draw.normal(size=(3, 2))), "first must vary", NoValue),
        (lambda: analysis.linear_cka(np.ones((3, 2)), np.ones((2, 2))), "same samples; got 3 and 2", BadInput),
        (lambda: analysis.rdm_similarity(np.ones((3, 3)), np.ones((3, 3))), "tell some pairs apart", NoValue),
        (lambda: analysis.rdm_similarity(np.eye(2), np.eye(2)), "at least 3 pairs", NoValue),
        (lambda: analysis.rdm_similarity(np.ones((3, 2)), np.ones((3, 2))), "must be square", BadInput),
        (lambda: analysis.class_means(np.ones((3, 2)), [0, 1]), "labels must name each of 3", BadInput),
        (lambda: analysis.drift_matrix([]), "history must hold", BadInput),
        (lambda: analysis.drift_matrix([[np.ones((2, 2))], [np.ones((2, 3))]]), "activity of task 0 must be", BadInput),
        (lambda: analysis.overlap_matrix([]), "activities must hold", BadInput),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_bad_input_is_told_in_one_line(call, message, kind):
    with pytest.raises(kind, match=message):
        call()
