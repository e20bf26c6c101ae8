"""Do the presets spike exactly as snnTorch does, step for step and bit for bit?"""

import pytest
import torch

from neurocl.neurons import LIF, CurrentLIF
from neurocl.primitives.surrogates import ATan, FastSigmoid, Sigmoid, SlopeOf, StraightThrough

SHAPES = [(120, 5, 17), (20, 2, 3, 6, 6)]
RULES = [(mechanism, delay) for mechanism in ("subtract", "zero", "none") for delay in (True, False)]


def run_theirs(module, current):
    """Spikes and membranes of every step, from state zero."""
    state, spikes, membranes = (), [], []
    for now in current.unbind(0):
        out, *state = module(now, *state)
        spikes.append(out)
        membranes.append(state[-1])
    return torch.stack(spikes), torch.stack(membranes)


def run_ours(neuron, current):
    """The same, by single steps; the whole sequence has to agree."""
    state, spikes, membranes = None, [], []
    for now in current.unbind(0):
        out, state = neuron.step(now, state)
        spikes.append(out)
        membranes.append(state if isinstance(state, torch.Tensor) else state.v)
    whole, last = neuron(current)
    assert torch.equal(whole, torch.stack(spikes))
    assert torch.equal(last if isinstance(last, torch.Tensor) else last.v, membranes[-1])
    return torch.stack(spikes), torch.stack(membranes)


def assert_identical(ours, theirs):
    assert 0.005 < theirs[0].mean() < 1, "the comparison says nothing about silent neurons"
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(("mechanism", "delay"), RULES)
@pytest.mark.parametrize("beta", [0.9, 0.37, 0.99])
def test_leaky_is_reproduced_bit_for_bit(snntorch, mechanism, delay, beta):
    for shape in SHAPES:
        for threshold, scale in ((1.0, 0.6), (0.7, 4.0)):  # the second fires far above threshold
            current = scale * (0.2 + torch.randn(shape))
            theirs = snntorch.Leaky(beta, threshold=threshold, reset_mechanism=mechanism, reset_delay=delay)
            ours = LIF.like_snntorch(beta=beta, threshold=threshold, reset_mechanism=mechanism, reset_delay=delay)
            assert_identical(run_ours(ours, current), run_theirs(theirs, current))


@pytest.mark.parametrize(("mechanism", "delay"), RULES)
def test_synaptic_is_reproduced_bit_for_bit(snntorch, mechanism, delay):
    for alpha, beta, threshold, scale in ((0.7, 0.9, 1.0, 0.3), (0.95, 0.4, 0.8, 3.0)):
        current = scale * torch.randn(SHAPES[0])
        theirs = snntorch.Synaptic(alpha, beta, threshold=threshold, reset_mechanism=mechanism, reset_delay=delay)
        ours = CurrentLIF.like_snntorch(
            alpha=alpha, beta=beta, threshold=threshold, reset_mechanism=mechanism, reset_delay=delay
        )
        assert_identical(run_ours(ours, current), run_theirs(theirs, current))


@pytest.mark.parametrize(("mechanism", "delay"), RULES)
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic"])
def test_gradients_are_theirs(snntorch, kind, mechanism, delay):
    rules = {"beta": 0.9, "reset_mechanism": mechanism, "reset_delay": delay}
    rules |= {"alpha": 0.6} if kind == "Synaptic" else {}
    ours = (CurrentLIF if kind == "Synaptic" else LIF).like_snntorch(**rules)
    theirs = getattr(snntorch, kind)(**rules)
    current = 0.5 * (0.2 + torch.randn(25, 4, 9))
    weights = torch.randn(2, 25, 4, 9)
    gradients = []
    for run, neuron in ((run_ours, ours), (run_theirs, theirs)):
        leaf = current.clone().requires_grad_()
        spikes, membranes = run(neuron, leaf)
        ((spikes * weights[0]).sum() + (membranes * weights[1]).sum()).backward()
        gradients.append(leaf.grad)
    assert gradients[1].abs().max() > 0
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5 * gradients[1].abs().max().item())  # float32


def test_the_naive_mapping_spikes_otherwise(snntorch):
    current = 0.5 * (0.2 + torch.randn(200, 8, 50))
    theirs, _ = run_theirs(snntorch.Leaky(0.9), current)
    naive, _ = LIF.from_keep(0.9)(current)
    assert 0.005 < (naive != theirs).float().mean() < 0.2
    theirs, _ = run_theirs(snntorch.Synaptic(0.8, 0.9), current)
    naive, _ = CurrentLIF.from_keep(0.9, 0.8)(current)
    assert (naive != theirs).float().mean() > 0.005


@pytest.mark.parametrize(
    ("ours", "name", "options"),
    [
        (ATan(alpha=3.0), "atan", {"alpha": 3.0}),
        (FastSigmoid(slope=10.0), "fast_sigmoid", {"slope": 10.0}),
        (Sigmoid(alpha=5.0), "sigmoid", {"slope": 5.0}),
        (StraightThrough(), "straight_through_estimator", {}),
    ],
    ids=repr,
)
def test_surrogates_have_their_slopes(snntorch, ours, name, options):
    function = getattr(snntorch.surrogate, name)(**options)
    x = torch.linspace(-1.5, 1.5, 301)
    assert torch.allclose(ours.slope_at(x), SlopeOf(function).slope_at(x), rtol=1e-5, atol=1e-6)  # float32
    assert torch.equal(ours(x), function(x))


def test_their_surrogate_serves_in_our_neuron_and_ours_in_theirs(snntorch):
    current = 0.5 * (0.3 + torch.randn(20, 3, 7))
    gradients = []
    for neuron in (
        LIF(surrogate=snntorch.surrogate.atan()),
        LIF(),
        LIF(surrogate=snntorch.surrogate.atan(), kernel="reference"),
    ):
        leaf = current.clone().requires_grad_()
        neuron(leaf)[0].mul(torch.arange(20.0).view(-1, 1, 1)).sum().backward()
        gradients.append(leaf.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)  # float32, other order of operations
    assert torch.allclose(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)
    borrowed = snntorch.Leaky(0.9, spike_grad=ATan())
    assert_identical(run_theirs(borrowed, current), run_theirs(snntorch.Leaky(0.9), current))
