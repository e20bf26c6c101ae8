"""Are operations counted as one would by hand?"""

import pytest
import torch
from torch import nn

from neurocl.networks import CNN, MLP, Direct, Frames, HLOPNet, Recurrent, ResNet18, count_operations
from neurocl.neurons import DSRLIF, LIF
from neurocl.primitives.tasks import TaskShape


def shape(*sizes, time_steps=None, num_classes=2):
    return TaskShape(input_shape=sizes, num_classes=num_classes, num_tasks=1, time_steps=time_steps)


def never_forgets():
    """Fires when the current has summed up to more than 1; keeps all of its membrane."""
    return LIF.from_keep(0.999999)


def set_weights(linear, rows):
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(rows))
        linear.bias.zero_()


def small_spiking_network(**options):
    """Two inputs, three hidden neurons, two labels; four steps."""
    network = MLP(shape(2, **options), hidden=(3,), neuron=never_forgets, head="single", encoding=Direct(4))
    set_weights(network.layers[0].synapse, [[1.01, 0.0], [0.0, 0.6], [0.0, 0.3]])
    return network


def test_a_spiking_network_counted_by_hand():
    network = small_spiking_network()
    # neuron 0 fires at each of four steps; neuron 1 at steps 2 and 4 (0.6, 1.2 - 1, 0.8, 1.4 - 1);
    # neuron 2 at step 4 (0.3, 0.6, 0.9, 1.2): 7 spikes for sample 0. Sample 1 drives neuron 0 only: 4 spikes
    counted = count_operations(network, torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    assert counted.synaptic_operations == (7 + 4) / 2 * 2  # two labels behind each neuron
    assert counted.multiply_accumulates == 2 * 3  # the constant input, once
    assert counted.mean_firing_rate == pytest.approx((7 + 4) / (2 * 3 * 4))


def test_a_rate_coded_network_counted_by_hand():
    network = MLP(shape(2), hidden=(3,), coding="rate", head="single")
    set_weights(network.layers[0].synapse, [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    counted = count_operations(network, torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    assert counted.synaptic_operations == 0
    assert counted.multiply_accumulates == 2 * 3 + 3 * 2
    assert counted.mean_firing_rate == pytest.approx(3 / 6)


def test_spikes_that_come_in_count_by_the_spike_and_analogue_frames_at_every_step():
    spikes = torch.zeros(4, 1, 2)
    spikes[0, 0, 0] = spikes[3, 0, 1] = 1.0
    for are_spikes, events, products in ((True, 2 * 3, 0), (False, 0, 4 * 2 * 3)):
        network = MLP(
            shape(2, time_steps=4),
            hidden=(3,),
            neuron=never_forgets,
            head="single",
            encoding=Frames(4, spikes=are_spikes),
        )
        set_weights(network.layers[0].synapse, [[0.5, 0.1]] * 3)  # stays below threshold
        counted = count_operations(network, spikes)
        assert (counted.synaptic_operations, counted.multiply_accumulates) == (events, products)
        assert counted.mean_firing_rate == 0


def test_a_spike_at_the_rim_of_an_image_reaches_fewer_neurons():
    network = CNN(shape(1, 4, 4, time_steps=1), channels=(5,), head="single", encoding=Frames(1, spikes=True))
    with torch.no_grad():
        network.layers[0].synapse.weight.zero_()
        network.layers[0].synapse.bias.zero_()
    for row, column, reached in ((0, 0, 4), (0, 1, 6), (2, 1, 9)):
        image = torch.zeros(1, 1, 1, 4, 4)
        image[..., row, column] = 1.0
        assert count_operations(network, image).synaptic_operations == reached * 5


def test_behind_average_pooling_every_spike_counts_on_its_own():
    network = HLOPNet(shape(1, 8, 8, num_classes=3), encoding=Direct(3), head="single")
    images = torch.rand(2, 1, 8, 8)
    for layer in network.layers:
        layer.normalise.momentum = 1.0
    network(images)  # in training mode: now the currents have mean 0 and variance 1
    layers = network.activity(images)
    spikes = [layer.post for layer in layers[:3]]
    assert all(post.sum() > 0 for post in spikes)
    for post, layer in zip(spikes, layers[1:], strict=True):
        assert layer.pre.sum() * 4 == post.sum()
    # a spike goes to one of 4 x 4, then of 2 x 2 places: one at the rim reaches 4 or 6 places around, an inner one 9
    places = torch.tensor([[4.0, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]])
    first = (spikes[0].unflatten(-1, (4, 2)).unflatten(-3, (4, 2)).sum((0, 1, 2, -1, -3)) * places).sum() * 128
    events = first + spikes[1].sum() * 4 * 256 + spikes[2].sum() * 3
    counted = count_operations(network, images)
    assert counted.synaptic_operations == pytest.approx(float(events) / 2)
    assert counted.multiply_accumulates == 64 * 9 * 64


def test_lateral_spikes_count_one_step_later_and_the_last_ones_not_at_all():
    network = Recurrent(shape(2), hidden=(3,), neuron=never_forgets, head="single", encoding=Direct(4))
    set_weights(network.layers[0].synapse, [[1.01, 0.0], [0.0, 0.0], [0.0, 0.0]])
    nn.init.zeros_(network.layers[0].lateral.weight)
    counted = count_operations(network, torch.tensor([[1.0, 0.0]]))
    assert counted.synaptic_operations == 4 * 2 + 3 * 3  # four to two labels, three to three neighbours
    assert counted.multiply_accumulates == 6
    assert counted.mean_firing_rate == pytest.approx(4 / 12)


def test_the_networks_of_the_hlop_paper_have_its_numbers_of_parameters():
    cifar = HLOPNet(shape(3, 32, 32, num_classes=10), head="single")
    thresholds = 3  # trainable there, constants here
    assert sum(weight.numel() for weight in cifar.parameters()) + thresholds == 412_237
    five = ResNet18(shape(3, 32, 32, num_classes=10), head="single", neuron=lambda: DSRLIF(trainable=True))
    assert sum(weight.numel() for weight in five.parameters()) == 1_094_207
    permuted = MLP(shape(1, 28, 28, num_classes=10), hidden=(800, 800), bias=False, head="single")
    thresholds = 2
    assert sum(weight.numel() for weight in permuted.parameters()) + thresholds == 1_275_202
