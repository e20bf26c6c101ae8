"""Do the kernels of adaptive neurons and leaky integrators agree with autograd of their steps?"""

import itertools

import pytest
import torch

from neurocl.kernels import adaptive_sequence, leaky_sequence, leaky_step, run_steps
from neurocl.neurons.adaptive_lif import adaptive_lif_step
from neurocl.primitives.checks import BadInput
from neurocl.primitives.surrogates import SURROGATES, ATan

# sums of some ten steps in another order
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12}
STEPS, SHAPE = 9, (3, 30)


def drawn(*shape, dtype, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def agree(reference, kernel, current, states, dtype):
    """Outputs bit for bit, gradients of a random functional to rounding."""
    found = []
    for run in (reference, kernel):
        leaves = [x.clone().requires_grad_() for x in (current, *states)]
        outputs = run(*leaves)
        weights = [drawn(*out.shape, dtype=dtype, seed=9 + k) for k, out in enumerate(outputs)]
        loss = sum((out * weight).sum() for out, weight in zip(outputs, weights, strict=True))
        found.append(([out.detach() for out in outputs], torch.autograd.grad(loss, leaves)))
    (wanted, wanted_grads), (got, got_grads) = found
    assert all(map(torch.equal, wanted, got))
    for right, grad in zip(wanted_grads, got_grads, strict=True):
        assert right.abs().max() > 0
        assert (grad - right).abs().max() <= TOLERANCE[dtype] * right.abs().max()
    with torch.no_grad():
        assert all(map(torch.equal, kernel(current, *states), wanted))
    return wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", SURROGATES)
def test_adaptive_neurons_agree_for_every_surrogate_and_reset(name, dtype):
    resets, fires = ("subtract", "zero", "none"), ("above", "at")
    for reset, fire, detach, constant in itertools.product(resets, fires, (False, True), (False, True)):
        rule = {
            "keep": 0.9, "keep_adaptation": 0.95, "strength": 0.3, "gain": 0.7, "threshold": 0.6, "v_reset": -0.1,
            "reset": reset, "fire": fire, "detach_reset": detach, "surrogate": SURROGATES[name](),
        }  # fmt: skip
        current = drawn(*(() if constant else (STEPS,)), *SHAPE, dtype=dtype, seed=1) + 0.3
        states = drawn(*SHAPE, dtype=dtype, seed=2), drawn(*SHAPE, dtype=dtype, seed=3).abs()

        def reference(x, v, a, rule=rule, constant=constant):
            def step(now, state):
                spikes, *state = adaptive_lif_step(now, *state, **rule)
                return spikes, state

            spikes, state = run_steps(step, x.expand(STEPS, *SHAPE) if constant else x, (v, a))
            return spikes, *state

        def kernel(x, v, a, rule=rule, constant=constant):
            return adaptive_sequence(x, v, a, time_steps=STEPS if constant else None, **rule)

        spikes, *_ = agree(reference, kernel, current, states, dtype)
        assert 0.02 < spikes.mean() < 0.98


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_leaky_integrators_agree(gain, constant, dtype):
    current = drawn(*(() if constant else (STEPS,)), *SHAPE, dtype=dtype, seed=1)
    rule = {"keep": 0.8, "gain": gain}

    def reference(x, v):
        def step(now, u):
            after = leaky_step(now, u, **rule)
            return after, after

        return run_steps(step, x.expand(STEPS, *SHAPE) if constant else x, v)

    def kernel(x, v):
        return leaky_sequence(x, v, time_steps=STEPS if constant else None, **rule)

    agree(reference, kernel, current, (drawn(*SHAPE, dtype=dtype, seed=2),), dtype)


def test_a_constant_input_settles_where_theory_says():
    membranes, last = leaky_sequence(torch.ones(1, 2), torch.zeros(1, 2), keep=0.5, gain=0.5, time_steps=40)
    assert torch.equal(membranes[-1], last)
    torch.testing.assert_close(last, torch.ones(1, 2))
    torch.testing.assert_close(membranes[2], torch.full((1, 2), 1 - 0.5**3))


def test_integrators_run_under_vmap():
    current = drawn(5, 4, 3, dtype=torch.float32, seed=1)
    together = torch.func.vmap(
        torch.func.grad(lambda x: leaky_sequence(x, torch.zeros(3), keep=0.9)[0].square().sum()), 1
    )(current)
    leaf = current.clone().requires_grad_()
    leaky_sequence(leaf, torch.zeros(4, 3), keep=0.9)[0].square().sum().backward()
    torch.testing.assert_close(together, leaf.grad.transpose(0, 1))


@pytest.mark.usefixtures("as_installed")
def test_states_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match="v must have the shape of one step"):
        leaky_sequence(torch.zeros(5, 2, 4), torch.zeros(3, 4), keep=0.9)
    rule = {"keep": 0.9, "keep_adaptation": 0.9, "strength": 0.1, "surrogate": ATan()}
    with pytest.raises(BadInput, match="v and adaptation must have the shape"):
        adaptive_sequence(torch.zeros(5, 2, 4), torch.zeros(2, 4), torch.zeros(3, 4), **rule)
    with pytest.raises(BadInput, match="reset must be"):
        adaptive_sequence(torch.zeros(5, 2), torch.zeros(2), torch.zeros(2), reset="subtract-delayed", **rule)
