"""A compiled network is recorded as the one it was made from; in a process without checks of types, as users have."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import torch
from torch import nn
from neurocl import record
from neurocl.neurons import LIF, observation

whose, folder = sys.argv[1:]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.lif = nn.Linear(8, 5), LIF()
    def forward(self, x):
        return self.lif(self.linear(x))[0]

torch.manual_seed(0)
torch.set_grad_enabled(False)
network, x = Net(), 4 * torch.rand(6, 4, 8)
compiled, wanted = torch.compile(network, backend="eager"), network(x).transpose(0, 1)
if whose == "called":
    compiled(x)
given = compiled if whose == "compiled" else network
options = {"variables": ("spikes", "voltage"), "weights": "values"}
with record.Recorder(f"{folder}/t.h5", given, **options) as recorder:
    for _ in range(2):
        with recorder.samples(labels=torch.arange(4)):
            compiled(x)
    recorder.snapshot()
assert wanted.any()
with record.open(f"{folder}/t.h5") as traces:
    assert traces.populations == ["lif"], traces.populations  # not as the compiler calls it
    assert list(traces.weights) == ["linear.weight"], traces.weights
    assert torch.equal(traces["lif"].torch("spikes").float(), torch.cat([wanted, wanted]))
    assert traces["lif"].read("voltage").shape == (8, 6, 5)
assert not observation._WATCHING
whole = torch.compile(network, backend="eager", fullgraph=True)
assert torch.equal(whole(x).transpose(0, 1), wanted)  # one graph again
"""


@pytest.mark.parametrize("whose", ["compiled", "original", "called"])
def test_a_compiled_network_is_recorded_whichever_module_the_recorder_gets(whose, tmp_path):
    run = [sys.executable, "-c", SCRIPT, whose, str(tmp_path)]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
