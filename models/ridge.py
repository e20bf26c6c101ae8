"""Recursive ridge readout of fixed random features: closed form, one pass, no replay.

The weights are those of ridge regression on all samples at once, whatever the order of tasks; the ridge strength is
chosen on held-out training samples. The bar that class-incremental learning has to clear.

Expected, class-incremental split-digits, seeds 0-2: spiking 98.8 %, rate 98.8 %.
Command: `neurocl run ridge split-digits --seeds 0-2`, and `ridge:rate`.
Class-incremental split-mnist, seeds 0-2: spiking 94.0 %, rate 94.2 %.

Source: Zhuang et al. 2022 (ACIL). Differs: see `neurocl.memory.RecursiveRidge`; no backbone before the random features.
"""

from dataclasses import dataclass
from typing import Literal

from neurocl.learners import RidgeReadout, Schedule
from neurocl.networks import RandomFeatures
from neurocl.primitives.tasks import Coding, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model."""

    coding: Coding = "spiking"  # "rate": rectified projections instead of firing rates
    features: int = 1000  # units behind random weights; 4000 reach about 97 % on split MNIST
    time_steps: int = 16  # steps a static image is shown; sequences bring their own
    keep: float = 0.95  # share of a unit's membrane left after one step
    drive: float = 0.3  # current, in thresholds, of a projection of one root mean square; smaller is sparser
    bias: float = 0.1  # standard deviation of the units' constant current, in root mean squares of the projection
    strength: float | Literal["auto"] = "auto"  # ridge strength; "auto": least error on held-out training samples
    held_out: float = 0.1  # share of training samples held out for that choice; the weights use all
    by_class: bool = False  # statistics by class: whole classes can be forgotten, at C times the memory
    batch_size: int = 1000  # samples counted at once; changes nothing but speed and memory


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> RidgeReadout:
    """Return the learner for streams of this shape; the features follow from ``seed``."""
    features = RandomFeatures(
        task_shape,
        features=config.features,
        coding=config.coding,
        time_steps=config.time_steps,
        keep=config.keep,
        drive=config.drive,
        bias=config.bias,
        seed=seed,
    )
    return RidgeReadout(
        features.to(device),
        Schedule(batch_size=config.batch_size),
        strength=config.strength,
        held_out=config.held_out,
        by_class=config.by_class,
        seed=seed,
        name="ridge",
        device=device,
        sequence=task_shape.time_steps is not None,
    )
