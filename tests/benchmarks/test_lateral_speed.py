"""What do lateral circuits cost? Processor time of one training step, and peak memory, beside the same network alone.

784-800-800-10, DSR, T = 20, batches of 64. Run by ``pytest tests/benchmarks/test_lateral_speed.py -m slow -n 0``, which
prints milliseconds, ratios and megabytes: least of interleaved rounds in one process, memory in processes of their own.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch

from neurocl.networks import MLP, Direct, WeightedRate
from neurocl.neurons import DSRLIF
from neurocl.plasticity import attach_lateral
from neurocl.primitives.tasks import TaskShape
from neurocl.run.peak import peak_bytes

SHAPE = TaskShape(input_shape=(1, 28, 28), num_classes=10, num_tasks=10, setting="domain-incremental")
ROWS = {"without": (0, 0), "150 rows": (80, 70), "430 rows": (400, 30)}  # old ones, and those that learn
TIME = {"tau_membrane_ms": 20.0, "dt_ms": 1.0}
ROUNDS = 12


def made(old: int, new: int) -> Callable[[], None]:
    """Return one step of training in the second task."""
    torch.manual_seed(0)
    network = MLP(
        SHAPE,
        hidden=(800, 800),
        bias=False,
        neuron=lambda: DSRLIF(threshold=0.3, fire_at=0.3, trainable=True, **TIME),
        head="single",
        encoding=Direct(20),
        readout=WeightedRate(tau_ms=20.0, dt_ms=1.0),
        training="dsr",
        seed=0,
    )
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, fused=True)
    images = torch.rand(64, 1, 28, 28) * (torch.rand(64, 1, 28, 28) < 0.2)
    labels = torch.arange(64) % 10

    def step() -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()

    if old:
        circuits = attach_lateral(network, rows=(old, new))
        circuits.begin_task()
        step()
        circuits.end_task()
        circuits.begin_task()
    return step


@pytest.mark.slow
def test_a_step_with_circuits_takes_less_than_twice_as_long_as_one_without(capsys):
    steps = {name: made(*rows) for name, rows in ROWS.items()}
    least = dict.fromkeys(steps, float("inf"))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.process_time()
            for _ in range(5):
                step()
            least[name] = min(least[name], (time.process_time() - start) / 5)
    with capsys.disabled():
        for name, seconds in least.items():
            sys.stdout.write(f"\n{name}: {1e3 * seconds:.1f} ms, {seconds / least['without']:.2f} times")
    assert max(least.values()) < 2 * least["without"]


@pytest.mark.slow
def test_circuits_take_less_memory_than_a_quarter_of_the_process(capsys):
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    peaks = {name: int(run([sys.executable, __file__, *map(str, rows)]).stdout) for name, rows in ROWS.items()}
    with capsys.disabled():
        for name, peak in peaks.items():
            sys.stdout.write(f"\n{name}: {peak / 1e6:.0f} MB")
    assert max(peaks.values()) < 1.25 * peaks["without"]


if __name__ == "__main__":
    take_step = made(*map(int, sys.argv[1:]))
    for _ in range(20):
        take_step()
    sys.stdout.write(str(peak_bytes("cpu")))
