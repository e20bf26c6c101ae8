"""What recording every spike costs: a training step of 784-800-800-10 at T = 20 with and without, and reading back.

Run: pytest tests/benchmarks/test_recorder_speed.py -o addopts= --benchmark-only --benchmark-json=recorder.json

The ratios are in ``extra_info``; without ``-o addopts=`` the tests' type checks are measured.
"""

import time

import numpy as np
import pytest
import torch

from neurocl import record
from neurocl.networks import MLP, Direct
from neurocl.neurons import LIF
from neurocl.primitives.tasks import TaskShape

BATCH, STEPS, ROUNDS, STEPS_A_ROUND = 64, 20, 12, 10


def learner_of(training):
    shape = TaskShape(input_shape=(784,), num_classes=10, num_tasks=1)
    network = MLP(shape, hidden=(800, 800), training=training, encoding=Direct(STEPS), head="single")
    optimiser = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    x, y = torch.rand(BATCH, 784), torch.randint(0, 10, (BATCH,))

    def step():
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()

    return network, step


@pytest.mark.parametrize("training", ["surrogate", "dsr"])
def test_recording_every_spike_beside_not_recording(training, benchmark, tmp_path):
    torch.set_num_threads(1)
    network, step = learner_of(training)

    def seconds():
        """CPU seconds of all threads, the writer's among them, and wall-clock seconds, of some steps."""
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(STEPS_A_ROUND):
            step()
        return time.process_time() - cpu, time.perf_counter() - wall

    def interleaved():
        rows = []
        with record.Recorder(tmp_path / "traces.h5", variables=("spikes",)) as recorder:
            for _ in range(ROUNDS):
                without = seconds()
                recorder.attach(network)
                rows.append((*without, *seconds()))
                recorder.detach()
        return np.array(rows)

    seconds()
    rows = benchmark.pedantic(interleaved, rounds=1)
    cpu, wall = rows[:, 2] / rows[:, 0], rows[:, 3] / rows[:, 1]
    bits = 8 * (tmp_path / "traces.h5").stat().st_size / (ROUNDS * STEPS_A_ROUND * BATCH * STEPS * 1600)
    benchmark.extra_info.update(
        milliseconds_a_step=100 * float(rows[:, 0].mean()),
        cpu_ratio=float(np.median(cpu)),
        cpu_ratio_range=[float(cpu.min()), float(cpu.max())],
        wall_ratio=float(np.median(wall)),
        bits_a_neuron_and_step=bits,
    )


def test_reading_one_task_of_one_population_from_a_gigabyte(benchmark, tmp_path):
    path, tasks = tmp_path / "large.h5", 10
    network = torch.nn.ModuleDict({"one": LIF(), "two": LIF()})
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(STEPS, 512, 800, generator=draws) * 0.8
    passes = 2**30 // (2 * 512 * STEPS * 100) // tasks
    with record.Recorder(path, network) as recorder:
        for task in range(tasks):
            for _ in range(passes):
                with recorder.samples(labels=torch.full((512,), task), task=task, phase="training"):
                    network["one"](x)
                    network["two"](x)

    def read():
        with record.open(path) as traces:
            return traces["two"].raster(task=4)

    raster = benchmark.pedantic(read, rounds=5)
    assert raster.shape == (512 * passes, STEPS, 800)
    benchmark.extra_info.update(
        file_bytes=path.stat().st_size, raster_bytes=raster.nbytes, seconds=benchmark.stats["min"]
    )
