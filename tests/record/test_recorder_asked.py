"""What was asked of a recorder and cannot be, or came to nothing, is said."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from neurocl import record
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput, UnknownName
from neurocl.record.lateral_taps import side_by_side
from neurocl.record.passes import Passes
from neurocl.record.taps import named

STEPS, BATCH, WIDTH = 5, 3, 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "traces.h5"


def spiking():
    return torch.full((STEPS, BATCH, WIDTH), 2.0)


def test_a_variable_that_nothing_has_is_refused_with_the_close_one(path):
    with pytest.raises(UnknownName, match=r"no variable named 'votlage'; did you mean 'voltage'"):
        record.Recorder(path, LIF(), variables=["votlage"])
    with pytest.raises(BadInput, match=r"variables must be .* got 'weights': ask for them with weights='values'"):
        record.Recorder(path.with_name("u.h5"), LIF(), variables=["weights"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": ["spikes", "adaptation"]}, "nothing of adaptation was recorded: 0 has .*voltage"),
        ({"variables": ["output"]}, "nothing of output was recorded: 0 has spikes"),
        ({"variables": ["spikes", "lateral"]}, "nothing of lateral was recorded"),
        ({"neurons": {"hiden.1": 2}}, "nothing is named 'hiden.1'"),
        ({"weights": "values", "weight_names": ["haed*"]}, "none matches 'haed[*]'"),
        ({"populations": ["0", "hiden*"]}, "none matches 'hiden[*]'"),
    ],
)
def test_names_that_match_nothing_are_told_once_at_the_end(options, message, path):
    network = nn.Sequential(LIF())
    recorder = record.Recorder(path, network, **options)
    for _ in range(2):
        network(spiking())
    recorder.snapshot()
    with pytest.warns(RuntimeWarning, match=message) as told:
        recorder.close()
    assert len(told) == 1


def test_a_population_that_is_never_called_is_told(path):
    network = nn.ModuleDict({"lif": LIF()})
    with (
        pytest.warns(RuntimeWarning, match="none of lif was, in 1 calls and blocks"),
        record.Recorder(path, network) as recorder,
        recorder.samples(),
    ):
        LIF()(spiking())


def test_an_error_in_the_block_is_not_hidden_by_warnings(path):
    network = nn.Sequential(LIF())
    with pytest.raises(KeyError), record.Recorder(path, network, neurons={"hiden.1": 2}):
        network({}["no such key"])


@pytest.mark.parametrize(("name", "cell"), [("LIF", "LIFCell"), ("LSNN", "LSNNCell"), ("LIFAdEx", "LIFAdExCell")])
def test_norses_sequences_name_the_cell_that_tells_its_states(name, cell, path):
    norse = pytest.importorskip("norse.torch")
    network = nn.Sequential(getattr(norse, name)())
    with (
        pytest.warns(RuntimeWarning, match=f"0 is Norse's {name}, .*voltage cannot be recorded: use {cell}") as told,
        record.Recorder(path, network, variables=["spikes", "voltage"]),
    ):
        network(20 * spiking())
    assert len(told) == 1


CELLS = {
    "IAFCell": ["voltage"],
    "LICell": ["voltage", "synaptic_current"],
    "LIBoxCell": ["voltage"],
    "LIFCell": ["voltage", "synaptic_current"],
    "LIFBoxCell": ["voltage"],
    "LIFExCell": ["voltage", "synaptic_current"],
    "LIFAdExCell": ["voltage", "synaptic_current", "adaptation"],
    "LSNNCell": ["voltage", "synaptic_current", "adaptation"],
    "LIFRefracCell": ["voltage", "synaptic_current", "rho"],
    "LIFAdExRefracCell": ["voltage", "synaptic_current", "adaptation", "rho"],
}


@pytest.mark.parametrize("name", CELLS)
def test_every_state_of_norses_cells_has_its_name(name, path):
    pytest.importorskip("norse.torch")
    from norse.torch import module as modules

    found = [getattr(part, name) for part in vars(modules).values() if hasattr(part, name)]
    cell, states = (found or [getattr(modules, name, None)])[0](), []
    with record.Recorder(path, cell, variables=CELLS[name]) as recorder, recorder.samples():
        state = None
        for x in 20 * spiking():
            _, state = cell(x, state)
            states.append({variable: value.detach().clone() for variable, value in named(state).items()})
    with record.open(path) as traces:
        assert sorted(traces["network"].variables) == sorted(CELLS[name])
        for variable in CELLS[name]:
            wanted = torch.stack([each[variable] for each in states]).transpose(0, 1)
            assert torch.equal(traces["network"].torch(variable), wanted.float())


class Waits(TorchDispatchMode):
    """Counts how often the host would wait for a device."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += "local_scalar_dense" in str(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("variables", [("spikes",), ("spikes", "rate", "output")])
def test_no_step_of_another_librarys_neurons_waits_for_the_device(variables, path):
    snn = pytest.importorskip("snntorch")
    neuron = snn.Leaky(beta=0.9)
    with record.Recorder(path, neuron, variables=variables) as recorder, recorder.samples():
        memory = neuron.init_leaky()
        with Waits() as waits:
            for x in spiking():
                _, memory = neuron(x, memory)
    assert waits.number == 0


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_outputs_held_until_somebody_looks_are_bounded_and_come_out_the_same(factor, path, monkeypatch):
    snn = pytest.importorskip("snntorch")
    monkeypatch.setattr("neurocl.record.passes.HELD_BYTES", 100)
    looks = []
    pack = Passes._pack
    monkeypatch.setattr(Passes, "_pack", lambda passes, now: (looks.append(now.held), pack(passes, now))[1])
    neuron, outputs = snn.Leaky(beta=0.9, graded_spikes_factor=factor), []
    with record.Recorder(path, neuron) as recorder, recorder.samples():
        memory = neuron.init_leaky()
        for _ in range(8):
            spikes, memory = neuron(torch.full((BATCH, WIDTH), 0.3), memory)
            outputs.append(spikes.detach().clone())
    assert looks
    assert max(looks) < 200
    with record.open(path) as traces:
        name = "spikes" if factor == 1 else "output"
        assert traces["network"].variables == [name]
        assert torch.equal(traces["network"].torch(name).float(), torch.stack(outputs).transpose(0, 1))
        assert torch.stack(outputs).any()


def test_rows_of_groups_keep_their_columns_while_they_grow():
    one, two = torch.rand(2, 5), 10 + torch.rand(2, 5)
    before, after = side_by_side([one[:, :1], two[:, :2]]), side_by_side([one[:, :4], two[:, :3]])
    assert torch.equal(after[:, [0, 1, 3]], before[:, [0, 1, 3]])
    assert before[:, 2].isnan().all()  # the second row of the first group, which comes later
    assert torch.equal(after[:, 0::2], one[:, :4])
    assert torch.equal(side_by_side([one]), one)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5, 1.0, 2.0], r"labels must be one whole number .*got \[0.5\]"),
        ([float("nan"), 1.0, 2.0], r"labels must be one whole number .*got \[nan\]"),
        ([2**31, 0, 1], "labels must be a whole number between -2147483648 and 2147483647, of 32 bits; got 2147483648"),
        ([2**40, 0, 1], "labels must be a whole number between"),
    ],
)
def test_labels_that_a_file_cannot_hold_are_refused_at_once(labels, message, path):
    recorder = record.Recorder(path, LIF())
    with pytest.raises(BadInput, match=message), recorder.samples(labels=torch.tensor(labels)):
        pass
    with recorder.samples(
        labels=torch.tensor([1.0, 2.0, 3.0]), sample_ids=[2**40, 0, 1]
    ):  # whole, and ids have 64 bits
        recorder._networks[0](spiking())
    recorder.close()
    with record.open(path) as traces:
        assert traces.samples["label"].tolist() == [1, 2, 3]
        assert traces.samples["sample_id"].tolist() == [2**40, 0, 1]


@pytest.mark.parametrize("known", [{"task": 2**31}, {"stage": 2**31}, {"task": torch.tensor([2**31, 0, 0])}])
def test_tasks_of_samples_beyond_their_column_are_refused(known, path):
    with (
        record.Recorder(path, LIF()) as recorder,
        pytest.raises(BadInput, match=r"must be a whole number between .* of 32 bits"),
        recorder.samples(**known),
    ):
        pass


@pytest.mark.parametrize("options", [{"task": 2**70}, {"task": -(2**63) - 1}])
def test_a_marker_that_cannot_be_written_is_refused_and_recording_goes_on(options, path):
    neuron = LIF()
    with record.Recorder(path, neuron) as recorder:
        with pytest.raises(BadInput, match=r"task must be a whole number .*of 64 bits"):
            recorder.mark("accuracy", **options)
        neuron(spiking())
    with record.open(path) as traces:
        assert len(traces) == BATCH
        assert traces.markers == []


@pytest.mark.parametrize("metadata", [{"x": np.float32(1)}, {"x": {1, 2}}, {"x": {(1, 2): 3}}])
def test_metadata_that_are_no_json_are_refused(metadata, path):
    with pytest.raises(BadInput, match="metadata must be plain JSON values by name"):
        record.Recorder(path, LIF(), metadata=metadata)
    assert not path.exists()


def test_half_precision_that_overflows_is_told_once(path):
    neuron = LIF()

    def play():
        with record.Recorder(path, neuron, variables=("current",), precision="float16"):
            for _ in range(3):
                neuron(5e5 * spiking())

    with pytest.warns(RuntimeWarning, match=r"network has current of up to 1e\+06.*precision='float32'") as told:
        play()
    assert len(told) == 1
    with record.open(path) as traces:
        assert np.isinf(traces["network"].read("current")).all()
