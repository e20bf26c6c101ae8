"""Does Földiák's circuit settle as its equations say, and do its local rules reach their fixed points?"""

import copy

import pytest
import torch
from sklearn.datasets import load_digits

from neurocl.networks import FoldiakFeatures, FoldiakLayer, mean_absolute_correlation, sparseness
from neurocl.networks.foldiak import LEAST_THRESHOLD, settle_rates, settle_spikes
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import CODINGS, TaskShape

PRE, POST = 12, 8
every_coding = pytest.mark.parametrize("coding", CODINGS)
OPTIONS = {
    "spiking": {
        "time_steps": 8,
        "target_rate": 0.05,
        "anti_hebbian_rate": 0.02,
        "hebbian_rate": 0.0,
        "threshold_rate": 0.05,
    },
    "rate": {"target_rate": 0.2, "anti_hebbian_rate": 0.01, "hebbian_rate": 0.0, "threshold_rate": 0.02, "keep": 0.5},
}


def correlated(rows=200, seed=0):
    """Inputs of few causes: filters at random respond to the same ones."""
    draws = torch.Generator().manual_seed(seed)
    mixing = torch.randn(4, PRE, generator=torch.Generator().manual_seed(99))
    return torch.randn(rows, 4, generator=draws) @ mixing / 2 + 0.3 * torch.randn(rows, PRE, generator=draws)


def layer(coding, **options):
    return FoldiakLayer(PRE, POST, coding=coding, **(OPTIONS[coding] | options))


def taught(coding, updates=300, **options):
    made = layer(coding, **options)
    for update in range(updates):
        made.learn(correlated(seed=update), pace=1.0 if update < updates // 2 else 0.2)
    return made


def test_settling_is_its_equation_step_by_step():
    draws = torch.Generator().manual_seed(0)
    drive, lateral = 2 * torch.rand(3, 4, generator=draws), torch.rand(4, 4, generator=draws).fill_diagonal_(0)
    threshold = torch.tensor([1.0, 2.0, 0.5, 3.0])
    v, spikes, total = torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, 4)
    potential, graded = drive, (drive - threshold).relu()
    for step in range(7):
        v = 0.9 * v + (drive - spikes @ lateral.T) / threshold
        spikes = (v > 1).float()
        v, total = v - spikes, total + spikes
        if step:
            potential = 0.9 * potential + 0.1 * (drive - graded @ lateral.T)
            graded = (potential - threshold).relu()
    assert 0.05 < (total / 7).mean() < 0.9
    found = settle_spikes(drive, lateral, threshold, keep=0.9, time_steps=7)
    torch.testing.assert_close(found, total / 7)
    torch.testing.assert_close(settle_rates(drive, lateral, threshold, keep=0.9, time_steps=7), graded)


def test_graded_units_end_at_the_fixed_point_of_their_inhibition():
    draws = torch.Generator().manual_seed(1)
    drive, lateral = torch.rand(5, 6, generator=draws), 0.3 * torch.rand(6, 6, generator=draws).fill_diagonal_(0)
    threshold = torch.full((6,), 0.1)
    output = settle_rates(drive, lateral, threshold, keep=0.8, time_steps=200)
    torch.testing.assert_close(output, (drive - output @ lateral.T - threshold).relu())
    assert 0.2 < (output > 0).float().mean() < 0.9


@every_coding
def test_the_stronger_driven_of_two_keeps_the_other_down(coding):
    made = FoldiakLayer(2, 2, coding=coding, time_steps=40)
    made.feedforward.copy_(torch.eye(2))
    alone = made(torch.tensor([[2.0, 1.6]]))
    made.lateral.copy_(torch.tensor([[0.0, 2.0], [2.0, 0.0]]))
    together = made(torch.tensor([[2.0, 1.6]]))
    assert (alone > 0.2).all()
    assert together[0, 1] < 0.2 * together[0, 0]
    assert together[0, 0] > 0.5 * alone[0, 0]


@every_coding
def test_rates_come_to_their_target_and_correlation_falls_by_lateral_inhibition_alone(coding):
    target, unseen = OPTIONS[coding]["target_rate"], correlated(4000, seed=10_000)
    with_lateral, without = taught(coding), taught(coding, anti_hebbian_rate=0.0)
    for made in (with_lateral, without):
        assert ((made(unseen).mean(0) / target - 1).abs() < 0.2).all(), made(unseen).mean(0)
    first, last, control = (mean_absolute_correlation(m(unseen)) for m in (layer(coding), with_lateral, without))
    assert last < 0.6 * control, (first, last, control)
    assert control > 0.6 * first
    assert (with_lateral.lateral > 0).float().mean() > 0.1
    assert (without.lateral == 0).all()


@pytest.mark.slow
def test_at_rest_coincidences_are_those_of_chance_or_uninhibited():
    made = taught("rate", updates=1500)
    output = made(correlated(20_000, seed=10_000)) / made.target_rate
    together = output.T @ output / len(output)
    inhibited = made.lateral > 0.05
    assert inhibited.sum() >= 6
    assert ((together[inhibited] - 1).abs() < 0.35).all(), together[inhibited]
    assert (together[~inhibited & ~torch.eye(POST, dtype=torch.bool)] < 1.35).all()


@every_coding
def test_lateral_weights_stay_non_negative_without_self_inhibition(coding):
    made = taught(coding, updates=50, anti_hebbian_rate=0.5)
    assert (made.lateral >= 0).all()
    assert (made.lateral.diagonal() == 0).all()
    assert (made.lateral > 0).any()


def test_oja_rows_of_rectified_units_end_at_norm_one():
    made = FoldiakLayer(PRE, 3, coding="rate", anti_hebbian_rate=0.0, threshold_rate=0.0, hebbian_rate=0.5)
    made.threshold.zero_()
    made.feedforward.mul_(3)
    for _ in range(600):
        made.learn(correlated(200, seed=5))
    torch.testing.assert_close(made.feedforward.norm(dim=1), torch.ones(3), rtol=0, atol=1e-3)


@pytest.mark.slow
def test_lateral_inhibition_keeps_filters_apart_that_would_otherwise_agree():
    def likeness(**options):
        made = taught("spiking", hebbian_rate=1.0, **options)
        rows = torch.nn.functional.normalize(made.feedforward, dim=1)
        return float((rows @ rows.T).fill_diagonal_(0).amax(1).mean())

    assert likeness() < likeness(anti_hebbian_rate=0.0) - 0.1


@every_coding
def test_the_seed_decides_and_nothing_else(coding):
    torch.manual_seed(1)
    one = taught(coding, updates=5, hebbian_rate=0.5)
    torch.manual_seed(2)
    same, other = taught(coding, updates=5, hebbian_rate=0.5), taught(coding, updates=5, hebbian_rate=0.5, seed=1)
    for name, value in one.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)
    assert not torch.equal(other.feedforward, one.feedforward)


@every_coding
def test_a_row_does_not_depend_on_the_others_and_reading_teaches_nothing(coding):
    made, rows = taught(coding, updates=50), correlated(7, seed=3)
    before = copy.deepcopy(made.state_dict())
    torch.testing.assert_close(torch.cat([made(row.unsqueeze(0)) for row in rows]), made(rows))
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())
    made.learn(rows)
    assert not torch.equal(before["threshold"], made.threshold)


@every_coding
def test_a_fresh_layer_takes_over_and_learns_on_alike(coding):
    one = taught(coding, updates=20, hebbian_rate=0.5)
    other = layer(coding, hebbian_rate=0.5, seed=3)
    other.load_state_dict(one.state_dict())
    for made in (one, other):
        made.learn(correlated(seed=50))
    assert torch.equal(one(correlated(9, seed=51)), other(correlated(9, seed=51)))
    assert torch.equal(one.lateral, other.lateral)


@every_coding
def test_silence_and_flood_leave_finite_weights(coding):
    for rows in (torch.zeros(10, PRE), torch.full((10, PRE), 1e6), -torch.full((10, PRE), 1e6)):
        made = layer(coding, hebbian_rate=1.0)
        for _ in range(60):
            output = made.learn(rows)
        assert all(value.isfinite().all() for value in made.state_dict().values())
        assert output.isfinite().all()
        assert (made.threshold >= LEAST_THRESHOLD).all()
    quiet = layer(coding)
    assert (quiet(torch.zeros(4, PRE)) == 0).all()


@every_coding
def test_no_gradient_passes_and_the_dtype_of_the_input_is_kept(coding):
    made = layer(coding)
    output = made(correlated(4).double().requires_grad_())
    assert output.dtype == torch.float64
    assert not output.requires_grad
    assert not list(made.parameters())


def test_what_cannot_be_used_is_refused_in_one_line(as_installed):
    made = layer("spiking")
    for inputs, says in (
        (torch.rand(3, PRE + 1), "inputs must be"),
        (torch.rand(PRE, 1), "inputs must be"),
        (torch.rand(0, PRE), "at least 1"),
        (torch.full((2, PRE), torch.nan), "finite"),
        (torch.ones(2, PRE, dtype=torch.int64), "floating-point"),
    ):
        with pytest.raises(BadInput, match=says):
            made(inputs)
        with pytest.raises(BadInput, match=says):
            made.learn(inputs)
    for wrong in (
        {"target_rate": 0.0}, {"target_rate": 1.0}, {"keep": 1.0}, {"time_steps": 0}, {"hebbian_rate": -1.0},
        {"anti_hebbian_rate": float("nan")}, {"threshold_rate": -0.1}, {"lateral_decay": -1.0}, {"coding": "spking"},
    ):  # fmt: skip
        with pytest.raises(BadInput, match=next(iter(wrong))):
            FoldiakLayer(PRE, POST, **wrong)


def test_sparseness_is_one_for_a_single_active_unit_and_zero_for_equal_ones():
    assert sparseness(torch.tensor([[0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])) == pytest.approx(1.0)
    assert sparseness(torch.full((2, 5), 0.2)) == pytest.approx(0.0, abs=1e-12)
    assert sparseness(torch.tensor([[1.0, 1.0, 0.0, 0.0]])) == pytest.approx((1 - 0.25 / 0.5) / (1 - 0.25))
    with pytest.raises(BadInput, match="silent"):
        sparseness(torch.zeros(2, 3))
    with pytest.raises(BadInput, match="negative"):
        sparseness(-torch.ones(2, 3))


def test_mean_absolute_correlation_counts_pairs_and_leaves_silent_units_out():
    a = torch.tensor([0.0, 1.0, 0.0, 1.0])
    rows = torch.stack([a, 1 - a, torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.zeros(4)], dim=1)
    assert mean_absolute_correlation(rows) == pytest.approx(1 / 3)  # one pair of three at -1, two at 0
    with pytest.raises(BadInput, match="at least 2"):
        mean_absolute_correlation(torch.zeros(4, 3))


@every_coding
def test_features_learn_their_inhibition_from_the_first_task_alone_and_the_control_has_none(coding):
    digits = torch.tensor(load_digits().images[:300, None] / 16, dtype=torch.float32)
    shape = TaskShape(input_shape=(1, 8, 8), num_classes=10, num_tasks=5)
    options = {"filters": 30, "patch": 4, "samples": 20_000, "coding": coding, "threshold": 1.0, "hebbian_rate": 0.0}
    options |= {"target_rate": 0.05} if coding == "spiking" else {"target_rate": 0.1, "keep": 0.6, "time_steps": 4}
    made, control = FoldiakFeatures(shape, **options), FoldiakFeatures(shape, **options, anti_hebbian_rate=0.0)
    made.fit(digits)
    control.fit(digits)
    assert (made.circuit.lateral > 0).any()
    assert not control.circuit.lateral.any()
    settled, free = (torch.cat(list(m._settled(digits))).flatten(0, 1) for m in (made, control))
    assert mean_absolute_correlation(settled) < mean_absolute_correlation(free)
    # the same filters see the same whitened patches
    assert torch.equal(made.circuit.feedforward, control.circuit.feedforward)
    operations, fewer = made.operations(digits[:20]), control.operations(digits[:20])
    if coding == "spiking":
        spikes = operations.mean_firing_rate * 25 * 30 * made.circuit.time_steps
        assert operations.synaptic_operations == pytest.approx(spikes * 30, rel=1e-5)
        assert operations.multiply_accumulates == fewer.multiply_accumulates == 25 * 30 * 16
    else:
        assert operations.multiply_accumulates == 25 * 30 * 16 + 25 * 30 * 29 * 3
        assert fewer.multiply_accumulates == 25 * 30 * 16


@pytest.mark.parametrize("value", [1e19, 1e30])
def test_inputs_too_large_to_learn_from_change_nothing(value):
    layer = FoldiakLayer(5, 4, coding="rate")
    layer.learn(torch.rand(3, 5))
    before = {name: values.clone() for name, values in layer.state_dict().items()}
    with pytest.raises(BadInput, match="inputs must be small enough"):
        layer.learn(torch.full((3, 5), value) * torch.sign(layer.feedforward[0]))
    for name, values in layer.state_dict().items():
        assert torch.equal(values, before[name])
    assert layer.learn(torch.rand(3, 5)).isfinite().all()
