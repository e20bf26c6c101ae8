"""Does every neuron model keep the contract of neurocl/neurons/neuron.py?"""

import copy
import inspect
import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurocl.neurons as room
from neurocl.neurons import (
    DSRLIF,
    LIF,
    AdaptiveLIF,
    CurrentLIF,
    HiddenView,
    Integrator,
    Izhikevich,
    Neuron,
    ParametricLIF,
    Rate,
    reset,
)
from neurocl.primitives.checks import BadInput

FACTORIES = {
    "LIF": LIF,
    "LIF, reference": lambda: LIF(kernel="reference"),
    "LIF, reset to zero": lambda: LIF(reset="zero", v_reset=-0.2, tau_membrane_ms=5.0),
    "LIF like snnTorch": lambda: LIF.like_snntorch(beta=0.9),
    "LIF like snnTorch, zero": lambda: LIF.like_snntorch(beta=0.9, reset_mechanism="zero"),
    "LIF like snnTorch, guarded": lambda: LIF.like_snntorch(beta=0.9, reset_delay=False),
    "LIF like Norse": lambda: LIF.like_norse(tau_mem_inv=400.0),
    "LIF like SpikingJelly": LIF.like_spikingjelly,
    "LIF like SpikingJelly, whole input": lambda: LIF.like_spikingjelly(decay_input=False, v_reset=None),
    "CurrentLIF": CurrentLIF,
    "CurrentLIF like snnTorch": lambda: CurrentLIF.like_snntorch(alpha=0.7, beta=0.9),
    "CurrentLIF like Norse": CurrentLIF.like_norse,
    "AdaptiveLIF": AdaptiveLIF,
    "ParametricLIF": ParametricLIF,
    "ParametricLIF like SpikingJelly": ParametricLIF.like_spikingjelly,
    "DSRLIF": DSRLIF,
    "DSRLIF, trainable": lambda: DSRLIF(trainable=True, tau_membrane_ms=5.0),
    "Izhikevich": Izhikevich,
    "Izhikevich, low-threshold": lambda: Izhikevich(pattern="low-threshold-spiking"),
    "Integrator": Integrator,
    "Rate": Rate,
}
EXPORTED = {
    name for name in room.__all__ if inspect.isclass(getattr(room, name)) and issubclass(getattr(room, name), Neuron)
}
every_neuron = pytest.mark.parametrize("make", FACTORIES.values(), ids=FACTORIES.keys())
STEPS, BATCH, WIDTH = 24, 3, 6


def drive(neuron, *shape, seed=0, dtype=torch.float32, device="cpu"):
    """A noisy current that makes ``neuron`` fire now and then, around its own scale."""
    scale = 12.0 if isinstance(neuron, Izhikevich) else 1.0
    noise = torch.randn(*(shape or (STEPS, BATCH, WIDTH)), generator=torch.Generator().manual_seed(seed))
    return (scale * (0.6 + noise)).to(dtype).to(device)


def variables(state):
    if state is None:
        return []
    return [state] if isinstance(state, torch.Tensor) else list(state)


def run(neuron, *args):
    """Output and state variables, after a guard against silence."""
    output, state = neuron(*args)
    assert 0.01 < (output != 0).float().mean() <= 1, "the test says nothing about silent neurons"
    return output, variables(state)


def same(ones, others):
    return len(ones) == len(others) and all(torch.equal(a, b) for a, b in zip(ones, others, strict=True))


def test_every_exported_neuron_is_tested_here():
    tested = {type(make()).__name__ for make in FACTORIES.values()}
    assert tested == EXPORTED - {"Neuron"}
    assert len(tested) == 8


@every_neuron
def test_outputs_are_spikes_exactly_where_the_neuron_says_so(make):
    neuron = make()
    output, _ = run(neuron, drive(neuron))
    assert neuron.spiking == set(output.unique().tolist()).issubset({0.0, 1.0})


@every_neuron
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_dtype_and_device_are_kept(make, dtype, device):
    neuron = make().to(device)
    current = drive(neuron, dtype=dtype, device=device)
    output, state = run(neuron, current)
    for value in (output, *state):
        assert (value.dtype, value.device.type) == (dtype, device.type)
    assert output.shape == current.shape
    assert all(value.shape == current.shape[1:] for value in state)


@every_neuron
def test_inputs_are_not_changed(make):
    neuron = make()
    current = drive(neuron)
    _, state = neuron(current[:5])
    before = [value.clone() for value in (current, *variables(state))]
    run(neuron, current, state)
    neuron.constant(current[0], 5, state)
    neuron.step(current[0], state)
    assert same([current, *variables(state)], before)


@every_neuron
def test_a_row_does_not_depend_on_the_others(make):
    neuron = make()
    current = drive(neuron)
    changed = current.clone()
    changed[:, 1:] = drive(neuron, STEPS, BATCH - 1, WIDTH, seed=1)
    (one, state), (other, other_state) = run(neuron, current), run(neuron, changed)
    assert torch.equal(one[:, 0], other[:, 0])
    assert not torch.equal(one[:, 1], other[:, 1])
    assert same([value[0] for value in state], [value[0] for value in other_state])


@every_neuron
def test_two_halves_equal_the_whole(make):
    neuron = make()
    current = drive(neuron)
    whole, state = run(neuron, current)
    first, between = neuron(current[:17])
    second, after = neuron(current[17:], between)
    assert torch.equal(torch.cat([first, second]), whole)
    assert same(variables(after), state)


@every_neuron
def test_single_steps_equal_the_sequence(make):
    neuron = make()
    current = drive(neuron)
    whole, final = run(neuron, current)
    state, outputs = None, []
    for now in current.unbind(0):
        output, state = neuron.step(now, state)
        outputs.append(output)
    assert torch.equal(torch.stack(outputs), whole)
    assert same(variables(state), final)


@every_neuron
def test_instances_and_calls_share_no_state(make):
    one, other = make(), make()
    current = drive(one)
    first, state = run(one, current)
    second, other_state = run(other, current)
    again, state_again = run(one, current)
    assert torch.equal(first, second)
    assert torch.equal(first, again)
    assert same(state, other_state)
    assert same(state, state_again)


@every_neuron
def test_silent_input_gives_silence(make):
    neuron = make()
    output, _ = neuron(torch.zeros(50, 2, 3))
    assert torch.equal(output, torch.zeros(50, 2, 3))


@every_neuron
def test_a_constant_current_equals_its_repetition(make):
    neuron = make()
    current = drive(neuron, BATCH, WIDTH).abs().requires_grad_()
    repeated, state = run(neuron, current.expand(STEPS, -1, -1))
    once, state_once = neuron.constant(current, STEPS)
    assert torch.equal(repeated, once)
    assert same(state, variables(state_once))
    weights = torch.randn(STEPS, BATCH, WIDTH)
    (expected,) = torch.autograd.grad((repeated * weights).sum(), current)
    (found,) = torch.autograd.grad((once * weights).sum(), current)
    assert expected.abs().sum() > 0
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)  # sums over time in another order


@every_neuron
@settings(max_examples=5)
@given(order=st.permutations(range(WIDTH)))
def test_permuting_neurons_permutes_the_output(make, order):
    neuron = make()
    current = drive(neuron, 12, BATCH, WIDTH)
    output, state = run(neuron, current)
    permuted, permuted_state = run(neuron, current[..., order])
    assert torch.equal(permuted, output[..., order])
    assert same(permuted_state, [value[..., order] for value in state])


@every_neuron
@pytest.mark.parametrize(
    "shape", [(1, 2, 3), (4, 1, 3), (4, 0, 3), (4, 2, 3, 5, 5)], ids=["one step", "one row", "no rows", "images"]
)
def test_odd_shapes_pass(make, shape):
    neuron = make()
    current = drive(neuron, *shape).requires_grad_()
    output, state = neuron(current)
    assert output.shape == shape
    assert all(value.shape == shape[1:] for value in variables(state))
    output.sum().backward()
    assert torch.isfinite(current.grad).all()
    constant, _ = neuron.constant(current[0], 3)
    assert constant.shape == (3, *shape[1:])


@every_neuron
def test_gradients_reach_the_current_and_pass_through_the_state(make):
    neuron = make()
    current = drive(neuron).requires_grad_()
    weights = torch.randn(STEPS, BATCH, WIDTH)
    run(neuron, current)[0].mul(weights).sum().backward()
    whole, current.grad = current.grad, None
    first, state = neuron(current[:17])
    second, _ = neuron(current[17:], state)
    (torch.cat([first, second]) * weights).sum().backward()
    assert torch.isfinite(whole).all()
    assert (whole != 0).float().mean() > 0.3
    assert torch.allclose(current.grad, whole, rtol=1e-4, atol=1e-6)  # the same sums, cut in two


@every_neuron
def test_per_sample_gradients_vectorise(make):
    neuron = make()
    current = drive(neuron, 8, BATCH, WIDTH)

    def loss(one):
        return (neuron(one.unsqueeze(1))[0] * torch.arange(1.0, 9).view(-1, 1, 1)).sum()

    vectorised = torch.func.vmap(torch.func.grad(loss), in_dims=1, out_dims=1)(current)
    one_by_one = torch.stack([torch.func.grad(loss)(current[:, row]) for row in range(BATCH)], dim=1)
    assert vectorised.abs().sum() > 0
    assert torch.allclose(vectorised, one_by_one, rtol=1e-4, atol=1e-6)  # sums in another order


@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_every_neuron_compiles_as_one_graph(backend):
    script = Path(__file__).with_name("compile_neurons.py")
    done = subprocess.run([sys.executable, str(script), backend], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = dict(line.split(": ") for line in done.stdout.splitlines())
    assert {name.split()[0].rstrip(",") for name in verdicts} == EXPORTED - {"Neuron"}
    assert set(verdicts.values()) == {"True"}, verdicts


@every_neuron
def test_state_dict_holds_parameters_only_and_loads(make):
    neuron = make()
    neuron(drive(neuron))
    assert set(neuron.state_dict()) == {name for name, _ in neuron.named_parameters()}
    fresh = make()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(1)
    fresh.load_state_dict(neuron.state_dict())
    current = drive(neuron)
    assert torch.equal(fresh(current)[0], neuron(current)[0])


@every_neuron
def test_copies_and_pickles_work_after_a_training_step(make):
    view = make().hidden()
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), view)
    current = drive(view.neuron)
    network(current[0]).sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    following = network(current[1])
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(current[2]), copy.deepcopy(network)(current[2]))
        assert twin[1] is not view
    assert following.shape == (BATCH, WIDTH)


@every_neuron
def test_the_hidden_view_keeps_the_state_between_calls(make):
    neuron = make()
    current = drive(neuron)
    whole, final = run(neuron, current)
    view = neuron.hidden()
    assert torch.equal(torch.stack([view(now) for now in current]), whole)
    assert same(variables(view.state), final)
    view.reset()
    view.step_mode = "m"
    assert torch.equal(view(current), whole)
    reset(nn.Sequential(view))
    assert view.v is None
    assert torch.equal(torch.cat([view(current[:17]), view(current[17:])]), whole)


@every_neuron
def test_the_hidden_state_is_saved_moved_and_detached(make):
    neuron = make()
    view = neuron.hidden()
    current = drive(neuron).requires_grad_()
    [view(now) for now in current[:17]]
    saved = view.save_state()
    expected = torch.stack([view(now) for now in current[17:]])
    fresh = neuron.hidden()
    fresh.load_state(saved)
    assert torch.equal(torch.stack([fresh(now) for now in current[17:]]), expected)
    assert "v" in saved or not neuron.spiking
    assert not any(value.requires_grad for value in saved.values())
    fresh.detach()
    assert not any(value.requires_grad for value in variables(fresh.state))
    fresh.to(torch.float64)
    assert all(value.dtype == torch.float64 for value in variables(fresh.state))
    assert fresh(current[0].double()).dtype == torch.float64


@every_neuron
def test_the_cell_view_is_one_step(make):
    neuron = make()
    current = drive(neuron)
    assert torch.equal(neuron.cell()(current[0])[0], neuron.step(current[0])[0])
    assert list(inspect.signature(neuron.cell().forward).parameters) == ["current", "state"]


@every_neuron
def test_a_misshapen_current_is_refused_in_one_line(make):
    neuron = make()
    for call, wrong in (
        (neuron, torch.zeros(4, 3)),
        (neuron, torch.zeros(0, 2, 3)),
        (neuron, torch.zeros(4, 2, 3, dtype=torch.int64)),
        (neuron.step, torch.zeros(3)),
        (neuron.step, torch.zeros(2, 3, dtype=torch.bool)),
        (lambda current: neuron.constant(current, 4), torch.zeros(3)),
        (lambda current: neuron.constant(current, 0), torch.zeros(2, 3)),
    ):
        with pytest.raises(BadInput, match=r"^(current|time_steps) must") as caught:
            call(wrong)
        assert "\n" not in str(caught.value)


@every_neuron
def test_a_state_that_does_not_fit_is_refused(make):
    neuron = make()
    current = drive(neuron)
    _, state = neuron(current)
    if state is None:
        return
    rebuild = (lambda values: values[0]) if isinstance(state, torch.Tensor) else (lambda values: type(state)(*values))
    wrong = {
        "shape": [value[:1] for value in variables(state)],
        "float64": [value.double() for value in variables(state)],
    }
    for word, values in wrong.items():
        with pytest.raises(BadInput, match=word):
            neuron(current, rebuild(values))
    with pytest.raises(BadInput, match="state must be"):
        neuron(current, "rest")
    with pytest.raises(BadInput, match="state"):
        neuron.step(current[0], (state, state, state))


@every_neuron
def test_a_hidden_state_of_another_batch_is_refused_with_the_way_out(make):
    neuron = make()
    view = neuron.hidden()
    current = drive(neuron)
    view(current[0])
    if not variables(view.state):
        return
    with pytest.raises(BadInput, match="reset the hidden view"):
        view(current[0, :1])
    view.reset()
    assert view(current[0, :1]).shape == (1, WIDTH)


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan, math.inf, "long", 1e-9, 1e20, True])
@pytest.mark.parametrize(
    "make", [LIF, CurrentLIF, AdaptiveLIF, ParametricLIF, DSRLIF, Integrator], ids=lambda c: c.__name__
)
def test_an_impossible_time_constant_is_refused(make, tau, as_installed):
    with pytest.raises(BadInput, match="tau_membrane_ms must"):
        make(tau_membrane_ms=tau)


@pytest.mark.parametrize("keep", [0.0, 1.0, -0.1, 1.5, math.nan, "most"])
def test_a_keep_outside_its_range_is_refused(keep, as_installed):
    for make in (LIF.from_keep, Integrator.from_keep, ParametricLIF.from_keep):
        with pytest.raises(BadInput, match="keep must be"):
            make(keep)
    for make in (CurrentLIF.from_keep, AdaptiveLIF.from_keep):
        with pytest.raises(BadInput, match="keep must be"):
            make(keep, 0.5)
        with pytest.raises(BadInput, match=r"keep_\w+ must be"):
            make(0.5, keep)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold must"),
        ({"v_reset": 1.0}, "v_reset must"),
        ({"v_rest": 0.1}, "v_rest must be 0"),
        ({"reset": "substract"}, "did you mean 'subtract'"),
        ({"fire": "below"}, "fire rule"),
        ({"kernel": "triton"}, "kernel"),
        ({"charge": "euler"}, "gain='leak'"),
        ({"charge": "leak", "gain": 0.5}, "gain=1"),
        ({"gain": -1.0}, "gain must"),
        ({"gain": "full"}, "gain"),
        ({"integration": "midpoint"}, "integration"),
        ({"tau_membrane_ms": 0.5, "integration": "euler"}, "tau_membrane_ms must be greater than dt_ms=1"),
        ({"surrogate": 3}, "surrogate must be a callable"),
        ({"kernel": "eager", "reset": "zero-delayed"}, "kernel must"),
    ],
)
def test_parameters_that_make_no_neuron_are_refused(options, message, as_installed):
    with pytest.raises(BadInput, match=message):
        LIF(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LIF.like_snntorch(beta=1.2), "beta must"),
        (lambda: LIF.like_snntorch(beta=0.9, reset_mechanism="soft"), "reset_mechanism"),
        (lambda: LIF.like_norse(dt=0.02), "dt \\* tau_mem_inv"),
        (lambda: LIF.like_norse(reset_method="zero"), "reset_method"),
        (lambda: LIF.like_spikingjelly(tau=1.0), "tau must"),
        (lambda: ParametricLIF.like_spikingjelly(init_tau=0.9), "init_tau must"),
        (lambda: CurrentLIF.like_snntorch(alpha=-1.0, beta=0.9), "alpha must"),
        (lambda: AdaptiveLIF(strength=-0.1), "strength must"),
        (lambda: AdaptiveLIF(tau_adaptation_ms=0.0), "tau_adaptation_ms must"),
        (lambda: CurrentLIF(tau_synapse_ms=-2.0), "tau_synapse_ms must"),
        (lambda: DSRLIF(threshold=0.0), "threshold must"),
        (lambda: DSRLIF(fire_at=0.0), "fire_at must"),
        (lambda: DSRLIF(rate_slope="papr"), "did you mean 'paper'"),
        (lambda: ParametricLIF(neurons=0), "neurons must"),
        (lambda: ParametricLIF(charge="divided"), "gain must be 'leak'"),
        (lambda: ParametricLIF(neurons=5)(torch.zeros(4, 2, 3)), "current must end in"),
        (lambda: Izhikevich(pattern="chatering"), "did you mean 'chattering'"),
        (lambda: Izhikevich(dt_ms=2.0), "dt_ms must"),
        (lambda: Izhikevich.from_parameters(a_per_ms=0.02, b=0.2, c_mv=40.0, d=8.0), "c_mv must"),
        (lambda: LIF().hidden().load_state({"u": torch.zeros(2, 3)}), "saved state must hold v"),
        (lambda: HiddenView(LIF(), step_mode="x"), "step_mode"),
    ],
)
def test_presets_and_models_refuse_what_cannot_be(make, message, as_installed):
    with pytest.raises(BadInput, match=message):
        make()


def test_a_state_with_a_membrane_is_accepted_where_a_tensor_is_expected():
    current = drive(LIF())
    _, state = CurrentLIF()(current)
    assert torch.equal(LIF().step(current[0], state)[1], LIF().step(current[0], state.v)[1])
    assert not torch.equal(LIF().step(current[0], state)[1], LIF().step(current[0])[1])
