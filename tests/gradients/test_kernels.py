"""Does the whole-sequence kernel agree with autograd of the reference, for every surrogate, reset and data type?"""

import itertools

import pytest
import torch

from neurocl.kernels import lif_sequence, lif_step, run_steps
from neurocl.primitives.surrogates import SURROGATES, ATan

RESETS = ("subtract", "zero", "none", "subtract-delayed")
CHARGES = {
    "scaled": {"keep": 0.9, "gain": 1.0},
    "scaled with gain": {"keep": 0.8, "gain": 0.3},
    "euler": {"charge": "euler", "keep": 0.9, "gain": 0.1, "v_rest": -0.2},
    "divided by 2": {"charge": "divided", "keep": 0.5, "gain": 0.5, "v_rest": -0.2},
    "divided by 3": {"charge": "divided", "keep": 1 - 1 / 3, "gain": 1 / 3},
    "leak": {"charge": "leak", "keep": 1 - 1 / 3, "gain": 1.0, "v_rest": 0.1},
}
# float32: sums of some ten steps in another order; float64 the same, nine digits finer
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12}


def drawn(*shape, dtype, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def passes(run, current, v, keep, weights):
    """Spikes, last membrane, and the gradients of a random functional of both."""
    leaves = [x.clone().requires_grad_() for x in (current, v)]
    leaves += [keep.clone().requires_grad_()] if isinstance(keep, torch.Tensor) else []
    spikes, last = run(*leaves[:2], leaves[2] if len(leaves) == 3 else keep)
    ((spikes * weights[0]).sum() + (last * weights[1]).sum()).backward()
    return spikes.detach(), last.detach(), [leaf.grad for leaf in leaves]


def compare(*, steps=7, shape=(3, 40), dtype=torch.float32, constant=False, keep=0.9, gain=1.0, **rule):
    """Run reference and kernel on the same numbers and insist that they agree."""
    current = drawn(*(() if constant else (steps,)), *shape, dtype=dtype, seed=1) / gain + 0.3
    v = drawn(*shape, dtype=dtype, seed=2)
    weights = drawn(steps, *shape, dtype=dtype, seed=3), drawn(*shape, dtype=dtype, seed=4)

    def reference(x, u, k):
        drive = x.expand(steps, *shape) if constant else x
        return run_steps(lambda now, state: lif_step(now, state, keep=k, gain=gain, **rule), drive, u)

    def kernel(x, u, k):
        return lif_sequence(x, u, keep=k, gain=gain, time_steps=steps if constant else None, **rule)

    spikes, last, grads = passes(reference, current, v, keep, weights)
    got_spikes, got_last, got_grads = passes(kernel, current, v, keep, weights)
    assert 0.02 < spikes.mean() < 0.98, "silence, or nothing but spikes, proves nothing"
    assert torch.equal(spikes, got_spikes)
    assert torch.equal(last, got_last)
    for wanted, got in zip(grads, got_grads, strict=True):
        assert got.dtype == wanted.dtype
        assert (got - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()
    with torch.no_grad():
        unsaved = kernel(current, v, keep)
    assert torch.equal(unsaved[0], spikes)
    assert torch.equal(unsaved[1], last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_reset_and_detachment_agrees_with_autograd(name, dtype):
    for reset, fire, detach in itertools.product(RESETS, ("above", "at"), (False, True)):
        compare(surrogate=SURROGATES[name](), reset=reset, fire=fire, detach_reset=detach, dtype=dtype, threshold=0.7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("charge", CHARGES)
def test_every_order_of_the_charge_agrees_with_autograd(charge, dtype):
    for reset, constant in itertools.product(RESETS, (False, True)):
        compare(surrogate=ATan(), reset=reset, v_reset=-0.3, constant=constant, dtype=dtype, **CHARGES[charge])


@pytest.mark.parametrize("shape", [(), (40,), (1,)], ids=["one value", "per neuron", "one in a row"])
def test_a_trainable_keep_gets_its_gradient(shape):
    keep = torch.full(shape, 0.85)
    for reset, constant in itertools.product(RESETS, (False, True)):
        compare(surrogate=ATan(), reset=reset, keep=keep, v_reset=0.1, constant=constant)


def test_a_trainable_gain_gets_its_gradient():
    current, v = drawn(6, 2, 30, dtype=torch.float32, seed=1), torch.zeros(2, 30)
    found = []
    for sequence in (True, False):
        gain = torch.full((30,), 1.5, requires_grad=True)
        if sequence:
            spikes, _ = lif_sequence(current, v, keep=0.9, gain=gain, surrogate=ATan())
        else:
            spikes, _ = run_steps(lambda x, u, g=gain: lif_step(x, u, keep=0.9, gain=g, surrogate=ATan()), current, v)
        spikes.sum().backward()
        found.append((spikes.detach(), gain.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert found[1][1].abs().max() > 0
    torch.testing.assert_close(found[0][1], found[1][1])


def test_parameters_of_a_surrogate_reach_the_fast_slopes():
    for surrogate in (ATan(alpha=5.0), SURROGATES["super-spike"](alpha=0.3)):
        compare(surrogate=surrogate, gain=0.5)


def test_a_subclass_with_its_own_slope_is_not_mistaken_for_its_parent():
    class Flat(ATan):
        def slope_at(self, x):
            return torch.full_like(x, 0.25)

    compare(surrogate=Flat())


@pytest.mark.parametrize(
    ("steps", "shape"),
    [(1, (3, 40)), (7, (1, 40)), (5, (40,)), (4, (2, 3, 20)), (4, (2, 3, 5, 6)), (3, (2, 2, 3, 4, 5))],
)
def test_any_number_of_steps_samples_and_axes_will_do(steps, shape):
    for constant in (False, True):
        compare(surrogate=ATan(), steps=steps, shape=shape, constant=constant, reset="subtract-delayed")


def test_the_gradient_checks_numerically_below_threshold():
    """Where nothing fires, the dynamics are linear, and finite differences may judge."""
    current = drawn(5, 2, 3, dtype=torch.float64, seed=5).mul_(0.05).requires_grad_()
    v = drawn(2, 3, dtype=torch.float64, seed=6).mul_(0.1).requires_grad_()
    keep = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, u, k: lif_sequence(x, u, keep=k, gain=0.7, surrogate=ATan(), detach_reset=True)[1], (current, v, keep)
    )
