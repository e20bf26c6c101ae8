"""Does the loop do what it shows: terms, transforms, step, what comes after; and does it refuse what it must?"""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from neurocl.learners import Cost, GradientLearner, Schedule, batch_loss, cross_entropy, make_optimiser
from neurocl.learners.cross_entropy import masked
from neurocl.networks import MLP
from neurocl.plasticity import OnlineEWC, fisher_diagonal
from neurocl.primitives.checks import BadInput
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Batch, Task, TaskShape

SHAPE = TaskShape(input_shape=(5,), num_classes=6, num_tasks=3)


def batch(classes: tuple[int, ...] = (0, 1), seed: int = 0) -> Batch:
    draws = generator(seed, "batch")
    labels = torch.tensor(classes)[torch.randint(len(classes), (9,), generator=draws)]
    return Batch(inputs=torch.rand(9, 5, generator=draws), labels=labels, sample_ids=torch.arange(9))


def task(index: int = 0, classes: tuple[int, ...] = (0, 1)) -> Task:
    def batches(batch_size: int, epoch: int) -> Iterator[Batch]:
        yield batch(classes)

    seen = tuple(range(max(classes) + 1))
    return Task(
        index=index, task_id=None, classes=classes, seen_classes=seen, boundary="clear", batches=batches, size=9
    )


def network() -> MLP:
    return MLP(SHAPE, hidden=(7,), coding="rate", seed=0)


def learner(net: nn.Module | None = None, **options) -> GradientLearner:
    options = {"optimiser": make_optimiser("sgd", learning_rate=0.1), "name": "mine"} | options
    return GradientLearner(net or network(), Schedule(batch_size=9), **options)


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def test_one_step_is_gradient_descent_on_the_sum_of_the_terms():
    net = network()
    mine = learner(
        net,
        loss_terms={"batch": batch_loss, "decay": lambda step: 0.01 * step.network.head.linear.weight.square().sum()},
    )
    mine.begin_task(task())
    before = weights(net)
    loss = cross_entropy(net(batch().inputs), batch().labels) + 0.01 * net.head.linear.weight.square().sum()
    slopes = dict(zip(before, torch.autograd.grad(loss, list(net.parameters())), strict=True))
    losses = mine.observe(batch())
    assert losses.keys() == {"batch", "decay"}
    assert sum(losses.values()) == pytest.approx(float(loss.detach()), rel=1e-6)
    for name, value in weights(net).items():
        assert torch.allclose(value, before[name] - 0.1 * slopes[name], rtol=1e-5, atol=1e-7)


def test_mechanisms_are_called_where_they_act_and_in_order():
    calls = []

    def halve(net: nn.Module) -> None:
        calls.append("transform")
        for parameter in net.parameters():
            parameter.grad.mul_(0.5)

    halved, plain = network(), network()
    mine = learner(
        halved,
        gradient_transforms=(halve,),
        after_step=(lambda step: calls.append(("after", step.number)),),
        at_task_begin=(lambda task: calls.append(("begin", task.index)),),
        at_task_end=(lambda task: calls.append(("end", task.index)),),
    )
    other = learner(plain, optimiser=make_optimiser("sgd", learning_rate=0.05))
    for each in (mine, other):
        each.begin_task(task())
        each.observe(batch())
        each.observe(batch())
        each.end_task(task())
    assert calls == [("begin", 0), "transform", ("after", 0), "transform", ("after", 1), ("end", 0)]
    assert all(torch.allclose(a, b) for a, b in zip(halved.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize(("mask", "moved"), [("seen", {0, 1, 2, 3}), ("task", {2, 3}), ("all", {0, 1, 2, 3, 4, 5})])
def test_the_mask_decides_which_rows_of_the_head_learn(mask, moved):
    net = MLP(SHAPE, hidden=(7,), coding="rate", head="single", seed=0)
    mine = learner(net, loss_mask=mask)
    mine.begin_task(task())
    mine.end_task(task())
    mine.begin_task(task(1, (2, 3)))
    before = weights(net)["head.linear.weight"]
    mine.observe(batch((2, 3)))
    change = (weights(net)["head.linear.weight"] - before).abs().sum(1)
    assert {row for row in range(6) if change[row] > 0} == moved


def test_masked_cross_entropy_is_that_of_the_chosen_columns_alone():
    scores = torch.randn(8, 5, generator=generator(0, "scores"), requires_grad=True)
    labels = torch.tensor([1, 3] * 4)
    loss = cross_entropy(scores, labels, classes=(1, 3))
    expected = nn.functional.cross_entropy(scores[:, [1, 3]], (labels == 3).long())
    assert float(loss.detach()) == pytest.approx(float(expected.detach()))
    (slope,) = torch.autograd.grad(loss, scores)
    assert torch.isfinite(slope).all()
    assert (slope[:, [0, 2, 4]] == 0).all()
    assert masked(scores, None) is scores


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(bad):
    net = network()
    mine = learner(net, loss_terms={"batch": batch_loss, "penalty": lambda step: torch.tensor(bad)})
    mine.begin_task(task())
    before = weights(net)
    with pytest.raises(BadInput, match=r"mine diverged: loss penalty = .* at step 0 .*learning_rate"):
        mine.observe(batch())
    assert all(torch.equal(value, before[name]) for name, value in weights(net).items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_kept_optimiser_keeps_its_memory_when_the_head_grows():
    kept = learner(optimiser=make_optimiser("momentum", learning_rate=0.1), fresh_optimiser=False)
    fresh = learner(optimiser=make_optimiser("momentum", learning_rate=0.1))
    moved = []
    for mine in (kept, fresh):
        mine.begin_task(task())
        mine.observe(batch())
        mine.end_task(task())
        mine.begin_task(task(1, (2, 3)))
        before = weights(mine.network)
        zero = Batch(inputs=torch.zeros(1, 5), labels=torch.tensor([2]), sample_ids=torch.tensor([0]))
        mine.observe(zero)  # no input: the first layer's weights have no gradient and move by momentum alone
        moved.append((weights(mine.network)["layers.0.synapse.weight"] - before["layers.0.synapse.weight"]).abs().max())
    assert moved[0] > 0
    assert moved[1] == 0
    assert kept.cost().auxiliary_bytes > 0
    assert fresh.cost().auxiliary_bytes == 0


def test_an_optimiser_is_not_renewed_where_the_stream_hides_the_boundaries():
    mine = learner(optimiser=make_optimiser("momentum", learning_rate=0.1))
    for index in range(2):
        blurry = replace(task(index), boundary="blurry")
        mine.begin_task(blurry)
        if index:
            memory = mine._optimiser.state[mine.network.head.linear.weight]["momentum_buffer"]
            assert float(memory.abs().max()) > 0
        mine.observe(batch())
        mine.end_task(blurry)


def test_momentum_of_old_rows_survives_beside_new_ones():
    mine = learner(optimiser=make_optimiser("momentum", learning_rate=0.1), fresh_optimiser=False)
    mine.begin_task(task())
    mine.observe(batch())
    old = mine._optimiser.state[mine.network.head.linear.weight]["momentum_buffer"].clone()
    mine.end_task(task())
    mine.begin_task(task(1, (2, 3)))
    now = mine._optimiser.state[mine.network.head.linear.weight]["momentum_buffer"]
    assert torch.equal(now[:2], old)
    assert now.shape == (4, 7)
    assert (now[2:] == 0).all()


def test_observing_outside_a_task_is_refused():
    mine = learner()
    with pytest.raises(BadInput, match="after begin_task"):
        mine.observe(batch())


@pytest.mark.parametrize("resumed", [False, True])
def test_an_optimiser_calls_parameters_by_their_names(resumed):
    mine = learner(optimiser=make_optimiser("classp", learning_rate=0.1))
    mine.begin_task(task())
    if resumed:
        state = mine.state_dict()
        mine = learner(optimiser=make_optimiser("classp", learning_rate=0.1))
        mine.load_state_dict(state)
    mine.network.layers[0].synapse.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(BadInput, match=r"the gradient of layers\.0\.synapse\.weight must be finite"):
        mine.observe(batch())


def test_optimisers_are_checked():
    with pytest.raises(BadInput, match="did you mean 'adam'"):
        make_optimiser("adm", learning_rate=0.1)
    with pytest.raises(BadInput, match="learning_rate must be"):
        make_optimiser("sgd", learning_rate=-1.0)


def test_consolidation_is_zero_at_the_anchor_and_quadratic_around_it():
    net = network()
    net.begin_task(task())
    ewc = OnlineEWC(strength=3.0)
    assert float(ewc.penalty(net).detach()) == 0.0
    importance = {name: torch.rand_like(value) for name, value in net.named_parameters()}
    ewc.consolidate(net, importance)
    assert float(ewc.penalty(net).detach()) == 0.0
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.5
    expected = 0.5 * 3.0 * sum(float(value.sum()) for value in importance.values()) * 0.25
    assert float(ewc.penalty(net).detach()) == pytest.approx(expected, rel=1e-5)


def test_rows_that_a_head_gains_have_no_importance_until_the_next_task():
    net = network()
    net.begin_task(task())
    ewc = OnlineEWC(strength=1.0, gamma=0.5)
    ones = {name: torch.ones_like(value) for name, value in net.named_parameters()}
    ewc.consolidate(net, ones)
    net.begin_task(task(1, (2, 3)))
    with torch.no_grad():
        net.head.linear.weight[2:] += 5.0
    assert float(ewc.penalty(net).detach()) == 0.0
    with torch.no_grad():
        net.head.linear.weight[0] += 5.0
    assert float(ewc.penalty(net).detach()) > 0.0
    ewc.consolidate(net, {name: torch.ones_like(value) for name, value in net.named_parameters()})
    rows = ewc.importance["head.linear.weight"]
    assert (rows[:2] == 1.5).all()
    assert (rows[2:] == 1.0).all()


def test_a_strong_penalty_holds_the_weights_that_matter():
    moved = {}
    for strength in (0.0, 1e4):
        net = network()
        ewc = OnlineEWC(strength=strength)
        mine = learner(
            net, loss_terms={"batch": batch_loss, "penalty": lambda step, ewc=ewc: ewc.penalty(step.network)}
        )
        mine.begin_task(task())
        ewc.consolidate(net, {name: torch.ones_like(p) for name, p in net.named_parameters()})
        before = weights(net)
        mine = learner(net, optimiser=make_optimiser("adam", learning_rate=0.01), loss_terms=mine.loss_terms)
        mine.begin_task(task(1, (2, 3)))
        for _ in range(50):
            mine.observe(batch((2, 3)))
        moved[strength] = float((weights(net)["layers.0.synapse.weight"] - before["layers.0.synapse.weight"]).norm())
    assert moved[1e4] < 0.2 * moved[0.0]


def test_importance_is_named_like_the_parameters_it_belongs_to():
    net = network()
    net.begin_task(task())
    found = fisher_diagonal(net, batch().inputs)
    assert {name: value.shape for name, value in found.items()} == {n: p.shape for n, p in net.named_parameters()}


def test_cost_without_a_probe_leaves_operations_unknown():
    mine = learner()
    mine.begin_task(task())
    cost = mine.cost()
    bytes_ = 4 * (5 * 7 + 7 + 7 * 2 + 2)
    assert isinstance(cost, Cost)
    assert cost.parameter_bytes == bytes_
    assert cost.mean_firing_rate is None


@pytest.mark.parametrize(
    ("anneal", "left"),
    [("constant", [1, 1, 1, 1]), ("linear", [1, 0.75, 0.5, 0.25]), ("cosine", [1, 0.853553, 0.5, 0.146447])],
)
def test_the_learning_rate_falls_within_a_task_and_begins_anew_with_the_next(anneal, left):
    mine = GradientLearner(
        network(),
        Schedule(batch_size=9, iterations=4),
        optimiser=make_optimiser("sgd", learning_rate=0.2),
        name="mine",
        anneal=anneal,
    )
    for index in range(2):
        mine.begin_task(task(index))
        rates = []
        for _ in range(4):
            mine.observe(batch())
            rates.append(mine._optimiser.param_groups[0]["lr"] / 0.2)
        assert rates == pytest.approx(left, abs=1e-5)
        mine.end_task(task(index))
