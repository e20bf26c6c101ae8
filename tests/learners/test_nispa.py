"""NISPA: what its answers depend on, when a task ends, what comes back, and that old answers do not change by a bit."""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from neurocl import streams
from neurocl.learners import NISPALearner
from neurocl.learners.held_out import HeldOut
from neurocl.networks import count_operations
from neurocl.plasticity import CapacityExhausted
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import Task
from neurocl.run.loop import run, scheduled
from neurocl.run.shelf import load_model
from neurocl.streams import Stream

SMALL = {
    "hidden": (40, 32), "time_steps": 4, "phases": 4, "phase_epochs": 2, "batch_size": 32, "density": 0.4,
    "period": 12, "replay_batch_size": 8, "learning_rate": 5e-3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def few_units() -> Iterator[None]:
    """Networks this small run out of plastic units; that they say so is tested by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CapacityExhausted)
        yield


def digits(setting: str = "task-incremental", each: int = 30) -> Stream:
    return streams.open("split-digits", seed=0, setting=setting, options={"train_per_class": each})


def built(stream: Stream, **settings: object) -> NISPALearner:
    model = load_model("nispa")
    return model.build(model.config(**SMALL | {"memory_size": 0, "coding": "rate"} | settings), stream.shape, 0)


def taught(learner: NISPALearner, task: Task) -> None:
    learner.begin_task(task)
    for batch in scheduled(task, learner.schedule):
        learner.observe(batch)
    learner.end_task(task)


def assert_invariant(learner: NISPALearner) -> int:
    """No unit that is not plastic hears a plastic one; absent weights are 0. Return how many units are not plastic."""
    plasticity = learner.plasticity
    for place, layer in enumerate(plasticity.layers):
        (one,) = layer.afferents
        mask = plasticity.masks[one.name]
        assert bool((one.module.weight[~mask] == 0).all())
        if one.source >= 0:
            plastic = one.of_sources(plasticity.ranks[one.source] == 0)
            heard = mask & plastic & (plasticity.ranks[place] > 0)[:, None]
            assert not bool(heard.any()), f"a unit of {layer.name} depends on a plastic one"
    return sum(int((ranks > 0).sum()) for ranks in plasticity.ranks)


def after_every_phase(learner: NISPALearner, check) -> list[int]:
    """Call ``check`` whenever a phase of ``learner`` ends; the list grows by one each time."""
    ended, inner = [], learner._end_phase

    def watched(progress) -> None:
        inner(progress)
        ended.append(check(learner))

    learner._end_phase = watched
    return ended


@pytest.mark.parametrize(("coding", "images"), [("rate", False), ("spiking", False), ("rate", True)])
def test_old_answers_stay_to_the_bit_and_hang_on_no_plastic_unit_after_every_phase(coding, images):
    stream = digits()
    shape = {"channels": (6, 8), "pooled": (0,), "hidden": (30,)} if images else {}
    learner = built(stream, coding=coding, **shape)
    test, old = stream.test(0), torch.empty(0)

    def check(learner: NISPALearner) -> int:
        if learner.tasks_begun > 1:
            assert torch.equal(learner.predict(test.inputs, 0), old), "an old answer has changed"
        return assert_invariant(learner)

    ended = after_every_phase(learner, check)
    frozen = []
    for task in list(stream)[:3]:
        before = copy.deepcopy(learner.network.state_dict())
        taught(learner, task)
        check(learner)
        if task.index == 0:
            old = learner.predict(test.inputs, 0)
            assert float((old[:, :2].argmax(1) == test.labels).float().mean()) > 0.7, "nothing to keep"
        changed = [not torch.equal(value, before[name]) for name, value in learner.network.state_dict().items()]
        assert any(changed)
        frozen.append(sum(int(learner.plasticity.frozen(place).sum()) for place in range(3)))
    assert frozen == sorted(set(frozen)), "every task takes units of its own"
    assert len(ended) > 6
    assert min(ended[1:]) > 0


def scripted(stream: Stream, accuracies: list[float], **settings: object) -> tuple[NISPALearner, list[dict]]:
    """A learner whose phases have these accuracies; and weights, masks and ranks at the end of each."""
    learner = built(stream, **{"phase_epochs": 1} | settings)
    given, seen = iter(accuracies), []

    def judged(progress) -> None:
        progress.epoch = next(given), {name: one.clone() for name, one in learner.network.state_dict().items()}
        seen.append({"network": progress.epoch[1], "plasticity": copy.deepcopy(learner.plasticity.state_dict())})

    learner._end_epoch = judged
    return learner, seen


def test_a_phase_that_falls_too_far_is_undone_and_what_comes_after_costs_nothing():
    stream = digits()
    learner, seen = scripted(stream, [0.9, 0.5, 0.895, 0.88], phases=6, period=8, accuracy_drop=1.0)  # phase 2 may fall
    task = next(iter(stream))
    learner.begin_task(task)
    batches = [*scheduled(task, learner.schedule)]
    losses = [learner.observe(batch) for batch in batches]
    assert [bool(loss) for loss in losses] == [True] * (4 * 2) + [False] * (2 * 2)  # two batches an epoch
    assert learner.steps == 8
    third = seen[2]
    assert all(torch.equal(one, third["network"][name]) for name, one in learner.network.state_dict().items())
    state = learner.plasticity.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(state["ranks"], third["plasticity"]["ranks"], strict=True))
    assert all(torch.equal(bits, third["plasticity"]["masks"][name]) for name, bits in state["masks"].items())
    learner.end_task(task)
    report = learner.diagnostics()
    assert (report["phases"], report["stopped"]) == (4, "accuracy")
    assert report["share"] == pytest.approx(0.854, abs=1e-3)  # chosen after phase 2, of 8
    assert [one["accuracy"] for one in report["by_phase"]] == [0.9, 0.5, 0.895, 0.88]
    assert report["units"]["head.linear"] == {
        "idle": 8, "training": 0, "frozen": 2, "units": 10, "density": report["units"]["head.linear"]["density"],
    }  # fmt: skip


def test_a_small_fall_goes_on_until_the_phases_or_the_units_are_spent():
    stream = digits(each=10)
    task = next(iter(stream))
    learner, seen = scripted(stream, [0.9, 0.89, 0.895, 0.892], accuracy_drop=1.0)
    taught(learner, task)
    assert learner.diagnostics()["stopped"] == "phases"
    assert len(seen) == 4
    learner, seen = scripted(stream, [0.9] * 8, phases=12, period=8)  # 5 % are left after phase 7 of 8
    taught(learner, task)
    report = learner.diagnostics()
    assert (report["phases"], report["stopped"], len(seen)) == (7, "share", 7)
    assert report["share"] == pytest.approx(0.309, abs=1e-3)


def test_the_best_epoch_of_a_phase_is_kept():
    stream = digits()
    learner = built(stream, phase_epochs=3, phases=2)
    found = []

    def judged(progress) -> None:
        found.append({name: one.clone() for name, one in learner.network.state_dict().items()})
        accuracy = (0.2, 0.8, 0.5)[(len(found) - 1) % 3]
        if progress.epoch is None or accuracy > progress.epoch[0]:
            progress.epoch = accuracy, found[-1]

    learner._end_epoch = judged
    task = next(iter(stream))
    learner.begin_task(task)
    for batch in scheduled(task, learner.schedule):
        learner.observe(batch)
    assert len(found) == 6
    assert all(torch.equal(one, found[4][name]) for name, one in learner.network.state_dict().items())
    assert not torch.equal(found[4]["head.linear.bias"], found[5]["head.linear.bias"])


def test_samples_that_judge_are_a_fixed_share_of_every_class_and_are_never_learnt_from():
    stream = digits()
    task = next(iter(stream))
    held, again, other = (HeldOut(task, share=0.1, seed=seed) for seed in (0, 0, 1))
    assert sorted(held.ids.tolist()) == sorted(again.ids.tolist()) != sorted(other.ids.tolist())
    labels = torch.cat([batch.labels for batch in held.batches])
    assert labels.bincount().tolist() == [3, 3]
    learnt = [held.without(batch) for batch in task.batches(7, 3)]
    ids = torch.cat([batch.sample_ids for batch in learnt if batch is not None])
    assert sorted([*ids.tolist(), *held.ids.tolist()]) == sorted(next(task.batches(100, -1)).sample_ids.tolist())
    assert held.without(held.batches[0]) is None
    learner, shown = built(stream), []
    inner = learner._learn
    learner._learn = lambda batch, task: [shown.extend(batch.sample_ids.tolist()), inner(batch, task)][1]
    taught(learner, task)
    assert not set(shown) & set(HeldOut(task, share=0.1, seed=0).ids.tolist())
    assert len(set(shown)) == 54
    with pytest.raises(BadInput, match="validation_share"):
        HeldOut(task, share=1.0, seed=0)


def test_classes_of_one_sample_are_learnt_and_judge_themselves():
    task = next(iter(digits(each=1)))
    held = HeldOut(task, share=0.1, seed=0)
    assert len(held.ids) == 0
    assert sum(len(batch) for batch in held.batches) == 2
    assert held.without(held.batches[0]) is held.batches[0]


def test_with_a_memory_tasks_are_told_apart():
    stream = digits("class-incremental", each=40)
    settings = {"hidden": (120, 100), "phases": 4, "memory_size": 150, "density": 0.3, "period": 16}
    learner = built(stream, **settings)
    ended = after_every_phase(learner, assert_invariant)
    history = run(learner, stream)
    last = [a for a in history.accuracy[-1] if a is not None]
    assert sum(last) / 5 > 0.6, last
    assert len(ended) >= 5 * 3
    head = learner.diagnostics()["units"]["head.linear"]
    assert (head["idle"], head["frozen"]) == (0, 0), "output units of classes seen are not plastic, and not frozen"
    assert learner.cost().memory_bytes == learner.replay.memory.bytes > 150 * 64
    assert set(learner.replay.memory.labels.tolist()) == set(range(10))


def test_only_with_a_memory_do_output_units_of_old_classes_go_on_learning():
    for memory in (0, 40):
        stream = digits("class-incremental")
        learner = built(stream, memory_size=memory)
        first, second = list(stream)[:2]
        taught(learner, first)
        before = learner.network.head.linear.weight[:2].clone()
        hidden = learner.network.layers[0].synapse.weight[learner.plasticity.frozen(0)].clone()
        frozen = learner.plasticity.frozen(0)
        taught(learner, second)
        assert torch.equal(before, learner.network.head.linear.weight[:2]) == (memory == 0)
        assert torch.equal(hidden, learner.network.layers[0].synapse.weight[frozen])


def test_a_learner_goes_on_from_its_state_as_if_it_had_never_stopped():
    stream = digits("class-incremental")
    one, two = (built(stream, memory_size=30) for _ in range(2))
    first, second, third = list(stream)[:3]
    for task in (first, second):
        taught(one, task)
    state = one.state_dict()
    two.load_state_dict(state)
    kept = copy.deepcopy(state)
    for learner in (one, two):
        taught(learner, third)
    assert torch.equal(one.predict(stream.test(0).inputs), two.predict(stream.test(0).inputs))
    assert one.diagnostics() == two.diagnostics()
    assert all(torch.equal(a, state["network"][name]) for name, a in kept["network"].items())


def test_bytes_and_operations_count_present_connections_alone():
    stream = digits()
    learner = built(stream, coding="spiking")
    for task in list(stream)[:2]:
        taught(learner, task)
    probe = stream.test(0).inputs[:8]
    cost, dense = learner.cost(probe), count_operations(learner.network, probe)
    biases = 40 + 32 + 10
    others = 4 * biases + 8 * learner.network.head.tasks.numel()
    assert cost.parameter_bytes == others + 4 * learner.plasticity.live_weights()
    masks = sum((mask.numel() + 7) // 8 for mask in learner.plasticity.masks.values())
    assert cost.auxiliary_bytes == masks + 2 * (40 + 32 + 10)
    assert cost.memory_bytes == 0
    assert 0 < cost.synaptic_operations_per_sample < 0.6 * dense.synaptic_operations


def test_a_task_without_room_says_so_once_and_what_to_do():
    stream = digits()
    learner = built(stream, hidden=(6, 5), density=0.9, phases=3, period=30)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for task in list(stream)[:2]:
            taught(learner, task)
    told = [str(one.message) for one in caught if issubclass(one.category, CapacityExhausted)]
    assert 1 <= len(told) <= 2
    assert "density fell in layers.1.synapse" in told[0]
    assert "more units" in told[0]


def test_a_task_that_is_cut_short_still_leaves_its_answers_on_units_of_its_own():
    stream = digits()
    learner = built(stream)
    task = next(iter(stream))
    learner.begin_task(task)
    learner.observe(next(task.batches(32, 0)))
    learner.end_task(task)
    assert assert_invariant(learner) > 2
    assert learner.diagnostics()["stopped"] == "batches"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"phases": 1}, "phases must be a whole number of at least 2"),
        ({"phase_epochs": 0}, "phase_epochs"),
        ({"accuracy_drop": -1.0}, "accuracy_drop"),
        ({"period": 2}, "period must leave units"),
        ({"validation_share": 0.0}, "validation_share"),
        ({"replay_strength": -1.0}, "replay_strength"),
        ({"density": 0.0}, "density"),
        ({"memory_size": -3}, "size"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_settings_are_refused_by_name_before_anything_is_learnt(settings, message):
    with pytest.raises(BadInput, match=message):
        built(digits(), **settings)


def test_calls_out_of_order_are_refused():
    stream = digits()
    learner = built(stream)
    task = next(iter(stream))
    batch = next(task.batches(8, 0))
    with pytest.raises(BadInput, match="begin_task before predict"):
        learner.predict(batch.inputs)
    with pytest.raises(BadInput, match="observe comes after begin_task"):
        learner.observe(batch)
    learner.begin_task(task)
    with pytest.raises(BadInput, match="must show a batch"):
        learner.end_task(task)
    with pytest.raises(BadInput, match="announced by begin_task"):
        learner.observe(replace(batch, labels=batch.labels + 5))
