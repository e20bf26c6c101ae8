"""Does nothing leak into the protected span, whatever a training loop does between forward pass and step?"""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurocl.plasticity import HebbianRule, SpikeRates, attach_lateral
from neurocl.primitives.checks import BadInput

LEAK = 1e-9


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8))


def cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 4, 3, groups=2))


def inputs(network: nn.Sequential, seed: int = 1, rows: int = 30) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    shape = (rows, 20) if isinstance(network[0], nn.Linear) else (rows, 3, 6, 6)
    return torch.randn(*shape, generator=draws)


def ready(network: nn.Sequential, **options):
    """Return circuits whose second task has begun, and an optimiser."""
    circuits = attach_lateral(network, rows=(5, 2), **options)
    optimiser = circuits.protect(torch.optim.SGD(network.parameters(), lr=0.1))
    circuits.begin_task()
    for step in range(5):
        network(inputs(network, step)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    circuits.end_task()
    circuits.begin_task()
    return circuits, optimiser


def two_backwards(network, optimiser, x):
    y = network(x)
    y[:, 0].square().mean().backward(retain_graph=True)
    y[:, 1].square().mean().backward()


def losses_first_backwards_later(network, optimiser, x):
    for loss in [network(x + shift).square().mean() for shift in range(4)]:
        loss.backward()


def in_evaluation_mode(network, optimiser, x):
    network.eval()
    network(x).square().mean().backward()
    network.train()


def with_a_penalty_on_the_weights(network, optimiser, x):
    loss = network(x).square().mean()
    (loss + sum(p.square().sum() for p in network.parameters())).backward()


def by_the_bare_weight(network, optimiser, x):
    first = network[0]
    if isinstance(first, nn.Linear):
        current = functional.linear(x, first.weight, first.bias)
    else:
        current = functional.conv2d(x, first.weight, first.bias, padding=1)
    network[2](network[1](current)).square().mean().backward()


def one_call_a_time_step(network, optimiser, x):
    sum(network(x * (step + 1)).square().mean() for step in range(3)).backward()


def after_gradients_for_inputs_alone(network, optimiser, x):
    for _ in range(3):
        source = x.clone().requires_grad_()
        torch.autograd.grad(network(source).square().mean(), source)
    network(x).square().mean().backward()


def in_autocast(network, optimiser, x):
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(x).float().square().mean()
    loss.backward()


@pytest.mark.parametrize("side", ["auto", "input", "weight"])
@pytest.mark.parametrize("make", [mlp, cnn])
@pytest.mark.parametrize(
    "train",
    [
        two_backwards,
        losses_first_backwards_later,
        in_evaluation_mode,
        with_a_penalty_on_the_weights,
        by_the_bare_weight,
        one_call_a_time_step,
        after_gradients_for_inputs_alone,
        in_autocast,
    ],
)
def test_nothing_leaks(train, make, side):
    network = make()
    circuits, optimiser = ready(network, side=side)
    before = [p.clone() for p in network.parameters()]
    for step in range(3):
        train(network, optimiser, inputs(network, 10 + step))
        optimiser.step()
        optimiser.zero_grad()
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert all(not layer.collected for layer in circuits.layers.values())
    circuits.end_task()
    assert all(report.leak < LEAK for report in circuits.reports), circuits.reports


def test_rows_of_calls_that_ask_for_input_gradients_alone_are_not_learnt_and_not_kept():
    network = mlp()
    circuits, _ = ready(network)
    source = inputs(network).requires_grad_()
    for _ in range(20):
        torch.autograd.grad(network(source).sum(), source)
    assert all(len(layer.collected) <= 1 for layer in circuits.layers.values())
    updates = circuits.layers["0"].updates
    network(inputs(network)).sum().backward()
    assert circuits.layers["0"].updates == updates + 1


@pytest.mark.parametrize("way", ["deepcopy", "assign"])
def test_copied_and_reassigned_weights_stay_protected(way):
    network = mlp()
    circuits, _ = ready(network)
    old = [layer.circuits[0].old.clone() for layer in circuits.layers.values()]
    if way == "deepcopy":
        network = copy.deepcopy(network)
    else:
        network.load_state_dict({k: v.clone() for k, v in network.state_dict().items()}, assign=True)
    before = [network[place].weight.detach().clone() for place in (0, 2)]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for step in range(3):
        optimiser.zero_grad()
        network(inputs(network, step)).square().mean().backward()
        optimiser.step()
    for place, start, rows in zip((0, 2), before, old, strict=True):
        change = network[place].weight.detach() - start
        assert float(change.norm()) > 1e-4
        assert float((change @ rows.T).norm() / change.norm()) < 1e-5


@pytest.mark.parametrize("when", ["before", "later"])
def test_weight_decay_is_projected_also_where_it_is_set_later(when):
    network = mlp()
    circuits, optimiser = ready(network)
    optimiser.param_groups[0]["weight_decay"] = 0.1
    if when == "before":
        optimiser = circuits.protect(torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1))
    network(inputs(network)).square().mean().backward()
    optimiser.step()
    circuits.end_task()
    assert all(report.leak < LEAK for report in circuits.reports)


def test_gradients_changed_element_by_element_are_projected_where_asked_for():
    leaks = []
    for always in (False, True):
        network = mlp()
        circuits, _ = ready(network)
        optimiser = circuits.protect(torch.optim.SGD(network.parameters(), lr=0.1), always=always)
        network(inputs(network)).square().mean().backward()
        nn.utils.clip_grad_value_(network.parameters(), 1e-3)
        optimiser.step()
        told = pytest.warns(UserWarning, match=r"inside the protected span.*always=True")
        with nullcontext() if always else told:
            circuits.end_task()
        leaks.append(max(report.leak for report in circuits.reports))
    assert leaks[0] > 1e-3
    assert leaks[1] < LEAK


def test_after_detach_nothing_is_projected_any_more():
    network = mlp()
    circuits, _ = ready(network)
    optimiser = circuits.protect(torch.optim.Adam(network.parameters(), lr=0.1))
    circuits.detach()
    plain = copy.deepcopy(network)
    other = torch.optim.Adam(plain.parameters(), lr=0.1)
    for net, step in ((network, optimiser), (plain, other)):
        net.zero_grad()
        net(inputs(net)).square().mean().backward()
        step.step()
    assert torch.equal(network[0].weight, plain[0].weight)


def test_spikingjelly_convolutions_over_time_are_projected_on_the_input_side():
    spikingjelly = pytest.importorskip("spikingjelly.activation_based.layer")
    leaks = {}
    for neurons in (None, SpikeRates(scale=4.0, steps=4000)):
        torch.manual_seed(0)
        layer = spikingjelly.Conv2d(3, 6, 3, padding=1, step_mode="m")
        network = nn.Sequential(layer)
        circuits = attach_lateral(network, rows=(5, 2), side="input", neurons=neurons)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(2):
            circuits.begin_task()
            for step in range(3):
                x = torch.randn(4, 5, 3, 6, 6, generator=torch.Generator().manual_seed(step))
                optimiser.zero_grad()
                network(x).square().mean().backward()
                optimiser.step()
            circuits.end_task()
        leaks[neurons] = circuits.reports[0].leak
    assert leaks[None] < LEAK
    assert leaks[SpikeRates(scale=4.0, steps=4000)] < 1e-3


@pytest.mark.parametrize("make", [mlp, cnn])
def test_an_empty_batch_is_no_update(make):
    network = make()
    circuits, _ = ready(network)
    new = circuits.layers["0"].circuits[0].new.clone()
    network(inputs(network, rows=0)).sum().backward()
    assert torch.equal(circuits.layers["0"].circuits[0].new, new)


def test_second_derivatives_through_projected_rows_are_refused_not_wrong():
    network = mlp()
    ready(network, side="input")
    source = inputs(network).requires_grad_()
    (gradient,) = torch.autograd.grad(network(source).square().sum(), source, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_activity_that_is_not_finite_changes_no_layer_at_all(bad):
    network = cnn()
    circuits, _ = ready(network)
    state = copy.deepcopy(circuits.state_dict())
    x = inputs(network)
    x[3, 2] = bad
    with pytest.raises(BadInput, match=r"layer '0': activity must be finite.*1 of 30"):
        network(x).square().mean().backward()
    after = circuits.state_dict()
    for name, layer in state["layers"].items():
        for place, circuit in layer["circuits"].items():
            for key, value in circuit.items():
                assert torch.equal(value, after["layers"][name]["circuits"][place][key]), (name, key)


def test_diverged_lateral_weights_end_no_layer_half():
    network = mlp()
    circuits = attach_lateral(network, rows=3, rule=HebbianRule(learning_rate=1e20))
    circuits.begin_task()
    for step in range(9):
        network(inputs(network, step)).square().mean().backward()
    with pytest.raises(BadInput, match=r"layer '0': lateral weights must be finite.*SimilarityMatching"):
        circuits.end_task()
    assert all(len(layer.circuits[0].old) == 0 for layer in circuits.layers.values())


def test_a_layer_that_never_ran_keeps_its_room():
    network = mlp()
    network.register_module("idle", nn.Linear(9, 3))
    circuits = attach_lateral(network, rows=4, layers=["0", "2", "idle"])
    circuits.begin_task()
    network[2](network[1](network[0](inputs(network)))).square().mean().backward()
    circuits.end_task()
    assert [report.rows for report in circuits.reports] == [4, 4, 0]


def weight_normed() -> nn.Linear:
    return nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))


class Doubling(nn.Linear):
    """A layer that does not multiply by its weight alone."""

    def forward(self, input):
        return functional.linear(input, 2 * self.weight, self.bias)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (weight_normed, "computed from others"),
        (lambda: nn.utils.spectral_norm(nn.Linear(6, 4)), "computed from others"),
        (lambda: Doubling(6, 4), "is a Doubling, whose forward"),
        (lambda: nn.MultiheadAttention(8, 2), "is a NonDynamicallyQuantizableLinear"),
        (lambda: nn.LazyLinear(4), "must know its inputs"),
        (lambda: nn.Linear(6, 4).half(), "32 bits at least; got torch.float16"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_layers_whose_changes_cannot_be_projected_are_refused(make, message):
    with pytest.raises(BadInput, match=message):
        attach_lateral(nn.Sequential(make()), rows=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 2.5}, "rows must be a number"),
        ({"rows": None}, "rows must be a number"),
        ({"rows": 2, "layers": []}, "layers must name one layer"),
        ({"rows": 2, "neurons": "linear"}, "neurons must be an object such as LinearNeurons"),
        ({"rows": 2, "rule": 0.1}, "rule must be an object such as SimilarityMatching"),
        ({"rows": 2, "share": 1.5}, "share must be"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options, message, as_installed):
    with pytest.raises(BadInput, match=message):
        attach_lateral(mlp(), **options)


def test_a_task_ends_before_the_next_begins():
    network = mlp()
    circuits, _ = ready(network)
    with pytest.raises(BadInput, match="end_task"):
        circuits.begin_task()
    assert circuits.tasks_begun == 2


def test_a_state_of_other_widths_is_refused_whole():
    circuits, _ = ready(mlp())
    other = attach_lateral(nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8)), rows=2)
    wrong = copy.deepcopy(circuits.state_dict())
    wrong["layers"]["2"]["circuits"]["0"]["old"] = torch.zeros(5, 7)
    with pytest.raises(BadInput, match="layer '2': the state's old rows must have 16 values"):
        other.load_state_dict(wrong)
    assert other.tasks_begun == 0
    assert len(other.layers["0"].circuits[0].old) == 0


def test_coarse_spikes_are_reported():
    network = mlp()
    circuits, _ = ready(network, neurons=SpikeRates(scale=20.0, steps=4))
    network(inputs(network)).square().mean().backward()
    assert circuits.report()[0].missed > 0.5
