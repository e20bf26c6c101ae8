"""Do frozen units answer alike to the bit where statistics belong to features, time or the whole layer?"""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from neurocl.plasticity import StructuralPlasticity
from neurocl.primitives.checks import BadInput

pytestmark = pytest.mark.filterwarnings("ignore::neurocl.plasticity.CapacityExhausted")  # small layers


class Homeostatic(nn.Module):
    """Thresholds that follow the activity, in a buffer of some shape."""

    def __init__(self, *shape: int, saved: bool = True) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.zeros(shape), persistent=saved)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fires = (x - self.threshold).relu()
        if self.training:
            self.threshold = self.threshold + 0.05 * (fires.detach().mean(0, keepdim=True) - 0.1)
        return fires


class Scaled(nn.Module):
    """Divides by a running scale: one number, in a buffer or a plain attribute, in place or replaced."""

    def __init__(self, *, plain: bool = False, in_place: bool = False, whole_numbers: bool = False) -> None:
        super().__init__()
        self.in_place, self.dtype = in_place, torch.int64 if whole_numbers else torch.float32
        if plain:
            self.scale = torch.ones((), dtype=self.dtype)
        else:
            self.register_buffer("scale", torch.ones((), dtype=self.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            new = (self.scale + 1 + x.detach().abs().mean()).to(self.dtype)
            if self.in_place:
                self.scale.copy_(new)
            else:
                self.scale = new
        return x / self.scale


class OverTime(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(10, 30), nn.BatchNorm1d(5), nn.Linear(30, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.norm(self.first(x)).relu())


class Around(nn.Module):
    """A running scale of the network itself, or of what prepares its inputs."""

    def __init__(self, *, ahead: bool) -> None:
        super().__init__()
        self.prepare = Scaled() if ahead else nn.Identity()
        self.first, self.second = nn.Linear(10, 30), nn.Linear(30, 20)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(self.prepare(x)).relu()
        if self.training:
            self.scale += 0.1 * hidden.detach().mean()
        return self.second(hidden / self.scale)


class RegisteredAhead(nn.Module):
    """A module of the first layer's units that is made before that layer."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.behind, self.first, self.second = module, nn.Linear(10, 30), nn.Linear(30, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.behind(self.first(x)).relu())


class Thresholds(Homeostatic):
    """Thresholds that learn by gradient as well."""

    def __init__(self) -> None:
        super().__init__(30)
        self.learnt = nn.Parameter(torch.full((30,), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x - self.learnt)


def behind_convolution(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), *modules, nn.Linear(54, 20))


def between(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(10, 30), *modules, nn.ReLU(), nn.Linear(30, 20))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "features behind a convolution": (lambda: behind_convolution(nn.BatchNorm1d(54)), (1, 8, 8)),
    "the same without gains": (lambda: behind_convolution(nn.BatchNorm1d(54, affine=False), nn.ReLU()), (1, 8, 8)),
    "steps of time": (OverTime, (5, 10)),
    "thresholds along another axis": (lambda: between(Homeostatic(1, 30)), (10,)),
    "the same, not saved": (lambda: between(Homeostatic(1, 30, saved=False)), (10,)),
    "a scale of the layer": (lambda: between(Scaled()), (10,)),
    "the same, in place": (lambda: between(Scaled(in_place=True)), (10,)),
    "a scale of the network": (lambda: Around(ahead=False), (10,)),
    "a scale of the inputs": (lambda: Around(ahead=True), (10,)),
    "normalisation made ahead of its layer": (lambda: RegisteredAhead(nn.BatchNorm1d(30)), (10,)),
    "thresholds made ahead of their layer": (lambda: RegisteredAhead(Thresholds()), (10,)),
}


@pytest.mark.parametrize(("make", "sample"), NETWORKS.values(), ids=NETWORKS)
def test_frozen_units_answer_alike_whatever_keeps_statistics(make, sample):
    torch.manual_seed(0)
    network, x, probe = make(), torch.rand(32, *sample), torch.rand(32, *sample)
    plasticity = StructuralPlasticity(network, density=0.5)
    optimiser = plasticity.guard(torch.optim.Adam(network.parameters(), lr=0.01))

    def answers() -> torch.Tensor:
        return network.eval()(probe).detach()

    def learn(inputs: torch.Tensor) -> None:
        plasticity.select(plasticity.activity(inputs), 0.6)
        plasticity.rewire()
        for _ in range(5):
            optimiser.zero_grad()
            network.train()(inputs).square().mean().backward()
            optimiser.step()
        plasticity.promote()
        plasticity.reinitialise()

    start = {name: buffer.clone() for name, buffer in network.named_buffers()}
    learn(x)
    assert not all(torch.equal(buffer, start[name]) for name, buffer in network.named_buffers()), "nothing moves"
    frozen, before = plasticity.frozen(), answers()
    assert 0 < int(frozen.sum()) < 20
    assert float(before[..., frozen].abs().sum()) > 0, "frozen units are silent"
    for _ in range(2):
        learn(2 * x + 1)
        after = answers()
        assert torch.equal(after[..., frozen], before[..., frozen])
        assert not torch.equal(after[..., ~frozen], before[..., ~frozen]), "nothing has learnt"


@pytest.mark.parametrize("kind", ["plain", "whole_numbers"])
def test_statistics_that_cannot_be_held_are_refused(kind):
    with pytest.raises(BadInput, match=r"units of layer '0' must answer in evaluation .* register_buffer"):
        StructuralPlasticity(between(Scaled(**{kind: True}))).activity(torch.rand(16, 10))


def test_a_saved_buffer_that_moves_in_evaluation_is_refused_and_a_state_of_the_run_moves_on():
    class Leaky(nn.Module):
        def __init__(self, *, saved: bool) -> None:
            super().__init__()
            self.register_buffer("v", torch.zeros(1, 30), persistent=saved)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.v = 0.5 * self.v + x.mean(0, keepdim=True)
            return x + self.v.detach()

    x = torch.rand(16, 10)
    with pytest.raises(BadInput, match=r"buffer '1.v' must keep its value in evaluation .* persistent=False"):
        StructuralPlasticity(between(Leaky(saved=True))).activity(x)
    network = between(Leaky(saved=False))
    plasticity = StructuralPlasticity(network)
    plasticity.select(plasticity.activity(x), 0.6)
    plasticity.promote()
    state = network[1].v.clone()
    network(x)
    assert not torch.equal(network[1].v, state)


def test_a_head_behind_the_chain_learns_while_units_of_the_chain_are_frozen():
    network, x = nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 20), nn.BatchNorm1d(20)), torch.rand(16, 10)
    plasticity = StructuralPlasticity(network, layers=["0"])
    plasticity.select(plasticity.activity(x), 0.6)
    plasticity.promote()
    assert bool(plasticity.frozen().any())
    before = {name: tensor.clone() for name, tensor in network[2:].state_dict().items()}
    optimiser = plasticity.guard(torch.optim.SGD(network.parameters(), lr=0.1))
    (network(x) - torch.rand(16, 20)).square().mean().backward()
    optimiser.step()
    assert not any(torch.equal(tensor, before[name]) for name, tensor in network[2:].state_dict().items())


class Rising(nn.Module):
    """A membrane that nobody resets: it is silent at first, and no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.v: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.v = x.detach() * 0 + 0.4 if self.v is None else self.v + 0.4
        return x * (self.v >= 1.0)


class Particular(nn.Module):
    """What a network may ask for in training: more than a few samples, or targets."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training or len(x) > 100
        return x


class Dropped(nn.Module):
    """A buffer that a run throws away."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mem", torch.zeros(30), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mem = None
        return x


@pytest.mark.parametrize("module", [Rising(), Particular(), Dropped()], ids=lambda module: type(module).__name__)
def test_networks_whose_pass_in_training_tells_nothing_are_let_through(module):
    assert len(StructuralPlasticity(between(module)).activity(torch.rand(16, 10))) == 2
