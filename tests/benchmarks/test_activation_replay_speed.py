"""How fast does activity go into a store and come out? Gigabytes of float32 raster a second, on one core.

A raster of booleans is a quarter of that. Run by ``pytest tests/benchmarks --benchmark-only``, or with ``-m slow`` for
the floor alone.
"""

import time

import pytest
import torch

from neurocl.memory import ActivationReplay
from neurocl.memory.activity_stores import STORES

STEPS, SAMPLES, NEURONS = 8, 1000, 784
DENSITIES = [0.02, 0.05, 0.1, 0.2]


def spikes(density: float) -> torch.Tensor:
    return (torch.rand(STEPS, SAMPLES, NEURONS) < density).float()


def filled(store: str, activity: torch.Tensor) -> ActivationReplay:
    memory = ActivationReplay("cut", store, per_class=SAMPLES, sequence=True)
    memory.add(activity, torch.arange(SAMPLES) % 10, torch.arange(SAMPLES))
    return memory


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("density", DENSITIES)
def test_encode(benchmark, store, density):
    activity = spikes(density)
    benchmark(lambda: filled(store, activity))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("density", DENSITIES)
def test_decode(benchmark, store, density):
    memory, places = filled(store, spikes(density)), torch.arange(SAMPLES)
    benchmark(lambda: memory.take(places))


@pytest.mark.slow
@pytest.mark.parametrize(("store", "least"), [("raster", 1.0), ("count", 1.0), ("events", 0.5)])
def test_a_gigabyte_of_raster_passes_each_way_in_a_second_of_one_core(store, least):
    """Processor time, medians of rounds; events are written at 1 to 1.6, and at half that on a busy one."""
    activity = spikes(0.02)
    memory, places = filled(store, activity), torch.arange(SAMPLES)
    ways = {"encode": lambda: filled(store, activity), "decode": lambda: memory.take(places)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(11):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    rates = {name: 4e-9 * activity.numel() / sorted(found)[5] for name, found in seconds.items()}
    assert min(rates.values()) > least, rates
