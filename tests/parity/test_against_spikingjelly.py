"""Do the presets spike exactly as SpikingJelly does, step for step and bit for bit?"""

import pytest
import torch

from neurocl.neurons import LIF, ParametricLIF
from neurocl.primitives.surrogates import ATan, Sigmoid, SlopeOf, SuperSpike, Triangular

RESETS = [0.0, None, -0.3]


def run(node, current):
    """Spikes and membranes of every step."""
    node.reset()
    spikes, membranes = [], []
    for now in current.unbind(0):
        spikes.append(node(now))
        membranes.append(node.v)
    return torch.stack(spikes), torch.stack(membranes)


def assert_identical(neuron, node, current):
    theirs = run(node, current)
    assert 0.005 < theirs[0].mean() < 1, "the comparison says nothing about silent neurons"
    ours = run(neuron.hidden(), current)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    assert torch.equal(neuron(current)[0], theirs[0])


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("v_reset", RESETS)
@pytest.mark.parametrize("tau", [2.0, 3.0, 1.3, 10.7])
@pytest.mark.parametrize("kind", ["LIFNode", "ParametricLIFNode"])
def test_nodes_are_reproduced_bit_for_bit(spikingjelly, kind, tau, v_reset, decay_input):
    node = getattr(spikingjelly.neuron, kind)(tau, decay_input, 0.8, v_reset)
    rules = {"decay_input": decay_input, "v_threshold": 0.8, "v_reset": v_reset}
    if kind == "LIFNode":
        neuron = LIF.like_spikingjelly(tau=tau, **rules)
    else:
        neuron = ParametricLIF.like_spikingjelly(init_tau=tau, **rules)
    for shape, scale in (((120, 5, 17), 1.0), ((30, 2, 3, 6, 6), 5.0)):
        assert_identical(neuron, node, scale * (tau if decay_input else 1.0) * (0.2 + torch.randn(shape)))


def test_a_membrane_exactly_at_threshold_fires_as_theirs_does(spikingjelly):
    current = torch.randint(0, 3, (60, 4, 8)).float()  # with tau 2 all sums are exact, so ties are many
    node = spikingjelly.neuron.LIFNode(2.0)
    assert_identical(LIF.like_spikingjelly(tau=2.0), node, current)
    strict, _ = LIF.like_spikingjelly(tau=2.0, fire="above")(current)
    assert not torch.equal(strict, run(node, current)[0])


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("v_reset", RESETS)
def test_gradients_are_theirs(spikingjelly, v_reset, detach):
    node = spikingjelly.neuron.ParametricLIFNode(2.0, True, 1.0, v_reset, detach_reset=detach)
    fixed = spikingjelly.neuron.LIFNode(2.0, True, 1.0, v_reset, detach_reset=detach)
    learned = ParametricLIF.like_spikingjelly(init_tau=2.0, v_reset=v_reset, detach_reset=detach)
    neuron = LIF.like_spikingjelly(tau=2.0, v_reset=v_reset, detach_reset=detach)
    current, weights = 2 * (0.2 + torch.randn(25, 4, 9)), torch.randn(25, 4, 9)
    found = []
    for call in (learned, neuron, lambda x: run(node, x), lambda x: run(fixed, x)):
        leaf = current.clone().requires_grad_()
        (call(leaf)[0] * weights).sum().backward()
        found.append(leaf.grad)
    largest = found[3].abs().max().item()
    assert largest > 0
    for ours, theirs in ((found[0], found[2]), (found[1], found[3]), (learned.raw_leak.grad, node.w.grad)):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * largest)  # float32, other order of sums


def test_the_naive_mapping_spikes_otherwise(spikingjelly):
    current = 2 * (0.2 + torch.randn(100, 8, 50))
    theirs, _ = run(spikingjelly.neuron.LIFNode(2.0), current)
    naive, _ = LIF(tau_membrane_ms=2.0, dt_ms=1.0)(current)
    assert (naive != theirs).float().mean() > 0.05
    rounded, _ = LIF.from_keep(1 - 1 / 10.7, gain="leak", reset="zero", fire="at")(8 * current)
    exact, _ = run(spikingjelly.neuron.LIFNode(10.7), 8 * current)
    assert torch.allclose(rounded.mean(), exact.mean(), rtol=0.01)  # the same neuron up to rounding


@pytest.mark.parametrize(
    ("ours", "name", "alpha"),
    [
        (Sigmoid(alpha=4.0), "Sigmoid", 4.0),
        (ATan(alpha=2.0), "ATan", 2.0),
        (Triangular(width=0.5), "PiecewiseQuadratic", 2.0),
        (SuperSpike(alpha=3.0), "SuperSpike", 3.0),
    ],
    ids=repr,
)
def test_surrogates_have_their_slopes(spikingjelly, ours, name, alpha):
    function = getattr(spikingjelly.surrogate, name)(alpha=alpha)
    x = torch.linspace(-1.505, 1.5, 301)
    assert torch.allclose(ours.slope_at(x), SlopeOf(function).slope_at(x), rtol=1e-5, atol=1e-6)  # float32
    assert torch.equal(ours(x, fire="at"), function(x))
