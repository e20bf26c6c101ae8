"""Units held by their activity: worked by hand, balanced by layer, the same contract as EWC, beside CLASSP's gate."""

import math

import pytest
import torch
from torch import nn

from neurocl import streams
from neurocl.learners import EWC
from neurocl.networks import CNN, MLP, Direct, Readout
from neurocl.plasticity import CLASSP, OnlineEWC, activation_importance
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import CODINGS
from neurocl.run.shelf import load_model

STREAM = streams.open("split-digits", seed=0, options={"train_per_class": 20})


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 4))


def test_importance_is_the_share_of_the_layers_mean_for_weights_and_bias_of_a_unit():
    found = activation_importance(network(), {"0": torch.tensor([6.0, 2.0]), "2": torch.tensor([0.0, 1.0, 3.0, 0.0])})
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "0.weight": (2, 1), "0.bias": (2,), "2.weight": (4, 1), "2.bias": (4,),
    }  # fmt: skip
    assert found["0.bias"].tolist() == [1.5, 0.5]
    assert found["2.weight"].flatten().tolist() == [0, 1, 3, 0]


def test_layers_weigh_alike_however_busy_and_silent_units_and_layers_are_free():
    quiet = activation_importance(network(), {"0": torch.tensor([3e-9, 1e-9]), "2": torch.zeros(4)})
    busy = activation_importance(network(), {"0": torch.tensor([3e6, 1e6])})
    torch.testing.assert_close(quiet["0.weight"], busy["0.weight"])
    assert quiet["0.weight"].mean() == 1
    assert (quiet["2.weight"] == 0).all()


def test_the_penalty_is_alpha_times_importance_times_the_squared_way_from_the_anchor():
    net, held, alpha = network(), OnlineEWC(strength=2 * 0.1), 0.1
    held.consolidate(net, activation_importance(net, {"0": torch.tensor([6.0, 2.0])}))
    assert held.penalty(net).item() == 0
    with torch.no_grad():
        net[0].weight += 2.0
        net[2].weight += 5.0  # a head: not held
    penalty = held.penalty(net)
    assert penalty.item() == pytest.approx(alpha * (1.5 + 0.5) * 3 * 4)
    penalty.backward()
    torch.testing.assert_close(net[0].weight.grad, 2 * alpha * torch.tensor([[1.5], [0.5]]).expand(2, 3) * 2)
    assert net[2].weight.grad is None
    assert held.bytes == 4 * (2 + 2 + 2 * 3 + 2)  # a number a unit for weights and bias, and the anchor


def test_a_second_task_adds_to_the_importance_of_the_first():
    net, held = network(), OnlineEWC(strength=1.0)
    for given in ([6.0, 2.0], [0.0, 5.0]):
        held.consolidate(net, activation_importance(net, {"0": torch.tensor(given)}))
    assert held.importance["0.bias"].tolist() == [1.5, 2.5]
    loaded = OnlineEWC(strength=1.0)
    loaded.load_state_dict(held.state_dict())
    with torch.no_grad():
        net[0].bias += 1
    assert loaded.penalty(net).item() == held.penalty(net).item() == pytest.approx(0.5 * 4)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("make", [MLP, CNN])
def test_networks_are_measured_over_samples_time_and_places(make, coding):
    settings = {"channels": (3, 4)} if make is CNN else {"hidden": (7, 5)}
    net = make(STREAM.shape, coding=coding, encoding=Direct(4), readout=Readout(), seed=0, **settings)
    task = STREAM.task(0)
    net.begin_task(task)
    held = OnlineEWC(strength=1.0)
    EWC(net, held, kind="activation").consolidate(task)
    inputs = next(task.batches(10**6, -1)).inputs
    posts = [layer.post for layer in net.activity(inputs) if layer.name != "head"]
    assert set(held.importance) == {f"layers.{at}.synapse.{kind}" for at in (0, 1) for kind in ("weight", "bias")}
    for at, post in enumerate(posts):
        mean = post.mean((0, 1, *range(3, post.ndim)))
        importance = held.importance[f"layers.{at}.synapse.weight"]
        torch.testing.assert_close(importance.flatten(), mean / mean.mean(), rtol=1e-4, atol=1e-5)
        assert importance.std() > 0.1


def test_its_pull_beside_classp_meets_neither_gate_nor_history():
    net = network()
    held = OnlineEWC(strength=100.0)
    held.consolidate(net, activation_importance(net, {"0": torch.tensor([6.0, 2.0])}))
    with torch.no_grad():
        net[0].weight += 0.1
    before = net[0].weight.detach().clone()
    optimiser = CLASSP(net.parameters(), threshold=1e6, gate="absolute")
    net(torch.rand(5, 3)).square().sum().backward()
    optimiser.step()
    assert torch.equal(net[0].weight, before), "nothing passes"
    held.pull(net, step_size=0.01)
    torch.testing.assert_close(before - net[0].weight, 0.1 * torch.tensor([[1.5 / 2.5], [0.5 / 1.5]]).expand(2, 3))
    assert (optimiser.state[net[0].weight]["history"] == 0).all()


@pytest.mark.parametrize("coding", CODINGS)
def test_models_hold_hidden_weights_by_it(coding):
    for name, settings in (("ewc", {"fisher": "activation"}), ("classp", {"importance": "activation"})):
        moved = {}
        for strength in (1e-3, 1e3):
            model = load_model(name)
            config = model.config(coding=coding, hidden=(30,), strength=strength, epochs=2, **settings)
            learner = model.build(config, STREAM.shape, 0)
            for task in list(STREAM)[:2]:
                before = [p.detach().clone() for p in learner.network.layers.parameters()]
                learner.begin_task(task)
                for batch in task.batches(16, 0):
                    learner.observe(batch)
                learner.end_task(task)
            pairs = zip(before, learner.network.layers.parameters(), strict=True)
            moved[strength] = sum(float((a - b.detach()).abs().sum()) for a, b in pairs)
        assert moved[1e3] < 0.5 * moved[1e-3], name


def test_user_mistakes_are_one_clear_line():
    with pytest.raises(BadInput, match="each unit"):
        activation_importance(network(), {"0": torch.ones(3)})
    with pytest.raises(BadInput, match="each unit"):
        activation_importance(network(), {"1": torch.ones(2)})
    for bad in (-1.0, math.nan):
        with pytest.raises(BadInput, match="negative"):
            activation_importance(network(), {"0": torch.tensor([1.0, bad])})
    with pytest.raises(BadInput, match="kind of importance"):
        EWC(network(), OnlineEWC(strength=1.0), kind="activations")
    with pytest.raises(BadInput, match="Network"):
        EWC(network(), OnlineEWC(strength=1.0), kind="activation").consolidate(STREAM.task(0))
