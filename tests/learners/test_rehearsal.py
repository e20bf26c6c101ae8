"""Does rehearsal see every task in every step, leave protection aside meanwhile, and bring old tasks back?"""

import contextlib
import copy
from functools import partial

import pytest
import torch
from torch.nn import functional

from neurocl import streams
from neurocl.learners import Rehearsal, make_optimiser
from neurocl.memory import RawReplay
from neurocl.networks import MLP
from neurocl.primitives.checks import BadInput
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Batch, Task, TaskShape
from neurocl.run.loop import run
from neurocl.run.shelf import load_model

SMALL = {"hidden": (60,), "time_steps": 5, "epochs": 3, "batch_size": 16, "rows": "fixed"}
SMALL |= {"rows_first": (10, 10, 10), "rows_later": (5,), "replay_learning_rate": 0.05}
SHAPE = TaskShape(input_shape=(6,), num_classes=4, num_tasks=3, setting="domain-incremental")

SLOW = pytest.mark.slow


def hlop(stream, **settings):
    model = load_model("hlop:" + settings.pop("coding", "spiking"))
    return model.build(model.config(coding=model.coding, **SMALL | settings), stream.shape, 0)


def digits(tasks=3, **options):
    return streams.open("permuted-digits", seed=0, options={"tasks": tasks, "train_per_class": 60} | options)


def learn(learner, task):
    """One task as a run feeds it."""
    learner.begin_task(task)
    for epoch in range(learner.schedule.epochs):
        for batch in task.batches(learner.schedule.batch_size, epoch):
            learner.observe(batch)


def made_task(index, size, *, task_id=None):
    """A task of ``size`` samples of each of four classes, none like another task's."""
    draws = generator(index, "made")
    inputs, labels = torch.rand(4 * size, 6, generator=draws), torch.arange(4).repeat(size)
    ids = torch.arange(4 * size) + 1000 * index
    batch = Batch(inputs=inputs, labels=labels, sample_ids=ids, task_id=task_id)
    return Task(
        index=index, task_id=task_id, classes=(0, 1, 2, 3), seen_classes=(0, 1, 2, 3), boundary="clear",
        batches=lambda batch_size, epoch: iter([batch]), size=4 * size,
    )  # fmt: skip


def rehearsal_on(network, **options):
    settings = {"optimiser": make_optimiser("sgd", learning_rate=0.1), "epochs": 1, "batch_size": 4}
    return Rehearsal(network, RawReplay("per-task-class", size=3, seed=1), **settings | options)


def test_every_step_takes_a_block_of_every_task_and_small_stores_start_over():
    rehearsal = rehearsal_on(MLP(SHAPE, hidden=(5,), coding="rate", head="single"))
    for index, size in enumerate((1, 3, 3)):
        for batch in made_task(index, size).batches(1, 0):
            rehearsal.memory.add(batch, task=index)
    steps = list(rehearsal.blocks([0, 1, 2], 0))
    assert len(steps) == 3  # twelve samples of the larger ones, by fours
    for step in steps:
        assert [set(rehearsal.memory.tasks[places].tolist()) for places in step] == [{0}, {1}, {2}]
        assert [len(places) for places in step] == [4, 4, 4]
    for task in (1, 2):
        assert torch.cat([step[task] for step in steps]).unique().numel() == 12
    again, next_epoch = list(rehearsal.blocks([0, 1, 2], 0)), list(rehearsal.blocks([0, 1, 2], 1))
    assert all(torch.equal(torch.cat(one), torch.cat(other)) for one, other in zip(steps, again, strict=True))
    assert not torch.equal(steps[0][1], next_epoch[0][1])


def test_a_step_follows_the_sum_of_the_tasks_losses_and_the_first_task_makes_none():
    network = MLP(SHAPE, hidden=(5,), coding="rate", head="single")
    by_hand = copy.deepcopy(network)
    rehearsal = rehearsal_on(network, batch_size=12)
    rehearsal.end(made_task(0, 3))
    assert len(rehearsal.memory) == 12
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), by_hand.parameters(), strict=True))
    rehearsal.end(made_task(1, 3))
    loss = torch.zeros(())
    for index in range(2):
        (batch,) = made_task(index, 3).batches(1, 0)
        loss = loss + functional.cross_entropy(by_hand(batch.inputs), batch.labels)
    loss.backward()
    for mine, expected in zip(network.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, expected - 0.1 * expected.grad)
        assert mine.grad is None
    assert float(expected.grad.abs().max()) > 0


@pytest.mark.parametrize("training", ["surrogate", "dsr", "ottt"])
def test_heads_of_tasks_rehearse_their_own_samples_in_every_training_mode(training):
    network = MLP(SHAPE, hidden=(30,), head="multi", training=training, bias=False)
    rehearsal = rehearsal_on(network, batch_size=12)
    for index in range(2):
        task = made_task(index, 3, task_id=index)
        network.begin_task(task)
        by_hand = copy.deepcopy(network)
        rehearsal.end(task)
    for index in range(2):
        (batch,) = made_task(index, 3, task_id=index).batches(1, 0)
        one = [(1.0, by_hand(batch.inputs, index))] if training != "ottt" else None
        for share, scores in one or by_hand.scores_over_time(batch.inputs, index):
            (share * functional.cross_entropy(scores, batch.labels)).backward()
    assert sorted(dict(network.named_parameters())) == [
        "head.linears.0.weight",
        "head.linears.1.weight",
        "layers.0.synapse.weight",
    ]
    for mine, expected in zip(network.parameters(), by_hand.parameters(), strict=True):
        assert float(expected.grad.abs().max()) > 1e-4
        torch.testing.assert_close(mine, expected - 0.1 * expected.grad, rtol=1e-4, atol=1e-6)


def test_rehearsal_is_not_projected_and_teaches_circuits_nothing():
    stream = digits(tasks=2)
    learner, plain = hlop(stream, memory_size=20, replay_epochs=2, epochs=1), hlop(stream, epochs=1)
    for task in stream:
        for one in (learner, plain):
            learn(one, task)
            one.end_task(task)
    circuits = learner.parts["lateral"].circuits
    assert max(report.leak for report in circuits.reports) < 1e-6  # of the task's own training
    rehearsed, trained = (dict(one.network.named_modules()) for one in (learner, plain))
    for name, layer in circuits.layers.items():
        change = (rehearsed[name].weight - trained[name].weight).detach()  # what the rehearsal made
        inside = change - layer.project(change)
        assert float(inside.norm()) > 0.1 * float(change.norm()) > 0, name
        (mine,), (theirs,) = layer.circuits, plain.parts["lateral"].circuits.layers[name].circuits
        assert torch.equal(mine.old, theirs.old)
        assert layer.updates == plain.parts["lateral"].circuits.layers[name].updates > 0
        assert not layer.resting


def test_resting_circuits_wake_up_again_whatever_happens():
    stream = digits(tasks=2)
    learner = hlop(stream)
    circuits = learner.parts["lateral"].circuits
    layer = circuits.layers["layers.0.synapse"]
    first, second = stream
    learn(learner, first)
    learner.end_task(first)
    learner.begin_task(second)
    inside = []
    with contextlib.suppress(ZeroDivisionError), circuits.resting():
        inside.append(layer.projecting)
        raise ZeroDivisionError
    assert inside == [False]
    assert layer.projecting
    assert not layer.resting


@pytest.mark.parametrize(
    ("rows", "coding"),
    [pytest.param("fixed", "spiking", marks=SLOW), pytest.param("none", "spiking", marks=SLOW), ("fixed", "rate")],
)
def test_rehearsal_raises_the_accuracy_of_old_tasks(rows, coding):
    stream = digits()
    old = []
    for size in (0, 20):
        options = {"learning_rate": 0.2, "memory_size": size, "replay_epochs": 5}
        last = run(hlop(stream, rows=rows, coding=coding, **options), stream, seed=0).accuracy[-1]
        old.append(sum(last[:-1]) / 2)
    assert old[1] > old[0] + 0.03, old


@pytest.mark.parametrize("optimiser", [pytest.param("sgd", marks=SLOW), "momentum"])
def test_going_on_at_a_task_boundary_gives_the_same_weights_bit_for_bit(optimiser):
    stream = digits()
    build = partial(hlop, stream, memory_size=5, optimiser=optimiser, learning_rate=0.05, epochs=1, replay_epochs=2)
    whole, stopped = build(), build()
    for task in stream:
        learn(whole, task)
        whole.end_task(task)
        resumed = build()
        resumed.load_state_dict(copy.deepcopy(stopped.state_dict())) if task.index else None
        learn(resumed, task)
        resumed.end_task(task)
        stopped = resumed
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, stopped.network.state_dict()[name]), name
    assert len(whole.parts["rehearsal"].memory) == len(stopped.parts["rehearsal"].memory) == 3 * 10 * 5
    assert whole.cost().memory_bytes == whole.parts["rehearsal"].memory.bytes > 0


def test_what_cannot_be_is_refused_in_one_line():
    split = streams.open("split-digits", seed=0)
    with pytest.raises(BadInput, match="memory_size=0"):
        hlop(split, memory_size=20)
    by_task = streams.open("split-digits", seed=0, setting="task-incremental")
    assert hlop(by_task, memory_size=20).abilities.replays
    for name, value in (("epochs", 0), ("batch_size", 0)):
        with pytest.raises(BadInput, match=name):
            rehearsal_on(MLP(SHAPE), **{name: value})
    network = MLP(SHAPE, hidden=(5,), coding="rate", head="single")
    rehearsal = rehearsal_on(network)
    rehearsal.end(made_task(0, 3))
    with torch.no_grad():
        network.head.linear.weight.fill_(torch.inf)
    with pytest.raises(BadInput, match="rehearsal diverged"):
        rehearsal.end(made_task(1, 3))
