"""A network without its idle units: does it answer as the whole, and does it learn into it?"""

import pytest
import torch
from torch import nn

from neurocl.networks import CNN, MLP, Direct, HLOPNet, Readout, ResNet18
from neurocl.networks.compact import can_be_compact, compact
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import TaskShape

SHAPE = TaskShape(input_shape=(3, 8, 8), num_classes=4, num_tasks=2)
MAKE = {
    "rate-coded CNN": lambda: CNN(
        SHAPE, channels=(6, 5), hidden=(12, 10), coding="rate", head="none", readout=Readout()
    ),
    "spiking CNN": lambda: CNN(SHAPE, channels=(6, 5), hidden=(12, 10), encoding=Direct(4), head="none"),
    "spiking CNN, currents pooled": lambda: CNN(
        SHAPE, channels=(6, 5), hidden=(12, 10), pool="currents", encoding=Direct(4), head="none"
    ),
    "MLP with feedback alignment": lambda: MLP(
        SHAPE, hidden=(12, 10), encoding=Direct(4), head="none", feedback="alignment"
    ),
    "DSR MLP": lambda: MLP(SHAPE, hidden=(12, 10), encoding=Direct(4), head="none", training="dsr"),
    "normalised HLOP network": lambda: HLOPNet(SHAPE, coding="rate", head="none"),
}


def made_independent(network, active) -> None:
    """Take away what active units hear from others."""
    with torch.no_grad():
        for before, units, layer in zip(active[:-1], active[1:], [*network.layers][1:], strict=True):
            weight = layer.synapse.weight
            deaf = ~before.repeat_interleave(weight.shape[1] // len(before))
            weight[units] = weight[units] * ~deaf.view(1, -1, *[1] * (weight.ndim - 2))


def cut(network):
    draws = torch.Generator().manual_seed(0)
    active = [torch.rand(layer.synapse.weight.shape[0], generator=draws) < 0.6 for layer in network.layers]
    made_independent(network, active)
    return active, compact(network, active)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_active_units_answer_alike_with_and_without_the_idle_ones(make):
    network = make()
    active, small = cut(network)
    inputs = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    whole, found, start = network.hidden_features(inputs), small.hidden_features(inputs), 0
    sizes = [part.shape[1] for part in network.features_by_layer(inputs)]
    for units, size in zip(active, sizes, strict=True):
        mask = units.repeat_interleave(size // len(units))
        own = slice(start, start + size)
        torch.testing.assert_close(found[:, own][:, mask], whole[:, own][:, mask], rtol=1e-4, atol=1e-6)
        assert float(found[:, own][:, ~mask].abs().sum()) == 0
        start += size
    assert float(found.abs().sum()) > 0
    assert torch.equal(small.hidden_features(inputs, last=1), found[:, -sizes[-1] :])


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_what_the_small_network_learns_is_written_back_and_nothing_else(make):
    network = make()
    active, small = cut(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inputs = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.SGD(small.network.parameters(), lr=0.1)
    small.network.train()(inputs).square().sum().backward()
    optimiser.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    small.write_back(network)
    weight = network.layers[1].synapse.weight
    kept = active[0].repeat_interleave(weight.shape[1] // len(active[0]))
    moved = weight != before["layers.1.synapse.weight"]
    assert bool(moved.any())
    assert not bool(moved[~active[1]].any() | moved[:, ~kept].any())
    again = compact(network, active)
    for (name, a), b in zip(again.network.state_dict().items(), small.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_networks_that_are_no_chain_and_layers_without_a_unit_are_refused():
    network = MAKE["DSR MLP"]()
    with pytest.raises(BadInput, match="at least one unit of every layer"):
        compact(network, [torch.zeros(12, dtype=torch.bool), torch.ones(10, dtype=torch.bool)])
    resnet = ResNet18(SHAPE, head="single")
    assert not can_be_compact(resnet, [torch.ones(1, dtype=torch.bool) for _ in resnet.layers])
    assert isinstance(network.layers[0].synapse, nn.Linear)
