"""Networks of other libraries are recorded with the same two lines."""

import pytest
import torch
from torch import nn

from neurocl import record
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput

STEPS, BATCH = 6, 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "traces.h5"


def drive(width=8):
    return 2 * torch.rand(STEPS, BATCH, width, generator=torch.Generator().manual_seed(0))


def seen(calls):
    return torch.stack(calls).transpose(0, 1)


def test_a_snntorch_loop(path):
    snn = pytest.importorskip("snntorch")
    linear, first, second = nn.Linear(8, 5), snn.Leaky(beta=0.9), snn.Synaptic(alpha=0.8, beta=0.9)
    network = nn.ModuleDict({"linear": linear, "first": first, "second": second})
    spikes, membranes, currents = [], [], []
    wanted = ("spikes", "voltage", "synaptic_current", "current")
    recorder = record.Recorder(path, network, variables=wanted)
    with recorder, recorder.samples(labels=torch.arange(BATCH)):
        mem1, (syn, mem2) = first.init_leaky(), second.init_synaptic()
        for x in drive():
            one, mem1 = first(linear(x), mem1)
            two, syn, mem2 = second(one, syn, mem2)
            spikes.append(two.detach())
            membranes.append(mem1.detach())
            currents.append(syn.detach())
    with record.open(path) as traces:
        assert traces.populations == ["first", "second"]
        assert torch.equal(traces["second"].torch("spikes").float(), seen(spikes))
        assert torch.equal(traces["first"].torch("voltage"), seen(membranes))
        assert torch.equal(traces["second"].torch("synaptic_current"), seen(currents))
        assert traces["first"].read("current").shape == (BATCH, STEPS, 5)
        assert seen(spikes).mean() > 0
        assert traces.samples["label"].tolist() == [0, 1, 2, 3]


def test_a_snntorch_sequential_with_hidden_states_looped_inside_a_module(path):
    snn = pytest.importorskip("snntorch")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 5), snn.Leaky(beta=0.9, init_hidden=True))

        def forward(self, x):
            self.body[1].reset_mem()
            return torch.stack([self.body(now) for now in x])

    network = Net()
    with record.Recorder(path, network, variables=("spikes", "voltage")):
        outputs = [network(drive()).detach() for _ in range(2)]
    with record.open(path) as traces:
        raster = traces["body.1"].torch("spikes").float()
        assert raster.shape == (2 * BATCH, STEPS, 5)
        assert torch.equal(raster, torch.cat(outputs, 1).transpose(0, 1))
        assert traces["body.1"].read("voltage").shape == raster.shape


def test_norse_cells_and_sequences(path):
    norse = pytest.importorskip("norse.torch")
    network = norse.SequentialState(nn.Linear(8, 5), norse.LIFCell(), nn.Linear(5, 3), norse.LICell())
    voltages, outputs = [], []
    with record.Recorder(path, network, variables=("spikes", "output", "voltage")) as recorder, recorder.samples():
        state = None
        for x in drive() * 20:
            out, state = network(x, state)
            voltages.append(state[1].v.detach())
            outputs.append(out.detach())
    with record.open(path) as traces:
        assert traces.populations == ["1", "3"]
        assert torch.equal(traces["1"].torch("voltage"), seen(voltages))
        assert torch.equal(traces["3"].torch("output"), seen(outputs))
        assert traces["1"].raster().any()
    silent = nn.ModuleDict({"integrator": norse.LICell(), "spiking": norse.LIFCell()})
    with record.Recorder(path.with_name("c.h5"), silent) as recorder, recorder.samples():
        state = other = None
        for x in (torch.zeros(BATCH, 3), torch.ones(BATCH, 3)):  # zeros first, which could be spikes
            _, state = silent["integrator"](x, state)
            _, other = silent["spiking"](x, other)
    with record.open(path.with_name("c.h5")) as traces:
        assert traces["integrator"].variables == ["output"]
        assert traces["integrator"].read("output").shape == (BATCH, 2, 3)
        assert traces["spiking"].variables == ["spikes"]
    sequence = norse.LIF()
    with record.Recorder(path.with_name("b.h5"), sequence):
        spikes, _ = sequence(drive() * 20)
    with record.open(path.with_name("b.h5")) as traces:
        assert torch.equal(traces["network"].torch("spikes").float(), spikes.detach().transpose(0, 1))


@pytest.mark.parametrize("mode", ["s", "m"])
def test_spikingjelly_in_both_step_modes(mode, path):
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    functional = pytest.importorskip("spikingjelly.activation_based.functional")
    network = nn.Sequential(nn.Linear(8, 5), neuron.LIFNode(step_mode=mode))
    x, outputs = drive() * 3, []
    with record.Recorder(path, network, variables=("spikes", "voltage")) as recorder:
        for _ in range(2):
            functional.reset_net(network)
            with recorder.samples():
                outputs.append(network(x) if mode == "m" else torch.stack([network(now) for now in x]))
    with record.open(path) as traces:
        wanted = torch.cat(outputs, 1).detach().transpose(0, 1)
        assert wanted.mean() > 0
        assert torch.equal(traces["1"].torch("spikes").float(), wanted)
        assert traces["1"].read("voltage").shape == wanted.shape


def test_our_neurons_in_somebody_elses_container(path):
    network = nn.Sequential(nn.Linear(8, 5), LIF().hidden())
    x, outputs = drive() * 3, []
    with record.Recorder(path, network, variables=("spikes", "voltage")) as recorder, recorder.samples():
        outputs = [network(now).detach() for now in x]
    with record.open(path) as traces:
        assert traces.populations == ["1"]
        assert torch.equal(traces["1"].torch("spikes").float(), seen(outputs))
        assert traces["1"].read("voltage").shape == (BATCH, STEPS, 5)


def test_any_module_by_name_and_its_output_is_copied(path):
    network = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Identity(), nn.ReLU(inplace=True))
    x = drive()[0]
    with record.Recorder(path, network, populations=["0", "1"]):
        wanted = [network[0](x).detach().clone(), network[:2](x).detach().clone()]
        network(x)
    with record.open(path) as traces:
        for name, output in zip("01", wanted, strict=True):
            read = traces[name].torch("output")
            assert read.shape[1:] == (1, 5)
            assert torch.equal(read[-BATCH:, 0], output)


def test_a_module_without_a_tensor_says_so(path):
    class Pair(nn.Module):
        def forward(self, x):
            return {"x": x}

    network = nn.Sequential(Pair())
    with (
        pytest.raises(BadInput, match="populations must be modules whose output is a tensor"),
        record.Recorder(path, network, populations=["0"]),
    ):
        network(torch.ones(2, 3))


def test_two_networks_go_into_one_file(path):
    one, two = nn.ModuleDict({"a": LIF()}), nn.ModuleDict({"b": LIF()})
    with record.Recorder(path, one) as recorder:
        recorder.attach(two)
        with recorder.samples():
            two["b"](one["a"](torch.ones(3, 2, 4))[0])
    with record.open(path) as traces:
        assert traces.populations == ["a", "b"]
        assert len(traces) == 2


def test_the_membrane_of_snntorchs_alpha_is_its_last_state(path):
    snn = pytest.importorskip("snntorch")
    neuron, membranes = snn.Alpha(alpha=0.9, beta=0.8), []
    with record.Recorder(path, neuron, variables=("spikes", "voltage", "syn_exc")) as recorder, recorder.samples():
        state = neuron.init_alpha()
        for x in drive():
            _, *state = neuron(x, *state)
            membranes.append(state[-1].detach())
    with record.open(path) as traces:
        assert torch.equal(traces["network"].torch("voltage"), seen(membranes))
        assert seen(membranes).std() > 0.01
        assert traces["network"].variables == ["spikes", "voltage", "syn_exc"]


@pytest.mark.parametrize("name", ["StateLeaky", "LinearLeaky"])
def test_snntorch_neurons_of_whole_sequences_have_a_time_axis(name, path):
    snn = pytest.importorskip("snntorch")
    make = {
        "StateLeaky": lambda: snn.StateLeaky(beta=0.9, channels=8),
        "LinearLeaky": lambda: snn.LinearLeaky(beta=0.9, in_features=8, out_features=5),
    }
    neuron = make[name]()
    labels = torch.arange(BATCH)
    wanted = ("spikes", "voltage")
    with record.Recorder(path, neuron, variables=wanted) as recorder, recorder.samples(labels=labels):
        spikes, membrane = neuron(3 * drive())
    with record.open(path) as traces:
        assert traces.samples["label"].tolist() == labels.tolist()
        assert torch.equal(traces["network"].torch("spikes").float(), spikes.detach().transpose(0, 1))
        assert torch.equal(traces["network"].torch("voltage"), membrane.detach().transpose(0, 1))
        assert spikes.any()


@pytest.mark.parametrize("before", [False, True])
def test_spikingjelly_keeps_membranes_over_time_after_recording_only_if_it_did_before(before, path):
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    network = nn.Sequential(neuron.LIFNode(step_mode="m", store_v_seq=before))
    with record.Recorder(path, network, variables=("voltage",)):
        assert network[0].store_v_seq
    assert network[0].store_v_seq is before


def test_membranes_of_other_libraries_are_not_said_to_be_in_units_of_our_threshold(path):
    snn = pytest.importorskip("snntorch")
    network = nn.Sequential(snn.Leaky(beta=0.9, threshold=3.0, init_hidden=True), LIF().hidden())
    recorder = record.Recorder(path, network, variables=("spikes", "voltage"))
    with recorder, recorder.samples(labels=torch.arange(BATCH)):
        for x in drive():
            network(x)
    with record.open(path) as traces:
        assert traces["0"].units("voltage") == "dimensionless"
        assert traces["1"].units("voltage") == "threshold"
