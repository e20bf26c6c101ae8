"""Currents in place of spikes: as what is read of a layer, and as what is pooled."""

import pytest
import torch
from torch.nn import functional

from neurocl.networks import CNN, MLP, Direct, Readout, ResNet18
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import TaskShape

SHAPE = TaskShape(input_shape=(2, 8, 8), num_classes=4, num_tasks=2)
IMAGES = torch.rand(9, *SHAPE.input_shape, generator=torch.Generator().manual_seed(0))


def cnn(**options) -> CNN:
    settings = {"channels": (6, 5), "hidden": (12,), "encoding": Direct(8), "head": "single", "readout": Readout()}
    return CNN(SHAPE, **settings | options)


def integrator() -> LIF:
    return LIF(tau_membrane_ms=1e6)  # no leak in eight steps


@pytest.mark.parametrize("pool", ["spikes", "currents"])
def test_currents_read_are_what_spikes_and_weights_make_of_them(pool):
    network = cnn(pool=pool)
    first, second, third = network.features_by_layer(IMAGES, read="currents")
    layers = [*network.layers]
    with torch.no_grad():
        into_first = functional.max_pool2d(layers[0].synapse(IMAGES), 2).relu()
        spikes = network.activity_at(1, IMAGES)
        into_third = (spikes.flatten(2) @ layers[2].synapse.weight.T + layers[2].synapse.bias).mean(0).relu()
        into_second = layers[1].synapse(network.activity_at(0, IMAGES).mean(0))  # linear: the mean may be taken first
    torch.testing.assert_close(first, into_first.flatten(1))
    torch.testing.assert_close(second, functional.max_pool2d(into_second, 2).relu().flatten(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(third, into_third, rtol=1e-4, atol=1e-5)
    assert all(float((part > 0).float().mean()) > 0.2 for part in (first, second, third))
    assert torch.equal(network.hidden_features(IMAGES, last=1, read="currents"), third)


def test_counts_of_neurons_without_leak_are_the_mean_current_in_eighths():
    network = cnn(neuron=integrator, pool="currents")
    rates = network.features_by_layer(IMAGES)[0]
    currents = network.features_by_layer(IMAGES, read="currents")[0]
    below = currents < 1  # a neuron fires at most once a step
    assert float(below.float().mean()) > 0.5
    assert ((currents - rates)[below] >= -1e-5).all()
    assert ((currents - rates)[below] <= 1 / 8 + 1e-5).all()
    assert len((8 * rates).round().unique()) > 4


def test_rate_units_are_read_as_they_are():
    network = MLP(SHAPE, hidden=(7, 5), coding="rate")
    assert torch.equal(network.hidden_features(IMAGES, read="currents"), network.hidden_features(IMAGES))


def test_rate_units_answer_alike_whatever_is_pooled():
    spikes, currents = cnn(coding="rate", encoding=None), cnn(coding="rate", encoding=None, pool="currents")
    assert torch.equal(spikes(IMAGES), currents(IMAGES))
    for network in (spikes, currents):
        network(IMAGES).square().sum().backward()
    for one, other in zip(spikes.parameters(), currents.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
        assert float(one.grad.abs().sum()) > 0


@pytest.mark.parametrize("training", ["surrogate", "dsr"])
def test_pooled_currents_drive_one_neuron_a_window(training):
    network = cnn(pool="currents", training=training, readout=None)
    sent = network.activity_at(0, IMAGES)
    before = network.activity(IMAGES)[0].post
    assert sent.shape == before.shape == (8, 9, 6, 4, 4)
    with torch.no_grad():
        spikes, _ = network.layers[0].neuron.constant(functional.max_pool2d(network.layers[0].synapse(IMAGES), 2), 8)
    assert torch.equal(sent, spikes)
    assert 0 < float(sent.mean()) < float(cnn(training=training, readout=None).activity_at(0, IMAGES).mean())
    network(IMAGES).square().sum().backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in network.layers[0].parameters())


def test_pooled_currents_learn_forward_in_time_too():
    network = cnn(pool="currents", training="ottt", readout=None)
    with torch.no_grad():
        whole = network(IMAGES)
    steps = sum(share * scores.detach() for share, scores in network.scores_over_time(IMAGES))
    torch.testing.assert_close(steps, whole, rtol=1e-4, atol=1e-5)


def test_user_mistakes_are_one_clear_line():
    with pytest.raises(BadInput, match="what to pool"):
        cnn(pool="current")
    with pytest.raises(BadInput, match="what to read"):
        cnn().hidden_features(IMAGES, read="membranes")
    colour = TaskShape(input_shape=(3, 8, 8), num_classes=4, num_tasks=2)
    with pytest.raises(BadInput, match="plain layers"):
        ResNet18(colour, encoding=Direct(2)).hidden_features(torch.rand(2, 3, 8, 8), read="currents")
