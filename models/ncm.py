"""Nearest class mean on fixed random features: one mean a class, nothing stored, nothing trained.

The answer is the class whose mean feature vector is nearest. Order of tasks and samples do not matter.

Expected, class-incremental split-digits, seeds 0-2: spiking 91.4 %, rate 91.4 %.
Command: `neurocl run ncm split-digits --seeds 0-2`, and `ncm:rate`.

Source: Mensink et al. 2013. Differs: no metric is learnt, features are random projections.
"""

from dataclasses import dataclass

from neurocl.learners import NearestMean, Schedule
from neurocl.networks import RandomFeatures
from neurocl.primitives.tasks import Coding, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model."""

    coding: Coding = "spiking"  # "rate": rectified projections instead of firing rates
    features: int = 1000  # units behind random weights
    time_steps: int = 16  # steps a static image is shown; sequences bring their own
    keep: float = 0.95  # share of a unit's membrane left after one step
    drive: float = 0.3  # current, in thresholds, of a projection of one root mean square; smaller is sparser
    bias: float = 0.1  # standard deviation of the units' constant current, in root mean squares of the projection
    batch_size: int = 1000  # samples counted at once; changes nothing but speed and memory


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> NearestMean:
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
    return NearestMean(
        features.to(device),
        Schedule(batch_size=config.batch_size),
        name="ncm",
        device=device,
        sequence=task_shape.time_steps is not None,
    )
