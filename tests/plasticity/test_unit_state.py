"""Does a state of masks and ranks go on as if nothing had stopped, and is one that does not fit refused?"""

import copy

import pytest
import torch
from torch import nn

from neurocl.plasticity import StructuralPlasticity
from neurocl.primitives.checks import BadInput

pytestmark = pytest.mark.filterwarnings("ignore::neurocl.plasticity.CapacityExhausted")  # small layers


def made(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(10, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU())


def plastic(network: nn.Module, **options: object) -> StructuralPlasticity:
    return StructuralPlasticity(network, **{"density": 0.5, "keep_variance": True} | options)


def learnt() -> tuple[nn.Sequential, StructuralPlasticity]:
    network, x = made(), torch.rand(64, 10, generator=torch.Generator().manual_seed(1))
    plasticity = plastic(network)
    for _ in range(2):
        plasticity.select(plasticity.activity(x), 0.5)
        plasticity.rewire()
        optimiser = plasticity.guard(torch.optim.Adam(network.parameters(), lr=0.01))
        (network.train()(x) - 1).square().mean().backward()
        optimiser.step()
    plasticity.promote()
    return network, plasticity


def test_a_restored_network_draws_weights_anew_as_the_one_it_comes_from():
    network, plasticity = learnt()
    other = made(seed=5)
    with torch.no_grad():
        other[3].weight.mul_(3)  # whatever weights it was made with
    restored = plastic(other)
    other.load_state_dict(network.state_dict())
    restored.load_state_dict(plasticity.state_dict())
    plasticity.reinitialise()
    restored.reinitialise()
    assert all(torch.equal(a, other.state_dict()[name]) for name, a in network.state_dict().items())


def refused(plasticity: StructuralPlasticity, state: dict[str, object], message: str) -> None:
    before = plasticity.state_dict()
    with pytest.raises(BadInput, match=message):
        plasticity.load_state_dict(state)
    after = plasticity.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(before["ranks"], after["ranks"], strict=True))
    assert all(torch.equal(mask, after["masks"][name]) for name, mask in before["masks"].items())


@pytest.mark.parametrize("order", ["network first of all", "network last", "network not at all"])
def test_a_network_that_does_not_hold_the_weights_of_the_state_is_refused(order):
    network, plasticity = learnt()
    other = made()
    if order == "network first of all":
        other.load_state_dict(network.state_dict())
    refused(plastic(other), plasticity.state_dict(), r"add up to .* build StructuralPlasticity first, as it masks")


@pytest.mark.parametrize("option", [{"frozen_from": 5}, {"fixed_layers": 1}], ids=["rank", "fixed layers"])
def test_arguments_under_which_other_units_are_frozen_are_refused(option):
    network, plasticity = learnt()
    other = made()
    restored = plastic(other, **option)
    other.load_state_dict(network.state_dict())
    refused(restored, plasticity.state_dict(), f"{next(iter(option))} must be what it was when the state was saved")


def test_a_damaged_mask_changes_nothing():
    _, plasticity = learnt()
    state = plasticity.state_dict()
    state["masks"]["3"] = state["masks"]["3"][:1]
    refused(plasticity, state, "bytes for a mask")


def test_states_of_earlier_versions_and_networks_of_another_precision_are_taken():
    network, plasticity = learnt()
    old = {name: plasticity.state_dict()[name] for name in ("masks", "ranks", "draws")}
    for state, precision in ((old, torch.float32), (plasticity.state_dict(), torch.bfloat16)):
        other = made()
        restored = plastic(other)
        other.load_state_dict(copy.deepcopy(network.state_dict()))
        other.to(precision)
        restored.load_state_dict(state)
        assert torch.equal(restored.frozen(), plasticity.frozen())
