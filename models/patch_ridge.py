"""Recursive ridge readout of convolutional patch features: closed form, one pass, no replay.

Filters are whitened patches drawn from the first task's images alone; their responses are thresholded and pooled, or
drive spiking units whose rates are pooled. The strongest simple bar of a class-incremental table of images.

Expected, class-incremental split-digits, seeds 0-2: spiking 98.8 %, rate 99.2 %.
Command: `neurocl run patch_ridge split-digits --seeds 0-2`, and `patch_ridge:rate`.

Source: Coates & Ng 2011 for the features, Zhuang et al. 2022 (ACIL) for the readout. Differs: see
`neurocl.networks.PatchFeatures` and `neurocl.memory.RecursiveRidge`.
"""

from dataclasses import dataclass
from typing import Literal

from neurocl.learners import RidgeReadout, Schedule
from neurocl.networks import PatchFeatures
from neurocl.primitives.tasks import Coding, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model."""

    coding: Coding = "spiking"  # "rate": rectified responses instead of firing rates
    filters: int | Literal["auto"] = "auto"  # of 9 features each; "auto": 400, but at most 2 a pixel of the image
    patch: int | Literal["auto"] = "auto"  # pixels, side of a patch; "auto": 6, but at most half the image's side
    threshold: float = 0.6  # rate coding: what a response, in root mean squares, has to exceed
    drive: float = 0.25  # spiking: current, in thresholds, of a response of one root mean square; smaller is sparser
    time_steps: int = 8  # spiking: steps an image is shown
    keep: float = 0.8  # spiking: share of a unit's membrane left after one step
    contrast_floor: float = 0.5  # added to a patch's variance, in mean variances; larger leaves faint patches fainter
    whitening_floor: float = 0.1  # added to the spectrum before whitening; larger whitens fine structure less
    strength: float | Literal["auto"] = "auto"  # ridge strength; "auto": least error on held-out training samples
    held_out: float = 0.1  # share of training samples held out for that choice; the weights use all
    batch_size: int = 1000  # samples counted at once; changes nothing but speed and memory


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> RidgeReadout:
    """Return the learner for streams of this shape; the filters follow from ``seed`` and the first task."""
    height, width = task_shape.input_shape[-2:] if len(task_shape.input_shape) == 3 else (64, 64)  # else refused below
    sizes = {
        "filters": min(400, 2 * height * width) if config.filters == "auto" else config.filters,
        "patch": min(6, height // 2, width // 2) if config.patch == "auto" else config.patch,
    }
    features = PatchFeatures(
        task_shape,
        **sizes,
        coding=config.coding,
        threshold=config.threshold,
        drive=config.drive,
        time_steps=config.time_steps,
        keep=config.keep,
        contrast_floor=config.contrast_floor,
        whitening_floor=config.whitening_floor,
        seed=seed,
    )
    return RidgeReadout(
        features.to(device),
        Schedule(batch_size=config.batch_size),
        strength=config.strength,
        held_out=config.held_out,
        seed=seed,
        name="patch_ridge",
        device=device,
        chosen=sizes,
    )
