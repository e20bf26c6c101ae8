"""Do the presets spike exactly as Norse does, step for step and bit for bit?"""

import pytest
import torch

from neurocl.neurons import LIF, CurrentLIF
from neurocl.primitives.surrogates import SlopeOf, SuperSpike, Triangular

PARAMETERS = [
    {},
    {"tau_mem_inv": 37.3, "v_th": 0.7, "v_reset": -0.3},
    {"tau_mem_inv": torch.tensor(412.7), "v_leak": -0.2, "v_reset": -0.1},
]
NAMES = ["default", "numbers", "tensor"]


def tensors(options):
    """Parameters as Norse keeps them; what the user gives as a float stays one where Norse's cell leaves it."""
    return {name: value if name == "tau_mem_inv" else torch.as_tensor(value) for name, value in options.items()}


def run(cell, current):
    """Spikes and membranes of every step, from the cell's own initial state."""
    state, spikes, membranes = None, [], []
    for now in current.unbind(0):
        out, state = cell(now, state)
        spikes.append(out)
        membranes.append(state if isinstance(state, torch.Tensor) else state.v)
    return torch.stack(spikes), torch.stack(membranes)


def assert_identical(neuron, cell, current):
    theirs = run(cell, current)
    assert 0.005 < theirs[0].mean() < 1, "the comparison says nothing about silent neurons"
    ours = run(neuron.cell(), current)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    assert torch.equal(neuron(current)[0], theirs[0])


@pytest.mark.parametrize("options", PARAMETERS, ids=NAMES)
@pytest.mark.parametrize("method", ["reset_value", "reset_subtract"])
def test_the_box_cell_is_reproduced_bit_for_bit(norse, options, method):
    reset = getattr(norse.functional.reset, method)
    cell = norse.LIFBoxCell(p=norse.LIFBoxParameters(reset_method=reset, **tensors(options)))
    neuron = LIF.like_norse(reset_method=method, **options)
    for shape, scale in (((200, 5, 17), 6.0), ((40, 2, 3, 6, 6), 30.0)):
        assert_identical(neuron, cell, scale * (0.2 + torch.randn(shape)))


@pytest.mark.parametrize(
    "options", [*PARAMETERS, {"tau_syn_inv": 123.4}], ids=["default", "numbers", "tensor", "synapse"]
)
def test_the_current_based_cell_is_reproduced_bit_for_bit(norse, options):
    cell = norse.LIFCell(p=norse.LIFParameters(**tensors(options)))
    neuron = CurrentLIF.like_norse(**options)
    for shape, scale in (((200, 5, 17), 2.0), ((40, 2, 3, 6, 6), 10.0)):
        assert_identical(neuron, cell, scale * (0.2 + torch.randn(shape)))


def test_another_step_is_reproduced_too(norse):
    cell = norse.LIFBoxCell(p=norse.LIFBoxParameters(), dt=0.0004)
    assert_identical(LIF.like_norse(dt=0.0004), cell, 20 * torch.randn(200, 4, 9))


@pytest.mark.parametrize("kind", ["box", "current"])
def test_gradients_are_theirs(norse, kind):
    if kind == "box":
        cell, neuron = norse.LIFBoxCell(p=norse.LIFBoxParameters()), LIF.like_norse()
    else:
        cell, neuron = norse.LIFCell(p=norse.LIFParameters()), CurrentLIF.like_norse()
    current, weights = 6 * (0.2 + torch.randn(25, 4, 9)), torch.randn(25, 4, 9)
    gradients = []
    for call in (lambda x: neuron(x)[0], lambda x: run(cell, x)[0]):
        leaf = current.clone().requires_grad_()
        (call(leaf) * weights).sum().backward()
        gradients.append(leaf.grad)
    assert gradients[1].abs().max() > 0
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5 * gradients[1].abs().max().item())  # float32


def test_the_naive_mapping_spikes_otherwise(norse):
    current = 3 * (0.2 + torch.randn(200, 8, 50))
    theirs, _ = run(norse.LIFBoxCell(p=norse.LIFBoxParameters()), current)
    naive, _ = LIF(tau_membrane_ms=10.0, dt_ms=1.0)(current)
    assert (naive != theirs).float().mean() > 0.05
    nearly, _ = LIF(tau_membrane_ms=10.0, dt_ms=1.0, gain="leak", reset="zero")(current)
    assert 0 < (nearly != theirs).float().mean() < 0.05


@pytest.mark.parametrize(
    ("ours", "method", "alpha"),
    [(SuperSpike(), "super", 100.0), (Triangular(width=1.0, dampening=0.3), "triangle", 0.3)],
    ids=repr,
)
def test_surrogates_have_their_slopes(norse, ours, method, alpha):
    from norse.torch.functional.threshold import threshold

    x = torch.linspace(-1.5, 1.5, 301)
    theirs = SlopeOf(lambda x: threshold(x, method, alpha)).slope_at(x)
    assert torch.allclose(ours.slope_at(x), theirs, rtol=1e-5, atol=1e-7)  # float32
