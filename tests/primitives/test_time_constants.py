"""Do milliseconds become per-step factors as the mathematics says?"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurocl.primitives.checks import BadInput
from neurocl.primitives.time_constants import decay_factor, euler_factor, tau_of

TAUS = st.floats(0.5, 1e4)
STEPS = st.floats(1e-3, 5.0)


@given(tau=TAUS, dt=STEPS)
def test_two_half_steps_keep_what_a_whole_step_keeps(tau, dt):
    assert decay_factor(dt_ms=dt / 2, tau_ms=tau) ** 2 == pytest.approx(decay_factor(dt_ms=dt, tau_ms=tau), rel=1e-12)


@given(tau=TAUS, dt=STEPS)
def test_the_time_constant_comes_back(tau, dt):
    keep = decay_factor(dt_ms=dt, tau_ms=tau)
    assert 0 < keep < 1
    assert tau_of(keep, dt_ms=dt) == pytest.approx(tau, rel=1e-6)  # keep near 1 loses digits


@given(tau=TAUS, factor=st.floats(1e-4, 0.99))
def test_euler_keeps_less_than_the_exact_decay_and_nearly_as_much_for_small_steps(tau, factor):
    dt = factor * tau
    exact, euler = decay_factor(dt_ms=dt, tau_ms=tau), euler_factor(dt_ms=dt, tau_ms=tau)
    assert euler < exact
    assert exact - euler <= factor**2 / 2


def test_after_one_time_constant_one_part_in_e_is_left():
    assert decay_factor(dt_ms=20.0, tau_ms=20.0) == pytest.approx(1 / math.e)
    assert euler_factor(dt_ms=1.0, tau_ms=10.0) == 0.9


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "1", None])
def test_impossible_times_are_refused(value, as_installed):
    for factor in (decay_factor, euler_factor):
        with pytest.raises(BadInput, match=r"^tau_ms must"):
            factor(dt_ms=1.0, tau_ms=value)
        with pytest.raises(BadInput, match=r"^dt_ms must"):
            factor(dt_ms=value, tau_ms=1.0)


def test_a_step_that_would_overshoot_is_refused():
    with pytest.raises(BadInput, match="tau_ms must be a finite number at least 2; got 1"):
        euler_factor(dt_ms=2.0, tau_ms=1.0)


@pytest.mark.parametrize("keep", [0.0, 1.0, -0.5, math.nan])
def test_an_impossible_keep_has_no_time_constant(keep):
    with pytest.raises(BadInput, match=r"^keep must be"):
        tau_of(keep)
