"""Are the metrics what their formulas say? The golden matrix is worked by hand from the definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurocl.run import metrics

R = np.array([[0.90, 0.10, 0.05, 0.0], [0.70, 0.80, 0.12, 0.03], [0.75, 0.60, 0.95, 0.08], [0.60, 0.65, 0.70, 0.85]])
UNTRAINED = np.array([0.08, 0.09, 0.11, 0.10])
SIZES = np.array([1000, 3000, 500, 500])
PRINTED = {"abs": 5e-5, "rel": 0}  # the golden values are given to four places
SHORT = {"abs": 5e-4, "rel": 0}  # and these to three

matrices = st.integers(2, 6).flatmap(lambda t: arrays(np.float64, (t, t), elements=st.floats(0, 1)))


def test_golden_matrix_gives_the_golden_values():
    assert metrics.average_accuracy(R) == pytest.approx(0.7000, **PRINTED)
    assert metrics.average_accuracy_micro(R, SIZES) == pytest.approx(0.6650, **PRINTED)
    assert metrics.average_incremental_accuracy(R) == pytest.approx(0.7792, **PRINTED)
    assert metrics.average_incremental_accuracy_micro(R, SIZES) == pytest.approx(0.7531, **PRINTED)
    assert metrics.lower_triangle_mean(R) == pytest.approx(0.7500, **PRINTED)
    assert metrics.backward_transfer(R) == pytest.approx(-0.2333, **PRINTED)
    assert metrics.backward_transfer_all_pairs(R) == pytest.approx(-0.2083, **PRINTED)
    assert metrics.forgetting(R) == pytest.approx(0.2333, **PRINTED)
    assert metrics.forward_transfer(R, UNTRAINED) == pytest.approx(0.0, **PRINTED)
    assert metrics.accuracy_before_training(R) == pytest.approx(0.1000, **PRINTED)
    assert metrics.learning_accuracy(R) == pytest.approx(0.8750, **PRINTED)


def test_golden_rows_differ_between_the_whole_stream_and_the_tasks_seen():
    whole = metrics.accuracy_by_row_of_stream(R, SIZES)
    seen = metrics.accuracy_by_row_micro(R, SIZES)
    assert whole == pytest.approx([0.245, 0.635, 0.613, 0.665], **SHORT)
    assert seen == pytest.approx([0.900, 0.775, 0.672, 0.665], **SHORT)


def test_a_task_that_got_better_tells_the_two_kinds_of_forgetting_apart():
    better = R.copy()
    better[3, 0] = 0.95
    assert metrics.forgetting(better) == pytest.approx(0.1167, **PRINTED)
    assert metrics.forgetting_final_row_included(better) == pytest.approx(0.1333, **PRINTED)


@given(matrices)
def test_backward_transfer_is_at_least_minus_forgetting(matrix):
    assert metrics.backward_transfer(matrix) >= -metrics.forgetting(matrix) - 1e-12


@given(matrices)
def test_micro_equals_macro_where_all_tasks_are_of_one_size(matrix):
    sizes = np.full(len(matrix), 7)
    assert metrics.average_accuracy_micro(matrix, sizes) == pytest.approx(metrics.average_accuracy(matrix))
    macro = metrics.average_incremental_accuracy(matrix)
    assert metrics.average_incremental_accuracy_micro(matrix, sizes) == pytest.approx(macro)


def test_transfer_is_undefined_for_one_task_and_where_nothing_was_measured():
    one = np.array([[0.9]])
    assert metrics.backward_transfer(one) is metrics.forgetting(one) is None
    assert metrics.forward_transfer(one, np.array([0.1])) is None
    unmeasured = np.where(np.triu(np.ones_like(R), k=1) > 0, np.nan, R)
    assert metrics.forward_transfer(unmeasured, UNTRAINED) is None
    assert metrics.forward_transfer(R, np.full(4, np.nan)) is None
    assert metrics.backward_transfer(unmeasured) == metrics.backward_transfer(R)


def test_a_naive_learner_that_answers_with_the_last_task_shows_full_recency_bias():
    classes = [(0, 1), (2, 3), (4, 5)]
    confusion = np.zeros((3, 6, 6), dtype=np.int64)
    for task, own in enumerate(classes):
        for label in own:
            confusion[task, label, 4] = 10  # everything is called class 4
    assert metrics.task_inference_accuracy(confusion, classes) == pytest.approx(1 / 3)
    assert metrics.recency_bias(confusion, classes) == pytest.approx(1 - 1 / 3)


def test_task_inference_and_recency_have_no_answer_where_tasks_share_classes():
    confusion = np.ones((2, 2, 2), dtype=np.int64)
    assert metrics.task_inference_accuracy(confusion, [(0, 1), (0, 1)]) is None
    assert metrics.recency_bias(confusion, [(0, 1), (1,)]) is None


def test_task_inference_counts_a_wrong_class_of_the_right_task_as_right():
    confusion = np.zeros((2, 4, 4), dtype=np.int64)
    confusion[0, 0, 1] = 3
    confusion[1, 2, 2] = 1
    assert metrics.task_inference_accuracy(confusion, [(0, 1), (2, 3)]) == 1.0
    assert metrics.recency_bias(confusion, [(0, 1), (2, 3)]) == 0.0
