"""A compiled network is recorded as the one it was made from."""

import pytest
import torch
import torch._dynamo
from torch import nn

from neurocl import record
from neurocl.neurons import LIF, observation

STEPS, BATCH = 6, 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.lif = nn.Linear(8, 5), LIF()

    def forward(self, x):
        return self.lif(self.linear(x))[0]


@pytest.fixture(autouse=True)
def forget():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def drive():
    return 4 * torch.rand(STEPS, BATCH, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("whose", ["compiled", "original", "called before"])
@torch.no_grad()
def test_a_compiled_network_is_recorded_whichever_module_the_recorder_gets(whose, tmp_path):
    network = Net()
    compiled, wanted = torch.compile(network, backend="eager"), network(drive()).transpose(0, 1)
    if whose == "called before":
        compiled(drive())
    given = compiled if whose == "compiled" else network
    options = {"variables": ("spikes", "voltage"), "weights": "values"}
    with record.Recorder(tmp_path / "t.h5", given, **options) as recorder:
        for _ in range(2):
            with recorder.samples(labels=torch.arange(BATCH)):
                compiled(drive())
        recorder.snapshot()
    assert wanted.any()
    with record.open(tmp_path / "t.h5") as traces:
        assert traces.populations == ["lif"]  # not as the compiler calls it
        assert traces.weights == ["linear.weight"]
        assert torch.equal(traces["lif"].torch("spikes").float(), torch.cat([wanted, wanted]))
        assert traces["lif"].read("voltage").shape == (2 * BATCH, STEPS, 5)


@torch.no_grad()
def test_a_network_that_is_no_longer_recorded_is_one_graph_again(tmp_path):
    network = Net()
    record.Recorder(tmp_path / "t.h5", network).close()
    assert not observation._WATCHING
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(compiled(drive()), network(drive()))
    with (
        record.Recorder(tmp_path / "u.h5", network),
        pytest.raises(torch._dynamo.exc.Unsupported, match="neurons are recorded"),
    ):
        compiled(drive())
