"""Do subspaces, angles and shares agree with linear algebra done by hand?"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import subspace_angles

from neurocl.plasticity.subspaces import complement
from neurocl.primitives.checks import BadInput
from neurocl.record import analysis

draw = np.random.default_rng(0)
TURNED = np.linalg.qr(draw.normal(size=(6, 6)))[0]
activities = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 8)), elements=st.floats(-5, 5, width=16))


def test_the_fewest_directions_that_hold_the_share():
    activity = np.diag([3.0, 2.0, 1.0, 0.0])  # energies 9, 4, 1 of 14
    assert [len(analysis.activity_subspace(activity, share=s)) for s in (0.6, 9 / 14, 0.65, 13 / 14, 0.93, 1)] == [
        1,
        1,
        2,
        2,
        3,
        3,
    ]
    assert np.abs(analysis.activity_subspace(activity, share=0.9)) == pytest.approx(np.eye(4)[:2])


def test_the_mean_counts_as_energy_and_not_as_variance():
    activity = np.array([[10.0, 1.0], [10.0, -1.0]])
    assert np.abs(analysis.activity_subspace(activity, share=0.9)) == pytest.approx(np.array([[1, 0]]))
    assert np.abs(analysis.centred_activity_subspace(activity, share=0.9)) == pytest.approx(np.array([[0, 1]]))
    assert analysis.centred_activity_subspace(np.full((3, 2), 0.1)).shape == (0, 2)


@given(activities, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_subspace_is_orthonormal_holds_its_share_and_leaves_little_outside(activity, share):
    basis = analysis.activity_subspace(activity, share=share)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-9)
    if not activity.any():
        assert len(basis) == 0
        return
    assert analysis.captured_share(activity, basis) >= share - 1e-7
    if len(basis) > 1:
        assert analysis.captured_share(activity, basis[:-1]) < share
    outside = complement(torch.from_numpy(activity), torch.from_numpy(basis)).square().sum()
    assert float(outside) <= (1 - share + 1e-7) * np.square(activity).sum()
    assert analysis.alignment_index(activity, basis) == pytest.approx(1)


@pytest.mark.parametrize("samples", [5, 40])
def test_more_and_fewer_samples_than_neurons_are_both_fine(samples):
    activity = draw.normal(size=(samples, 3)) @ draw.normal(size=(3, 20))  # of rank 3
    assert analysis.activity_subspace(activity, share=1).shape == (3, 20)
    assert analysis.activity_subspace(1e-200 * activity, share=1).shape == (3, 20)
    assert analysis.activity_subspace(1e200 * activity, share=1).shape == (3, 20)


def test_angles_worked_by_hand():
    x, y, z = np.eye(3)
    slope = (x + y) / math.sqrt(2)
    assert analysis.principal_angles([x, z], [slope, z]) == pytest.approx([0, math.pi / 4], abs=1e-15)
    assert analysis.principal_angles([x], [y]) == pytest.approx([math.pi / 2])
    assert analysis.principal_angles([x, y], [5 * slope]) == pytest.approx([0], abs=1e-15)
    assert analysis.subspace_overlap([x, z], [slope, z]) == pytest.approx((1 + 0.5) / 2)
    assert analysis.subspace_overlap([x, y, z], [slope]) == pytest.approx(1)


def test_small_angles_come_out_right_beside_large_ones():
    x, y, z, u = np.eye(4)
    tilted = math.cos(1e-10) * x + math.sin(1e-10) * u
    assert analysis.principal_angles([x, y], [tilted, z]) == pytest.approx([1e-10, math.pi / 2], rel=1e-6)


@given(arrays(np.float64, (2, 3, 6), elements=st.floats(-3, 3, width=16)))
def test_angles_are_those_of_scipy_and_turning_everything_changes_nothing(pair):
    first, second = pair + 0.01 * np.eye(6)[None, :3]
    if min(np.linalg.svd(first)[1].min(), np.linalg.svd(second)[1].min()) < 1e-2:
        return  # nearly dependent rows: the number of directions is a matter of taste
    angles = analysis.principal_angles(first, second)
    np.testing.assert_allclose(angles, subspace_angles(first.T, second.T)[::-1], atol=1e-6)
    np.testing.assert_allclose(angles, analysis.principal_angles(first @ TURNED, second @ TURNED), atol=1e-6)
    np.testing.assert_allclose(angles, analysis.principal_angles(second, first), atol=1e-9)
    assert analysis.subspace_overlap(first, second) == pytest.approx(np.square(np.cos(angles)).mean())


def test_random_subspaces_overlap_by_their_share_of_the_space():
    values = [analysis.subspace_overlap(*draw.normal(size=(2, 5, 50))) for _ in range(80)]
    assert np.mean(values) == pytest.approx(5 / 50, rel=0.1)


def test_the_captured_share_has_a_direction():
    narrow, wide = np.diag([1.0, 0, 0]), np.diag([1.0, 1.0, 1.0])
    of_narrow, of_wide = (analysis.activity_subspace(a) for a in (narrow, wide))
    assert analysis.captured_share(narrow, of_wide) == pytest.approx(1)
    assert analysis.captured_share(wide, of_narrow) == pytest.approx(1 / 3)
    assert analysis.alignment_index(wide, of_narrow) == pytest.approx(1)
    assert analysis.captured_share(wide, np.empty((0, 3))) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: analysis.activity_subspace(np.ones((2, 3)), share=0), "share must be a finite number greater than 0"),
        (lambda: analysis.activity_subspace(np.ones((2, 3)), share=1.1), "at most 1; got 1.1"),
        (lambda: analysis.activity_subspace(np.ones((0, 3))), "at least one sample"),
        (lambda: analysis.activity_subspace([[np.inf, 1]]), "activity must be finite"),
        (lambda: analysis.principal_angles(np.ones((1, 3)), np.ones((1, 4))), "same neurons; got 3 and 4"),
        (lambda: analysis.principal_angles(np.zeros((1, 3)), np.ones((1, 3))), "at least one direction"),
        (lambda: analysis.principal_angles(np.ones((4, 3)), np.ones((1, 3))), "at most as many directions"),
        (lambda: analysis.captured_share(np.zeros((2, 3)), np.eye(3)), "activity must not be silent"),
        (lambda: analysis.alignment_index(np.ones((2, 3)), np.empty((0, 3))), "basis must have at least one direction"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(BadInput, match=message):
        call()
