"""Do circuits on a network change what they should, leave alone what they should, and refuse what cannot work?"""

import copy

import pytest
import torch
from torch import nn

from neurocl.plasticity import LateralCircuit, LinearNeurons, SettlingSpikes, SpikeRates, attach_lateral
from neurocl.primitives.checks import BadInput


def prepared(network: nn.Module, x: torch.Tensor, **options):
    """Circuits with old rows, of different numbers in each layer."""
    circuits = attach_lateral(network, rows={"0": [5, 2], "3": 10}, **options)
    circuits.begin_task()
    network(x).square().sum().backward()
    circuits.end_task()
    circuits.begin_task()
    network.zero_grad()
    return circuits


def gradients(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    network.zero_grad()
    network(x).square().sum().backward()
    return [p.grad.clone() for p in network.parameters()]


IMAGES = torch.randn(6, 2, 8, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def image_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=(1, 2), dilation=(1, 2), groups=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(64, 3),
    ).double()


def test_both_sides_give_the_same_gradients():
    found = []
    for side in ("input", "weight"):
        network = image_net()
        prepared(network, IMAGES, side=side)
        found.append(gradients(network, IMAGES))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)
    assert float(found[0][0].abs().max()) > 0


@pytest.mark.parametrize("neurons", [LinearNeurons(), SpikeRates(scale=5.0, steps=5000), SettlingSpikes(steps=4000)])
def test_projected_gradients_lie_outside_the_rows_and_agree_with_plain_ones_there(neurons):
    network = image_net()
    plain = gradients(network, IMAGES)
    circuits = prepared(network, IMAGES, neurons=neurons)
    projected = gradients(network, IMAGES)
    for name, place in (("0", 0), ("3", 2)):
        layer = circuits.layers[name]
        inside = plain[place] - layer.project(plain[place])
        assert float(inside.norm()) > 0.02 * float(plain[place].norm())
        assert torch.allclose(projected[place], layer.project(plain[place]), atol=float(inside.abs().max()) * 0.05)
    assert torch.equal(projected[3], torch.zeros(3, dtype=torch.float64))  # the bias moves old answers too


def test_the_forward_pass_and_the_error_going_down_stay_as_they_are():
    network, plain = image_net(), image_net()
    prepared(network, IMAGES, side="input")
    x, y = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    a, b = network(x), plain(y)
    assert torch.equal(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    assert torch.allclose(x.grad, y.grad, rtol=1e-12)


def test_an_update_of_adam_with_weight_decay_stays_outside_the_rows():
    network = image_net()
    circuits = prepared(network, IMAGES)
    before = copy.deepcopy(network.state_dict())
    optimiser = circuits.protect(torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1))
    for _ in range(3):
        gradients(network, IMAGES)
        optimiser.step()
    for name in ("0", "3"):
        layer, change = circuits.layers[name], network.state_dict()[f"{name}.weight"] - before[f"{name}.weight"]
        inside = change - layer.project(change)
        assert float(inside.square().sum() / change.square().sum()) < 1e-12
        assert torch.equal(network.state_dict()[f"{name}.bias"], before[f"{name}.bias"])


def test_calls_without_a_backward_pass_leave_nothing_behind():
    network = image_net()
    circuits = attach_lateral(network, rows=4)
    circuits.begin_task()
    network(IMAGES)
    network.eval()
    network(IMAGES).sum().backward()
    with torch.no_grad():
        network.train()(IMAGES)
    layer = circuits.layers["0"]
    assert not layer.collected
    assert layer.updates == 0
    network(IMAGES).sum().backward()
    assert layer.updates == 1


def test_a_batch_in_steps_makes_one_update_from_all_its_rows():
    torch.manual_seed(0)
    whole, stepped = nn.Linear(8, 5), nn.Linear(8, 5)
    stepped.load_state_dict(whole.state_dict())
    x = torch.randn(4, 6, 8)
    states = []
    for layer, run in ((whole, lambda n: n(x)), (stepped, lambda n: torch.stack([n(now) for now in x]))):
        circuits = attach_lateral(nn.Sequential(layer), rows=3)
        circuits.begin_task()
        run(layer).square().sum().backward()
        circuit = circuits.layers["0"].circuits[0]
        assert circuits.layers["0"].updates == 1
        states.append(circuit.new @ circuit.new.T + 0 * circuit.new.sum())
        rows = circuit.new
    assert torch.allclose(states[0], states[1], atol=1e-6)
    assert rows.shape == (3, 8)


def test_activity_is_thinned_out_evenly_above_the_limit():
    layer = nn.Linear(4, 2)
    circuits = attach_lateral(nn.Sequential(layer), rows=2, most_rows=10)
    seen = []
    circuit = circuits.layers["0"].circuits[0]
    circuit.learn_from = lambda rows, known: seen.append(rows.clone())
    circuits.begin_task()
    x = torch.arange(35.0).unsqueeze(1).expand(35, 4)
    for _ in range(4):
        layer(x).sum().backward()
    assert all(len(rows) <= 10 for rows in seen)
    assert sorted({float(value) for rows in seen for value in rows[:, 0]}) == list(map(float, range(35)))


def test_detached_circuits_leave_the_network_as_if_they_had_never_been():
    network = image_net()
    plain = gradients(image_net(), IMAGES)
    circuits = prepared(network, IMAGES)
    assert not torch.allclose(gradients(network, IMAGES)[0], plain[0])
    circuits.detach()
    for a, b in zip(gradients(network, IMAGES), plain, strict=True):
        assert torch.equal(a, b)
    attach_lateral(network, rows=2)


def test_a_state_dict_goes_on_bit_for_bit():
    def trained(circuits, network, times):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(times):
            gradients(network, IMAGES)
            optimiser.step()

    network = image_net()
    circuits = prepared(network, IMAGES)
    trained(circuits, network, 2)
    other = image_net()
    again = attach_lateral(other, rows={"0": [5, 2], "3": 10})
    other.load_state_dict(network.state_dict())
    again.load_state_dict(copy.deepcopy(circuits.state_dict()))
    for one, net in ((circuits, network), (again, other)):
        trained(one, net, 2)
        one.end_task()
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, layer in circuits.layers.items():
        for one, two in zip(layer.circuits, again.layers[name].circuits, strict=True):
            assert torch.equal(one.old, two.old)


def test_rows_by_task_and_report():
    network = image_net()
    circuits = attach_lateral(network, rows={"0": [3, 2], "3": 7}, layers=["*"])
    for expected in ((3, 7), (5, 14), (7, 21)):
        circuits.begin_task()
        gradients(network, IMAGES)
        circuits.end_task()
        report = {layer.layer: layer for layer in circuits.report()}
        assert (report["0"].rows, report["3"].rows) == (2 * expected[0], expected[1])  # two groups
        assert report["3"].room == 64 - expected[1]
        assert report["3"].drift < 1e-6


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight


def integer_layer() -> nn.Module:
    layer = nn.Linear(4, 2)
    layer.weight = nn.Parameter(torch.zeros(2, 4, dtype=torch.int32), requires_grad=False)
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (nn.Sequential(nn.Linear(4, 2)), {"rows": 5}, "layer '0': rows must not exceed its 4 inputs; got 5"),
        (nn.Sequential(nn.Linear(4, 2)), {"rows": 2, "layers": ["O"]}, "no linear or convolutional layer named 'O'"),
        (nn.Sequential(nn.Linear(4, 2)), {"rows": {"1": 2}}, "no layer named '1'"),
        (nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2)), {"rows": {"0": 2}}, "must name every layer.*missing: 1"),
        (nn.Sequential(nn.Linear(4, 2)), {"rows": -1}, "rows of layer '0' must be a whole number"),
        (nn.Sequential(nn.Linear(4, 2)), {"rows": []}, "layer '0': rows must hold one number"),
        (nn.Sequential(nn.Linear(4, 2)), {"rows": "all"}, "no way to choose rows named 'all'"),
        (Tied(), {"rows": 2}, "layer 'one' must have its weight to itself; it is shared by one.weight, two.weight"),
        (
            integer_layer(),
            {"rows": 2, "layers": ["0"]},
            "layer '0' must have floating-point weights of 32 bits at least; got torch.int32",
        ),
        (nn.Sequential(nn.ReLU()), {"rows": 2}, "must have an nn.Linear or nn.Conv2d that learns; Sequential has none"),
        (
            nn.Sequential(nn.Linear(4, 2)),
            {"rows": 2, "side": "weight", "neurons": SpikeRates()},
            "side must be 'input' or 'auto' for lateral neurons that spike",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_name_and_changes_nothing(network, options, message):
    with pytest.raises(BadInput, match=message):
        attach_lateral(network, **options)
    assert not any(module._forward_hooks for module in network.modules())


def test_attaching_twice_is_refused():
    network = nn.Sequential(nn.Linear(4, 2))
    attach_lateral(network, rows=2)
    with pytest.raises(BadInput, match="layer '0' has lateral circuits already: detach"):
        attach_lateral(network, rows=2)


def test_a_task_beyond_the_room_is_refused_before_any_layer_grows():
    network = image_net()
    circuits = attach_lateral(network, rows={"0": [2, 8], "3": 3})
    for _ in range(2):
        if circuits.tasks_begun == 1:
            with pytest.raises(BadInput, match=r"layer '0': rows must not exceed the room that is left, 7 of 9"):
                circuits.begin_task()
            assert circuits.layers["3"].circuits[0].rows == 3
        else:
            circuits.begin_task()
            gradients(network, IMAGES)
            circuits.end_task()


def test_adam_over_spiking_lateral_neurons_is_refused():
    network = image_net()
    circuits = attach_lateral(network, rows=2, neurons=SpikeRates())
    with pytest.raises(
        BadInput, match="layer '0': lateral neurons that spike cannot project the change that Adam makes"
    ):
        circuits.protect(torch.optim.Adam(network.parameters()))
    circuits.protect(torch.optim.SGD(network.parameters(), lr=0.1))


def test_activity_that_is_not_finite_is_refused_with_the_layer_and_nothing_changes():
    network = image_net()
    circuits = attach_lateral(network, rows=2, layers=["3"])
    circuits.begin_task()
    before = circuits.layers["3"].circuits[0].new.clone()
    x = IMAGES.clone()
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(BadInput, match="layer '3': activity must be finite"):
        network(x).sum().backward()
    assert torch.equal(circuits.layers["3"].circuits[0].new, before)


def test_circuits_have_the_dtype_and_the_bytes_of_their_layers():
    circuits = attach_lateral(image_net(), rows=3)
    circuits.begin_task()
    circuit = circuits.layers["3"].circuits[0]
    assert isinstance(circuit, LateralCircuit)
    assert circuit.new.dtype == torch.float64
    auxiliary, memory = circuits.byte_counts()
    assert memory == 0
    assert auxiliary >= 8 * (2 * 3 * 64 + 2 * 2 * 3 * 9)  # rows and momentum, in both layers
