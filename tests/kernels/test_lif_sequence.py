"""Does the whole-sequence kernel behave where inputs are odd, and save what it may save?"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neurocl.kernels import lif_sequence, lif_step, run_steps
from neurocl.primitives.checks import BadInput
from neurocl.primitives.surrogates import ATan, FastSigmoid

RULE = {"keep": 0.9, "surrogate": ATan()}


def noise(*shape):
    return torch.randn(*shape) * 0.6 + 0.2


def reference(current, v):
    return run_steps(lambda x, u: lif_step(x, u, **RULE), current, v)


def test_spikes_keep_dtype_and_are_zero_or_one():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        spikes, v = lif_sequence(noise(9, 4, 30).to(dtype), torch.zeros(4, 30, dtype=dtype), **RULE)
        assert spikes.dtype == v.dtype == dtype
        assert set(spikes.unique().tolist()) == {0.0, 1.0}


def test_bfloat16_rounds_as_the_reference_does():
    current, v = noise(9, 4, 30).bfloat16(), torch.zeros(4, 30, dtype=torch.bfloat16)
    assert torch.equal(lif_sequence(current, v, **RULE)[0], reference(current, v)[0])


def test_inputs_are_left_as_they_are():
    current, v = noise(6, 3, 10), noise(3, 10)
    kept = current.clone(), v.clone()
    lif_sequence(current.requires_grad_(), v, **RULE)[0].sum().backward()
    lif_sequence(current[0].detach(), v, time_steps=4, gain=0.5, **RULE)
    assert torch.equal(current, kept[0])
    assert torch.equal(v, kept[1])


def test_the_state_of_a_reset_free_layer_is_nobody_elses_memory():
    current = noise(6, 3, 10).requires_grad_()
    spikes, v = lif_sequence(current, torch.zeros(3, 10), reset="none", **RULE)
    before = torch.autograd.grad(spikes.sum(), current, retain_graph=True)[0]
    with torch.no_grad():
        v.zero_()
    assert torch.equal(torch.autograd.grad(spikes.sum(), current)[0], before)


def test_an_empty_batch_gives_empty_spikes():
    current = torch.zeros(5, 0, 8, requires_grad=True)
    spikes, v = lif_sequence(current, torch.zeros(0, 8), **RULE)
    spikes.sum().backward()
    assert spikes.shape == (5, 0, 8)
    assert v.shape == (0, 8)
    assert current.grad.shape == current.shape


def test_nan_reaches_the_membrane_and_never_fires():
    current = noise(5, 2, 4)
    current[1, 0, 0] = torch.nan
    spikes, v = lif_sequence(current, torch.zeros(2, 4), **RULE)
    assert v.isnan().sum() == 1
    assert spikes[1:, 0, 0].sum() == 0
    assert torch.equal(spikes, reference(current, torch.zeros(2, 4))[0])


def test_views_that_are_not_contiguous_will_do():
    current = noise(3, 6, 10).transpose(0, 1).requires_grad_()
    v = noise(10, 3).t()
    weights = noise(10, 3, 6).permute(2, 1, 0)
    found = []
    for run in (lif_sequence, lambda x, u, **_: reference(x, u)):
        spikes, last = run(current, v, **RULE)
        found.append((spikes, last, torch.autograd.grad((spikes * weights).sum(), current)[0]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[0][2], found[1][2])


def test_a_sequence_is_two_halves():
    current = noise(10, 3, 20)
    for reset in ("subtract", "zero", "subtract-delayed"):
        whole, v = lif_sequence(current, torch.zeros(3, 20), reset=reset, **RULE)
        first, between = lif_sequence(current[:4], torch.zeros(3, 20), reset=reset, **RULE)
        second, last = lif_sequence(current[4:], between, reset=reset, **RULE)
        assert torch.equal(whole, torch.cat([first, second]))
        assert torch.equal(v, last)


def saved_bytes(run):
    """Bytes that a graph keeps for its backward pass."""
    total = []

    def count(tensor):
        total.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        run()
    return sum(total)


def test_only_one_value_a_neuron_and_step_is_kept_and_nothing_without_a_gradient():
    current, v = noise(32, 8, 50), torch.zeros(8, 50)
    one = current.numel() * 4
    assert saved_bytes(lambda: lif_sequence(current, v, **RULE)) == 0
    assert one <= saved_bytes(lambda: lif_sequence(current.requires_grad_(), v, **RULE)) < 1.1 * one
    with torch.no_grad():
        assert lif_sequence(current, v, **RULE)[0].grad_fn is None


def test_a_constant_current_is_never_expanded_in_the_gradient():
    current = noise(8, 50).requires_grad_()
    spikes, _ = lif_sequence(current, torch.zeros(8, 50), time_steps=6, **RULE)
    spikes.sum().backward()
    expanded = current.detach().expand(6, 8, 50).clone().requires_grad_()
    lif_sequence(expanded, torch.zeros(8, 50), **RULE)[0].sum().backward()
    assert current.grad.shape == (8, 50)
    torch.testing.assert_close(current.grad, expanded.grad.sum(0))


def test_per_sample_gradients_by_vmap_agree_with_a_loop():
    current = noise(5, 6, 7)

    def loss(x):
        return lif_sequence(x.unsqueeze(1), torch.zeros(1, 7), **RULE)[0].square().sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=1, out_dims=1)(current)
    leaf = current.clone().requires_grad_()
    lif_sequence(leaf, torch.zeros(6, 7), **RULE)[0].square().sum().backward()
    assert leaf.grad.abs().max() > 0
    torch.testing.assert_close(together, leaf.grad)


def test_a_plain_callable_serves_as_surrogate():
    surrogate = FastSigmoid()
    current = noise(5, 2, 9).requires_grad_()
    found = []
    for given in (surrogate, lambda x, fire="above": surrogate(x, fire=fire)):
        spikes, _ = lif_sequence(current, torch.zeros(2, 9), keep=0.9, surrogate=given)
        found.append((spikes, torch.autograd.grad(spikes.sum(), current)[0]))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_kernels_compile_as_one_graph(backend):
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run([sys.executable, str(script), backend], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = dict(line.split(": ") for line in done.stdout.splitlines())
    assert len(verdicts) == 6
    assert set(verdicts.values()) == {"True"}, verdicts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"v": torch.zeros(3, 4)}, "v must have the shape of one step"),
        ({"current": torch.tensor(1.0), "v": torch.tensor(0.0)}, "time axis first"),
        ({"reset": "substract"}, "did you mean 'subtract'"),
        ({"fire": "below"}, "no fire named"),
        ({"time_steps": 0}, "time_steps must be a whole number"),
        ({"charge": "euler"}, "gain must be 0.1 for charge='euler'"),
        ({"charge": "euler", "keep": torch.tensor(0.9)}, "must be numbers for charge='euler'"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_what_cannot_run_is_refused_in_one_line(arguments, words):
    given = {"current": torch.zeros(5, 2, 4), "v": torch.zeros(2, 4), **RULE} | arguments
    current, v = given.pop("current"), given.pop("v")
    if "time_steps" in given:
        current = current[0]
    with pytest.raises(BadInput, match=words) as caught:
        lif_sequence(current, v, **given)
    assert "\n" not in str(caught.value)


def test_the_reference_is_flat_in_time():
    """No step may touch the whole sequence: backward cost a step stays the same over 16 times as many steps."""
    counts = []
    for steps in (16, 256):
        current = noise(steps, 2, 3).requires_grad_()
        reference(current, torch.zeros(2, 3))[0].sum().backward()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
            spikes, _ = reference(current, torch.zeros(2, 3))
        nodes, seen, biggest = [spikes.grad_fn], set(), 0
        while nodes:
            node = nodes.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            biggest += "Select" in node.name()
            nodes += [parent for parent, _ in node.next_functions]
        counts.append((len(seen) / steps, biggest))
    assert counts[1][0] < 1.1 * counts[0][0]
    assert counts[0][1] == counts[1][1] == 0
