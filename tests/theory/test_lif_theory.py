"""Do leaky integrate-and-fire neurons fire as often, and charge as fast, as the mathematics says?"""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurocl.neurons import LIF, CurrentLIF, Integrator, ParametricLIF, lif_step


@pytest.fixture(autouse=True)
def _without_type_checks(as_installed):
    """The contract tests check types; here are thousands of steps."""


CURRENTS = torch.tensor([0.2, 0.9, 0.999, 1.001, 1.1, 1.5, 2.0, 3.7, 20.0], dtype=torch.float64)


def spike_counts(neuron, current, time_steps):
    """Number of spikes of each neuron under a constant current."""
    spikes, _ = neuron.constant(current.unsqueeze(0), time_steps)
    return spikes.sum((0, 1))


def steps_between_spikes(current, keep, threshold=1.0):
    """First step n at which I (1 - keep^n) exceeds the threshold; infinite where it never does."""
    n = torch.ceil(torch.log1p(-threshold / current) / math.log(keep))
    return torch.where(current > threshold, n, torch.inf)


@pytest.mark.parametrize("tau", [2.0, 10.0, 50.0])
@pytest.mark.parametrize("dt", [0.25, 1.0])
def test_the_rate_under_a_constant_current_is_the_closed_form(tau, dt):
    neuron = LIF(tau_membrane_ms=tau, dt_ms=dt, gain="leak", reset="zero")
    counts = spike_counts(neuron, CURRENTS, 2000)
    assert (counts - 2000 / steps_between_spikes(CURRENTS, neuron.keep)).abs().max() < 1
    assert (counts[CURRENTS > 1] > 0).all()


def test_small_steps_approach_the_rate_of_continuous_time():
    neuron = LIF(tau_membrane_ms=10.0, dt_ms=0.01, gain="leak", reset="zero")
    current = CURRENTS[4:8]
    counts = spike_counts(neuron, current, 20_000)
    interval_ms = -10.0 * torch.log1p(-1 / current)
    # a spike waits for the end of its step, so a step a spike is lost at most
    assert (counts <= 200 / interval_ms).all()
    assert (counts >= 200 / (interval_ms + 0.01) - 1).all()


@pytest.mark.parametrize("reset", ["subtract", "zero", "none", "subtract-delayed", "zero-delayed", "subtract-guarded"])
def test_a_current_below_threshold_never_fires(reset):
    current = torch.tensor([-3.0, 0.0, 0.5, 0.999], dtype=torch.float64)
    neuron = LIF(tau_membrane_ms=10.0, gain="leak", reset=reset)
    assert spike_counts(neuron, current, 500).sum() == 0
    assert spike_counts(neuron, current + 0.002, 500)[-1] > 0


@pytest.mark.parametrize("dt", [0.1, 1.0])
def test_subtraction_keeps_the_books_of_charge(dt):
    """What came in has leaked away, been taken off by spikes, or is still there."""
    neuron = LIF(tau_membrane_ms=5.0, dt_ms=dt, gain="leak")
    current = 3 * torch.rand(300, 2, 4, dtype=torch.float64)
    v, spent, leaked = torch.zeros(2, 4, dtype=torch.float64), 0.0, 0.0
    for now in current:
        leaked = leaked + (1 - neuron.keep) * v
        spikes, v = neuron.step(now, v)
        spent = spent + spikes * neuron.threshold
    assert spent.min() > 0
    assert torch.allclose(neuron.gain * current.sum(0), leaked + spent + v)


def membrane_error(integration, dt):
    """Largest distance from I (1 - exp(-t / tau)) over 20 ms, for an I below threshold."""
    neuron = LIF(tau_membrane_ms=7.0, dt_ms=dt, gain="leak", integration=integration)
    steps = round(20 / dt)
    state, worst = None, 0.0
    for step in range(1, steps + 1):
        _, state = neuron.step(torch.full((1, 1), 0.8, dtype=torch.float64), state)
        worst = max(worst, abs(state.item() - 0.8 * (1 - math.exp(-step * dt / 7.0))))
    return worst


def test_the_exact_step_is_exact_and_euler_is_of_first_order():
    assert max(membrane_error("exact", dt) for dt in (2.0, 0.5)) < 1e-14  # rounding of 40 sums
    errors = [membrane_error("euler", dt) for dt in (0.5, 0.25, 0.125)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert min(errors) > 1e-4
    assert all(0.9 < order < 1.1 for order in orders)


@given(keep=st.floats(0.05, 0.98), current=st.floats(-5, 5), start=st.floats(-2, 0.9))
def test_two_half_steps_equal_one_whole_step(keep, current, start):
    tensor = torch.tensor([[current]], dtype=torch.float64), torch.tensor([[start]], dtype=torch.float64)
    half = math.sqrt(keep)
    _, whole = lif_step(*tensor, keep=keep, gain=1 - keep, reset="none")
    _, v = lif_step(*tensor, keep=half, gain=1 - half, reset="none")
    _, v = lif_step(tensor[0], v, keep=half, gain=1 - half, reset="none")
    assert torch.allclose(v, whole, rtol=1e-12, atol=1e-12)  # rounding of a few operations


@given(keep=st.floats(0.1, 0.99), bias=st.floats(0.0, 1.5))
def test_more_current_never_fires_less(keep, bias):
    currents = (bias + torch.linspace(0, 2, 9)).double()
    counts = spike_counts(LIF.from_keep(keep, gain="leak", reset="zero"), currents, 60)
    assert (counts.diff() >= 0).all()


def test_a_membrane_exactly_at_threshold_fires_only_where_it_should():
    current = torch.tensor([[[1.0]]])
    assert LIF(fire="above")(current)[0].item() == 0
    assert LIF(fire="at")(current)[0].item() == 1


def test_a_single_pulse_through_the_synapse_gives_the_difference_of_two_decays():
    neuron = CurrentLIF.from_keep(0.9, 0.7, reset="none", threshold=100.0)
    current = torch.zeros(40, 1, 1, dtype=torch.float64)
    current[0] = 1.0
    state, membranes = None, []
    for now in current:
        _, state = neuron.step(now, state)
        membranes.append(state.v.item())
    t = torch.arange(1, 41, dtype=torch.float64)
    assert torch.allclose(torch.tensor(membranes, dtype=torch.float64), (0.9**t - 0.7**t) / (0.9 - 0.7))


def test_a_short_synapse_is_none():
    current = torch.rand(60, 2, 3, dtype=torch.float64)
    plain, _ = LIF.from_keep(0.8)(current)
    through, _ = CurrentLIF.from_keep(0.8, 1e-12)(current)
    assert plain.mean() > 0.1
    assert torch.equal(plain, through)


def test_the_integrator_settles_at_its_closed_form():
    current = torch.tensor([[-2.0, 0.5, 3.0]], dtype=torch.float64)
    for gain, factor in ((1.0, 5.0), ("leak", 1.0)):
        membrane, state = Integrator.from_keep(0.8, gain=gain).constant(current, 200)
        assert torch.allclose(state, factor * current)
        assert torch.allclose(membrane[9], factor * current * (1 - 0.8**10))


def test_a_parametric_neuron_recovers_the_time_constant_that_made_its_target(float64):
    current = 0.3 * torch.rand(30, 4, 1)
    _, target = LIF(tau_membrane_ms=12.0, threshold=100.0)(current)
    neuron = ParametricLIF(tau_membrane_ms=3.0, threshold=100.0, detach_reset=True)
    optimiser = torch.optim.LBFGS(neuron.parameters(), max_iter=30, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        error = (neuron(current)[1] - target).square().sum()
        error.backward()
        return error

    optimiser.step(loss)
    assert abs(neuron.tau_membrane_ms.item() - 12.0) < 1e-3


@given(raw=st.floats(-1e4, 1e4))
def test_a_parametric_neuron_keeps_a_possible_leak_wherever_training_goes(raw):
    neuron = ParametricLIF()
    with torch.no_grad():
        neuron.raw_leak.fill_(raw)
    assert 0 < neuron.keep.item() < 1
    assert 0 < neuron.tau_membrane_ms.item() < math.inf
    _, state = neuron(torch.rand(5, 2, 3))
    assert torch.isfinite(state).all()


@pytest.mark.parametrize("integration", ["exact", "euler"])
def test_a_parametric_neuron_starts_at_the_time_constant_it_was_given(integration):
    neuron = ParametricLIF(tau_membrane_ms=13.0, dt_ms=0.5, integration=integration, neurons=3)
    assert neuron.raw_leak.shape == (3,)
    assert torch.allclose(neuron.tau_membrane_ms, torch.full((3,), 13.0), rtol=1e-4)  # float32 near 1 - keep
