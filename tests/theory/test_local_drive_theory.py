"""Are local drives what mathematics says: gradients of one layer, windows of spike timing, growth with frequency?"""

import math

import pytest
import torch
from torch import nn

from neurocl.neurons import LIF
from neurocl.plasticity import CLASSP, STDP, ThreeFactors, stdp_drive, three_factor_drive
from neurocl.primitives.checks import BadInput
from neurocl.primitives.surrogates import ATan

DRAWS = torch.Generator().manual_seed(0)
KEEP = 0.8


def layer(pre: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes of a layer, and the surrogate slope at every membrane."""
    neuron = LIF.from_keep(KEEP, surrogate=ATan(alpha=2.0), reset="subtract", detach_reset=True)
    v, spikes, slopes = None, [], []
    for x in pre:
        current = x @ weight.T
        h = current if v is None else KEEP * v + current
        fired, v = neuron.step(current, v)
        spikes.append(fired)
        slopes.append(ATan(alpha=2.0).slope_at(h.detach() - 1.0))
    return torch.stack(spikes), torch.stack(slopes)


def test_three_factors_are_the_gradient_of_one_layer_without_going_back_in_time():
    pre = (torch.rand(12, 5, 7, generator=DRAWS) < 0.3).float()
    weight = torch.randn(4, 7, generator=DRAWS, requires_grad=True)
    signal = torch.randn(12, 5, 4, generator=DRAWS)
    spikes, slopes = layer(pre, weight)
    assert 0.1 < float(spikes.detach().mean()) < 0.9
    (-(signal * spikes).sum() / 5).backward()
    drive = three_factor_drive(pre, slopes, signal, keep=KEEP)
    torch.testing.assert_close(drive, -weight.grad, rtol=1e-4, atol=1e-5)


def test_a_drive_counts_late_steps_more_where_it_decays():
    local = ThreeFactors(torch.zeros(1, 1), keep=0.0, keep_drive=0.5)
    one = torch.ones(1, 1)
    for signal in (1.0, 1.0, 1.0):
        local.step(one, one, signal * one)
    assert local.drive.item() == 1.75
    assert local.release().item() == 1.75
    assert local.drive.item() == 0


def test_two_spiking_layers_learn_by_local_drives_alone():
    """A fixed random way down for errors, no autograd at all; digits of three kinds as rates of Poisson spikes."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(n_class=3, return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    hidden = torch.nn.Parameter(torch.randn(60, 64, generator=DRAWS) * 0.3)
    readout = torch.nn.Parameter(torch.zeros(3, 60))
    down = torch.randn(3, 60, generator=DRAWS)
    optimiser = CLASSP([hidden, readout], lr=0.02, threshold=0.3)
    before = hidden.detach().clone()

    def window(some: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pre = (torch.rand(10, len(some), 64, generator=DRAWS) < some).float()
        return pre, *layer(pre, hidden.detach())

    for own in torch.arange(len(x)).repeat(2).split(20):
        pre, spikes, slopes = window(x[own])
        error = torch.nn.functional.one_hot(y[own], 3) - (spikes.mean(0) @ readout.detach().T * 3).softmax(1)
        local = ThreeFactors(hidden, keep=KEEP)
        for at in range(10):
            local.step(pre[at], slopes[at], error @ down)
        local.release()
        readout.grad = -error.T @ spikes.mean(0) / len(own)
        optimiser.step()
    with torch.no_grad():
        right = (window(x)[1].mean(0) @ readout.T).argmax(1) == y
    assert float(right.float().mean()) > 0.9  # chance is a third; 0.97 measured
    changed = float((hidden != before).float().mean())
    assert 0.3 < changed < 1.0, "gated"


def spikes_at(times: list[int], steps: int = 200) -> torch.Tensor:
    train = torch.zeros(steps, 1, 1)
    train[times] = 1
    return train


@pytest.mark.parametrize("apart", [-40, -10, -1, 1, 10, 40])
def test_one_pair_gives_the_exponential_window(apart):
    rule = STDP.pairs(potentiation=2.0, depression=3.0, tau_ms=20.0)
    drive = stdp_drive(spikes_at([100]), spikes_at([100 + apart]), rule=rule).item()
    expected = 2.0 * math.exp(-apart / 20) if apart > 0 else -3.0 * math.exp(apart / 20)
    assert drive == pytest.approx(expected, rel=1e-5)


def test_a_triplet_is_potentiated_by_the_earlier_spike_of_its_neuron():
    rule = STDP(pair_potentiation=0.5, pair_depression=0.0, triplet_potentiation=2.0, triplet_depression=0.0)
    drive = stdp_drive(spikes_at([100]), spikes_at([80, 110]), rule=rule).item()
    expected = math.exp(-10 / 16.8) * (0.5 + 2.0 * math.exp(-30 / 114))
    assert drive == pytest.approx(expected, rel=1e-5)
    rule = STDP(pair_depression=0.5, triplet_potentiation=0.0, triplet_depression=2.0)
    drive = stdp_drive(spikes_at([80, 110]), spikes_at([100]), rule=rule).item()
    assert drive == pytest.approx(-math.exp(-10 / 33.7) * (0.5 + 2.0 * math.exp(-30 / 101)), rel=1e-5)


def test_spikes_of_one_step_are_no_pair_and_silence_is_no_drive():
    assert stdp_drive(spikes_at([50]), spikes_at([50]), rule=STDP.pairs()).item() == 0
    assert stdp_drive(spikes_at([50]), spikes_at([]), rule=STDP()).item() == 0


def test_halving_the_step_leaves_the_drive():
    fine = stdp_drive(spikes_at([100, 160]), spikes_at([110, 150]), rule=STDP(), dt_ms=0.5)
    coarse = stdp_drive(spikes_at([50, 80]), spikes_at([55, 75]), rule=STDP(), dt_ms=1.0)
    torch.testing.assert_close(fine, coarse, rtol=1e-5, atol=1e-8)


def test_every_spike_meets_every_other_of_its_window_and_earlier_spikes_of_its_own_side():
    """Against the sum over all pairs and triplets of random trains, at a step of 2 ms."""
    draws = torch.Generator().manual_seed(5)
    pre, post = (torch.rand(80, 2, 1, generator=draws, dtype=torch.float64) < 0.1 for _ in range(2))
    rule = STDP(pair_potentiation=0.3, pair_depression=0.7, triplet_potentiation=0.9, triplet_depression=0.4)
    expected = 0.0
    for sample in range(2):
        x, y = ([2.0 * t for t in side[:, sample, 0].nonzero()[:, 0].tolist()] for side in (pre, post))
        assert len(x) > 3 < len(y)

        def trace(spikes: list[float], at: float, tau: float) -> float:
            return sum(math.exp((t - at) / tau) for t in spikes if t < at)

        expected += sum(trace(x, t, 16.8) * (0.3 + 0.9 * trace(y, t, 114)) for t in y) / 2
        expected -= sum(trace(y, t, 33.7) * (0.7 + 0.4 * trace(x, t, 101)) for t in x) / 2
    drive = stdp_drive(pre.double(), post.double(), rule=rule, dt_ms=2.0)
    assert drive.item() == pytest.approx(expected, rel=1e-10)


def test_in_hippocampal_cultures_a_single_pair_potentiates_and_in_visual_cortex_it_does_not():
    rule, trains = STDP.hippocampus(), (spikes_at([50]), spikes_at([60]))
    assert stdp_drive(*trains, rule=rule).item() == pytest.approx(5.3e-3 * math.exp(-10 / 16.8), rel=1e-5)
    assert stdp_drive(*reversed(trains), rule=rule).item() == pytest.approx(-3.5e-3 * math.exp(-10 / 33.7), rel=1e-5)
    assert stdp_drive(*trains, rule=STDP()).item() == 0


def pairing(frequency_hz: float, apart_ms: int) -> float:
    """Drive of fifteen pairings."""
    period = round(1000 / frequency_hz)
    pre = [50 + period * n for n in range(15)]
    return stdp_drive(
        spikes_at(pre, 200 + 15 * period), spikes_at([t + apart_ms for t in pre], 200 + 15 * period), rule=STDP()
    ).item()


def test_triplets_turn_depression_into_potentiation_as_pairings_become_frequent():
    """As in visual cortex: pre before post potentiates from some frequency on only, post before pre at high ones."""
    assert abs(pairing(1, 10)) < 0.2 * pairing(40, 10)
    assert pairing(10, 10) < pairing(20, 10) < pairing(40, 10)
    assert pairing(5, -10) < 0 < pairing(50, -10)


def test_stdp_drives_pass_the_gate_and_saturate_like_any_other():
    weight = torch.full((1, 2), 0.5, requires_grad=True)
    optimiser = CLASSP([weight], lr=0.1, power=1.0, threshold=0.01, epsilon=0.0, gate="absolute")
    pre = torch.cat([spikes_at([100]), spikes_at([10])], dim=2)  # the second is too early to matter
    steps = []
    for _ in range(3):
        before = weight.detach().clone()
        weight.grad = -stdp_drive(pre, spikes_at([105]), rule=STDP.pairs(potentiation=1.0))
        optimiser.step()
        steps.append((weight.detach() - before).squeeze(0))
    assert torch.stack(steps)[:, 0].tolist() == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert torch.stack(steps)[:, 1].tolist() == [0, 0, 0]


@pytest.mark.usefixtures("as_installed")
def test_bad_input_is_refused():
    with pytest.raises(BadInput, match="same steps and samples"):
        stdp_drive(spikes_at([1], 10), spikes_at([1], 11), rule=STDP())
    with pytest.raises(BadInput, match="tau_plus_ms must be"):
        STDP(tau_plus_ms=0.0)
    with pytest.raises(BadInput, match="pair_depression must be"):
        STDP(pair_depression=-1.0)
    with pytest.raises(BadInput, match="keep must be"):
        ThreeFactors(torch.zeros(1, 1), keep=1.0)
    with pytest.raises(BadInput, match=r"weight must be \[post, pre\]"):
        ThreeFactors(torch.zeros(1, 1, 3, 3), keep=0.5)
    local = ThreeFactors(torch.zeros(1, 1), keep=0.5)
    local.step(torch.ones(2, 1), torch.ones(2, 1), torch.ones(2, 1))
    for samples in ((3, 3, 3), (2, 1, 2), (0, 0, 0)):
        with pytest.raises(BadInput, match="same samples in all steps of a window, at least one"):
            local.step(*(torch.ones(number, 1) for number in samples))
    with pytest.raises(BadInput, match="of the same steps, at least one; got 3, 2 and 3"):
        three_factor_drive(torch.ones(3, 1, 1), torch.ones(2, 1, 1), torch.ones(3, 1, 1), keep=0.5)
    with pytest.raises(BadInput, match="at least one; got 0, 0 and 0"):
        three_factor_drive(*(torch.ones(0, 1, 1) for _ in range(3)), keep=0.5)
    local = ThreeFactors(torch.zeros(3, 2), keep=0.5)
    for widths in ((3, 3, 3), (2, 1, 3), (2, 3, 1)):
        with pytest.raises(BadInput, match=r"pre must be \[batch, 2\], closeness and signal \[batch, 3\]"):
            local.step(*(torch.ones(4, width) for width in widths))
    for wrong in (torch.ones(10, 4), torch.full((10, 1, 1), math.nan)):
        with pytest.raises(BadInput, match=r"pre (must be finite|and post must be spikes \[time, batch, neuron\])"):
            stdp_drive(wrong, torch.ones(10, 1, 1), rule=STDP())
    local = ThreeFactors(torch.zeros(1, 1), keep=0.5)
    local.step(torch.ones(1, 1), torch.ones(1, 1), torch.full((1, 1), math.nan))
    with pytest.raises(BadInput, match=r"drive of a sample window must be finite.*call clear\(\)"):
        local.release()
    local.clear()
    assert not local.release().any()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64])
def test_spikes_of_any_type_give_the_same_drive(dtype):
    pre, post = spikes_at([1, 7], 20), spikes_at([4], 20)
    expected = stdp_drive(pre, post, rule=STDP.pairs())
    found = stdp_drive(pre.to(dtype), post.to(dtype), rule=STDP.pairs())
    torch.testing.assert_close(found, expected, check_dtype=False)
    assert found.is_floating_point()


def test_a_layer_that_moves_to_another_type_goes_on():
    layer = nn.Linear(2, 3, bias=False)
    local = ThreeFactors(layer.weight, keep=0.5)
    local.step(torch.ones(4, 2), torch.ones(4, 3), torch.ones(4, 3))
    layer.double()
    local.step(torch.ones(4, 2), torch.ones(4, 3), torch.ones(4, 3))
    assert local.release().tolist() == [[2.5, 2.5]] * 3
    assert layer.weight.grad.dtype == torch.float64
    leaf = torch.zeros(1, 1, requires_grad=True)
    local = ThreeFactors(leaf, keep=0.5)
    local.step(torch.ones(1, 1), torch.ones(1, 1), torch.ones(1, 1))
    local.release()
    assert leaf.grad.tolist() == [[-1.0]]
