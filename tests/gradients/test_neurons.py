"""Are the gradients of neurons right: by finite differences below threshold, and the same from every kernel?"""

import pytest
import torch
from torch.autograd import gradcheck

from neurocl.neurons import LIF, AdaptiveLIF, CurrentLIF, Integrator, Izhikevich, ParametricLIF
from neurocl.primitives.surrogates import (
    ATan,
    FastSigmoid,
    Sigmoid,
    SlopeOf,
    StraightThrough,
    SuperSpike,
    Triangular,
)

BELOW = {"threshold": 50.0, "detach_reset": True}
NEURONS = {
    "LIF": lambda **options: LIF(tau_membrane_ms=5.0, **options),
    "LIF, zero": lambda **options: LIF(tau_membrane_ms=5.0, reset="zero", v_reset=-0.1, **options),
    "LIF, none": lambda **options: LIF(tau_membrane_ms=5.0, reset="none", **options),
    "LIF, delayed": lambda **options: LIF(tau_membrane_ms=5.0, reset="subtract-delayed", **options),
    "LIF, leak": lambda **options: LIF(tau_membrane_ms=5.0, gain="leak", **options),
    "LIF like Norse": lambda **options: LIF.like_norse(
        tau_mem_inv=300.0, **{"v_th" if k == "threshold" else k: v for k, v in options.items()}
    ),
    "CurrentLIF": lambda **options: CurrentLIF(tau_membrane_ms=5.0, **options),
    "AdaptiveLIF": lambda **options: AdaptiveLIF(tau_membrane_ms=5.0, tau_adaptation_ms=10.0, **options),
    "ParametricLIF": lambda **options: ParametricLIF(tau_membrane_ms=5.0, neurons=3, **options),
    "ParametricLIF, leak": lambda **options: ParametricLIF(tau_membrane_ms=5.0, gain="leak", **options),
}
every_neuron = pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS.keys())
TANH = SlopeOf(torch.tanh)
SURROGATES = [ATan(), FastSigmoid(), Sigmoid(), Triangular(), SuperSpike(), StraightThrough(), TANH]


@pytest.fixture(autouse=True)
def _without_type_checks(as_installed):
    """The contract tests check types; gradient checks run every neuron hundreds of times."""


def membrane(state):
    return state if isinstance(state, torch.Tensor) else state.v


def current_of(*shape, neuron=None, mean=0.0):
    """A noisy current, stronger for neurons that take only the leak's share of it."""
    strength = 1.0 if neuron is None or neuron.gain == 1 else 6.0
    noise = torch.randn(*shape, generator=torch.Generator().manual_seed(3))
    return (strength * (mean + noise)).requires_grad_()


@every_neuron
def test_below_threshold_the_gradient_is_the_derivative(make, float64):
    neuron = make(**BELOW)
    current = current_of(4, 1, 3)

    def final_membrane(current, *parameters):
        return membrane(neuron(current)[1])

    assert gradcheck(final_membrane, (current, *neuron.parameters()))
    assert gradcheck(lambda current: membrane(neuron.constant(current, 4)[1]), (current[0].detach().requires_grad_(),))


@every_neuron
def test_through_spikes_the_gradient_is_no_derivative(make, float64):
    neuron = make(surrogate=ATan())
    current = current_of(5, 1, 3, neuron=neuron, mean=0.7)
    assert neuron(current)[0].mean() > 0.1
    assert not gradcheck(lambda current: neuron(current)[0], (current,), raise_exception=False)


def test_units_without_spikes_have_true_derivatives(float64):
    current = current_of(5, 2, 3)
    assert gradcheck(lambda current: Integrator(tau_membrane_ms=5.0)(current)[0], (current,))
    quiet = Izhikevich(detach_reset=True)
    assert gradcheck(lambda current: quiet(current)[1].u, (current,))


@every_neuron
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda surrogate: type(surrogate).__name__)
@pytest.mark.parametrize("detach_reset", [False, True], ids=["whole", "detached"])
def test_the_kernels_agree(make, surrogate, detach_reset):
    reference = make(surrogate=surrogate, detach_reset=detach_reset, kernel="reference")
    fast = make(surrogate=surrogate, detach_reset=detach_reset, kernel="auto")
    draws = torch.Generator().manual_seed(5)
    found = []
    for neuron in (reference, fast):
        current = current_of(12, 4, 3, neuron=neuron, mean=0.5)
        spikes, state = neuron(current)
        weights = torch.randn(spikes.shape, generator=draws.manual_seed(5)), torch.randn(4, 3, generator=draws)
        ((spikes * weights[0]).sum() + (membrane(state) * weights[1]).sum()).backward()
        found.append([spikes, membrane(state), current.grad, *(p.grad for p in neuron.parameters())])
    assert found[0][0].mean() > 0.05
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    for one, other in zip(found[0][2:], found[1][2:], strict=True):
        assert one.abs().max() > 0
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * one.abs().max().item())  # float32, other order of sums


def test_a_detached_reset_changes_the_gradient_and_not_the_spikes():
    current = current_of(12, 4, 3, mean=0.5)
    spikes, gradients = [], []
    for detach in (False, True):
        out, _ = LIF(detach_reset=detach)(current)
        spikes.append(out)
        gradients.append(torch.autograd.grad((out * torch.arange(12.0).view(-1, 1, 1)).sum(), current)[0])
    assert torch.equal(*spikes)
    assert not torch.allclose(*gradients, rtol=0.01)
