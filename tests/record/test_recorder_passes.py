"""What belongs to one pass, whatever happens in between: interrupts, shared modules, empty batches, odd labels."""

import pytest
import torch
from torch import nn

from neurocl import record

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
