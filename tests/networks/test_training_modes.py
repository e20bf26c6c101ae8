"""Do networks take every training mode and every way down, and say so where a part cannot?"""

import copy
import itertools
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurocl.networks import CNN, MLP, Direct, HLOPNet, Membrane, Recurrent, ResNet18, WeightedRate
from neurocl.neurons import DSRLIF, LIF, Rate
from neurocl.primitives.checks import BadInput, UnknownName
from neurocl.primitives.tasks import Task, TaskShape

SHAPE = TaskShape(input_shape=(1, 8, 8), num_classes=4, num_tasks=2)
NETWORKS = {"MLP": partial(MLP, hidden=(24, 16)), "CNN": partial(CNN, channels=(6, 8)), "HLOPNet": HLOPNet}
NETWORKS["ResNet18"] = partial(ResNet18, width=4)
MODES = ("surrogate", "dsr", "ottt")
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def images(rows=4, seed=0):
    return 2 * torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def task(index, classes):
    return Task(
        index=index, task_id=index, classes=classes, seen_classes=tuple(range(max(classes) + 1)), boundary="clear",
        batches=lambda size, epoch: iter(()), size=1,
    )  # fmt: skip


def weight_gradients(network, inputs, labels):
    network.zero_grad()
    if network.training_mode == "ottt":
        for share, scores in network.scores_over_time(inputs):
            (share * functional.cross_entropy(scores, labels)).backward()
    else:
        functional.cross_entropy(network(inputs), labels).backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


@every_network
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("feedback", ["transpose", "alignment", "sign"])
def test_only_layers_below_another_learn_otherwise_from_another_feedback(make, mode, feedback):
    build = partial(make, SHAPE, head="single", encoding=Direct(6), training=mode)
    plain, other = build().train(), build(feedback=feedback).train()
    expected, found = (weight_gradients(network, images(), torch.arange(4)) for network in (plain, other))
    for name in expected:
        assert found[name].isfinite().all()
        close = torch.allclose(found[name], expected[name], rtol=1e-3, atol=1e-7)
        assert close == (feedback == "transpose" or name.startswith("head")), name


@pytest.mark.parametrize("head", ["single", "expanding", "multi"])
def test_heads_carry_the_feedback_they_can(head):
    network = MLP(SHAPE, hidden=(24,), head=head, feedback="alignment", seed=3)
    for index in range(2):
        network.begin_task(task(index, (2 * index, 2 * index + 1)))
    linear, whole = network.head.synapse(), MLP(SHAPE, hidden=(24,), head="single", feedback="alignment", seed=3)
    if head == "multi":
        assert torch.equal(linear.backward_weight(), linear.weight)
    else:
        assert torch.equal(linear.backward_weight(), whole.head.linear.feedback_weight)
        assert not torch.equal(linear.backward_weight(), linear.weight)
    fresh = MLP(SHAPE, hidden=(24,), head=head, feedback="alignment", seed=4)
    fresh.load_state_dict(network.state_dict())
    for one, other in zip(fresh.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_fixed_weights_differ_from_layer_to_layer_and_follow_the_seed():
    build = partial(MLP, SHAPE, hidden=(64, 64), feedback="alignment", head="single")
    one, same, other = (build(seed=seed) for seed in (0, 0, 1))
    first, second = (layer.synapse.feedback_weight for layer in one.layers)
    assert not torch.equal(first, second)
    assert torch.equal(first, same.layers[0].synapse.feedback_weight)
    assert not torch.equal(first, other.layers[0].synapse.feedback_weight)
    plain = MLP(SHAPE, hidden=(64, 64), head="single", seed=0)
    assert torch.equal(plain.layers[1].synapse.weight, one.layers[1].synapse.weight)


@every_network
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_parts_that_suit_it_by_itself(make, mode):
    network = make(SHAPE, training=mode)
    assert network.training_mode == mode
    assert {type(layer.neuron) for layer in network.layers} == {DSRLIF if mode == "dsr" else LIF}
    if mode == "dsr":
        assert type(network.readout) is WeightedRate
    if mode == "ottt":
        assert network.readout.weights(4) == [0.25] * 4
    assert network.readout.gain == (10.0 if mode == "surrogate" else 1.0)


@every_network
def test_rate_coding_leaves_the_mode_aside(make):
    plain = make(SHAPE, coding="rate", head="single")
    for mode in ("dsr", "ottt"):
        network = make(SHAPE, coding="rate", head="single", training=mode)
        assert network.training_mode == "surrogate"
        assert {type(layer.neuron) for layer in network.layers} == {Rate}
    assert plain(images()).shape == (4, 4)


def test_parts_that_cannot_are_refused_by_name(as_installed):
    with pytest.raises(BadInput, match="pass neuron=DSRLIF"):
        MLP(SHAPE, training="dsr", neuron=LIF)
    with pytest.raises(BadInput, match="with a keep"):
        MLP(SHAPE, training="ottt", neuron=Rate)
    for mode in ("dsr", "ottt"):
        with pytest.raises(BadInput, match="linear in the last layer"):
            MLP(SHAPE, training=mode, readout="count")
        with pytest.raises(BadInput, match="Recurrent"):
            Recurrent(SHAPE, training=mode)
    with pytest.raises(UnknownName, match="dsr"):
        MLP(SHAPE, training="dsrr")


def test_spikes_that_carry_a_rate_do_so_in_plain_networks_too():
    options = {"neuron": DSRLIF, "head": "single", "encoding": Direct(20), "readout": Membrane()}
    for network in (
        MLP(SHAPE, hidden=(24, 16), **options),
        Recurrent(SHAPE, hidden=(24,), **options),
        MLP(SHAPE, hidden=(24, 16), **options | {"readout": "count"}),
        HLOPNet(SHAPE, **options),
    ):
        scores = network.double().eval()(images().double())
        layers = network.activity(images().double())
        assert layers[0].post.max() == 1
        for before, after in itertools.pairwise(layers):
            assert set(before.post.unique().tolist()) <= {0.0, 1.0}
            if isinstance(network, MLP) and after.name == "hidden.1":
                current = 6 * after.pre @ after.synapse.weight.t() + after.synapse.bias
                assert torch.equal(network.layers[1].neuron(current)[0], after.post)
        if not isinstance(network, MLP):
            continue
        scores.sum().backward()
        assert network.layers[0].synapse.weight.grad.abs().max() > 0


def norms(network):
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


@pytest.mark.parametrize("mode", MODES)
def test_frozen_normalisation_stays_what_it_is(mode):
    neuron = (lambda: DSRLIF(trainable=True)) if mode == "dsr" else None
    network = HLOPNet(SHAPE, head="single", encoding=Direct(4), training=mode, neuron=neuron).train()
    weight_gradients(network, images(), torch.arange(4))
    network.freeze_normalisation()
    network.train()
    before = copy.deepcopy(network.state_dict())
    assert network.training
    found = weight_gradients(network, images(seed=1), torch.arange(4))
    assert sorted(found) == [
        "head.linear.bias",
        "head.linear.weight",
        *(f"layers.{i}.synapse.weight" for i in range(3)),
    ]
    torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1).step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= set(found)
    network.freeze_normalisation()
    nn.ModuleList([network]).train()
    assert not any(part.training for part in norms(network))


def test_frozen_normalisation_survives_a_checkpoint():
    frozen, fresh = (HLOPNet(SHAPE, head="single", encoding=Direct(4)) for _ in range(2))
    state = fresh.state_dict()
    frozen.freeze_normalisation()
    fresh.load_state_dict(frozen.state_dict())
    assert fresh.normalisation_frozen
    assert not any(part.training for part in norms(fresh.train()))
    assert not any(part.weight.requires_grad for part in norms(fresh))
    frozen.load_state_dict(state)
    assert frozen.normalisation_frozen
    assert "frozen" not in state
