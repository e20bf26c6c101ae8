"""Do our neurons work inside the other libraries' containers, beside their neurons?"""

import copy

import pytest
import torch
from torch import nn

from neurocl.neurons import LIF, CurrentLIF, reset
from neurocl.primitives.checks import BadInput


def excited(network, strength):
    """Let every synapse excite: silent layers would pass any comparison."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.weight.abs_().mul_(strength)
    return network


def train_one_batch(network, inputs):
    """Run over time step by step, go backward, and return the summed output."""
    total = torch.stack([network(now) for now in inputs]).sum(0)
    total.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert sum(p.grad.abs().sum() for p in network.parameters()) > 0
    return total.detach()


@pytest.fixture
def mixed(snntorch, spikingjelly):
    """Linear layers with a neuron of each library between them, in nn.Sequential."""
    return excited(nn.Sequential(
        nn.Linear(6, 20), LIF(tau_membrane_ms=10.0).hidden(),
        nn.Linear(20, 20), snntorch.Leaky(0.9, init_hidden=True),
        nn.Sequential(nn.Linear(20, 20), CurrentLIF().hidden()),
        nn.Linear(20, 20), spikingjelly.neuron.LIFNode(2.0),
        nn.Linear(20, 3),
    ), strength=1.0)  # fmt: skip


def test_reset_makes_a_mixed_network_repeat_itself(mixed):
    inputs = torch.rand(15, 5, 6)
    first = train_one_batch(mixed, inputs)
    assert first.std(0).min() > 0
    carried_on = [module.v for module in mixed.modules() if hasattr(module, "reset_mem") and hasattr(module, "v")]
    assert all(isinstance(v, torch.Tensor) for v in carried_on)
    reset(mixed)
    assert torch.equal(train_one_batch(mixed, inputs), first)  # backward works again: every graph was dropped
    unreset = torch.stack([mixed(now.detach()) for now in inputs]).sum(0)
    assert not torch.equal(unreset.detach(), first)
    reset(mixed)
    assert train_one_batch(mixed, inputs[:, :2]).shape == (2, 3)


def test_reset_leaves_other_networks_alone(snntorch):
    one, other = nn.Sequential(snntorch.Leaky(0.9, init_hidden=True)), snntorch.Leaky(0.9, init_hidden=True)
    one(torch.ones(2, 3))
    other(torch.ones(2, 3))
    reset(one)
    assert one[0].mem.abs().sum() == 0
    assert other.mem.abs().sum() > 0


def test_reset_ignores_methods_of_that_name_elsewhere():
    class Counter(nn.Module):
        def reset(self):
            raise AssertionError("reset of a module that is no neuron")

    reset(nn.Sequential(Counter(), LIF().hidden()))


def test_spikingjelly_drives_our_hidden_view(spikingjelly):
    network = nn.Sequential(nn.Linear(6, 10), LIF.like_spikingjelly().hidden(), nn.Linear(10, 3))
    twin = copy.deepcopy(network)
    twin[1] = spikingjelly.neuron.LIFNode()
    inputs = 8 * torch.rand(12, 4, 6)
    spikingjelly.functional.set_step_mode(network, "m")
    spikingjelly.functional.set_step_mode(twin, "m")
    assert network[1].step_mode == "m"
    outputs = network(inputs)
    assert torch.equal(outputs, twin(inputs))
    assert torch.equal(network[1].v, twin[1].v)
    spikingjelly.functional.detach_net(network)
    assert not network[1].v.requires_grad
    spikingjelly.functional.reset_net(network)
    assert torch.equal(network(inputs), outputs)
    monitor = spikingjelly.monitor.AttributeMonitor("v", False, network, instance=type(network[1]))
    spikingjelly.functional.reset_net(network)
    network(inputs)
    assert torch.equal(monitor.records[0], network[1].v)
    monitor.remove_hooks()


def test_our_neuron_serves_a_loop_written_for_snntorch(snntorch):
    inputs = torch.rand(30, 4, 5)
    ours, theirs = LIF.like_snntorch(beta=0.9).cell(), snntorch.Leaky(0.9)
    records = []
    for neuron in (ours, theirs):
        spikes, membranes, state = [], [], None
        for now in inputs:
            out, state = neuron(now, state)
            spikes.append(out)
            membranes.append(state)
        records.append((torch.stack(spikes), torch.stack(membranes)))
    assert records[0][0].mean() > 0.05
    assert torch.equal(records[0][0], records[1][0])
    assert torch.equal(records[0][1], records[1][1])


def test_norse_passes_our_state_step_by_step(norse):
    network = excited(norse.SequentialState(
        nn.Linear(6, 10), CurrentLIF.like_norse().cell(), nn.Linear(10, 8), norse.LIFCell(),
        nn.Linear(8, 8), LIF().hidden(), nn.Linear(8, 3), LIF.like_norse().cell(),
    ), strength=6.0)  # fmt: skip
    twin = copy.deepcopy(network)
    twin[1], twin[7] = norse.LIFCell(), norse.LIFBoxCell()
    inputs = torch.rand(25, 4, 6)

    def run(network):
        state, outputs = None, []
        for now in inputs:
            output, state = network(now, state)
            outputs.append(output)
        return torch.stack(outputs), state

    outputs, state = run(network)
    assert outputs.mean() > 0.02
    reset(twin)
    assert torch.equal(outputs, run(twin)[0])
    assert state[1].v.shape == (4, 10)
    outputs.sum().backward()
    assert network[0].weight.grad.abs().sum() > 0
    reset(network)
    assert torch.equal(run(network)[0], outputs)  # theirs and ours restart from None, the hidden one from its reset


def test_norse_passes_whole_sequences_to_our_neuron(norse):
    network = norse.SequentialState(nn.Linear(6, 10), LIF(), nn.Linear(10, 3))
    inputs = 3 * torch.rand(20, 4, 6)
    whole, state = network(inputs)
    assert whole.shape == (20, 4, 3)
    first, between = network(inputs[:7])
    second, after = network(inputs[7:], between)
    assert torch.allclose(torch.cat([first, second]), whole, atol=1e-6)  # products of other sizes
    assert torch.equal(after[1], state[1])


def test_the_reset_of_what_is_no_network_is_one_clear_line(as_installed):
    with pytest.raises(BadInput, match="reset takes a torch module; got int: give the whole network"):
        reset(3)
