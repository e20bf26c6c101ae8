"""Are wrong arguments, states and activity refused before anything changes, in words that name them?"""

import copy

import pytest
import torch
from torch import nn

from neurocl.plasticity import (
    HebbianRule,
    LateralCircuit,
    LinearNeurons,
    SimilarityMatching,
    SpikeRates,
    attach_lateral,
)
from neurocl.primitives.checks import BadInput


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8))


def taught(network: nn.Module, **options):
    """Circuits in their second task."""
    circuits = attach_lateral(network, **({"rows": 2} | options))
    circuits.begin_task()
    network(torch.randn(30, 20)).square().mean().backward()
    circuits.end_task()
    circuits.begin_task()
    network.zero_grad()
    return circuits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": HebbianRule}, "rule must be an object such as"),
        ({"neurons": LinearNeurons}, "neurons must be an object such as"),
        ({"neurons": 5, "side": "weight"}, "neurons must be an object such as"),
        ({"rules": 3}, "rules must be a mapping from layers to rules; got 3"),
        ({"rules": {"0": 3}}, "layer '0': rule must be an object such as"),
        ({"layers": [0]}, "no linear or convolutional layer named 0; did you mean '0'"),
        ({"layers": "0"}, "layers must be a list of names"),
        ({"rows": {"0": "explained-variance", "2": 1}}, "layer '0': rows by layer must be numbers"),
        ({"rows": {0: 2}}, "no layer named 0; did you mean '0'"),
    ],
)
def test_what_is_no_rule_no_neurons_or_no_name_is_refused(options, message, as_installed):
    network = net()
    with pytest.raises(BadInput, match=message):
        attach_lateral(network, **({"rows": 2} | options))
    assert not network[0]._forward_hooks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attach_lateral("net", rows=2), "network must be a torch module; got 'net'"),
        (lambda: attach_lateral(net(), rows=2).protect(3), r"optimiser must be a torch\.optim\.Optimizer; got 3"),
        (lambda: LateralCircuit(3, neurons=5), "neurons must be an object"),
        (lambda: LateralCircuit(3, rule=SimilarityMatching), "rule must be an object"),
    ],
)
def test_objects_of_another_kind_are_refused(call, message, as_installed):
    with pytest.raises(BadInput, match=message):
        call()


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        (torch.randn(5, 7), r"torch\.float32 \[5, 7\]"),
        (torch.randn(6), r"torch\.float32 \[6\]"),
        (torch.randn(2, 5, 6), r"torch\.float32 \[2, 5, 6\]"),
        (torch.ones(5, 6, dtype=torch.long), r"torch\.int64"),
        (torch.randn(5, 6).double(), r"torch\.float64"),
        ([[1.0] * 6], "list"),
    ],
)
def test_rows_that_do_not_fit_the_lateral_weights_are_refused(rows, given, as_installed):
    circuit = LateralCircuit(6)
    circuit.grow(2)
    before = circuit.new.clone()
    with pytest.raises(BadInput, match=rf"rows must be a tensor of shape \[R, 6\].*got {given}"):
        circuit.hebbian_update(rows)
    assert torch.equal(circuit.new, before)


@pytest.mark.parametrize("rule", [HebbianRule(), SimilarityMatching()])
@pytest.mark.parametrize("neurons", [LinearNeurons(), SpikeRates()])
def test_rows_with_a_graph_are_learnt_without_it(rule, neurons):
    circuit, layer = LateralCircuit(12, rule=rule, neurons=neurons), nn.Linear(10, 12)
    for _ in range(2):
        circuit.grow(3)
        circuit.project(layer(torch.randn(5, 10)))
        circuit.hebbian_update(layer(torch.randn(5, 10)))
        assert not any(buffer.requires_grad for buffer in circuit.buffers())
        circuit.consolidate()


def test_a_frozen_bias_is_left_alone():
    network = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    network[1].bias.requires_grad_(False)
    circuits = attach_lateral(network, rows=2)
    circuits.begin_task()
    network(torch.randn(6, 5)).square().sum().backward()
    circuits.end_task()
    assert [report.rows for report in circuits.reports] == [2, 2]


def test_attaching_that_fails_half_way_takes_its_hooks_off_again(monkeypatch):
    network = net()

    def refuse(hook):
        raise RuntimeError("no hooks today")

    monkeypatch.setattr(network[2].weight, "register_hook", refuse)
    with pytest.raises(RuntimeError, match="no hooks today"):
        attach_lateral(network, rows=2)
    monkeypatch.undo()
    attach_lateral(network, rows=2)


def test_activity_of_16_bits_is_summed_in_32():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 16), nn.Linear(16, 8))
    circuits = attach_lateral(network, rows=2)
    circuits.begin_task()
    x = torch.full((64, 20), 60.0)  # energies between the layers are above 6.6e4, the largest number of float16
    for _ in range(2):
        with torch.autocast("cpu", torch.float16):
            loss = network(x).float().square().mean()
        loss.backward()
    circuits.end_task()
    assert circuits.reports[1].rows == 2
    assert circuits.reports[1].captured > 0.1


def test_a_convolution_on_images_of_two_sizes_learns_from_both():
    layer = nn.Conv2d(3, 4, 3)
    circuits = attach_lateral(nn.Sequential(layer), rows=2, most_rows=400)
    circuit, seen = circuits.layers["0"].circuits[0], []
    circuit.learn_from = lambda rows, known: seen.append(rows)
    circuits.begin_task()
    small, large = torch.zeros(10, 3, 8, 8), torch.ones(6, 3, 16, 16)
    for _ in range(4):  # 360 and 1176 patches, of which a third or so is wanted
        (layer(small).sum() + layer(large).sum()).backward()
    assert all(0 < len(rows) <= 400 for rows in seen)
    assert all(0.0 < float(rows.mean()) < 1.0 for rows in seen)


@pytest.mark.parametrize("learning", [True, False])
def test_activity_that_is_not_finite_leaves_spiking_neurons_as_they_were(learning):
    network = net()
    circuits = taught(network, neurons=SpikeRates())
    circuits.learn(learning)
    network(torch.randn(30, 20)).square().mean().backward()
    before = circuits.layers["0"].circuits[0].rounding.clone()
    with pytest.raises(BadInput, match="layer '0': activity must be finite"):
        network(torch.full((3, 20), torch.nan))
    assert torch.equal(circuits.layers["0"].circuits[0].rounding, before)
    assert float(before[0]) > 0


@pytest.mark.parametrize("side", ["input", "weight"])
def test_circuits_follow_a_network_that_moves_within_a_task(side):
    network = net()
    circuits = taught(network, side=side)
    network.double()
    before = network[0].weight.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        network(torch.randn(30, 20).double()).square().mean().backward()
        optimiser.step()
    rows = circuits.layers["0"].circuits[0].old.clone()
    circuits.end_task()
    assert rows.dtype is torch.float64
    assert not torch.equal(before, network[0].weight)
    assert circuits.reports[0].leak < 1e-9


def test_a_network_that_moves_to_16_bits_is_refused():
    network = net()
    taught(network)
    network.bfloat16()
    with pytest.raises(BadInput, match=r"layer '0' must have floating-point weights of 32 bits.*bfloat16"):
        network(torch.randn(30, 20).bfloat16())


def test_detached_circuits_begin_and_end_no_task():
    circuits = taught(net())
    circuits.detach()
    for call in (circuits.end_task, circuits.begin_task):
        with pytest.raises(BadInput, match="these were detached: call attach_lateral again"):
            call()


def test_rows_by_share_grow_within_tasks_only():
    network = net()
    circuits = attach_lateral(network, rows="explained-variance", share=0.9)
    network(torch.randn(30, 20)).square().mean().backward()
    assert [report.rows for report in circuits.report()] == [0, 0]
    circuits.begin_task()
    network(torch.randn(30, 20)).square().mean().backward()
    assert all(report.rows > 0 for report in circuits.report())


def test_a_state_saved_within_a_task_knows_what_the_task_began_with():
    network = net()
    network.register_module("idle", nn.Linear(9, 3))
    run = nn.Sequential(*network[:3])
    circuits = attach_lateral(network, rows=2, layers=["0", "2", "idle"])
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        circuits.begin_task()
        for _ in range(2):
            optimiser.zero_grad()
            run(torch.randn(30, 20)).square().mean().backward()
            optimiser.step()
        if circuits.tasks_begun == 1:
            circuits.end_task()
    twin = copy.deepcopy(network)
    state = copy.deepcopy(circuits.state_dict())
    other = net()
    other.register_module("idle", nn.Linear(9, 3))
    again = attach_lateral(other, rows=2, layers=["0", "2", "idle"])
    other.load_state_dict(twin.state_dict())
    again.load_state_dict(state)
    assert again.reports == circuits.reports
    assert again.report() == circuits.report()
    circuits.end_task()
    again.end_task()
    assert again.reports == circuits.reports
    assert [report.rows for report in again.reports] == [4, 4, 0]
    assert all(report.leak is not None for report in again.reports[:2])


def test_a_state_from_before_it_was_complete_still_loads():
    circuits = taught(net())
    circuits.end_task()
    old = copy.deepcopy(circuits.state_dict())
    del old["reports"]
    for layer in old["layers"].values():
        for key in ("seen", "before", "leak", "by_weight"):
            del layer[key]
    again = attach_lateral(net(), rows=2)
    again.load_state_dict(old)
    again.begin_task()
    assert again.tasks_begun == 3
    assert torch.equal(again.layers["2"].circuits[0].old, circuits.layers["2"].circuits[0].old)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("new", torch.zeros(2, 3), r"the state's new rows must have 16 values; got \[2, 3\]"),
        ("old", torch.full((2, 16), torch.nan), "the state's old must be finite"),
        ("old", torch.zeros(40, 16), "must not have more rows than inputs, 16; got 42"),
        ("inhibition", torch.zeros(3, 2), r"the state's inhibition must be \[2, 2\]; got \[3, 2\]"),
        ("energy", torch.zeros(3), r"the state's energy must be \[2\]; got \[3\]"),
        ("strange", torch.zeros(3), "these entries differ: strange"),
    ],
)
def test_a_state_that_cannot_have_been_is_refused_whole(key, value, message):
    circuits = taught(net())
    state = copy.deepcopy(circuits.state_dict())
    state["tasks_begun"] = 7
    state["layers"]["0"]["circuits"]["0"]["old"] *= 0
    state["layers"]["2"]["circuits"]["0"][key] = value
    before = copy.deepcopy(circuits.state_dict())
    with pytest.raises(BadInput, match=f"layer '2': .*{message}"):
        circuits.load_state_dict(state)
    assert circuits.tasks_begun == 2
    for name, stored in before["layers"]["0"]["circuits"]["0"].items():
        assert torch.equal(stored, circuits.state_dict()["layers"]["0"]["circuits"]["0"][name])


@pytest.mark.parametrize("state", [{}, 3, {"layers": 3}])
def test_no_state_at_all_is_refused(state, as_installed):
    with pytest.raises(BadInput, match="missing: tasks_begun, in_task, layers"):
        taught(net()).load_state_dict(state)
