"""Networks in which freezing units would not be sound: are they refused, or held rightly?"""

import pytest
import torch
from torch import nn

from neurocl.plasticity import CapacityExhausted, StructuralPlasticity
from neurocl.primitives.checks import BadInput


class Late(nn.Module):
    """Normalisation registered behind both layers, run between them."""

    def __init__(self, second: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(20, 40), nn.Linear(40, second)
        self.bn1, self.bn2 = nn.BatchNorm1d(40), nn.BatchNorm1d(second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.fc2(self.bn1(self.fc1(x)).relu())).relu()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(20, 40), nn.Linear(40, 40), nn.Linear(40, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.fc1(x).relu()
        return self.fc3((h + self.fc2(h)).relu()).relu()


class Gated(nn.Module):
    """A residual path behind a gate that starts closed."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2, self.gate = nn.Linear(20, 40), nn.Linear(40, 40), gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.fc1(x).relu()
        return self.fc2(h) + self.gate(h)


class Gate(nn.Module):
    def __init__(self, start: torch.Tensor, *, learns: bool = True, rectified: bool = False) -> None:
        super().__init__()
        self.rectified = rectified
        if learns:
            self.opening = nn.Parameter(start)
        else:
            self.register_buffer("opening", start)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h * (self.opening.relu() if self.rectified else self.opening)


class Gained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain, self.a, self.b = nn.Parameter(torch.ones(40)), nn.Linear(20, 40), nn.Linear(40, 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b((self.a(x) * self.gain).relu()).relu()


def between(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 40), *modules, nn.ReLU(), nn.Linear(40, 30), nn.ReLU())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (between(nn.LayerNorm(40)), "'1' must treat each unit alone; LayerNorm"),
        (between(nn.Softmax(1)), "Softmax"),
        (between(nn.Unflatten(1, (40, 1)), nn.Conv1d(40, 40, 1), nn.Flatten()), "'2' .* Conv1d"),
        (between(nn.RNNCell(40, 40)), "RNNCell"),
        (between(nn.TransformerEncoderLayer(40, 4, 40)), "TransformerEncoderLayer"),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(20, 40)), nn.ReLU()), "computed from others"),
        (Gained(), "'gain' must belong to a module behind"),
    ],
    ids=["layer norm", "softmax", "convolution", "recurrence", "attention", "weight norm", "parameter of the network"],
)
def test_modules_that_carry_units_to_units_are_refused_by_name(network, message):
    with pytest.raises(BadInput, match=message):
        StructuralPlasticity(network)


def test_what_shows_only_in_a_run_is_refused_when_activity_is_first_seen():
    x = torch.rand(16, 20)
    ahead = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 40), nn.ReLU())
    with pytest.raises(BadInput, match="'0' must not change"):
        StructuralPlasticity(ahead).activity(x)
    with pytest.raises(BadInput, match="'fc2' must hear others through the chain's weights alone"):
        StructuralPlasticity(Residual()).activity(x)
    turned = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40))
    with pytest.raises(BadInput, match="order in which they run, 0, 2"):
        StructuralPlasticity(turned, layers=["2", "0"]).activity(torch.rand(4, 40))


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (40,), (1, 40)])
@pytest.mark.parametrize("start", [0.0, 1e-6, 1e-4])
def test_a_residual_path_behind_a_gate_that_starts_closed_is_refused(shape, learns, start):
    with pytest.raises(BadInput, match="'fc2' must hear others through the chain's weights alone"):
        StructuralPlasticity(Gated(Gate(torch.full(shape, start), learns=learns))).activity(torch.rand(16, 20))


def test_the_network_is_looked_at_again_whenever_a_layer_freezes_for_the_first_time():
    network, x = Gated(Gate(-torch.ones(()), rectified=True)), torch.rand(16, 20)
    plasticity = StructuralPlasticity(network, frozen_from=[2, 3])
    for _ in range(2):
        plasticity.select(plasticity.activity(x), 0.6)
        plasticity.promote()
        assert plasticity.activity(x)  # closed as yet
        if bool(plasticity.frozen(0).any()) and not bool(plasticity.frozen(1).any()):
            with torch.no_grad():
                network.gate.opening.fill_(0.5)
            break
    plasticity.promote()
    assert bool(plasticity.frozen(1).any())
    with pytest.raises(BadInput, match="'fc2' must hear others through the chain's weights alone"):
        plasticity.activity(x)


def test_a_gate_that_opened_while_the_first_task_was_learnt_is_refused_before_anything_is_lost():
    network, x = Gated(Gate(-torch.ones(()), rectified=True)), torch.rand(16, 20)
    plasticity = StructuralPlasticity(network)
    plasticity.select(plasticity.activity(x), 0.6)
    with torch.no_grad():
        network.gate.opening.fill_(0.5)
    plasticity.activity(x)  # the task goes on, and nothing is frozen yet
    plasticity.promote()
    with pytest.raises(BadInput, match="'fc2' must hear others through the chain's weights alone"):
        plasticity.activity(x)


@pytest.mark.parametrize("second", [30, 40])
@pytest.mark.parametrize("moved", [False, True])
def test_frozen_units_hold_whatever_the_order_of_registration_and_where_the_network_moves(second, moved):
    torch.manual_seed(0)
    network, x = Late(second), torch.randn(64, 20)
    plasticity = StructuralPlasticity(network, density=0.5)
    plasticity.select(plasticity.activity(x), 0.6)
    plasticity.rewire()
    plasticity.promote()
    if moved:
        network, x = network.double(), x.double()
    frozen = plasticity.frozen()
    assert 0 < int(frozen.sum()) < second
    before = network.eval()(x)[:, frozen]
    plasticity.select(plasticity.activity(2 * x + 1), 0.8)
    plasticity.rewire()
    optimiser = plasticity.guard(torch.optim.Adam(network.parameters(), lr=0.01))
    network.train()
    for _ in range(5):
        optimiser.zero_grad()
        network(2 * x + 1).square().mean().backward()
        optimiser.step()
    after = network.eval()(x)
    assert torch.equal(after[:, frozen], before)
    assert not torch.equal(after[:, ~frozen], network.train()(x)[:, ~frozen])


def test_a_check_leaves_network_and_random_numbers_as_they_were():
    network, x = Late(30), torch.rand(8, 20)
    plasticity = StructuralPlasticity(network)
    before, draws = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    plasticity.check(x)
    assert torch.equal(draws, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("outputs", [10, 60])
def test_units_ahead_of_a_head_are_seen_as_the_head_hears_them(outputs):
    network, x = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, outputs)), torch.rand(16, 20)
    (seen,) = StructuralPlasticity(network, layers=["0"]).activity(x)
    torch.testing.assert_close(seen, network[:2](x).double().sum(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["0", "4"]}, "'2' lies between '0' and '4'"),
        ({"layers": ["0", "0"]}, "each layer once"),
        ({"frozen_from": 40000}, "at most 32767"),
        ({"frozen_from": (4, 2, 2)}, "must not fall"),
        ({"fixed_layers": 7}, "fixed_layers must be at most"),
    ],
)
def test_chains_and_ranks_that_cannot_be_are_refused(options, message):
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    with pytest.raises(BadInput, match=message):
        StructuralPlasticity(network, **options)


def test_a_density_that_leaves_units_deaf_is_told_and_wrong_units_and_states_are_refused():
    with pytest.warns(CapacityExhausted, match="layer '0' .* use at least"):
        StructuralPlasticity(nn.Sequential(nn.Linear(50, 40)), density=1e-6)
    plasticity = StructuralPlasticity(nn.Sequential(nn.Linear(4, 3)))
    with pytest.raises(BadInput, match="among the 3 units of layer '0'"):
        plasticity.recruit([99])
    with pytest.raises(BadInput, match="masks, ranks, draws missing"):
        plasticity.load_state_dict({})
