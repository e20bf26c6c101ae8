"""Interleaved rounds: every contender once a round, timed by the processor time of this process.

Ratios are taken within a round, so that whatever else the machine does at that time touches both sides.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LEARNING_RATE = 1e-6  # small enough to leave the activity where it was tuned to


def training_step(network: nn.Module, inputs: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return a whole training step: forward, loss, backward, gradient descent."""
    optimiser = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(network(inputs), labels).backward()
        optimiser.step()

    return step


def inference(network: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """Return a forward pass without gradients."""

    def run() -> None:
        with torch.no_grad():
            network(inputs)

    return run


def timed_rounds(
    contenders: Mapping[str, Callable[[], None]], rounds: int, progress: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return the processor seconds of every contender in every round, after one round that does not count.

    Each round starts with another contender, so that nobody always follows the same one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for index in range(rounds + 1):
        progress(f"round {index} of {rounds}")
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.process_time()
            contenders[name]()
            if index:
                seconds[name].append(time.process_time() - start)
    return seconds


def ratios(theirs: list[float], ours: list[float]) -> dict[str, Any]:
    """Return medians in milliseconds, and the ratio of each round as median, least and greatest."""
    quotients = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {
        "theirs_ms": 1e3 * statistics.median(theirs),
        "ours_ms": 1e3 * statistics.median(ours),
        "ratio": statistics.median(quotients),
        "ratio_min": min(quotients),
        "ratio_max": max(quotients),
        "theirs_rounds_ms": [1e3 * value for value in theirs],
        "ours_rounds_ms": [1e3 * value for value in ours],
    }
