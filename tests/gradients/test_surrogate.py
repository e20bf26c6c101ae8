"""Is the slope of every surrogate the derivative of the function it names, and what a spike passes back?"""

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from neurocl.kernels.slopes import slope_adder
from neurocl.primitives.checks import BadInput
from neurocl.primitives.surrogates import (
    STEEPEST,
    SURROGATES,
    ATan,
    FastSigmoid,
    Sigmoid,
    SlopeOf,
    StraightThrough,
    SuperSpike,
    Triangular,
)

ALL = [
    ATan(), ATan(alpha=5.0), FastSigmoid(), FastSigmoid(slope=3.0), Sigmoid(), Sigmoid(alpha=25.0),
    Triangular(), Triangular(width=0.4, dampening=0.3), SuperSpike(), SuperSpike(alpha=7.0), StraightThrough(),
]  # fmt: skip
every_surrogate = pytest.mark.parametrize("surrogate", ALL, ids=repr)


def grid(dtype=torch.float64):
    """Points on both sides of the threshold, none on a kink."""
    return torch.linspace(-2.03, 2.01, 81, dtype=dtype)


def derivative(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


def test_every_named_surrogate_is_tested_here():
    assert set(SURROGATES.values()) == {type(surrogate) for surrogate in ALL}
    assert len(SURROGATES) == 6


@every_surrogate
def test_the_slope_is_the_derivative_of_the_smooth_function(surrogate):
    x = grid()
    before = x.clone()
    assert torch.allclose(surrogate.slope_at(x), derivative(surrogate.smooth, x), rtol=1e-10, atol=1e-12)
    assert torch.equal(x, before)
    numeric = (surrogate.smooth(x + 1e-6) - surrogate.smooth(x - 1e-6)) / 2e-6
    assert torch.allclose(surrogate.slope_at(x), numeric, rtol=1e-5, atol=1e-6)  # truncation of the difference


@every_surrogate
def test_the_slope_is_symmetric_and_largest_at_threshold(surrogate):
    x = grid().abs()
    assert torch.allclose(surrogate.slope_at(x), surrogate.slope_at(-x))
    top = surrogate.slope_at(torch.zeros(1, dtype=torch.float64))
    assert (surrogate.slope_at(x) <= top).all()
    assert top > 0
    assert surrogate.smooth(torch.zeros(1)).item() == 0.5


@every_surrogate
@pytest.mark.parametrize("fire", ["above", "at"])
def test_going_forward_it_is_the_step(surrogate, fire):
    x = torch.tensor([-1.0, -1e-30, 0.0, 1e-30, 1.0])
    at = 1.0 if fire == "at" else 0.0
    assert torch.equal(surrogate(x, fire=fire), torch.tensor([0.0, 0.0, at, 1.0, 1.0]))


@every_surrogate
@pytest.mark.parametrize("fire", ["above", "at"])
def test_going_backward_it_is_the_slope(surrogate, fire):
    x = grid()
    assert torch.equal(derivative(lambda x: surrogate(x, fire=fire), x), surrogate.slope_at(x))


@every_surrogate
def test_a_gradient_check_of_the_spike_itself_fails(surrogate):
    x = torch.tensor([-0.7, -0.2, 0.3, 0.8], dtype=torch.float64, requires_grad=True)
    assert not gradcheck(surrogate, x, raise_exception=False)
    assert gradcheck(surrogate.smooth, x)


@every_surrogate
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtype_is_kept(surrogate, dtype, device):
    x = grid(dtype).to(device)
    for value in (surrogate(x), surrogate.slope_at(x), surrogate.smooth(x)):
        assert (value.dtype, value.device.type) == (dtype, device.type)
    assert torch.isfinite(surrogate.slope_at(x)).all()


@every_surrogate
def test_far_from_threshold_the_slope_stays_finite(surrogate):
    far = torch.tensor([-1e30, -1e4, 1e4, 1e30])
    slope = surrogate.slope_at(far)
    assert torch.isfinite(slope).all()
    assert (slope >= 0).all()


@every_surrogate
def test_transforms_see_through_it(surrogate):
    x = torch.randn(5, 3, dtype=torch.float64)
    expected = derivative(surrogate, x)
    assert torch.allclose(torch.func.vmap(torch.func.grad(lambda row: surrogate(row).sum()))(x), expected)
    x = x.requires_grad_()
    (first,) = torch.autograd.grad(surrogate(x).square().sum() + surrogate(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, allow_unused=True)
    assert second is None or torch.isfinite(second).all()


@every_surrogate
def test_it_is_a_value(surrogate):
    assert pickle.loads(pickle.dumps(surrogate)) == surrogate
    assert len({surrogate, pickle.loads(pickle.dumps(surrogate))}) == 1
    with pytest.raises(AttributeError, match="cannot assign"):
        surrogate.alpha = 3.0


@given(width=st.floats(0.05, 5), alpha=st.floats(0.1, 50))
def test_the_bounded_ones_rise_by_one_in_all(width, alpha):
    ends = torch.tensor([-1e9, 1e9], dtype=torch.float64)
    for surrogate in (Triangular(width=width), Sigmoid(alpha=alpha), ATan(alpha=alpha)):
        low, high = surrogate.smooth(ends).tolist()
        assert high - low == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "steep", 1e-30, 1e30])
def test_impossible_parameters_are_refused(value, as_installed):
    for make, name in ((ATan, "alpha"), (FastSigmoid, "slope"), (Sigmoid, "alpha"), (SuperSpike, "alpha")):
        with pytest.raises(BadInput, match=f"^{name} must be"):
            make(value)
    with pytest.raises(BadInput, match=r"^width must be"):
        Triangular(width=value)
    with pytest.raises(BadInput, match=r"^dampening must be"):
        Triangular(dampening=value)


def test_the_steepest_slopes_allowed_are_finite():
    x = torch.tensor([-1.0, -1e-12, 0.0, 1e-12, 1.0])
    for value in (1 / STEEPEST, STEEPEST):
        named = [ATan(value), FastSigmoid(value), Sigmoid(value), SuperSpike(value)]
        for surrogate in (*named, Triangular(width=value), Triangular(dampening=value)):
            assert torch.isfinite(surrogate.slope_at(x)).all(), surrogate
            out, carry = torch.empty_like(x), torch.zeros_like(x)
            slope_adder(surrogate, 1.0, x)(out, carry, torch.ones_like(x), x.clone())
            torch.testing.assert_close(out, surrogate.slope_at(x))


def test_wrong_uses_are_refused(as_installed):
    with pytest.raises(BadInput, match="fire must be 'above'"):
        ATan()(torch.zeros(3), fire="below")
    with pytest.raises(BadInput, match=r"convert it with \.float\(\)"):
        ATan()(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(BadInput, match="surrogate must be a callable"):
        SlopeOf(0.3)
    with pytest.raises(BadInput, match="surrogate must be a callable"):
        SlopeOf(ATan)


def test_the_slope_of_a_borrowed_function_is_its_gradient():
    borrowed = SlopeOf(Sigmoid(alpha=3.0).smooth)
    x = grid()
    assert torch.allclose(borrowed.slope_at(x), Sigmoid(alpha=3.0).slope_at(x))
    assert torch.allclose(derivative(borrowed, x), Sigmoid(alpha=3.0).slope_at(x))
    assert torch.equal(borrowed(x, fire="at"), (x >= 0).double())
    assert not borrowed.slope_at(x).requires_grad
