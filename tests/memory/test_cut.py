"""Is activity that is put back at the cut as good as the input it came from, whoever wrote the network?"""

import warnings

import pytest
import torch
from torch import Tensor, nn

from neurocl.memory import ActivationReplay
from neurocl.networks import CNN, MLP, Count, Direct, HLOPNet, Poisson, Recurrent, ResNet18
from neurocl.networks.reactivation import place_of, sent_again
from neurocl.neurons import LIF, reset
from neurocl.primitives.checks import BadInput
from neurocl.primitives.modes import evaluating
from neurocl.primitives.tasks import Batch, TaskShape

INPUTS, HIDDEN, CLASSES, STEPS, BATCH = 12, 20, 4, 6, 5
IDS = torch.arange(BATCH)


@pytest.fixture(autouse=True)
def _without_type_checks(as_installed):
    """Loops over other libraries' networks are long enough."""


def foreign(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def shape(*sizes: int) -> TaskShape:
    return TaskShape(input_shape=sizes or (INPUTS,), num_classes=CLASSES, num_tasks=2)


class SnnTorchNetwork(nn.Module):
    """Stepped by hand; spikes come with the membrane."""

    cut = "first_neuron"

    def __init__(self) -> None:
        super().__init__()
        snn = foreign("snntorch")
        self.first, self.norm = nn.Linear(INPUTS, HIDDEN), nn.BatchNorm1d(HIDDEN)
        self.first_neuron = snn.Leaky(beta=0.8)
        self.second, self.second_neuron = nn.Linear(HIDDEN, 8), snn.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> Tensor:
        first, second, total = self.first_neuron.init_leaky(), self.second_neuron.init_leaky(), 0.0
        for _ in range(STEPS):
            spikes, first = self.first_neuron(3 * self.norm(self.first(x)), first)
            spikes, second = self.second_neuron(3 * self.second(spikes), second)
            total = total + spikes + second
        return total


class SnnTorchSequence(SnnTorchNetwork):
    """The same, over as many steps as the input has."""

    def forward(self, x: Tensor) -> Tensor:
        first, second, total = self.first_neuron.init_leaky(), self.second_neuron.init_leaky(), 0.0
        for now in x:
            spikes, first = self.first_neuron(3 * self.norm(self.first(now)), first)
            spikes, second = self.second_neuron(3 * self.second(spikes), second)
            total = total + spikes + second
        return total


class HiddenSnnTorchNetwork(nn.Module):
    """Neurons that keep their state; nobody resets them but we."""

    cut = "net.1"

    def __init__(self) -> None:
        super().__init__()
        snn = foreign("snntorch")
        self.net = nn.Sequential(
            nn.Linear(INPUTS, HIDDEN), snn.Leaky(beta=0.8, init_hidden=True),
            nn.Linear(HIDDEN, 8), snn.Leaky(beta=0.8, init_hidden=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.net(3 * x) for _ in range(STEPS))


class NorseNetwork(nn.Module):
    cut = "net.1"

    def __init__(self) -> None:
        super().__init__()
        norse = foreign("norse.torch")
        parameters = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(200.0), v_th=torch.tensor(0.1))
        self.net = norse.SequentialState(
            nn.Linear(INPUTS, HIDDEN), norse.LIFBoxCell(parameters), nn.Linear(HIDDEN, 8), norse.LIFBoxCell(parameters)
        )

    def forward(self, x: Tensor) -> Tensor:
        state, total = None, 0.0
        for now in x:
            out, state = self.net(3 * now, state)
            total = total + out
        return total


class NorseLIFNetwork(nn.Module):
    """A cell whose state is a tuple, called by hand, on a sequence."""

    cut = "cell"

    def __init__(self) -> None:
        super().__init__()
        norse = foreign("norse.torch")
        parameters = norse.LIFParameters(v_th=torch.tensor(0.05))
        self.first, self.cell, self.second = nn.Linear(INPUTS, HIDDEN), norse.LIFCell(parameters), nn.Linear(HIDDEN, 8)

    def forward(self, x: Tensor) -> Tensor:
        state, total = None, 0.0
        for now in x:
            spikes, state = self.cell(self.first(5 * now), state)
            total = total + self.second(spikes)
        return total


class SingleStepSpikingJelly(nn.Module):
    cut = "net.1"

    def __init__(self) -> None:
        super().__init__()
        neuron, layer = foreign("spikingjelly.activation_based.neuron"), foreign("spikingjelly.activation_based.layer")
        self.net = nn.Sequential(
            layer.Linear(INPUTS, HIDDEN), neuron.LIFNode(tau=2.0), layer.Linear(HIDDEN, 8), neuron.LIFNode(tau=2.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.net(6 * x) for _ in range(STEPS))


def multi_step_spikingjelly() -> nn.Module:
    neuron, layer = foreign("spikingjelly.activation_based.neuron"), foreign("spikingjelly.activation_based.layer")
    network = nn.Sequential(
        layer.Linear(INPUTS, HIDDEN, step_mode="m"), neuron.LIFNode(tau=2.0, step_mode="m"),
        layer.Linear(HIDDEN, 8, step_mode="m"), neuron.LIFNode(tau=2.0, step_mode="m"),
    )  # fmt: skip
    network.cut = "1"
    return network


class MultiStepSpikingJelly(nn.Module):
    """The same inside a module of one's own, so that the hook has to serve."""

    cut = "net.1"

    def __init__(self) -> None:
        super().__init__()
        self.net = multi_step_spikingjelly()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(6 * x).mean(0)


class Hidden(nn.Module):
    """Our own neurons in plain containers."""

    cut = "first.1"

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(INPUTS, HIDDEN), LIF(tau_membrane_ms=5.0).hidden())
        self.second = nn.Sequential(nn.Linear(HIDDEN, 8), LIF(tau_membrane_ms=5.0).hidden())

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.second(4 * self.first(8 * x)) for _ in range(STEPS))


def rates() -> nn.Module:
    network = nn.Sequential(
        nn.Linear(INPUTS, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, HIDDEN),
        nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, CLASSES),
    )  # fmt: skip
    network.cut = "2"
    return network


class Rates(nn.Module):
    """One ReLU serves before and behind the cut, and works in place."""

    cut = "norm"

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.relu = nn.Linear(INPUTS, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True)
        self.second, self.last = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        return self.last(self.relu(self.second(self.relu(self.norm(x)))))


def ours(network: nn.Module, cut: str) -> nn.Module:
    network.cut = cut
    return network


SEQUENCES = (NorseNetwork, NorseLIFNetwork, MultiStepSpikingJelly, multi_step_spikingjelly)
FOREIGN = [
    SnnTorchNetwork, HiddenSnnTorchNetwork, NorseNetwork, NorseLIFNetwork, SingleStepSpikingJelly,
    multi_step_spikingjelly, MultiStepSpikingJelly, Hidden, rates, Rates,
]  # fmt: skip
IMAGE = (2, 8, 8)
OURS = {
    "mlp": lambda: ours(MLP(shape(), hidden=(30, HIDDEN), encoding=Direct(STEPS), head="single"), "layers.0"),
    "last layer": lambda: ours(MLP(shape(), hidden=(30, HIDDEN), encoding=Direct(STEPS), head="single"), "layers.1"),
    "count": lambda: ours(MLP(shape(), hidden=(30,), readout=Count(LIF), head="single"), "layers.0"),
    "poisson": lambda: ours(MLP(shape(), hidden=(30, 9), encoding=Poisson(STEPS), head="single"), "layers.0"),
    "recurrent": lambda: ours(Recurrent(shape(), encoding=Direct(STEPS), head="single"), "layers.0"),
    "rate": lambda: ours(MLP(shape(), hidden=(30, HIDDEN), coding="rate", head="single"), "layers.0"),
    "dsr": lambda: ours(MLP(shape(), hidden=(30, HIDDEN), training="dsr", head="single"), "layers.0"),
    "cnn": lambda: ours(CNN(shape(*IMAGE), channels=(3, 4), encoding=Direct(STEPS), head="single"), "layers.0"),
    "flattened": lambda: ours(CNN(shape(*IMAGE), channels=(3, 4), encoding=Direct(STEPS), head="single"), "layers.1"),
    "cnn dsr": lambda: ours(CNN(shape(*IMAGE), channels=(3, 4), training="dsr", head="single"), "layers.0"),
    "cnn rate": lambda: ours(CNN(shape(*IMAGE), channels=(3, 4), coding="rate", head="single"), "layers.0"),
    "average pooling": lambda: ours(HLOPNet(shape(*IMAGE), encoding=Direct(STEPS), head="single"), "layers.0"),
    "before pooling": lambda: ours(HLOPNet(shape(*IMAGE), encoding=Direct(STEPS), head="single"), "layers.0.neuron"),
    "before pooling, dsr": lambda: ours(HLOPNet(shape(*IMAGE), training="dsr", head="single"), "layers.1.neuron"),
    "resnet": lambda: ours(ResNet18(shape(*IMAGE), width=4, encoding=Direct(2), head="single"), "layers.2"),
}


def inputs_for(network: nn.Module, batch: int = BATCH) -> Tensor:
    if hasattr(network, "shape"):
        return torch.rand(batch, *network.shape.input_shape)
    leading = (STEPS, batch) if isinstance(network, SEQUENCES[:3]) or getattr(network, "cut", "") == "1" else (batch,)
    return 3 * torch.rand(*leading, INPUTS)


def built(make) -> nn.Module:
    network = make()
    with torch.no_grad():  # statistics that are not those of the start
        for part in network.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_(std=0.1)
                part.running_var.fill_(0.05)  # loud enough for deep layers
    return network


def whole(network: nn.Module, x: Tensor) -> Tensor:
    reset(network)
    return network(x)


def gradients(network: nn.Module, result: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    (result * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def parameters_before(network: nn.Module, cut: str) -> set[str]:
    """Names of the parameters that lie before the cut: the rest of the modules in order of definition."""
    names = [name for name, _ in network.named_modules()]
    place = max(place for place, name in enumerate(names) if name == cut or name.startswith(f"{cut}."))
    ahead = [name for name in names[: place + 1] if name]
    inner = {name for name in ahead if not any(other.startswith(f"{name}.") for other in names[place + 1 :])}
    return {name for name, _ in network.named_parameters() if any(name.startswith(f"{part}.") for part in inner)}


ALL = [*[pytest.param(make, id=make.__name__) for make in FOREIGN], *[pytest.param(m, id=n) for n, m in OURS.items()]]


@pytest.mark.parametrize("make", ALL)
def test_what_is_put_back_at_the_cut_gives_what_the_input_gave(make):
    network = built(make)
    x = inputs_for(network)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    memory = ActivationReplay(network.cut)
    activity = memory.record(network, x)
    assert activity.std() > 0, "silence would pass any comparison"
    kept = activity.clone()
    with torch.no_grad(), evaluating(network):
        assert torch.equal(memory.replay(network, activity), whole(network, x))
    assert torch.equal(activity, kept), "the caller's own"
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items() if "mem" not in name)
    assert all(part.training for part in network.modules())


@pytest.mark.parametrize(("make", "cut"), [(Rates, "norm"), (rates, "1")], ids=["hook", "chain"])
def test_work_in_place_behind_the_cut_touches_neither_what_is_recorded_nor_what_is_replayed(make, cut):
    network = built(make).eval()
    memory = ActivationReplay(cut)
    activity = memory.record(network, inputs_for(network))
    assert activity.min() < 0, "the rectifier behind came into it"
    kept = activity.clone()
    memory.replay(network, activity)
    assert torch.equal(activity, kept)


def test_what_runs_before_the_cut_builds_no_graph():
    network = Rates()
    memory = ActivationReplay("norm")
    activity = memory.record(network, inputs_for(network))
    graphs = {}
    for name in ("first", "norm", "second"):
        module = getattr(network, name)
        module.register_forward_hook(lambda _, __, output, name=name: graphs.update({name: output.requires_grad}))
    memory.replay(network, activity)
    assert graphs == {"first": False, "norm": False, "second": True}


@pytest.mark.parametrize("make", [HiddenSnnTorchNetwork, SingleStepSpikingJelly, MultiStepSpikingJelly, Hidden])
def test_hidden_states_are_at_rest_before_and_after(make):
    network = built(make).eval()
    x = inputs_for(network)
    memory = ActivationReplay(network.cut)
    with torch.no_grad():
        wanted = whole(network, x)  # and the states are no longer at rest
        activity = memory.record(network, x)
        assert torch.equal(memory.record(network, x), activity)
        assert torch.equal(network(x), wanted)
        memory.replay(network, activity)
        assert torch.equal(network(x), wanted)


@pytest.mark.parametrize("make", ALL)
def test_gradients_are_those_of_the_whole_pass_behind_the_cut_and_none_before(make):
    network = built(make)
    x = inputs_for(network)
    memory = ActivationReplay(network.cut)
    with evaluating(network):
        wanted = gradients(network, whole(network, x))
        found = gradients(network, memory.replay(network, memory.record(network, x)))
    before = parameters_before(network, network.cut)
    behind = set(wanted) - before
    assert set(found) == behind, "exactly the parameters behind the cut"
    assert (before and behind) or network.cut == "layers.1"
    for name in behind:
        assert torch.allclose(found[name], wanted[name], rtol=1e-4, atol=1e-5), name
        assert found[name].abs().sum() > 0 or "norm" in name


@pytest.mark.parametrize("make", ALL)
def test_training_on_replay_leaves_everything_before_the_cut_bit_for_bit(make):
    network = built(make)
    memory = ActivationReplay(network.cut)
    activity = memory.record(network, inputs_for(network))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    result = memory.replay(network, activity)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    (result * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
    optimiser.step()
    before = parameters_before(network, network.cut)
    after = network.state_dict()
    names = {name.rsplit(".", 1)[0] for name in before}
    for name, value in state.items():
        if name in before or ("running" in name and name.rsplit(".", 1)[0] in names):
            assert torch.equal(after[name], value), name
    assert all(part.training for part in network.modules())
    assert any(not torch.equal(after[name], value) for name, value in state.items() if name not in before)


@pytest.mark.parametrize("make", [SnnTorchNetwork, NorseNetwork, MultiStepSpikingJelly, Rates, OURS["cnn"]])
def test_stored_samples_replay_in_any_number(make):
    network = built(make).eval()
    x = inputs_for(network, batch=9)
    store = "raster" if make is not Rates else "quantised"
    memory = ActivationReplay(network.cut, store, per_class=2, sequence=make is not Rates)
    y, ids = torch.arange(9) % CLASSES, torch.arange(9)
    memory.observe(network, Batch(inputs=x, labels=y, sample_ids=ids))
    drawn = memory.draw(3, torch.Generator())
    axis = 1 if make in SEQUENCES else 0
    with torch.no_grad():
        wanted = whole(network, x.index_select(axis, drawn.sample_ids))
        found = memory.replay(network, drawn.activity)
    assert torch.allclose(found, wanted, atol=0.05 if make is Rates else 1e-6)


class OneStep(nn.Module):
    """A loop over the steps of a sequence, or over none: an image is shown for one."""

    cut = "neuron"

    def __init__(self, *, image: bool = False) -> None:
        super().__init__()
        self.image = image
        self.first = nn.Conv2d(3, 5, 3) if image else nn.Linear(INPUTS, HIDDEN)
        self.neuron, self.second = LIF(tau_membrane_ms=5.0).hidden(), nn.Linear(5 if image else HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        total = 0.0
        for now in [x] if self.image else x:
            spikes = self.neuron(8 * self.first(now))
            total = total + self.second(spikes.mean((2, 3)) if self.image else spikes)
        return total


ONE_STEP = {
    "snntorch": (lambda: built(SnnTorchSequence), (1, BATCH, INPUTS)),
    "norse": (NorseLIFNetwork, (1, BATCH, INPUTS)),
    "norse, sequential": (NorseNetwork, (1, BATCH, INPUTS)),
    "ours": (OneStep, (1, BATCH, INPUTS)),
    "a chain": (lambda: built(rates), (BATCH, INPUTS)),
}


@pytest.mark.parametrize("name", ONE_STEP)
def test_one_step_is_recorded_as_one_and_replays_in_any_number(name):
    make, sizes = ONE_STEP[name]
    network, x = make().eval(), 5 * torch.rand(sizes)
    memory = ActivationReplay(network.cut, "quantised", bits=16, per_class=BATCH, sequence=True)
    activity = memory.record(network, x)
    assert activity.shape[:2] == (1, BATCH)
    assert activity.std() > 0, "silent"
    memory.add(activity, torch.zeros(BATCH, dtype=torch.long), IDS)
    twin = ActivationReplay(network.cut, "quantised", bits=16)
    twin.load_state_dict(memory.state_dict())
    for places in ([3], [4, 0, 2], [0, 1, 2, 3, 4], [0, 0, 1, 2, 3, 4, 4]):
        with torch.no_grad():
            wanted = whole(network, x.index_select(1 if sizes[0] == 1 else 0, torch.tensor(places)))
            for each in (memory, twin):
                found = each.replay(network, each.take(places).activity)
                assert torch.allclose(found, wanted, atol=1e-3), places
    with pytest.raises(BadInput, match="activity must be"):
        memory.replay(network, torch.cat([activity, activity]))


@pytest.mark.parametrize("sequence", [None, False])
def test_one_step_without_a_time_axis_replays_in_any_number_too(sequence):
    network, x = OneStep().eval(), 5 * torch.rand(1, BATCH, INPUTS)
    memory = ActivationReplay("neuron", sequence=sequence)
    memory.add(memory.record(network, x), torch.zeros(BATCH, dtype=torch.long), IDS)
    for places in ([2], [4, 0, 2], [0, 0, 1, 2, 3, 4, 4]):
        with torch.no_grad():
            assert torch.equal(memory.replay(network, memory.take(places).activity), whole(network, x[:, places]))


class ShownOverTime(nn.Module):
    """An image without channels that is shown so many times, all steps in one call of the cut."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.fc, self.cut, self.head = steps, nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cut(self.fc(x.flatten(1)).expand(self.steps, -1, -1))).mean(0)


@pytest.mark.parametrize(("steps", "batch"), [(6, 6), (8, 1), (16, 16), (3, 5)])
def test_steps_are_not_taken_for_samples_where_there_are_as_many(steps, batch):
    network = ShownOverTime(steps)
    memory = ActivationReplay("cut", "quantised", bits=16, per_class=batch, sequence=True)
    activity = memory.record(network, torch.rand(batch, 8, 8))
    assert activity.shape == (steps, batch, 12)
    memory.add(activity, torch.zeros(batch, dtype=torch.long), torch.arange(batch))
    found = memory.replay(network, memory.take([0]).activity)
    assert found.shape == (1, 3)


def test_a_module_that_takes_all_steps_in_one_call_is_not_taken_for_one_step():
    for network in (built(MultiStepSpikingJelly), built(multi_step_spikingjelly)):
        for steps in (1, 4, BATCH):
            activity = ActivationReplay(network.cut, sequence=True).record(network, torch.rand(steps, BATCH, INPUTS))
            assert activity.shape == (steps, BATCH, HIDDEN)


def test_a_loop_of_ones_own_runs_where_it_is_given():
    """The module is one step; the loop over time lies outside."""
    snn = foreign("snntorch")
    network = nn.Sequential(nn.Linear(INPUTS, HIDDEN), snn.Leaky(beta=0.8, init_hidden=True), nn.Linear(HIDDEN, 8))

    def run(step: nn.Module, x: Tensor) -> Tensor:
        return sum(step(3 * x) for _ in range(STEPS))

    memory = ActivationReplay("1", run=run)
    x = torch.rand(BATCH, INPUTS)
    activity = memory.record(network, x)
    assert activity.shape == (STEPS, BATCH, HIDDEN)
    assert activity.sum() > 0
    reset(network)
    assert torch.equal(memory.replay(network, activity), run(network, x))


def test_resuming_needs_no_new_recording():
    network = built(Rates).eval()
    x = inputs_for(network)
    memory = ActivationReplay("norm", "quantised")
    memory.observe(network, Batch(inputs=x, labels=IDS % 2, sample_ids=IDS))
    twin = ActivationReplay("norm", "quantised")
    twin.load_state_dict(memory.state_dict())
    some = twin.take(IDS[:2]).activity
    assert torch.equal(twin.replay(network, some), memory.replay(network, some))


class Torn(nn.Module):
    """Everything that a cut may not be."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unused, self.second = nn.Linear(INPUTS, HIDDEN), nn.Linear(2, 2), nn.Linear(HIDDEN, 8)
        self.whole_numbers, self.several = Whole(), nn.ReLU()
        self.norm = nn.BatchNorm1d(8)
        self.times = 3

    def forward(self, x: Tensor) -> Tensor:
        self.whole_numbers(x)
        return self.norm(sum(self.several(self.second(self.several(self.first(x)))) for _ in range(self.times)))


class Whole(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.long()


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("frist", "no cut named 'frist'; did you mean 'first'"),
        ("unused", "'unused' was never called"),
        ("whole_numbers", "'whole_numbers' gives none"),
        ("several", "'several' gave"),
        (3, "no cut named 3;"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(cut, message):
    network = Torn()
    with pytest.raises(BadInput, match=message):
        ActivationReplay(cut).record(network, torch.rand(BATCH, INPUTS))
    assert all(part.training and not part._forward_hooks for part in network.modules())
    with pytest.raises(BadInput, match="network must be a torch module"):
        ActivationReplay(cut).record(Torn, torch.rand(BATCH, INPUTS))


class Shortcut(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + self.inner(x).relu()).softmax(1)  # whose sum does not depend on anything


def test_a_cut_that_a_shortcut_goes_around_is_refused():
    network, x = Shortcut(), torch.rand(BATCH, INPUTS)
    with pytest.raises(BadInput, match="the output depends on the inputs past 'inner' too"):
        ActivationReplay("inner").record(network, x)
    assert not network.inner._forward_hooks
    for cut in ("first", "last"):
        assert ActivationReplay(cut).record(network, x).shape[0] == BATCH


@pytest.mark.parametrize(
    ("cut", "message"),
    [("layer.0", "no cut named 'layer.0'; did you mean 'layers.0'"), (7, "no cut named 'layers.7'"), (-1, "no cut")],
)
def test_our_networks_name_their_cuts(cut, message):
    network = OURS["mlp"]()
    with pytest.raises(BadInput, match=message):
        ActivationReplay(cut).record(network, inputs_for(network))
    memory, by_number = ActivationReplay("layers.1"), ActivationReplay(1)
    x = inputs_for(network)
    assert torch.equal(memory.record(network, x), by_number.record(network, x))


def test_a_cut_that_a_shortcut_of_currents_goes_around_is_refused():
    network = OURS["resnet"]()
    with pytest.raises(BadInput, match=r"got 'layers.0', whose current the next layer adds too: cut at layers.2,"):
        ActivationReplay("layers.0").record(network, inputs_for(network))


def test_what_does_not_fit_the_cut_is_refused_and_changes_nothing():
    network = Torn()
    memory = ActivationReplay("first")
    with pytest.raises(BadInput, match="nothing was recorded: call record first"):
        memory.replay(network, torch.rand(3, BATCH, HIDDEN))
    activity = memory.record(network, torch.rand(BATCH, INPUTS))
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for strange in (activity[:2], activity[..., :7], activity[0], activity[:, :0]):
        with pytest.raises(BadInput, match="activity must be"):
            memory.replay(network, strange)
    for times, message in ((2, "it ran 2 times for 3 stored steps"), (5, "it runs more often")):
        network.times = times
        with pytest.raises(BadInput, match=message):
            memory.replay(network, activity)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert all(part.training and not part._forward_hooks for part in network.modules())
    assert torch.is_grad_enabled()


def test_our_networks_refuse_what_does_not_fit():
    network = OURS["cnn"]()
    activity = network.activity_at("layers.0", inputs_for(network))
    for strange in (activity[:, :, :2], activity[..., :3], activity.long(), activity[0]):
        with pytest.raises(BadInput, match=r"activity must be floating-point \[T, B, 3, 4, 4\] at 'layers.0'"):
            network.forward_from("layers.0", strange)
    with pytest.raises(BadInput, match="activity must be finite"):
        network.forward_from("layers.0", activity * torch.nan)
    with pytest.raises(BadInput, match="at least one step and one sample"):
        network.forward_from("layers.0", activity[:, :0])
    longer = torch.cat([activity, activity])
    assert network.forward_from(0, longer).shape == (BATCH, CLASSES)


def test_values_that_are_no_spikes_are_weighed_by_what_they_are():
    """A layer of spiking neurons that is given other values multiplies them, and does not count them as events."""
    network = MLP(shape(), hidden=(300, 300), encoding=Direct(STEPS), head="single").eval()
    activity = (torch.rand(STEPS, 30, 300) < 0.02).float()  # so sparse that events pay
    halves = network.forward_from(0, 0.5 * activity)
    with network.exact_autograd():
        assert torch.allclose(halves, network.forward_from(0, 0.5 * activity), atol=1e-6)
    assert not torch.allclose(halves, network.forward_from(0, activity))


@pytest.mark.parametrize("name", ["mlp", "rate", "dsr", "cnn", "average pooling", "before pooling", "cnn rate"])
def test_what_is_sent_again_says_of_itself_what_was_sent(name):
    network = OURS[name]().eval()
    activity = network.activity_at(network.cut, inputs_for(network))
    with torch.no_grad():
        sent = network.layers[0](network.encoding.signal(inputs_for(network)))
    place, before_pooling = place_of(network.cut, [*network.layers])
    again = sent_again(network.layers[place], activity, before_pooling=before_pooling)
    for field in ("time_steps", "constant", "spikes_per_unit", "amplitude"):
        assert getattr(again, field) == getattr(sent, field), field
    assert again.values.shape == sent.values.shape


def test_a_plain_chain_refuses_other_units_and_takes_any_precision():
    network = rates().double().eval()
    x = inputs_for(network).double()
    memory = ActivationReplay(network.cut)
    activity = memory.record(network, x)
    assert torch.allclose(memory.replay(network, activity.float()), network(x), atol=1e-6)
    with pytest.raises(BadInput, match="activity must be like what was recorded at '2'"):
        memory.replay(network, activity[:, :3])


def test_replay_from_a_cut_runs_under_the_transforms_of_functions():
    network = OURS["mlp"]().eval()
    activity = network.activity_at(0, inputs_for(network))
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    class Behind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, one: Tensor) -> Tensor:
            return self.network.forward_from(0, one.unsqueeze(1)).square().sum()

    def loss(weights, one):
        return torch.func.functional_call(Behind(), {f"network.{k}": v for k, v in weights.items()}, (one,))

    with network.exact_autograd():
        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, activity)
        whole = torch.func.grad(lambda weights: sum(loss(weights, one) for one in activity.unbind(1)))(parameters)
    for name, value in whole.items():
        assert torch.allclose(each[name].sum(0), value, rtol=1e-4, atol=1e-5), name
    assert whole["layers.1.synapse.weight"].abs().sum() > 0


def test_features_from_the_cut_are_features():
    network = OURS["mlp"]().eval()
    x = inputs_for(network)
    with torch.no_grad():
        assert torch.equal(network.features_from(0, network.activity_at(0, x)), network.features(x))


def test_replay_goes_to_the_device_of_the_network(device):
    for make in (OURS["mlp"], Rates):
        network = built(make).to(device).eval()
        x = inputs_for(network).to(device)
        memory = ActivationReplay(network.cut)
        activity = memory.record(network, x)
        assert activity.device.type == device.type
        with torch.no_grad():
            assert torch.equal(memory.replay(network, activity.cpu()), network(x))
