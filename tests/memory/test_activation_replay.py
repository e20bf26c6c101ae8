"""Who stays, who goes, what comes out, and is it the same after a restart?"""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocl.memory import ActivationReplay
from neurocl.memory.activation_replay import CHOICES
from neurocl.memory.activity_stores import STORES
from neurocl.primitives.checks import BadInput
from neurocl.primitives.seeding import generator

STEPS, UNITS = 6, (2, 5)


def spikes_for(ids) -> torch.Tensor:
    """Spikes that follow from the ids."""
    rows = [torch.rand(STEPS, *UNITS, generator=generator(7, "spikes", int(each))) < 0.3 for each in ids]
    return torch.stack(rows, dim=1).float()


def filled(store="raster", *, ids=range(60), classes=3, task=0, **options) -> ActivationReplay:
    memory = ActivationReplay("cut", store, sequence=True, **({"per_class": 4} | options))
    offer(memory, ids, classes=classes, task=task)
    return memory


def offer(memory, ids, *, classes=3, task=None) -> None:
    ids = torch.tensor(list(ids))
    memory.add(spikes_for(ids), ids % classes, ids, task=task)


def held(memory) -> set[tuple[int, int, int]]:
    return set(zip(memory.tasks.tolist(), memory.labels.tolist(), memory.sample_ids.tolist(), strict=True))


@pytest.mark.parametrize("store", STORES)
def test_what_is_drawn_is_what_was_added(store):
    memory = filled(store, per_class=5)
    drawn = memory.draw(9, generator(0))
    assert drawn.activity.shape == (STEPS, 9, *UNITS)
    assert len(set(drawn.sample_ids.tolist())) == 9
    assert torch.equal(drawn.labels, drawn.sample_ids % 3)
    wanted = spikes_for(drawn.sample_ids)
    assert torch.equal(drawn.activity.sum(0), wanted.sum(0))  # quantised: 0 and 1 are the ends of the range
    assert torch.equal(drawn.activity, wanted) or store == "count"


@pytest.mark.parametrize("amplitude", [0.25, 1.7])
@pytest.mark.parametrize("store", ["raster", "events", "count"])
def test_spikes_worth_more_or_less_than_1_come_back_so(store, amplitude):
    memory = ActivationReplay("cut", store, sequence=True)
    ids = torch.arange(8)
    memory.add(0 * spikes_for(ids), ids % 2, ids)  # silence does not say what a spike is worth
    memory.add(spikes_for(ids) * amplitude, ids % 2, ids + 8)
    back = memory.take(torch.arange(16)).activity
    later = memory.sample_ids >= 8
    assert not back[:, ~later].any()
    assert torch.equal(back[:, later].sum(0), (spikes_for(memory.sample_ids[later] - 8) * amplitude).sum(0))
    with pytest.raises(BadInput, match="one amplitude"):
        memory.add(spikes_for(ids), ids, ids + 16)


def test_activity_without_time_comes_back_without():
    memory = ActivationReplay("cut", "quantised", per_class=2)
    activity = torch.rand(10, 4, 3)
    memory.add(activity, torch.arange(10) % 2, torch.arange(10))
    drawn = memory.draw(4, generator(0))
    assert drawn.activity.shape == (4, 4, 3)
    step = (activity.max() - activity.min()) / 255
    assert (drawn.activity - activity[drawn.sample_ids]).abs().max() <= 0.51 * step


def test_every_class_has_a_range_of_its_own():
    memory = ActivationReplay("cut", "quantised")
    labels = torch.arange(10) % 2
    activity = torch.rand(10, 7) * torch.where(labels == 0, 1.0, 1000.0).unsqueeze(1)
    memory.add(activity, labels, torch.arange(10))
    back = memory.take(torch.arange(10))
    error = (back.activity - activity[back.sample_ids]).abs()
    assert error[back.labels == 0].max() <= 0.6 / 255
    assert error[back.labels == 1].max() > 0.6 / 255


def test_bytes_are_those_of_the_formula():
    sizes = {"raster": 8, "count": 4, "quantised": 60 + 8}  # 60 bits, 10 x 3 bits, 60 bytes and a range
    for store, each in sizes.items():
        memory = filled(store, per_class=5)
        assert memory.bytes == 15 * (each + 12)
        assert memory.byte_counts() == (0, memory.bytes)
    memory = filled("events", per_class=5)
    events = memory.take(torch.arange(15)).activity.sum((0, 2, 3)).long()
    assert memory.bytes == int((-(-events * 6 // 8)).sum()) + 15 * (4 + 12)


@pytest.mark.parametrize("choose", CHOICES)
def test_each_class_keeps_its_share(choose):
    memory = filled(choose=choose)
    if choose == "reservoir":
        assert len(memory) == 12
    else:
        assert torch.bincount(memory.labels).tolist() == [4, 4, 4]
    assert memory.classes == (0, 1, 2)


def test_the_first_stay():
    assert sorted(filled(choose="first").sample_ids.tolist()) == list(range(12))


@pytest.mark.parametrize("choose", CHOICES)
def test_offering_samples_twice_changes_nothing(choose):
    memory = filled(choose=choose, ids=range(30))
    before = memory.state_dict()
    offer(memory, range(30))
    after = memory.state_dict()
    assert held(memory) == {(0, number % 3, number) for number in before["table"]["ids"].tolist()}
    assert all(torch.equal(after["table"]["columns"][k], v) for k, v in before["table"]["columns"].items())
    twice = torch.tensor([90, 90, 93])
    other = ActivationReplay("cut", sequence=True)
    other.add(spikes_for(twice), torch.zeros(3, dtype=torch.long), twice)
    assert other.sample_ids.tolist() == [90, 93]


@settings(max_examples=10)
@given(st.permutations(range(24)), st.lists(st.integers(1, 23), max_size=3, unique=True))
@pytest.mark.parametrize("choose", ["random", "reservoir"])
def test_chance_does_not_depend_on_the_order_of_showing(choose, order, cuts):
    cuts = sorted(cuts)
    memory = ActivationReplay("cut", per_class=3, choose=choose, sequence=True)
    offer(memory, range(3))  # every class is known, so that the reservoir has its size
    for start, stop in itertools.pairwise([0, *cuts, 24]):
        offer(memory, order[start:stop])
    wanted = filled(ids=range(24), per_class=3, choose=choose)
    assert held(memory) == held(wanted)
    assert torch.equal(memory.draw(5, generator(1)).activity, wanted.draw(5, generator(1)).activity)


def test_another_seed_chooses_others_and_all_alike_over_seeds():
    times = torch.zeros(60)
    for seed in range(60):
        times[filled(choose="random", seed=seed).sample_ids] += 1
    assert times.sum() == 720
    assert times.min() >= 2  # 12 expected, deviation 3
    assert times.max() <= 25


def test_herding_takes_whom_a_hand_would():
    """Rates 0, 1/4, 1/2, 1 have the mean 7/16: 1/2 first; then 1/4 gives 3/8 where 0 gives 1/4 and 1 gives 3/4."""
    activity = torch.zeros(4, 4, 1)
    for sample, spikes in enumerate([0, 1, 2, 4]):
        activity[:spikes, sample] = 1
    for wanted in ([2], [1, 2], [0, 2, 3]):
        memory = ActivationReplay("cut", per_class=len(wanted), choose="herding", sequence=True)
        memory.add(activity, torch.zeros(4, dtype=torch.long), torch.arange(4))
        if len(wanted) < 3:
            assert memory.sample_ids.tolist() == wanted
    # the third: 3 x 7/16 - 3/4 = 9/16 is wanted; left are 0 and 1, and 1 is nearer
    assert memory.sample_ids.tolist() == [1, 2, 3]


def test_herding_takes_the_lower_ids_of_equals_whatever_the_order_of_showing():
    memory = ActivationReplay("cut", per_class=2, choose="herding", sequence=True)
    memory.add(torch.ones(3, 4, 2), torch.zeros(4, dtype=torch.long), torch.tensor([9, 7, 8, 6]))
    assert memory.sample_ids.tolist() == [6, 7]


@pytest.mark.parametrize("store", STORES)
def test_herding_weighs_stored_and_new_samples_alike(store):
    """Half of the class shown before: its stored part and the rest are judged by one mean."""
    memory = ActivationReplay("cut", store, per_class=5, choose="herding", sequence=True)
    offer(memory, range(5), classes=1)
    offer(memory, range(5, 30), classes=1)
    whole = ActivationReplay("cut", store, per_class=5, choose="herding", sequence=True)
    offer(whole, range(30), classes=1)
    assert held(memory) == held(whole)


@pytest.mark.parametrize(("horizon", "left"), [(1, [2, 3]), (2, [1, 2, 3]), (None, [0, 1, 2, 3])])
def test_classes_outside_the_horizon_go(horizon, left):
    memory = ActivationReplay("cut", "events", per_class=2, horizon=horizon, sequence=True)
    for task in range(4):
        memory.begin_task(task)
        ids = torch.arange(10) + 10 * task
        memory.add(spikes_for(ids), ids % 2 + 2 * task, ids)
    assert sorted(set(memory.tasks.tolist())) == left
    assert memory.classes == tuple(label for task in left for label in (2 * task, 2 * task + 1))
    assert torch.equal(memory.take(torch.arange(len(memory))).activity, spikes_for(memory.sample_ids))
    memory.begin_task(9)
    assert len(memory) == (16 if horizon is None else 0)
    assert memory.bytes == 0 or horizon is None


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("begun", [True, False])
def test_activity_may_look_otherwise_once_all_before_it_has_gone(store, begun):
    memory = ActivationReplay("cut", store, per_class=2)
    memory.add(2 * spikes_for(range(12)), torch.arange(12) % 2, torch.arange(12))
    if begun:
        memory.begin_task(2)
        assert memory.bytes == len(memory) == 0
    ids, shorter = torch.arange(4), torch.ones(4, 3)
    memory.add(shorter, ids % 2, ids, task=2)  # no time, other units, another amplitude
    assert torch.equal(memory.take(ids).activity, shorter)
    twin = ActivationReplay("cut", store, per_class=2)
    twin.load_state_dict(memory.state_dict())
    assert torch.equal(twin.take(ids).activity, shorter)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("sequence", [True, None])
def test_no_step_is_no_activity(store, sequence):
    memory = ActivationReplay("cut", store, sequence=sequence)
    with pytest.raises(BadInput, match=r"at least one step and value; got \[0, 4, 3\]"):
        memory.add(torch.zeros(0, 4, 3), torch.zeros(4, dtype=torch.long), torch.arange(4))


def test_a_later_task_begins_by_itself_and_one_long_gone_is_passed_over():
    memory = filled()
    offer(memory, range(100, 103), task=2)
    assert memory.task == 2
    assert set(memory.tasks.tolist()) == {2}
    offer(memory, range(200, 203), task=0)
    assert set(memory.tasks.tolist()) == {2}


def test_a_class_that_comes_again_is_a_class_of_both_tasks():
    memory = filled()
    offer(memory, range(60), task=1)
    assert torch.bincount(memory.labels).tolist() == [8, 8, 8]
    assert torch.bincount(memory.tasks).tolist() == [12, 12]


def test_balanced_draws_give_what_is_left_over_to_the_first_classes():
    memory = filled(per_class=4)
    drawn = memory.draw_balanced(11, generator(0))
    assert torch.bincount(drawn.labels).tolist() == [4, 4, 3]
    assert len(set(drawn.sample_ids.tolist())) == 11
    assert torch.equal(drawn.activity, spikes_for(drawn.sample_ids))
    again = memory.draw_balanced(30, generator(0))
    assert torch.bincount(again.sample_ids).unique().tolist() == [2, 3]  # each twice before any comes a third time
    assert torch.bincount(memory.draw_balanced(2, generator(0)).labels).tolist() == [1, 1]


def test_draws_follow_from_the_generator():
    memory = filled("count", timing="bernoulli")
    first, same, other = (memory.draw(6, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.activity, same.activity)
    assert not torch.equal(first.activity, other.activity)
    assert len(memory.draw(100, generator(0)).labels) == 12


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("choose", CHOICES)
def test_a_memory_goes_on_from_its_state(store, choose):
    memory = filled(store, choose=choose)
    twin = ActivationReplay("cut", store, per_class=4, choose=choose)
    twin.load_state_dict(memory.state_dict())
    for each in (memory, twin):
        offer(each, range(60, 90), task=1)
    assert held(memory) == held(twin)
    assert torch.equal(memory.draw(7, generator(3)).activity, twin.draw(7, generator(3)).activity)
    assert twin.bytes == memory.bytes
    empty = ActivationReplay("cut", store)
    empty.load_state_dict(ActivationReplay("cut", store).state_dict())
    assert len(empty) == 0


def damage(state, store):
    table = state["table"]
    column = "codes"
    yield "missing", lambda: table.pop("labels")
    yield "missing", lambda: state.pop("groups")
    yield "of a memory with store", lambda: table.update(store="count" if store != "count" else "raster")
    yield "damaged", lambda: table.update(labels=table["labels"][1:])
    yield "damaged", lambda: table.update(ids=table["ids"] * 0)
    yield "damaged", lambda: table.update(labels=table["labels"].long())
    yield "damaged", lambda: table.update(steps=0)
    yield "damaged", lambda: table["columns"].pop(column)
    yield "damaged", lambda: table["columns"].update({column: table["columns"][column][1:]})
    yield "damaged", lambda: table["columns"].update({column: table["columns"][column].int()})
    if store == "events":
        yield "damaged", lambda: table["columns"].update(counts=table["columns"]["counts"] - 100)
        yield "damaged", lambda: table["columns"].update(codes=table["columns"]["codes"] | 255)
    if store == "quantised":
        yield "damaged", lambda: table["columns"].update(ranges=table["columns"]["ranges"] * torch.nan)
        yield "damaged", lambda: table["columns"].update(ranges=table["columns"]["ranges"].flip(1))


@pytest.mark.parametrize("store", STORES)
def test_a_damaged_state_is_refused_and_changes_nothing(store):
    memory = filled(store)
    before = held(memory)
    for place, _ in enumerate(damage(memory.state_dict(), store)):
        state = memory.state_dict()
        message, harm = next(itertools.islice(damage(state, store), place, None))
        harm()
        with pytest.raises(BadInput, match=message):
            memory.load_state_dict(state)
        assert held(memory) == before
    assert torch.equal(memory.take(torch.arange(12)).activity.sum(0), spikes_for(memory.sample_ids).sum(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cut": ""}, "cut must be the name of a module"),
        ({"cut": True}, "cut must be the name of a module"),
        ({"store": "rastr"}, "no store named 'rastr'; did you mean 'raster'"),
        ({"choose": "last"}, "no choose named 'last'"),
        ({"per_class": 0}, "per_class must be a whole number of at least 1; got 0"),
        ({"horizon": 0}, "horizon must be a whole number of at least 1; got 0"),
        ({"timing": "odd"}, "no timing named 'odd'"),
        ({"store": "quantised", "bits": 17}, "bits must be at most 16; got 17"),
    ],
)
def test_bad_settings_are_refused(as_installed, arguments, message):
    with pytest.raises(BadInput, match=message):
        ActivationReplay(**{"cut": "cut", **arguments})


IDS = torch.arange(4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activity": torch.rand(STEPS, 4, *UNITS)}, "activity must hold spikes"),
        ({"activity": torch.full((STEPS, 4, *UNITS), torch.inf)}, "activity must be finite"),
        ({"activity": torch.zeros(STEPS, 4, 3), "task": 1}, r"activity must have 6 steps of \[2, 5\] values"),
        ({"activity": torch.zeros(STEPS + 1, 4, *UNITS), "task": 1}, "activity must have 6 steps"),
        ({"activity": torch.zeros(0, 4, *UNITS)}, r"at least one step and value; got \[0, 4, 2, 5\]"),
        ({"activity": torch.zeros(STEPS, 5, *UNITS)}, "with B = 4 as there are labels"),
        ({"activity": torch.zeros(4, dtype=torch.long)}, "activity must be a floating-point tensor"),
        ({"activity": [1.0]}, "activity must be a floating-point tensor .* got list"),
        ({"labels": IDS - 1}, "labels and task must lie from 0 to 32767; got -1 to 2"),
        ({"labels": IDS + 40000}, "labels and task must lie"),
        ({"labels": IDS.float()}, "labels must be a tensor of whole numbers"),
        ({"sample_ids": IDS[:3]}, "labels and sample_ids must be as many; got 4 and 3"),
        ({"task": -1}, "task must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_changes_nothing(as_installed, change, message):
    memory = filled()
    before = held(memory), memory.task, memory.state_dict()["groups"]
    offered = {"activity": spikes_for(IDS + 90), "labels": IDS, "sample_ids": IDS + 90, "task": 5} | change
    with pytest.raises(BadInput, match=message):
        memory.add(**offered)
    assert (held(memory), memory.task, memory.state_dict()["groups"]) == before


def test_an_ambiguous_shape_asks_for_the_axis(as_installed):
    memory = ActivationReplay("cut")
    with pytest.raises(BadInput, match=r"sequence must say whether activity \[4, 4, 3\] is"):
        memory.add(torch.zeros(4, 4, 3), IDS, IDS)
    memory.add(torch.zeros(2, 4, 3), IDS, IDS)  # another number of steps settles it
    assert memory.take(IDS).activity.shape == (2, 4, 3)


def test_a_task_that_two_bytes_do_not_hold_is_refused_by_its_name(as_installed):
    for refused in (lambda memory: memory.begin_task(40_000), lambda memory: offer(memory, range(4), task=40_000)):
        with pytest.raises(BadInput, match="task must lie from 0 to 32767; got 40000"):
            refused(filled())


def test_nothing_can_be_drawn_from_an_empty_memory():
    memory = ActivationReplay("cut")
    for draw in (memory.draw, memory.draw_balanced):
        with pytest.raises(BadInput, match="memory must hold samples to draw from"):
            draw(3, generator(0))
    memory.add(torch.zeros(2, 0, 3), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert len(memory) == 0


def test_places_that_are_none_are_refused():
    memory = filled()
    for places in ([12], [-1, 3]):
        with pytest.raises(BadInput, match="places must lie from 0 to 11"):
            memory.take(torch.tensor(places))


def test_places_are_numbers_or_a_mask():
    memory = filled()
    wanted = memory.take(torch.tensor([1, 5, 5]))
    backwards, foreign = np.array([5, 5, 1])[::-1], np.array([1, 5, 5], ">i8")
    foreign.flags.writeable = False
    for places in (
        [1, 5, 5],
        (1, 5, 5),
        backwards,
        foreign,
        np.array([1, 5, 5]),
        torch.tensor([1, 5, 5], dtype=torch.uint8),
    ):
        assert torch.equal(memory.take(places).activity, wanted.activity)
        assert torch.equal(memory.take(places).sample_ids, wanted.sample_ids)
    mask = memory.labels == 1
    assert 0 < int(mask.sum()) < len(memory)
    for truths in (mask, mask.tolist(), mask.numpy()):
        assert torch.equal(memory.take(truths).sample_ids, memory.sample_ids[mask])
    for none in ([], ~mask & mask):
        assert memory.take(none).activity.shape == (STEPS, 0, *UNITS)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([0.0, 1.0], r"places must be whole numbers .* 0 to 11, or a mask of 12 truths; got torch.float64 \[2\]"),
        (torch.tensor([0.5]), "places must be whole numbers .* got torch.float32"),
        (torch.zeros(2, 2, dtype=torch.long), r"got torch.int64 \[2, 2\]"),
        (torch.tensor(3), r"got torch.int64 \[\]"),
        (3, "got int"),
        ("11", "got str"),
        ([[1], [2, 3]], "got list"),
        ([2**70], "got list"),
        (torch.ones(5, dtype=torch.bool), "as many truths as samples are stored, 12; got 5"),
    ],
)
def test_places_of_another_kind_are_refused(as_installed, places, message):
    with pytest.raises(BadInput, match=message):
        filled().take(places)


def test_activity_of_any_precision_and_place_is_stored_alike(device):
    ids = torch.arange(6)
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        memory = ActivationReplay("cut", sequence=True)
        memory.add(spikes_for(ids).to(device, kind).requires_grad_(), (ids % 2).to(device), ids.to(device))
        assert torch.equal(memory.take(ids).activity, spikes_for(memory.sample_ids))
