"""Do lateral weights act one step later, spiking and rate-coded?"""

import torch

from neurocl.networks import Frames, Recurrent
from neurocl.neurons import LIF
from neurocl.primitives.tasks import TaskShape

SHAPE = TaskShape(input_shape=(3,), num_classes=2, num_tasks=1, time_steps=5)


def test_rate_coded_it_is_a_simple_recurrent_network_with_rectified_units():
    network = Recurrent(SHAPE, hidden=(4,), coding="rate", head="single", lateral_scale=1.5).double()
    layer, sequence = network.layers[0], torch.rand(5, 2, 3, dtype=torch.float64)
    hidden, outputs = torch.zeros(2, 4, dtype=torch.float64), []
    for now in sequence:
        hidden = (layer.synapse(now) + hidden @ layer.lateral.weight.T).relu()
        outputs.append(hidden)
    torch.testing.assert_close(network.activity(sequence)[0].post, torch.stack(outputs).detach())
    without = [layer.synapse(now).relu() for now in sequence]
    assert not torch.allclose(torch.stack(outputs), torch.stack(without)), "the test says nothing of lateral weights"


def test_a_spike_reaches_the_neighbour_at_the_next_step():
    network = Recurrent(
        SHAPE, hidden=(3,), neuron=lambda: LIF.from_keep(0.5), head="single", encoding=Frames(5, spikes=True)
    )
    layer = network.layers[0]
    with torch.no_grad():
        layer.synapse.weight.copy_(torch.tensor([[1.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        layer.synapse.bias.zero_()
        layer.lateral.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.2, 0.0, 0.0], [0.0, 1.2, 0.0]]))
    sequence = torch.zeros(5, 1, 3)
    sequence[1, 0, 0] = 1.0
    expected = torch.zeros(5, 3)
    expected[1, 0] = expected[2, 1] = expected[3, 2] = 1.0  # down the chain, a step each
    assert torch.equal(network.activity(sequence)[0].post[:, 0], expected)
