"""Units, ranks, rewiring and freezing: does the invariant hold, and is what is frozen frozen?"""

import copy
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurocl.networks import CNN, MLP, Direct, Frames, HLOPNet, Recurrent
from neurocl.plasticity import CLASSP, CapacityExhausted, StructuralPlasticity, annealed_share, most_active
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import TaskShape

IMAGES = TaskShape(input_shape=(1, 8, 8), num_classes=4, num_tasks=2)


def convolutional(coding: str = "rate") -> CNN:
    scale = None if coding == "rate" else 5.0  # sparse as they are made, spiking networks this small would be silent
    return CNN(
        IMAGES, channels=(6, 5), hidden=(12, 10), coding=coding, encoding=Direct(3), head="none", readout="mean",
        weight_scale=scale,
    )  # fmt: skip


def recurrent() -> Recurrent:
    shape = TaskShape(input_shape=(9,), num_classes=4, num_tasks=2, time_steps=3)
    return Recurrent(shape, hidden=(12, 8), encoding=Frames(3), head="none", readout="mean", weight_scale=8.0)


def normalised_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(6 * 16, 12), nn.BatchNorm1d(12), nn.PReLU(), nn.Linear(12, 8), nn.ReLU(),
    )  # fmt: skip


def inputs_of(network: nn.Module, n: int = 16, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(*((3, n, 9) if isinstance(network, Recurrent) else (n, 1, 8, 8)), generator=draws)


NETWORKS = {
    "rate-coded CNN": convolutional,
    "spiking CNN": lambda: convolutional("spiking"),
    "recurrent": recurrent,
    "plain torch, normalised": normalised_network,
}


def assert_invariant(plasticity: StructuralPlasticity) -> None:
    """No unit that is not idle is fed by one that is; absent weights are exactly 0."""
    for place, layer in enumerate(plasticity.layers):
        for one in layer.afferents:
            mask = plasticity.masks[one.name]
            assert bool((one.module.weight[~mask] == 0).all()), f"{one.name} has weights where it has no connection"
            if one.source >= 0:
                idle = one.of_sources(plasticity.ranks[one.source] == 0)
                fed = mask & idle & (plasticity.ranks[place] > 0)[:, None]
                assert not bool(fed.any()), f"a unit of {layer.name} depends on an idle one"


def learn(plasticity: StructuralPlasticity, network: nn.Module, *, steps: int = 3, seed: int = 0) -> None:
    """A few steps of an optimiser that has everything: momentum, decay, a history."""
    optimiser = plasticity.guard(torch.optim.AdamW(network.parameters(), lr=0.002, weight_decay=0.3))
    network.train()
    for step in range(steps):
        output = network(inputs_of(network, seed=100 * seed + step))
        optimiser.zero_grad()
        (output - torch.rand(output.shape, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        optimiser.step()


@pytest.mark.parametrize("handed", ["first", "by name", "not at all"])
def test_what_is_held_enters_no_history_by_a_closure_either(handed):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    plasticity = StructuralPlasticity(network, density=0.5)
    optimiser = plasticity.guard(CLASSP(network.named_parameters(), threshold=0.0))

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = network(torch.ones(4, 6)).square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        if handed == "not at all":
            closure()
        loss = {"first": lambda: optimiser.step(closure), "by name": lambda: optimiser.step(closure=closure)}.get(
            handed, optimiser.step
        )()
        assert (loss is None) == (handed == "not at all")
    absent = ~plasticity.masks[plasticity.layers[0].afferents[0].name]
    history = optimiser.state[network[0].weight]["history"]
    assert not history[absent].any()
    assert history[~absent].any()


def live_through(network: nn.Module, *, tasks: int = 2, phases: int = 2, share: float = 0.6) -> StructuralPlasticity:
    plasticity = StructuralPlasticity(network, density=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CapacityExhausted)
        for task in range(tasks):
            for phase in range(phases):
                plasticity.select(plasticity.activity(inputs_of(network, seed=task)), share)
                plasticity.rewire()
                assert_invariant(plasticity)
                learn(plasticity, network, seed=10 * task + phase)
                assert_invariant(plasticity)
            plasticity.promote()
            plasticity.reinitialise()
            assert_invariant(plasticity)
    return plasticity


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_unit_that_is_not_idle_depends_on_units_that_are_not_idle_alone(make):
    network = make()
    plasticity = live_through(network)
    assert any(bool(plasticity.active(place).any()) for place in range(len(plasticity.layers)))


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_what_frozen_units_answer_does_not_change_by_a_bit(make):
    network, probe = make(), inputs_of(make(), n=32, seed=7)
    plasticity = live_through(network, tasks=1)
    frozen = plasticity.frozen()
    assert bool(frozen.any())
    assert not bool(frozen.all()), "nothing is left to learn"
    network.eval()
    with torch.no_grad():
        before = network(probe)[:, frozen].clone()
    assert float(before.abs().sum()) > 0, "frozen units are silent"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CapacityExhausted)
        for task in (1, 2):
            for phase in range(2):
                plasticity.select(plasticity.activity(inputs_of(network, seed=task)), 0.9)
                plasticity.rewire()
                learn(plasticity, network, seed=50 + 10 * task + phase)
            plasticity.promote()
            plasticity.reinitialise()
    network.eval()
    with torch.no_grad():
        after = network(probe)
    assert torch.equal(before, after[:, frozen])
    assert int(plasticity.frozen().sum()) > int(frozen.sum())


def test_everything_that_belongs_to_a_frozen_unit_is_held_and_the_rest_learns():
    network = normalised_network()
    plasticity = live_through(network, tasks=1)
    before = copy.deepcopy(network.state_dict())
    learn(plasticity, network, seed=9)
    rows = {"0": 0, "1": 0, "5": 1, "6": 1, "8": 2}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name == "7.weight":  # one slope for all units: held as soon as one of them is
            assert torch.equal(tensor, before[name])
            continue
        frozen = plasticity.frozen(rows[name[0]])
        assert torch.equal(tensor[frozen], before[name][frozen]), name
        assert not torch.equal(tensor[~frozen], before[name][~frozen]), f"{name} has not learnt"


def test_weights_onto_the_same_layer_freeze_and_obey_the_invariant():
    network = recurrent()
    plasticity = StructuralPlasticity(network, density=0.5)
    names = [one.name for layer in plasticity.layers for one in layer.afferents]
    assert names == ["layers.0.synapse", "layers.0.lateral", "layers.1.synapse", "layers.1.lateral"]
    plasticity.recruit([0, 1, 2], layer=0)
    plasticity.rewire()
    lateral = plasticity.masks["layers.0.lateral"]
    assert not bool(lateral[:3, 3:].any()), "recruited neurons still listen to idle ones of their layer"
    assert bool(lateral[3:].any())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 0.9), st.floats(0.3, 1.0))
def test_density_is_kept_unless_a_layer_is_reported_short(seed, density, share):
    network = nn.Sequential(nn.Linear(6, 14), nn.ReLU(), nn.Linear(14, 11), nn.ReLU(), nn.Linear(11, 5))
    plasticity = StructuralPlasticity(network, density=density, seed=seed)
    draws = torch.Generator().manual_seed(seed)
    counts = {name: int(mask.sum()) for name, mask in plasticity.masks.items()}
    told: set[str] = set()
    for _ in range(3):
        plasticity.select([torch.rand(n, generator=draws) for n in (14, 11, 5)], share)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = {one.layer: one for one in plasticity.rewire()}
        new = {one.layer for one in done.values() if one.short} - told
        assert bool(caught) == bool(new)
        told |= new
        for name, mask in plasticity.masks.items():
            assert int(mask.sum()) == counts[name] - done[name].short
            counts[name] = int(mask.sum())
        assert_invariant(plasticity)


@pytest.mark.filterwarnings("ignore:no idle units left:neurocl.plasticity.CapacityExhausted")  # 7 units, 4 tasks
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_ranks_move_between_idle_and_training_in_a_phase_and_by_one_at_the_end_of_a_task(seed):
    network = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 7))
    plasticity = StructuralPlasticity(network, seed=seed)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(4):
        before = [ranks.clone() for ranks in plasticity.ranks]
        plasticity.select([torch.rand(9, generator=draws), torch.rand(7, generator=draws)], 0.5)
        for old, new in zip(before, plasticity.ranks, strict=True):
            assert torch.equal(old[old >= 2], new[old >= 2])
            assert bool((new[old < 2] <= 1).all())
        before = [ranks.clone() for ranks in plasticity.ranks]
        plasticity.promote()
        for old, new in zip(before, plasticity.ranks, strict=True):
            assert torch.equal(new, old + (old > 0))


def test_units_freeze_at_the_rank_their_layer_says():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    plasticity = StructuralPlasticity(network, frozen_from=(2, 3))
    for layer in (0, 1):
        plasticity.recruit([1], layer=layer)
    plasticity.promote()
    assert plasticity.frozen(0).tolist() == [False, True, False]
    assert plasticity.frozen(1).tolist() == [False, False, False]
    plasticity.promote()
    assert plasticity.frozen(1).tolist() == [False, True, False]


def test_grown_connections_start_at_zero_and_only_idle_units_start_anew():
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
    plasticity = StructuralPlasticity(network, density=0.5)
    plasticity.recruit([0, 1, 2, 3], layer=0)
    plasticity.recruit([0, 1], layer=1)
    before = {name: mask.clone() for name, mask in plasticity.masks.items()}
    weight = network[2].weight.detach().clone()
    (_, second) = plasticity.rewire()
    new = plasticity.masks["2"] & ~before["2"]
    assert int(new.sum()) == second.grown > 0
    assert bool((network[2].weight[new] == 0).all())
    assert not bool(new[:2].any()), "a unit that is not idle has gained an input"
    plasticity.reinitialise()
    assert torch.equal(network[2].weight[:2] != 0, plasticity.masks["2"][:2])
    assert torch.equal(network[2].weight[:2][plasticity.masks["2"][:2]], weight[:2][plasticity.masks["2"][:2]])
    assert not torch.equal(network[2].weight[2:], weight[2:])
    bias = network[2].bias.detach()
    assert float(bias[2:].abs().sum()) == 0 != float(bias[:2].abs().sum())


def test_units_that_carry_the_share_are_selected_and_silent_layers_keep_their_ranks():
    assert most_active(torch.tensor([1.0, 5.0, 3.0, 1.0]), 0.8).tolist() == [False, True, True, False]
    assert most_active(torch.tensor([1.0, 5.0, 3.0, 1.0]), 0.81).tolist() == [True, True, True, False]
    assert most_active(torch.tensor([0.0, 2.0, 1.0]), 1.0).tolist() == [False, True, True]
    assert most_active(torch.zeros(3), 0.5) is None
    plasticity = StructuralPlasticity(nn.Sequential(nn.Linear(4, 3)))
    plasticity.recruit([2])
    assert plasticity.select([torch.zeros(3)], 0.9) == ["0"]
    assert plasticity.ranks[0].tolist() == [0, 0, 1]
    asleep = StructuralPlasticity(nn.Sequential(nn.Linear(4, 3)))
    asleep.select([torch.zeros(3)], 0.9)
    assert asleep.ranks[0].tolist() == [1, 1, 1], "a layer that was never awake stays asleep for ever"


def test_the_share_falls_by_a_cosine_as_published():
    shares = [annealed_share(phase) for phase in (1, 2, 5, 7, 10, 12, 15)]
    assert shares == pytest.approx([0.989, 0.989, 0.933, 0.872, 0.750, 0.655, 0.500], abs=5e-4)
    assert annealed_share(15, least=0.6) == 0.6
    assert annealed_share(99) == pytest.approx(0)


def test_state_comes_back_and_goes_on_alike():
    first, second = convolutional(), convolutional()
    one = live_through(first, tasks=2)
    two = StructuralPlasticity(second, density=0.5)
    second.load_state_dict(first.state_dict())
    two.load_state_dict(one.state_dict())
    for plasticity, network in ((one, first), (two, second)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CapacityExhausted)
            plasticity.select(plasticity.activity(inputs_of(network)), 0.8)
            plasticity.rewire()
        learn(plasticity, network)
        plasticity.promote()
        plasticity.reinitialise()
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert one.byte_counts()[0] == sum((mask.numel() + 7) // 8 for mask in one.masks.values()) + 2 * (6 + 5 + 12 + 10)
    broken = one.state_dict()
    broken["masks"]["layers.2.synapse"] = broken["masks"]["layers.2.synapse"][:1]
    with pytest.raises(BadInput, match="bytes for a mask"):
        two.load_state_dict(broken)


def test_a_layer_without_room_is_named_with_the_way_out():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4))
    plasticity = StructuralPlasticity(network, density=1.0)
    plasticity.recruit([0, 1], layer=0)
    plasticity.recruit([0, 1, 2, 3], layer=1)
    with pytest.warns(CapacityExhausted, match="idle units of 2 .* more units"):
        plasticity.rewire()
    assert plasticity.present()["2"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, "density"),
        ({"density": 1.5}, "density"),
        ({"frozen_from": 1}, "frozen_from"),
        ({"frozen_from": (2, 2, 2)}, "frozen_from must have one rank for each of 2 layers"),
        ({"layers": ["3"]}, "layer"),
        ({"layers": ["1"]}, "nn.Linear or nn.Conv2d"),
        ({"dense": ["x"]}, "dense must name layers"),
    ],
)
def test_bad_settings_are_refused_by_name(options, message):
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    before = network[0].weight.clone()
    with pytest.raises(BadInput, match=message):
        StructuralPlasticity(network, **options)
    assert torch.equal(before, network[0].weight)


def test_networks_whose_units_cannot_be_told_apart_are_refused():
    shared = nn.Linear(4, 4)
    with pytest.raises(BadInput, match="shares them"):
        StructuralPlasticity(nn.Sequential(shared, nn.ReLU(), shared))
    with pytest.raises(BadInput, match="groups=1"):
        StructuralPlasticity(nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)))
    with pytest.raises(BadInput, match="multiple of the 4 units"):
        StructuralPlasticity(nn.Sequential(nn.Linear(3, 4), nn.Linear(6, 2)))
    with pytest.raises(BadInput, match="found none"):
        StructuralPlasticity(nn.Sequential(nn.ReLU()))
    plasticity = StructuralPlasticity(nn.Sequential(nn.Linear(3, 4)))
    with pytest.raises(BadInput, match="activity must be one tensor for each layer"):
        plasticity.select([torch.ones(3)], 0.5)
    with pytest.raises(BadInput, match="finite number"):
        plasticity.select([torch.tensor([1.0, float("nan"), 1, 1])], 0.5)
    assert plasticity.ranks[0].tolist() == [0, 0, 0, 0]


def test_networks_of_any_shape_make_a_chain():
    assert [layer.units for layer in StructuralPlasticity(MLP(IMAGES, hidden=(7,), head="none")).layers] == [7]
    shape = TaskShape(input_shape=(3, 8, 8), num_classes=4, num_tasks=2)
    chain = StructuralPlasticity(HLOPNet(shape, head="single")).layers
    assert [layer.units for layer in chain] == [64, 128, 256, 4]
    assert chain[-1].afferents[0].block == 1


def test_idle_units_left_without_an_outlet_get_one_to_an_idle_unit_first():
    network = nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 4, 9), nn.ReLU(), nn.Linear(9, 4)
    )
    plasticity = StructuralPlasticity(network, density=0.3, dense=())
    plasticity.recruit([0, 1, 2, 3, 4], layer=1)
    mask = torch.zeros(9, 48, dtype=torch.bool)
    mask[0, ::4] = True  # one connection from each channel, all lost: as many to give as channels without an outlet
    plasticity.masks["3"] = mask
    (_, second, _) = plasticity.rewire(keep_outlets=True)
    assert (second.dropped, second.grown) == (12, 12)
    outlets = plasticity.masks["3"].view(9, 12, 4)
    assert bool(outlets.any(2).any(0).all()), "a channel has no outlet"
    assert outlets.flatten(1).sum(1)[:5].sum() == 0, "an outlet leads to a unit that is not idle"
    again = StructuralPlasticity(network, density=0.3, dense=())
    again.recruit([0, 1, 2, 3, 4], layer=1)
    again.masks["3"] = mask.clone()
    again.rewire()
    assert not bool(again.masks["3"].view(9, 12, 4).any(2).any(0).all()), "chance alone does as much"


def test_new_connections_weigh_what_is_asked_for():
    def grown(new_weights: str) -> tuple[torch.Tensor, torch.Tensor]:
        network = nn.Sequential(nn.Linear(30, 60), nn.ReLU(), nn.Linear(60, 60))
        plasticity = StructuralPlasticity(network, density=0.5)
        with torch.no_grad():
            present = plasticity.masks["2"]
            network[2].weight[present] = 3.0 + 0.1 * torch.randn(int(present.sum()), generator=torch.Generator())
        plasticity.recruit(range(20), layer=1)
        plasticity.rewire(new_weights=new_weights)
        new = plasticity.masks["2"] & ~present
        old = plasticity.masks["2"] & present
        assert bool((network[2].weight[~plasticity.masks["2"]] == 0).all())
        assert float((network[2].weight.detach()[old] - 3).abs().max()) < 1, "a weight that stays has changed"
        return network[2].weight.detach()[new], new

    zero, _ = grown("zero")
    normal, where = grown("normal")
    assert bool((zero == 0).all())
    assert len(normal) == int(where.sum()) > 300
    assert abs(float(normal.mean()) - 3) < 0.05
    assert abs(float(normal.std()) - 0.1) < 0.02


def test_units_that_train_without_hearing_any_that_are_not_idle_go_back_one_after_the_other():
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    plasticity = StructuralPlasticity(network, density=1.0)
    plasticity.recruit([0], layer=0)
    plasticity.promote()
    for layer, units in ((0, [1]), (1, [0, 1]), (2, [0, 1])):
        plasticity.recruit(units, layer=layer)
    plasticity.masks["2"][1] = torch.tensor([False, False, True])  # hears an idle unit alone
    plasticity.masks["4"][1] = torch.tensor([False, True, False])  # hears the unit above alone
    plasticity.masks["0"][0] = False  # hears nothing, but is past training
    assert plasticity.demote_unfed() == [0, 1, 1]
    assert [ranks.tolist() for ranks in plasticity.ranks] == [[2, 1, 0], [1, 0, 0], [1, 0]]
