"""Do spiking networks fire before training, and learn out of the box?"""

from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from neurocl.networks import CNN, MLP, Direct, HLOPNet, Latency, Poisson, Recurrent, ResNet18
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import TaskShape


@cache
def digits():
    """Images ``[1797, 1, 8, 8]`` from 0 to 1, and labels."""
    loaded = load_digits()
    return torch.tensor(loaded.images[:, None] / 16, dtype=torch.float32), torch.tensor(loaded.target)


SHAPE = TaskShape(input_shape=(1, 8, 8), num_classes=10, num_tasks=1)


def rates(network, inputs):
    return [float(layer.post.mean()) for layer in network.activity(inputs)[:-1] if not layer.name.endswith(".lateral")]


@pytest.mark.parametrize("make", [MLP, Recurrent, CNN])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_default_networks_fire_5_to_20_percent_before_training(make, seed):
    images, _ = digits()
    network = make(SHAPE, head="single", seed=seed)
    assert all(0.05 <= rate <= 0.2 for rate in rates(network, images[:300])), rates(network, images[:300])


@pytest.mark.parametrize("make", [HLOPNet, ResNet18])
def test_the_normalised_networks_fire_5_to_20_percent_once_they_know_their_statistics(make):
    images, _ = digits()
    network = make(SHAPE, head="single")
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    network(images[:100])
    assert all(0.05 <= rate <= 0.2 for rate in rates(network, images[:100])), rates(network, images[:100])


@pytest.mark.parametrize("encoding", [Poisson(16), Latency(16)], ids=["Poisson", "Latency"])
def test_spiking_encodings_drive_every_layer(encoding):
    images, _ = digits()
    assert all(0.02 <= rate <= 0.2 for rate in rates(MLP(SHAPE, head="single", encoding=encoding), images[:300]))


@pytest.mark.parametrize(
    ("coding", "readout"), [("spiking", "membrane"), ("spiking", "count"), ("rate", "weighted-rate")]
)
def test_a_network_learns_digits_in_a_few_passes(coding, readout):
    images, labels = digits()
    order = torch.randperm(len(images), generator=generator(0, "halves"))
    train, test = order[:1400], order[1400:]
    network = MLP(SHAPE, hidden=(128, 128), coding=coding, readout=readout, encoding=Direct(8), head="single")
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for epoch in range(3 if coding == "spiking" else 10):
        for rows in train[torch.randperm(len(train), generator=generator(0, "epoch", epoch))].split(32):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimiser.step()
    right = (network.predict(images[test]).argmax(1) == labels[test]).float().mean()
    assert right > 0.93
    if coding == "spiking":
        assert all(rate < 0.3 for rate in rates(network, images[:300]))
