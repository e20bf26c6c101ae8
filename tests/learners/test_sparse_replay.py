"""The SHARP learner: contrast, replay, readouts, and what must not change once a class has left the window."""

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from neurocl import streams
from neurocl.kernels import event_product
from neurocl.learners import ActivationWindow, SparseReplayLearner, supervised_contrastive
from neurocl.memory import ActivationReplay, MaskedNeighbours, NestedDiscriminant
from neurocl.networks import count_operations
from neurocl.plasticity import CapacityExhausted
from neurocl.primitives.checks import BadInput
from neurocl.run import checkpoint
from neurocl.run.loop import check_abilities, run, scheduled
from neurocl.run.shelf import load_model
from neurocl.streams import Stream

SMALL = {
    "channels": (6, 8), "pooled": (0,), "hidden": (40, 32), "time_steps": 4, "phases": 2, "phase_epochs": 1,
    "batch_size": 64, "replay_batch_size": 16, "per_class": 8, "remembered": 8, "least_share": 0.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def few_units() -> Iterator[None]:
    """Networks this small run out of idle units; that they say so is tested elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CapacityExhausted)
        yield


def digits() -> Stream:
    return streams.open("split-digits", seed=0, options={"train_per_class": 30})


def built(stream: Stream, **settings: object) -> SparseReplayLearner:
    model = load_model("sharp")
    return model.build(model.config(**SMALL | settings), stream.shape, 0)


def taught(learner: SparseReplayLearner, stream: Stream, tasks: int) -> None:
    for task, _ in zip(stream, range(tasks), strict=False):
        learner.begin_task(task)
        for batch in scheduled(task, learner.schedule):
            learner.observe(batch)
        learner.end_task(task)


@pytest.mark.parametrize(("coding", "horizon"), [("rate", 1), ("rate", 2), ("spiking", 1)])
def test_a_class_outside_the_window_is_answered_alike_to_the_bit_for_ever(coding, horizon):
    stream = digits()
    learner = built(stream, coding=coding, horizon=horizon, readout="both")
    neighbours = learner.readouts["nearest"]
    probe, mask, before, vectors = stream.test(0).inputs, torch.empty(0), torch.empty(0), torch.empty(0)
    seen = []
    for task in stream:
        taught_one(learner, task)
        if task.index == horizon:  # the first task's classes leave the window now
            mask = neighbours.memory.classes[0].mask
            before, vectors = neighbours.features(learner.working, probe)[:, mask], neighbours.memory.classes[0].vectors
            assert float(before.abs().sum()) > 0, "silent"
            assert bool((~mask & learner.plasticity.active()).any() | ~mask.all()), "no room for later tasks"
        if task.index > horizon:
            assert torch.equal(neighbours.features(learner.working, probe)[:, mask], before)
            assert torch.equal(neighbours.memory.classes[0].vectors, vectors)
            seen.append(int(learner.plasticity.active().sum()))
    assert seen


@pytest.mark.parametrize("replay", ["activation", "raw"])
def test_frozen_units_give_the_same_bits_whether_idle_units_are_silent_or_fire(replay, monkeypatch):
    for cost, value in {"_CALLS": 0.0, "_SCAN": 0.0, "_DENSE": 0.03}.items():  # so that rasters this small cross over
        monkeypatch.setattr(event_product, cost, value)
    stream = digits()  # few spikes are multiplied event by event, many by a dense product, which rounds otherwise
    sizes = {"channels": (), "hidden": (500, 500, 150), "cut": 2, "least_share": 0.3, "tau_membrane_ms": 4.5}
    learner = built(stream, coding="spiking", replay=replay, **sizes)
    probe, network = torch.cat([stream.test(at).inputs for at in range(3)]), learner.network

    def found(task, bias: float) -> list[torch.Tensor]:
        for place, layer in enumerate(network.layers):
            with torch.no_grad():
                layer.synapse.bias[~learner.plasticity.active(place)] = bias  # idle units may learn anything
        frozen, label = learner.plasticity.frozen(-1), task.classes[0]
        learner.window = window = built(stream, coding="spiking", replay=replay, **sizes).window
        window.keep(network, task)
        features = learner.working.hidden_features(probe, last=1, read="currents")
        assert float(features[:, frozen].abs().sum()) > 0, "silent"
        shown = [
            features,
            window.hidden_of(network, label, last=1, read="currents"),
            window.features_of(network, label),
        ]
        return [learner.predict(probe), *(each[:, frozen] for each in shown)]

    for task in list(stream)[:3]:
        taught_one(learner, task)
        assert not bool(learner.plasticity.active(0).all()), "nothing is idle"
        if task.index:  # until then nothing is frozen above the cut
            silent, firing, _ = found(task, -9.0), found(task, 9.0), found(task, 0.0)
            assert [torch.equal(a, b) for a, b in zip(silent, firing, strict=True)] == [True] * 4


def taught_one(learner: SparseReplayLearner, task) -> None:
    learner.begin_task(task)
    for batch in scheduled(task, learner.schedule):
        learner.observe(batch)
    learner.end_task(task)


@pytest.mark.parametrize(("coding", "read"), [("rate", "currents"), ("spiking", "currents"), ("spiking", "spikes")])
def test_statistics_of_frozen_units_are_those_of_the_finished_network(coding, read):
    stream = digits()
    learner = built(stream, coding=coding, read=read)
    taught(learner, stream, 4)
    readout = learner.readouts["discriminant"]
    first = next(iter(stream))
    batch = next(first.batches(10**6, -1))
    level = readout.memory.levels[0]
    assert readout.features(learner.working, batch.inputs).unique().numel() > 2
    rows = readout.memory.scaled(readout.features(learner.working, batch.inputs), level.mask)
    for label in first.classes:
        torch.testing.assert_close(level.means[label], rows[batch.labels == label].mean(0), rtol=1e-5, atol=1e-6)


def test_learning_beats_chance_and_replay_keeps_what_the_published_readout_needs():
    stream = streams.open("split-digits", seed=0, options={"train_per_class": 80})
    learner = built(stream, coding="rate", channels=(16, 16), hidden=(100, 100), phases=4, readout="both")
    history = run(learner, stream)
    assert sum(a for a in history.accuracy[-1] if a is not None) / 5 > 0.85
    learner.answer_by("nearest")
    right = [
        float((learner.predict(stream.test(i).inputs).argmax(1) == stream.test(i).labels).float().mean())
        for i in range(5)
    ]
    assert sum(right) / 5 > 0.5
    with pytest.raises(BadInput, match="readout"):
        learner.answer_by("nearset")


def test_a_learner_goes_on_from_its_state_as_if_it_had_never_stopped():
    stream = digits()
    one, two = built(stream, coding="rate", readout="both"), built(stream, coding="rate", readout="both")
    taught(one, stream, 2)
    two.load_state_dict(one.state_dict())
    third = list(stream)[2]
    taught_one(one, third)
    taught_one(two, third)
    inputs = stream.test(0).inputs
    for name in ("discriminant", "nearest"):
        one.answer_by(name)
        two.answer_by(name)
        assert torch.equal(one.predict(inputs), two.predict(inputs))


@pytest.mark.parametrize("skip_idle", ["training", "always", "never"])
def test_a_state_loaded_in_the_middle_of_a_phase_asks_for_the_task_anew_and_then_learns(skip_idle):
    stream = digits()
    tasks, settings = list(stream), {"coding": "rate", "skip_idle": skip_idle, "batch_size": 8}
    learner, fresh = built(stream, **settings), built(stream, **settings)
    taught(learner, stream, 2)
    learner.begin_task(tasks[2])
    batches = list(scheduled(tasks[2], learner.schedule))
    for batch in batches[:3]:
        learner.observe(batch)
    state = learner.state_dict()
    for one in (learner, fresh):
        one.load_state_dict(state)
        with pytest.raises(BadInput, match=r"observe comes after begin_task.*begin it anew"):
            one.observe(batches[3])
        with pytest.raises(BadInput, match="must show a batch before it ends"):
            one.end_task(tasks[2])
        one.begin_task(tasks[2])
        before = [p.clone() for p in one.network.parameters()]
        for batch in batches:
            one.observe(batch)
        one.working.settle()
        assert not all(torch.equal(a, b) for a, b in zip(before, one.network.parameters(), strict=True))
        one.end_task(tasks[2])
    for a, b in zip(learner.network.state_dict().values(), fresh.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), "what the learner did before it was loaded into is still there"


@pytest.mark.parametrize("replay", ["activation", "raw", "none"])
def test_bytes_count_present_connections_alone_and_the_window_only_its_horizon(replay):
    stream = digits()
    learner = built(stream, coding="spiking", replay=replay, readout="nearest")
    taught(learner, stream, 3)
    cost = learner.cost(stream.test(0).inputs[:8])
    weights = sum(int((one.module.weight != 0).sum()) for _, one in learner.plasticity.afferents())
    biases = sum(one.module.bias.numel() for _, one in learner.plasticity.afferents())
    live = learner.plasticity.live_weights()
    assert weights <= live <= 0.6 * sum(one.module.weight.numel() for _, one in learner.plasticity.afferents())
    assert cost.parameter_bytes == 4 * (live + biases)
    if replay == "none":
        assert learner.window is None
        assert not learner.abilities.replays
    else:
        assert learner.window.classes() == [4, 5]
        stored = {"activation": 8 * 4 * 4 * 4 / 8, "raw": 64}[replay]
        assert learner.window.byte_counts()[1] == pytest.approx(16 * (stored + 12), rel=0.1)
    dense = count_operations(learner.network, stream.test(0).inputs[:8])
    assert 0 < cost.synaptic_operations_per_sample < 0.75 * dense.synaptic_operations


def test_replay_reaches_what_lies_behind_the_cut_and_nothing_before():
    stream = digits()
    learner = built(stream, coding="rate")
    taught(learner, stream, 1)
    features, labels = learner.window.replayed(learner.working, 12, torch.Generator().manual_seed(0))
    assert sorted(set(labels.tolist())) == [0, 1]
    assert (labels == 0).sum() == 6
    learner.working.network.zero_grad()
    features.square().sum().backward()
    grads = [layer.synapse.weight.grad for layer in learner.working.network.layers]
    assert [grad is not None and float(grad.abs().sum()) > 0 for grad in grads] == [False, False, True, True]


@pytest.mark.parametrize(("coding", "replay"), [("rate", "raw"), ("rate", "activation"), ("spiking", "activation")])
def test_training_without_idle_units_learns_what_training_the_whole_network_learns(coding, replay):
    stream = digits()
    learners = [
        built(stream, coding=coding, replay=replay, optimiser="sgd", learning_rate=0.01, readout="both", skip_idle=skip)
        for skip in ("never", "training", "always")
    ]
    for learner in learners:
        taught(learner, stream, 2)
        assert not bool(learner.plasticity.active().all()), "nothing was idle"
    probe = stream.test(0).inputs
    whole = [tensor for tensor in learners[0].network.state_dict().values()]
    for other in learners[1:]:
        for a, b in zip(whole, other.network.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        for name in ("discriminant", "nearest"):
            learners[0].answer_by(name)
            other.answer_by(name)
            alike = learners[0].predict(probe).argmax(1) == other.predict(probe).argmax(1)
            assert float(alike.float().mean()) > 0.95


@pytest.mark.parametrize(("idle", "smaller"), [(1, False), (10, True)])
def test_a_few_idle_units_are_carried_along(idle, smaller):
    learner = built(digits(), coding="rate", hidden=(100, 100))
    for ranks in learner.plasticity.ranks:
        ranks.fill_(1)
    learner.plasticity.ranks[-2][:idle] = 0
    learner.working.renew()
    assert (learner.working.network is not learner.network) == smaller


def test_fixed_layers_stay_as_they_were():
    stream = digits()
    learner = built(stream, coding="rate", fixed_layers=2)
    before = [layer.synapse.weight.detach().clone() for layer in learner.network.layers]
    taught(learner, stream, 2)
    same = [torch.equal(a, layer.synapse.weight) for a, layer in zip(before, learner.network.layers, strict=True)]
    assert same == [True, True, False, False]


def test_the_contrast_is_its_formula_and_its_gradient_is_right():
    draws = torch.Generator().manual_seed(0)
    features = torch.rand(7, 5, generator=draws, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 0])
    z = functional.normalize(features, dim=1)
    terms = []
    for i in range(7):
        others = [a for a in range(7) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if positives:
            bottom = torch.stack([z[i] @ z[a] / 0.3 for a in others]).logsumexp(0)
            terms.append(-sum(z[i] @ z[p] / 0.3 - bottom for p in positives) / len(positives))
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(supervised_contrastive(features, labels, temperature=0.3), expected)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive(x, labels, temperature=0.3), features)


def test_silent_samples_and_lonely_classes_leave_the_contrast_finite():
    features = torch.zeros(4, 3, requires_grad=True)
    loss = supervised_contrastive(features, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(features.grad).all())
    mixed = torch.tensor([[0.0, 0.0], [1.0, 0.5], [0.2, 1.0], [0.0, 0.0]], requires_grad=True)
    supervised_contrastive(mixed, torch.tensor([0, 0, 1, 1])).backward()
    assert float(mixed.grad[[0, 3]].abs().max()) == 0
    assert 0 < float(mixed.grad.abs().max()) < 100, "a silent sample explodes"
    alone = supervised_contrastive(torch.rand(3, 3, requires_grad=True), torch.tensor([0, 1, 2]))
    assert float(alone.detach()) == 0
    alone.backward()
    with pytest.raises(BadInput, match="temperature"):
        supervised_contrastive(features, torch.tensor([0, 0, 1, 1]), temperature=0)


def test_neighbours_vote_on_the_units_of_their_own_class():
    memory = MaskedNeighbours(neighbours=1)
    memory.remember(0, torch.tensor([[1.0, 0.0, 9.0]]), torch.tensor([True, True, False]))
    memory.remember(2, torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([True, True, True]))
    scores = memory.scores(torch.tensor([[2.0, 0.0, 50.0], [0.0, 1.0, 1.0]]))
    assert scores.argmax(1).tolist() == [0, 2]
    assert bool(torch.isinf(scores[:, 1]).all())
    assert memory.bytes == 4 * 2 + 4 * 3 + 2
    other = MaskedNeighbours(neighbours=1)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.scores(torch.eye(3)), memory.scores(torch.eye(3)))
    with pytest.raises(BadInput, match="at least one vector"):
        memory.remember(1, torch.zeros(0, 3), torch.ones(3, dtype=torch.bool))
    with pytest.raises(BadInput, match="finite"):
        memory.remember(1, torch.full((1, 3), float("nan")), torch.ones(3, dtype=torch.bool))


def test_discriminants_agree_with_an_established_library_and_with_themselves_in_parts():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    rows = torch.rand(300, 6, generator=draws) + torch.nn.functional.one_hot(labels, 6) * 0.4
    whole, parts = NestedDiscriminant([6], shrinkage=1e-9), NestedDiscriminant([6], shrinkage=1e-9)
    for memory in (whole, parts):
        memory.open_level(torch.ones(6, dtype=torch.bool))
    whole.update(rows, labels)
    for start in range(0, 300, 37):
        parts.update(rows[start : start + 37], labels[start : start + 37])
    torch.testing.assert_close(parts.levels[0].scatter, whole.levels[0].scatter, rtol=1e-4, atol=1e-5)
    reference = LinearDiscriminantAnalysis(priors=[1 / 3] * 3).fit(functional.normalize(rows, dim=1), labels)
    assert (whole.scores(rows).argmax(1).numpy() == reference.predict(functional.normalize(rows, dim=1))).mean() > 0.99


def test_units_that_came_later_never_enter_a_comparison_with_older_classes():
    draws = torch.Generator().manual_seed(1)
    memory = NestedDiscriminant([4])
    first = torch.tensor([True, True, False, False])
    memory.open_level(first)
    memory.update(torch.rand(40, 4, generator=draws) + torch.tensor([1.0, 0, 0, 0]), torch.zeros(40, dtype=torch.int64))
    memory.open_level(torch.ones(4, dtype=torch.bool))
    for label in (1, 2):
        memory.update(
            torch.rand(40, 4, generator=draws) + functional.one_hot(torch.tensor(label), 4), torch.full((40,), label)
        )
    probe = torch.rand(5, 4, generator=draws)
    changed = probe.clone()
    changed[:, 2:] += 3 * torch.rand(5, 2, generator=draws)
    margin = memory._on_level(probe, 0)
    assert set(margin) == {0, 1, 2}
    assert set(memory._on_level(probe, 1)) == {1, 2}
    for label in (1, 2):
        assert torch.equal(memory._on_level(probe, 0)[label], memory._on_level(changed, 0)[label])
    before, after = memory.scores(probe), memory.scores(changed)
    assert torch.equal(before[:, 0], after[:, 0]), "units that class 0 never knew decide about it"
    assert not torch.equal(before[:, 1], after[:, 1]), "classes that know the later units are not told apart on them"
    assert memory.bytes == 4 * (3 + 3 * 2) + 1 + 4 * (10 + 2 * 4) + 1
    with pytest.raises(BadInput, match="frozen units stay frozen"):
        memory.open_level(first)
    again = NestedDiscriminant([4])
    again.load_state_dict(memory.state_dict())
    assert torch.equal(again.scores(probe), memory.scores(probe))


def test_constant_activity_gives_finite_scores():
    memory = NestedDiscriminant([3])
    memory.open_level(torch.ones(3, dtype=torch.bool))
    memory.update(torch.zeros(6, 3), torch.arange(6) % 2)
    assert bool(torch.isfinite(memory.scores(torch.zeros(2, 3))).all())


def episodes(**options: object) -> Stream:
    return streams.open("episodic-digits", options={"train_per_class": 24, "novel": 0.5, **options})


@pytest.mark.parametrize("coding", ["rate"])
def test_classes_that_come_back_are_answered_by_both_readouts(coding):
    stream = episodes()
    learner = built(stream, coding=coding, readout="both", horizon=2, reinitialise=False)
    check_abilities(learner.abilities, stream)
    seen_before = [set(stream.task(i).classes) & set(stream.task(i - 1).seen_classes) for i in range(1, len(stream))]
    assert any(seen_before)
    for task in stream:
        taught_one(learner, task)
        for name, readout in learner.readouts.items():
            assert readout.known() == list(task.seen_classes), name
    vectors = [len(one.vectors) for one in learner.readouts["nearest"].memory.classes.values()]
    assert max(vectors) == SMALL["remembered"]  # also where the window has a class twice
    test = stream.test(0)
    for name in learner.readouts if coding == "rate" else ("discriminant",):  # the last of so few neurons fall silent
        learner.answer_by(name)
        assert float((learner.predict(test.inputs).argmax(1) == test.labels).float().mean()) > 0.3, name


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_a_class_that_the_window_shows_no_more_keeps_its_last_statistics(horizon, monkeypatch):
    stream = digits()
    learner = built(stream, coding="rate", read_layers=2, horizon=horizon)
    monkeypatch.setattr(learner.window, "classes", lambda: [])
    test, readout, froze = stream.test(0), learner.readouts["discriminant"], False
    for task in stream:
        taught_one(learner, task)
        assert readout.known() == list(task.seen_classes)
        scores = learner.predict(test.inputs)
        assert bool(torch.isfinite(scores[:, list(task.seen_classes)]).all())
        assert float((scores[:, :2].argmax(1) == test.labels).float().mean()) > 0.8, "the two are told apart no more"
        froze |= readout.memory is not None and task.index > 0
    assert froze, "nothing went over to frozen units"


def test_a_horizon_of_more_tasks_than_ranks_count_is_one_without_end():
    stream = digits()
    learners = [built(stream, coding="rate", horizon=horizon) for horizon in (9, 40_000)]
    for learner in learners:
        taught(learner, stream, 2)
    assert not bool(learners[1].plasticity.frozen(-1).any())
    assert torch.equal(*(learner.predict(stream.test(0).inputs) for learner in learners))


def test_a_window_of_activity_asks_for_the_number_of_a_layer():
    with pytest.raises(BadInput, match=r"cut of a window must be the number of a layer; got 'layers.1'"):
        ActivationWindow(ActivationReplay("layers.1"))


@pytest.mark.parametrize("readout", ["discriminant", "nearest"])
def test_a_prediction_costs_the_products_of_the_readout_in_use_too(readout):
    stream = digits()
    learner = built(stream, coding="rate", readout=readout)
    taught(learner, stream, 3)
    probe = stream.test(0).inputs[:8]
    memory = learner.readouts[readout].memory
    if readout == "nearest":
        products = sum(one.vectors[:, one.mask].numel() for one in memory.classes.values())
    else:
        products = sum(mean.numel() for level in memory.levels for mean in level.means.values())
    network = count_operations(learner.network, probe, present=learner.plasticity.connections())
    assert products > 0
    assert learner.cost(probe).multiply_accumulates_per_sample == network.multiply_accumulates + products


@pytest.mark.parametrize("settings", [{"read_layers": 2}, {"replay": "raw"}, {"read_layers": 1, "horizon": 2}], ids=str)
def test_discriminants_know_the_first_classes_where_units_freeze_late(settings):
    stream = streams.open("split-digits", seed=0, options={"train_per_class": 30, "classes_per_task": 5})
    learner = built(stream, coding="rate", **settings)
    test = stream.test(0)
    for task in stream:
        taught_one(learner, task)
        assert learner.readouts["discriminant"].known() == list(task.seen_classes)
        right = learner.predict(test.inputs).argmax(1) == test.labels
        assert float(right.float().mean()) > (0.6 if task.index == 0 else 0.4)
        copy = built(stream, coding="rate", **settings)
        copy.load_state_dict(learner.state_dict())
        assert torch.equal(copy.predict(test.inputs), learner.predict(test.inputs))
    assert learner.cost().auxiliary_bytes > learner.plasticity.byte_counts()[0]


def test_levels_that_decide_nothing_any_more_are_let_go_of_and_no_score_changes():
    draws = torch.Generator().manual_seed(0)
    tasks = [(0, 1), (1, 2), (2, 0), (3, 1), (3, 1), (2, 4)]  # level by level; classes come back
    masks = [torch.arange(12) < 2 * (level + 1) for level in range(len(tasks))]
    shown = []
    for classes in tasks:
        labels = torch.tensor(classes).repeat_interleave(9)
        shown.append((torch.randn(18, 12, generator=draws) + labels[:, None] * torch.arange(12) / 9, labels))
    memory = NestedDiscriminant([12])
    for mask, (rows, labels) in zip(masks, shown, strict=True):
        memory.open_level(mask)
        memory.update(rows, labels)
    probe = torch.randn(5, 12, generator=draws)
    last = {label: level for level, classes in enumerate(tasks) for label in classes}
    assert [int(level.mask.sum()) for level in memory.levels] == [2 * (level + 1) for level in sorted({*last.values()})]
    expected = torch.zeros(5, 5)
    for one in range(5):
        for other in range(5):
            if one != other:
                level = min(last[one], last[other])
                alone = NestedDiscriminant([12])
                alone.open_level(masks[level])
                for rows, labels in shown[level:]:
                    alone.update(rows, labels)
                answers = alone._on_level(probe, 0)
                expected[:, one] += functional.logsigmoid(answers[one] - answers[other])
    torch.testing.assert_close(memory.scores(probe), expected, rtol=1e-4, atol=1e-4)


def test_first_layers_come_from_an_earlier_run_and_stay(tmp_path):
    source, stream = built(digits(), coding="rate"), digits()
    taught(source, stream, 1)
    checkpoint.save(tmp_path, 0, identity="a run", learner=source.state_dict(), history={})
    path = tmp_path / "task-0.safetensors"
    learner = built(stream, coding="rate", hidden=(20, 20), fixed_layers=2, pretrained=str(path))
    taught(learner, stream, 2)
    for at in range(2):
        own, other = learner.network.layers[at].state_dict(), source.network.layers[at].state_dict()
        assert all(torch.equal(own[name], other[name]) for name in other)
    fresh = built(stream, coding="rate", hidden=(20, 20), fixed_layers=2)
    assert not torch.equal(fresh.network.layers[0].synapse.weight, learner.network.layers[0].synapse.weight)


def test_first_layers_that_cannot_be_taken_are_refused_in_one_line(tmp_path):
    source, stream = built(digits(), coding="rate"), digits()
    taught(source, stream, 1)
    checkpoint.save(tmp_path, 0, identity="a run", learner=source.state_dict(), history={})
    path = tmp_path / "task-0.safetensors"
    refusals = [
        ({"pretrained": str(path)}, "set fixed_layers to how many are taken; got 0"),
        ({"pretrained": str(tmp_path / "task-9.safetensors"), "fixed_layers": 1}, "no checkpoint at .*missing"),
        ({"pretrained": str(tmp_path / "task-0.pt"), "fixed_layers": 1}, r"is a \.safetensors file"),
        ({"pretrained": str(path), "fixed_layers": 2, "channels": (6, 9)}, "layers.1.* is .*here and .* there"),
        ({"pretrained": str(path), "fixed_layers": 5}, "must lie between 1 and 4"),
    ]
    for settings, message in refusals:
        with pytest.raises(BadInput, match=message) as refused:
            built(stream, coding="rate", **settings)
        assert "\n" not in str(refused.value)
    tensors = bytearray(path.read_bytes())
    tensors[-1] ^= 1
    path.write_bytes(tensors)
    with pytest.raises(BadInput, match="damaged"):
        built(stream, coding="rate", pretrained=str(path), fixed_layers=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 0}, "horizon"),
        ({"density": 0}, "density"),
        ({"cut": 9}, "cut must lie between 1 and 3"),
        ({"phases": 0}, "phases"),
        ({"temperature": -1}, "temperature"),
        ({"shrinkage": 0}, "shrinkage"),
        ({"read_layers": 0}, "read_layers must be a whole number of at least 1"),
        ({"fixed_layers": 4}, "fixed_layers must be fewer than the network's 4 layers"),
        ({"least_share": 0, "phases": 30}, "least_share must be above 0 where phases reach period"),
        ({"read": "membranes"}, "what to read"),
        ({"pool": "spike"}, "what to pool"),
        ({"cut": 1, "read_layers": 4}, r"read_layers must reach .* got 4, and layers.0 is neither: read at most 3"),
        ({"coding": "rate", "store": "raster"}, r"store must be 'quantised' behind layers.1, which sends rates"),
        ({"coding": "rate", "store": "count"}, "store must be 'quantised'"),
        ({"coding": "rate", "store": "events"}, "store must be 'quantised'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_learnt(settings, message):
    with pytest.raises(BadInput, match=message):
        built(digits(), **settings)
