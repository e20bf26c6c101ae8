"""Does the thresholded, saturating rule do what its equations say?"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurocl.plasticity import CLASSP, GATES, HISTORIES, DriveGate, Saturation, saturating_step
from neurocl.primitives.checks import BadInput

SHAPES = [(7, 5), (7,), (3, 2, 2, 2), ()]
WAYS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "tensor by tensor": {"foreach": False, "fused": False}}
DRIVES = st.lists(st.floats(-8, 8, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=6, max_size=24)


def parameters(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=draws).to(dtype).requires_grad_() for shape in SHAPES]


def give_gradients(some: list[torch.Tensor], draws: torch.Generator) -> None:
    """Heavy tails, a third exactly zero, as surrogate gradients of silent synapses are."""
    for parameter in some:
        gradient = torch.randn(parameter.shape, generator=draws) ** 3
        gradient = gradient * (torch.rand(parameter.shape, generator=draws) > 0.33)
        parameter.grad = gradient.to(parameter.dtype)


@pytest.mark.parametrize("way", WAYS)
def test_without_threshold_and_with_power_two_it_is_adagrad(way):
    ours, theirs = parameters(torch.float64), parameters(torch.float64)
    draws = torch.Generator().manual_seed(1)
    rule = CLASSP(ours, 0.05, 2.0, 0.0, 0.0, gate="absolute", **WAYS[way])
    # torch adds its epsilon outside the root; the smallest number keeps 0 / 0 away from weights not driven yet
    adagrad = torch.optim.Adagrad(theirs, lr=0.05, eps=1e-300)
    for _ in range(1000):
        give_gradients(ours, draws)
        for a, b in zip(ours, theirs, strict=True):
            b.grad = a.grad.clone()
        rule.step()
        adagrad.step()
    for a, b, before in zip(ours, theirs, parameters(torch.float64), strict=True):
        assert (a - before).abs().max() > 0.05
        assert (a - b).abs().max() < 1e-6


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("power", [1.0, 1.7, 2.0])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_computing_is_the_stated_rule(way, power, history, gate):
    threshold = 0.4 if gate in {"quantile", "winners"} else 0.3
    ours, draws = parameters(), torch.Generator().manual_seed(1)
    options = {"gate": gate, "history": history, "keep": 0.7, "threshold_depression": 0.6}
    optimiser = CLASSP(ours, 0.05, power, threshold, 1e-3, **options, **WAYS[way])
    gate_ = DriveGate(kind=gate, threshold=threshold, threshold_depression=0.6)
    saturation = Saturation(power=power, epsilon=1e-3, history=history, keep=0.7)
    expected = [(p.detach().clone(), torch.zeros_like(p)) for p in ours]
    for _ in range(5):
        give_gradients(ours, draws)
        expected = [
            saturating_step(w, h, -p.grad, step_size=0.05, gate=gate_, saturation=saturation)
            for (w, h), p in zip(expected, ours, strict=True)
        ]
        optimiser.step()
    for parameter, (weight, grown) in zip(ours, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(optimiser.state[parameter]["history"], grown, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 1.7, 2.0, 3.0])
@pytest.mark.parametrize("gate", ["quantile", "winners"])
def test_tensors_of_several_chunks_follow_the_stated_rule(power, gate):
    """Rows that chunks cannot divide, and a last chunk shorter than the others."""
    draws, rows = torch.Generator().manual_seed(2), (3, 2**18 // 2 + 77)
    weight = torch.zeros(rows, requires_grad=True)
    weight.grad = torch.randn(rows, generator=draws) ** 3
    options = {"threshold": 0.3, "threshold_depression": 0.1}
    optimiser = CLASSP([weight], 0.05, power, epsilon=1e-3, gate=gate, **options)
    expected, grown = saturating_step(
        torch.zeros(rows), torch.zeros(rows), -weight.grad, step_size=0.05,
        gate=DriveGate(kind=gate, **options), saturation=Saturation(power=power, epsilon=1e-3),
    )  # fmt: skip
    optimiser.step()
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(optimiser.state[weight]["history"], grown, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gate", ["quantile", "winners"])
def test_the_smallest_share_lets_one_synapse_move(gate):
    weight = torch.zeros(2, 5, requires_grad=True)
    weight.grad = torch.arange(10.0).reshape(2, 5)
    optimiser = CLASSP([weight], gate=gate, threshold=1e-12)
    optimiser.step()
    assert (weight != 0).sum(1).tolist() == ([1, 1] if gate == "winners" else [0, 1])


@pytest.mark.parametrize("way", WAYS)
def test_two_steps_by_hand(way):
    weight = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    rule = CLASSP([weight], 0.1, 1.0, 0.25, 0.5, gate="absolute", **WAYS[way])
    weight.grad = torch.tensor([2.0, 0.5, -1.0])  # 0.5 squared is the threshold, and must lie above it to count
    rule.step()
    assert torch.allclose(weight, torch.tensor([1 - 0.1 * 2 / 2.5, 1.0, 1 + 0.1 * 1 / 1.5]))
    weight.grad = torch.tensor([1.0, 4.0, 0.1])
    rule.step()
    by_hand = torch.tensor([0.92 - 0.1 * 1 / 3.5, 1 - 0.1 * 4 / 4.5, 1 + 0.1 / 1.5])
    assert torch.allclose(weight, by_hand)
    assert torch.allclose(rule.state[weight]["history"], torch.tensor([3.0, 4.0, 1.0]))


@pytest.mark.parametrize(("power", "growth"), [(1.0, math.log(1000)), (2.0, 2 * math.sqrt(1000))])
def test_a_steady_drive_moves_a_weight_by_the_logarithm_or_the_root_of_the_steps(power, growth):
    weight = torch.zeros(1, requires_grad=True)
    rule = CLASSP([weight], 0.01, power, 0.0, 0.0, gate="absolute")
    for _ in range(1000):
        weight.grad = torch.full((1,), -0.3)
        rule.step()
    assert float(weight.detach()) / 0.01 == pytest.approx(growth, rel=0.1)  # sums, where the closed forms are integrals


def moved(drives: list[torch.Tensor], **options: object) -> torch.Tensor:
    weight = torch.zeros_like(drives[0]).requires_grad_()
    rule = CLASSP([weight], 0.1, epsilon=0.0, **options)
    for drive in drives:
        weight.grad = -drive
        rule.step()
    return weight.detach()


@given(first=DRIVES, exponent=st.integers(-12, 12), power=st.sampled_from([1.0, 2.0, 3.0]), share=st.floats(0.05, 0.95))
@pytest.mark.parametrize("gate", ["relative", "quantile", "winners"])
def test_rescaling_the_loss_changes_nothing(gate, first, exponent, power, share):
    """By a power of two, so that no rounding makes ties; compared to rounding."""
    drives = [torch.tensor(first).reshape(2, -1) if len(first) % 2 == 0 else torch.tensor(first)]
    drives.append(drives[0].flip(0) + 0.5)
    plain = moved(drives, gate=gate, threshold=share, power=power)
    scaled = moved([drive * 2.0**exponent for drive in drives], gate=gate, threshold=share, power=power)
    torch.testing.assert_close(scaled, plain, rtol=1e-4, atol=1e-6)
    assert plain.abs().max() > 0


@given(drive=DRIVES, thresholds=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)))
@pytest.mark.parametrize("gate", GATES)
def test_the_share_that_moves_is_monotone_in_the_threshold(gate, drive, thresholds):
    weight = torch.zeros(len(drive), requires_grad=True)
    weight.grad = torch.tensor(drive)
    low, high = (
        CLASSP([weight], threshold=threshold, gate=gate).fraction_updated() for threshold in sorted(thresholds)
    )
    assert low <= high if gate in {"quantile", "winners"} else low >= high
    weight.grad *= 0
    assert CLASSP([weight], threshold=thresholds[0], gate=gate).fraction_updated() == 0, "no drive, no change"


@given(drive=st.lists(st.floats(-1, 1, width=32), min_size=20, max_size=20, unique_by=abs), share=st.floats(0.05, 0.95))
def test_shares_of_the_strongest_drives_are_what_they_say(drive, share):
    values = torch.tensor(drive).reshape(4, 5)
    whole = DriveGate(kind="quantile", threshold=share).passed(values)
    zeros = int((values == 0).sum())
    assert 0 <= math.ceil(share * 20 - 1e-9) - torch.count_nonzero(whole) <= zeros
    left_out = values[(whole == 0) & (values != 0)].abs()
    assert not len(left_out) or left_out.max() < whole[whole != 0].abs().min()
    rows = torch.count_nonzero(DriveGate(kind="winners", threshold=share).passed(values), dim=1)
    assert (rows.sum() - 4 * math.ceil(share * 5 - 1e-9)).abs() <= zeros


def test_a_relative_gate_measures_drives_against_their_root_mean_square_whatever_their_size():
    for scale in (1e-30, 1.0, 1e30):  # squares of the first and the last leave the range of float32
        drive = scale * torch.tensor([3.0, -4.0, 0.0, 0.0])  # root mean square 2.5
        assert DriveGate(kind="relative", threshold=1.3).passed(drive).tolist() == pytest.approx([0, -4 * scale, 0, 0])
        assert torch.count_nonzero(DriveGate(kind="relative", threshold=1.1).passed(drive)) == 2


def test_two_thresholds_gate_potentiation_and_depression_apart():
    weight = torch.zeros(4, requires_grad=True)
    weight.grad = torch.tensor([-0.5, 0.5, -2.0, 2.0])  # drives: +0.5, -0.5, +2, -2
    rule = CLASSP([weight], threshold=0.01, threshold_depression=1.0, gate="absolute")
    rule.step()
    assert (weight > 0).tolist() == [True, False, True, False]
    assert (weight < 0).tolist() == [False, False, False, True]
    climber = torch.zeros(4, requires_grad=True)
    climber.grad = -weight.grad
    CLASSP([climber], threshold=0.01, threshold_depression=1.0, gate="absolute", maximize=True).step()
    assert torch.equal(climber, weight)


def test_a_drive_that_is_not_finite_is_refused():
    with pytest.raises(BadInput, match="the drive must be finite; 1 of 2"):
        saturating_step(
            torch.zeros(2), torch.zeros(2), torch.tensor([1.0, math.nan]), step_size=0.1, gate=DriveGate(),
            saturation=Saturation(),
        )  # fmt: skip


def test_histories_count_what_they_say():
    grown = {}
    for history in HISTORIES:
        weight = torch.zeros(2, requires_grad=True)
        rule = CLASSP([weight], power=1.0, threshold=1.0, gate="absolute", history=history, keep=0.5)
        for _ in range(3):
            weight.grad = torch.tensor([0.5, 2.0])
            rule.step()
        assert weight[0] == 0
        grown[history] = rule.state[weight]["history"].tolist()
    assert grown == {"gated": [0.0, 6.0], "all": [1.5, 6.0], "decaying": [0.0, 3.5]}


def test_plain_steps_are_gradient_descent_that_fills_the_history():
    weight = torch.ones(2, requires_grad=True)
    rule = CLASSP([weight], 0.1, 1.0, 0.0, 0.0, gate="absolute", plain_steps=2)
    for _ in range(2):
        weight.grad = torch.tensor([1.0, -3.0])
        rule.step()
    assert torch.allclose(weight, torch.tensor([0.8, 1.6]))
    assert rule.state[weight]["history"].tolist() == [2.0, 6.0]
    weight.grad = torch.tensor([2.0, -3.0])
    rule.step()
    assert torch.allclose(weight, torch.tensor([0.8 - 0.1 * 2 / 4, 1.6 + 0.1 * 3 / 9]))
