"""How much faster is a training step without idle units? Group by coding; the row of share 1 is the whole network."""

import pytest
import torch

from neurocl.networks import CNN, Direct, Readout
from neurocl.networks.compact import compact
from neurocl.primitives.tasks import TaskShape

SHAPE = TaskShape(input_shape=(1, 28, 28), num_classes=10, num_tasks=5)


@pytest.mark.parametrize("coding", ["rate", "spiking"])
@pytest.mark.parametrize("share", [1.0, 0.98, 0.96, 0.93, 0.9, 0.8, 0.6, 0.4, 0.2])
def test_training_step(benchmark, coding, share):
    benchmark.group = f"SHARP's network for MNIST, batch of 256, {coding}"
    whole = CNN(
        SHAPE, channels=(16, 16), hidden=(500, 500), coding=coding, head="none", readout=Readout(), encoding=Direct(8)
    )
    active = [torch.arange(units) < round(share * units) for units in (16, 16, 500, 500)]
    network, inputs = compact(whole, active).network.train(), torch.rand(256, 1, 28, 28)

    def step() -> None:
        network.zero_grad()
        network(inputs).square().mean().backward()

    benchmark(step)
    assert network.layers[0].synapse.weight.grad is not None
