"""What belongs to one pass, whatever happens in between: interrupts, shared modules, empty batches, odd labels."""

import os
import signal
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from neurocl import record
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput

STEPS, BATCH, WIDTH = 3, 2, 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "traces.h5"


class Interruptible(nn.Module):
    """A network that calls its neurons step by step, and may be interrupted at the second step."""

    def __init__(self):
        super().__init__()
        self.cell = nn.ReLU()
        self.interrupted = False

    def forward(self, x):
        for step in range(STEPS):
            if self.interrupted and step == 1:
                raise KeyboardInterrupt
            x = self.cell(x)
        return x


def interrupt(network):
    network.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        network(torch.ones(BATCH, WIDTH))
    network.interrupted = False


@pytest.mark.parametrize("in_a_block", [False, True])
def test_passes_after_an_interrupted_one_are_passes_again(in_a_block, path):
    network = Interruptible()
    with record.Recorder(path, network, populations=["cell"]) as recorder:
        if in_a_block:
            with recorder.samples():
                interrupt(network)
        else:
            interrupt(network)
        for _ in range(5):
            network(torch.ones(BATCH, WIDTH))
        with recorder.samples():
            network(torch.ones(BATCH, WIDTH))
    with record.open(path) as traces:
        assert traces.samples["time_steps"].tolist() == [1] * BATCH + [STEPS] * 6 * BATCH


def test_a_block_around_a_network_that_was_interrupted_before_it_is_one_pass(path):
    network = Interruptible()
    with record.Recorder(path, network, populations=["cell"]) as recorder:
        interrupt(network)
        for label in (5, 6):
            with recorder.samples(labels=torch.full((BATCH,), label)):
                for _ in range(2):
                    network(torch.ones(BATCH, WIDTH))
    with record.open(path) as traces:
        assert traces.samples["label"].tolist() == [-1] * BATCH + [5] * BATCH + [6] * BATCH
        assert traces.samples["time_steps"].tolist() == [1] * BATCH + [2 * STEPS] * 2 * BATCH


def test_a_hook_that_raises_before_the_recorders_own_does_not_split_later_passes(path):
    network = Interruptible()
    failing = True

    def refuse(*_):
        if failing:
            raise RuntimeError("not now")

    network.register_forward_pre_hook(refuse)
    with record.Recorder(path, network, populations=["cell"]):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not now"):
                network(torch.ones(BATCH, WIDTH))
        failing = False
        for _ in range(3):
            network(torch.ones(BATCH, WIDTH))
    with record.open(path) as traces:
        assert traces.samples["time_steps"].tolist() == [STEPS] * 3 * BATCH


@pytest.mark.parametrize("spikes", ["raster", "events"])
def test_an_empty_batch_is_skipped_and_recording_goes_on(spikes, path):
    neuron = LIF()
    with record.Recorder(path, neuron, spikes=spikes) as recorder:
        for batch in (3, 0, 2):
            with recorder.samples(labels=torch.arange(batch)):
                neuron(torch.full((4, batch, 10), 2.0))
    with record.open(path) as traces:
        assert traces["network"].raster().shape == (5, 4, 10)
        assert traces.samples["label"].tolist() == [0, 1, 2, 0, 1]


class Shared(nn.Module):
    """Two layers around one cell of snnTorch or Norse that keeps no state of its own."""

    def __init__(self, cell, widths, state):
        super().__init__()
        self.first, self.second = nn.Linear(5, widths[0]), nn.Linear(5, widths[1])
        self.cell, self.state = cell, state

    def forward(self, x):
        one, two = self.state(), self.state()
        for _ in range(STEPS):
            _, one = self.cell(self.first(x), one)
            _, two = self.cell(self.second(x), two)
        return one


@pytest.mark.parametrize("library", ["snntorch", "norse.torch"])
@pytest.mark.parametrize(
    ("widths", "shown"), [((6, 30), r"shape \(6,\) and of \(30,\)"), ((6, 6), "two states in turn")]
)
def test_a_cell_that_two_layers_share_is_refused_by_name(widths, shown, library, path):
    module = pytest.importorskip(library)
    snntorch = library == "snntorch"
    cell = module.Leaky(beta=0.9) if snntorch else module.LIFCell()
    network = Shared(cell, widths, (lambda: torch.zeros(())) if snntorch else (lambda: None))
    with (
        pytest.raises(BadInput, match=f"populations must be modules of one layer each; cell shows.*{shown}"),
        record.Recorder(path, network),
    ):
        network(torch.rand(BATCH, 5))
    network(torch.rand(BATCH, 5))  # the network is as it was


def test_a_second_network_with_the_same_names_is_refused_until_the_first_is_detached(path):
    one, two = nn.Sequential(LIF()), nn.Sequential(LIF())
    with record.Recorder(path, one) as recorder:
        with pytest.raises(BadInput, match="differ in name between the networks of one recorder; 0 is there"):
            recorder.attach(two)
        one(torch.full((STEPS, BATCH, WIDTH), 2.0))
        recorder.detach()
        recorder.attach(two)
        two(torch.full((STEPS, BATCH, WIDTH), 0.0))
    with record.open(path) as traces:
        assert traces["0"].raster().any(axis=(1, 2)).tolist() == [True] * BATCH + [False] * BATCH


@pytest.mark.parametrize("name", ["weights", "a/b"])
def test_names_that_a_trace_file_keeps_for_itself_are_refused(name, path):
    with pytest.raises(BadInput, match=f"populations must be modules whose names.*got '{name}'"):
        record.Recorder(path, nn.ModuleDict({name: LIF()}))


@pytest.mark.parametrize("variables", [("spikes", "rate", "output"), ("spikes",), ("output",)])
def test_spikes_that_turn_out_graded_are_outputs_from_the_passs_first_step_on(variables, path):
    snn = pytest.importorskip("snntorch")
    neuron, outputs = snn.Leaky(beta=0.9, graded_spikes_factor=0.5), []
    empty = pytest.warns(RuntimeWarning, match="nothing of spikes was recorded: network has output")
    with (
        nullcontext() if "output" in variables else empty,
        record.Recorder(path, neuron, variables=variables) as recorder,
    ):
        for _ in range(2):
            mem = neuron.init_leaky()
            with recorder.samples():
                for _ in range(8):  # silent at first, which could be bits
                    spikes, mem = neuron(torch.full((BATCH, WIDTH), 0.3), mem)
                    outputs.append(spikes.detach())
    wanted = torch.stack(outputs).unflatten(0, (2, 8)).transpose(1, 2).flatten(0, 1)
    assert wanted[:, 0].eq(0).all()
    assert wanted.eq(0.5).any()
    with record.open(path) as traces:
        if "output" in variables:
            assert traces["network"].variables == ["output"]
            assert torch.equal(traces["network"].torch("output"), wanted)
        else:
            assert traces.populations == []


def spiking():
    return torch.full((STEPS, BATCH, WIDTH), 2.0)


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
def test_labels_tasks_and_ids_may_be_lists_arrays_and_tensors(make, path):
    neuron = LIF()
    with (
        record.Recorder(path, neuron) as recorder,
        recorder.samples(labels=make([3, 4]), sample_ids=make([7, 8]), task=make([0, 1])),
    ):
        neuron(spiking())
    with record.open(path) as traces:
        assert traces.samples["label"].tolist() == [3, 4]
        assert traces.samples["sample_id"].tolist() == [7, 8]
        assert traces.samples["task"].tolist() == [0, 1]


def test_labels_that_are_no_row_are_refused_before_anything_runs(path):
    with record.Recorder(path, LIF()) as recorder:
        for labels in (torch.tensor([[3], [4]]), np.zeros((2, 2), int), torch.tensor(3), np.array(["a", "b"])):
            with (
                pytest.raises(BadInput, match=r"labels must be one whole number for each sample, \[B\]; got"),
                recorder.samples(labels=labels),
            ):
                pass


def test_labels_of_another_number_of_samples_are_unknown_with_one_warning(path):
    neuron = LIF()
    with record.Recorder(path, neuron) as recorder:
        with (
            pytest.warns(RuntimeWarning, match="labels must be one for each of the 2 samples .*; got 3"),
            recorder.samples(labels=[3, 4, 5]),
        ):
            neuron(spiking())
        with recorder.samples(labels=[3, 4, 5]):  # a second warning would be an error here
            neuron(spiking())
    with record.open(path) as traces:
        assert traces.samples["label"].tolist() == [-1] * 2 * BATCH


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forking with threads: what is tested
def test_a_forked_process_neither_hangs_nor_writes_in_what_it_inherited(path):
    neuron = LIF()
    with record.Recorder(path, neuron) as recorder:
        neuron(spiking())
        recorder.checkpoint(0)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            neuron(spiking())
            recorder.mark("note")
            recorder.flush()
            recorder.checkpoint(1)
            recorder.rewind(None)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        neuron(spiking())
    with record.open(path) as traces:
        assert len(traces) == 2 * BATCH
        assert [marker.kind for marker in traces.markers] == ["checkpoint"]


def test_a_second_close_does_what_an_interrupted_one_left(path, monkeypatch):
    neuron = LIF()
    recorder = record.Recorder(path, neuron)
    neuron(spiking())

    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recorder._writer, "end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recorder.close()
    recorder.close()
    recorder.close()
    record.Recorder(path, neuron, resume=True).close()  # nobody holds it any longer
    with record.open(path) as traces:
        assert len(traces) == BATCH
