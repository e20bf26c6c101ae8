"""Do adaptive and Izhikevich neurons show the firing patterns they are named for?"""

import numpy as np
import pytest
import torch

from neurocl.neurons import LIF, AdaptiveLIF, Izhikevich
from neurocl.neurons.izhikevich import FIRING_PATTERNS


@pytest.fixture(autouse=True)
def _without_type_checks(as_installed):
    """The contract tests check types; here are thousands of steps."""


def spike_times(neuron, current, time_steps):
    spikes, _ = neuron.constant(torch.tensor([[current]], dtype=torch.float64), time_steps)
    return spikes.flatten().nonzero().flatten().double()


def test_adaptation_lowers_the_rate_and_stretches_the_intervals():
    plain = spike_times(LIF(tau_membrane_ms=20.0), 0.2, 1500)
    adapted = spike_times(AdaptiveLIF(tau_membrane_ms=20.0, tau_adaptation_ms=200.0, strength=0.3), 0.2, 1500)
    intervals = adapted.diff()
    assert len(adapted) > 20
    assert len(adapted) < 0.7 * len(plain)
    assert intervals[-5:].mean() > 1.5 * intervals[0]


def test_without_strength_an_adaptive_neuron_is_a_plain_one():
    current = torch.rand(80, 3, 4)
    plain, v = LIF()(current)
    spikes, state = AdaptiveLIF(strength=0.0)(current)
    assert plain.mean() > 0.1
    assert torch.equal(plain, spikes)
    assert torch.equal(v, state.v)


def test_adaptation_counts_spikes_with_its_own_decay():
    neuron = AdaptiveLIF(tau_adaptation_ms=50.0)
    current = torch.rand(100, 2, 3, dtype=torch.float64)
    spikes, state = neuron(current)
    weights = neuron.keep_adaptation ** torch.arange(99, -1, -1, dtype=torch.float64)
    assert spikes.mean() > 0.05
    assert torch.allclose(state.adaptation, (spikes * weights.view(-1, 1, 1)).sum(0))


def published_spikes(a, b, c, d, current, steps):
    """The 2003 paper's script for one neuron: reset at the start of a step, two half steps of v, one of u."""
    v, u, fired = -65.0, b * -65.0, []
    for t in range(steps):
        if v >= 30:
            fired.append(t)
            v, u = c, u + d
        v += 0.5 * (0.04 * v * v + 5 * v + 140 - u + current)
        v += 0.5 * (0.04 * v * v + 5 * v + 140 - u + current)
        u += a * (b * v - u)
    return np.array(fired)


@pytest.mark.parametrize("pattern", FIRING_PATTERNS)
@pytest.mark.parametrize("current", [0.0, 5.0, 10.0, 15.0])
def test_spikes_are_those_of_the_published_script(pattern, current):
    ours = spike_times(Izhikevich(pattern=pattern), current, 500).numpy()
    theirs = published_spikes(*FIRING_PATTERNS[pattern], current, 501) - 1  # noticed at the start of the next step
    assert np.array_equal(ours, theirs)
    assert (len(ours) > 3) == (current > 0)


@pytest.fixture
def intervals_of():
    """Milliseconds between spikes in the first 250 under a current of 10; steps of 0.1 ms resolve the upstroke."""

    def simulate(pattern):
        return spike_times(Izhikevich(pattern=pattern, dt_ms=0.1, substeps=1), 10.0, 2500).diff() * 0.1

    return simulate


def test_regular_spiking_neurons_adapt(intervals_of):
    intervals = intervals_of("regular-spiking")
    assert len(intervals) >= 5
    assert (intervals[1:] > 1.5 * intervals[0]).all()
    assert intervals[1:].std() < 0.05 * intervals[1:].mean()


def test_fast_spiking_neurons_fire_fast_and_evenly(intervals_of):
    intervals = intervals_of("fast-spiking")
    assert intervals.mean() < 10
    assert intervals[2:].std() < 0.05 * intervals[2:].mean()


def test_chattering_neurons_fire_burst_after_burst(intervals_of):
    intervals = intervals_of("chattering")
    pauses = intervals > 30
    assert pauses.sum() >= 4
    assert (intervals[~pauses] < 8).all()
    assert (~pauses).sum() >= 3 * pauses.sum()


def test_intrinsically_bursting_neurons_burst_once_and_spike_singly_then(intervals_of):
    intervals = intervals_of("intrinsically-bursting")
    assert (intervals[:2] < 8).all()
    assert (intervals[2:] > 25).all()
    assert len(intervals) >= 7


def test_low_threshold_neurons_fire_where_regular_ones_are_silent():
    assert len(spike_times(Izhikevich(pattern="low-threshold-spiking"), 2.5, 500)) > 2
    assert len(spike_times(Izhikevich(pattern="regular-spiking"), 2.5, 500)) <= 1
