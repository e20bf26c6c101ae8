"""Do encodings and readouts agree with what mathematics says of them?"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurocl.networks import Count, Direct, Latency, Membrane, Poisson, Signal, SingleHead, WeightedRate
from neurocl.neurons import LIF, Integrator, Rate
from neurocl.primitives.checks import BadInput

CHANCES = torch.tensor([0.02, 0.1, 0.35, 0.5, 0.8, 0.97])


def drawn(*, time_steps=400, copies=50, training=True, seed=0):
    """Poisson spikes ``[T, copies, chance]``."""
    return Poisson(time_steps, seed=seed).train(training)(CHANCES.expand(copies, -1))


def test_poisson_spikes_have_the_mean_and_the_variance_of_independent_draws():
    spikes = drawn()
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    draws = spikes.shape[0] * spikes.shape[1]
    error = (spikes.mean((0, 1)) - CHANCES) / (CHANCES * (1 - CHANCES) / draws).sqrt()
    assert error.abs().max() < 4  # standard errors; six values
    counts = spikes.sum(0)
    expected = spikes.shape[0] * CHANCES * (1 - CHANCES)
    # a variance over 50 copies has a relative standard error of sqrt(2 / 49) = 0.2
    assert ((counts.var(0) / expected - 1).abs() < 0.8).all()
    assert ((counts.var(0) / expected).mean() - 1).abs() < 4 * math.sqrt(2 / 49 / len(CHANCES))


@pytest.mark.parametrize("lag", [1, 2, 7])
def test_poisson_spikes_at_one_step_say_nothing_of_another(lag):
    spikes = drawn() - CHANCES
    correlation = (spikes[lag:] * spikes[:-lag]).mean((0, 1)) / (CHANCES * (1 - CHANCES))
    assert correlation.abs().max() < 4 / math.sqrt((400 - lag) * 50)


def test_poisson_draws_anew_in_training_and_the_same_in_evaluation():
    encoding, values = Poisson(6, seed=2), torch.rand(3, 20)
    first, second = encoding(values), encoding(values)
    assert not torch.equal(first, second)
    again = Poisson(6, seed=2)
    assert torch.equal(again(values), first)
    resumed = Poisson(6, seed=2)
    resumed.load_state_dict(again.state_dict())
    assert torch.equal(resumed(values), second)
    encoding.eval()
    assert torch.equal(encoding(values), encoding(values))
    assert torch.equal(encoding(values)[:, 1:], encoding(values[1:]))
    assert not torch.equal(Poisson(6, seed=3).eval()(values), encoding(values))


def test_poisson_takes_values_outside_its_range_as_the_nearer_bound():
    for training in (True, False):
        spikes = Poisson(50).train(training)(torch.tensor([[-0.3, 0.0, 1.0, 1.7]]))
        assert spikes.mean((0, 1)).tolist() == [0.0, 0.0, 1.0, 1.0]


@given(
    values=st.lists(st.floats(0.03125, 1.0, width=32), min_size=2, max_size=12),
    time_steps=st.integers(1, 40),
)
def test_a_larger_value_never_spikes_later(values, time_steps):
    values = torch.tensor([sorted(values)])
    spikes = Latency(time_steps)(values)
    assert torch.equal(spikes.sum(0), torch.ones_like(values))
    when = spikes.argmax(0)
    assert (when.diff() <= 0).all()
    if time_steps > 1:  # the step tells the value to half a step
        assert ((1 - when / (time_steps - 1)) - values).abs().max() <= 0.5 / (time_steps - 1) + 1e-6


def test_latency_leaves_faint_values_silent_and_starts_with_the_largest():
    spikes = Latency(11, silent_below=0.1)(torch.tensor([[0.0, 0.1, 0.11, 0.5, 1.0, 2.0, -1.0]]))
    assert spikes.sum(0)[0].tolist() == [0, 0, 1, 1, 1, 1, 0]
    assert spikes.argmax(0)[0, 2:6].tolist() == [9, 5, 0, 0]


def test_direct_input_is_the_same_at_every_step_and_kept_once():
    values = torch.rand(2, 3)
    encoding = Direct(4)
    assert torch.equal(encoding(values), values.repeat(4, 1, 1))
    signal = encoding.signal(values)
    assert signal.constant
    assert signal.values is values


@pytest.mark.parametrize("make", [Direct, Poisson, Latency])
def test_encodings_refuse_times_that_are_none(make, as_installed):
    for steps in (0, -1, 2.5):
        with pytest.raises(BadInput, match="time_steps"):
            make(steps)


def raster(time_steps=9):
    return (torch.rand(time_steps, 3, 5, dtype=torch.float64) < 0.3).double()


@pytest.mark.parametrize("encoding", [Poisson(4), Poisson(4).eval(), Latency(4)])
def test_spikes_are_made_of_finite_floating_point_numbers_only(encoding, as_installed):
    with pytest.raises(BadInput, match=r"inputs must be floating-point; got torch.uint8: convert them"):
        encoding(torch.ones(2, 3, dtype=torch.uint8))
    with pytest.raises(BadInput, match="inputs must be finite; 1 of 6 values"):
        encoding(torch.tensor([[0.5, math.nan, 1.0], [0.0, 0.0, 0.0]]))


def test_membrane_readout_is_the_mean_membrane_of_leaky_integrators():
    spikes, tau_ms = raster(), 7.0
    membranes, _ = Integrator(tau_membrane_ms=tau_ms, gain="leak")(spikes)
    full, _ = Integrator(tau_membrane_ms=tau_ms, gain="leak")(torch.ones_like(spikes))
    features = Membrane(tau_ms=tau_ms).features(Signal(values=spikes, time_steps=9))
    torch.testing.assert_close(features, membranes.mean(0) / full.mean(0))


def test_weighted_rate_is_the_last_membrane_of_leaky_integrators():
    spikes, tau_ms = raster(), 7.0
    membranes, _ = Integrator(tau_membrane_ms=tau_ms, gain="leak")(spikes)
    full, _ = Integrator(tau_membrane_ms=tau_ms, gain="leak")(torch.ones_like(spikes))
    features = WeightedRate(tau_ms=tau_ms).features(Signal(values=spikes, time_steps=9))
    torch.testing.assert_close(features, membranes[-1] / full[-1])


@pytest.mark.parametrize("make", [Membrane, WeightedRate])
def test_readouts_of_long_memory_are_plain_rates_or_favour_the_end_they_should(make):
    weights = make(tau_ms=5.0).weights(12)
    assert math.isclose(sum(weights), 1.0)
    assert sorted(weights, reverse=make is Membrane) == weights
    if make is WeightedRate:
        assert all(math.isclose(weight, 1 / 12, rel_tol=1e-5) for weight in make(tau_ms=1e7).weights(12))


def test_count_readout_is_the_number_of_spikes_of_output_neurons():
    head = SingleHead(2, num_classes=3, seed=0)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 1.0]]))
        head.linear.bias.fill_(0.01)
    values = torch.tensor([[[1.0, 0.0]]]).repeat(8, 1, 1)  # the first of two neurons fires at each of eight steps
    signal = Signal(values=values, time_steps=8, spikes_per_unit=1.0)
    # currents of 1.01, 0.51 and 0.01 into neurons that sum up and fire above 1
    assert Count(lambda: LIF.from_keep(1 - 1e-7))(signal, head).tolist() == [[8.0, 4.0, 0.0]]
    assert Count(lambda: LIF.from_keep(1 - 1e-7), per_score=2.0)(signal, head).tolist() == [[4.0, 2.0, 0.0]]
    # rate-coded, the current itself is the score
    assert Count(Rate)(signal, head).tolist() == [pytest.approx([1.01, 0.51, 0.01])]
