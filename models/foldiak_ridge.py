"""Recursive ridge readout of Földiák's circuit on image patches: local rules, closed form, one pass, no replay.

At every place of an image units compete by lateral inhibition that was learnt, by an anti-Hebbian rule, from the first
task's patches alone; their thresholds hold them at one rate, their filters follow Oja's rule or stay the patches they
start as. Bytes are those of `patch_ridge` and the lateral weights; `--set anti_hebbian_rate=0` is the control.

Expected, class-incremental split-digits, seeds 0-2: spiking 0.0 %, rate 0.0 %.
Command: `neurocl run foldiak_ridge split-digits --seeds 0-2`, and `foldiak_ridge:rate`.

Source: Földiák 1990 and Zylberberg et al. 2011 for the circuit, Coates & Ng 2011 for the features around, Zhuang et al.
2022 (ACIL) for the readout. Differs: see `neurocl.networks.FoldiakLayer`; the combination is ours.
"""

from dataclasses import dataclass
from typing import Literal

from neurocl.learners import RidgeReadout, Schedule
from neurocl.networks import FoldiakFeatures
from neurocl.primitives.tasks import Coding, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model; those that begin with graded_ stand in for their namesakes in rate coding."""

    coding: Coding = "spiking"  # "rate": graded outputs, settled under graded inhibition
    filters: int = 400  # units a place, of 9 features each, and a constant feature; at most 2 a pixel of the image
    patch: int = 6  # pixels, side of a patch; at most half the image's side
    target_rate: float = 0.08  # spikes per step that a unit is held at over the first task; smaller is sparser
    time_steps: int = 8  # steps that the units of a place are given to settle
    keep: float = 0.8  # share of a unit's membrane left after one step
    threshold: float = 4.0  # at the start, in root mean squares of the response; homeostasis moves it
    anti_hebbian_rate: float = 0.05  # learning rate of lateral inhibition; 0: no lateral synapses
    lateral_decay: float = 5.0  # of lateral inhibition, per unit of that; larger keeps it weaker
    hebbian_rate: float = 0.1  # learning rate of filters; 0: they stay the patches they start as
    graded_target_rate: float = 0.11  # in root mean squares of the response
    graded_time_steps: int = 4  # the first needs no product
    graded_keep: float = 0.6  # smaller settles sooner, and needs weaker inhibition
    graded_threshold: float = 0.5  # as above
    graded_anti_hebbian_rate: float = 0.02  # as above
    graded_lateral_decay: float = 20.0  # as above
    graded_hebbian_rate: float = 0.05  # as above
    threshold_rate: float = 0.05  # learning rate of homeostatic thresholds
    contrast_floor: float = 0.5  # added to a patch's variance, in mean variances; larger leaves faint patches fainter
    whitening_floor: float = 0.1  # added to the spectrum before whitening; larger whitens fine structure less
    samples: int = 60_000  # patches of the first task that the circuit learns from
    strength: float | Literal["auto"] = "auto"  # ridge strength; "auto": least error on held-out training samples
    held_out: float = 0.1  # share of training samples held out for that choice; the weights use all
    batch_size: int = 1000  # samples counted at once; changes nothing but speed and memory


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> RidgeReadout:
    """Return the learner for streams of this shape; the circuit follows from ``seed`` and the first task."""
    height, width = task_shape.input_shape[-2:] if len(task_shape.input_shape) == 3 else (64, 64)  # else refused below
    graded = "graded_" if config.coding == "rate" else ""
    names = ["target_rate", "time_steps", "keep", "threshold", "anti_hebbian_rate", "lateral_decay", "hebbian_rate"]
    features = FoldiakFeatures(
        task_shape,
        filters=min(config.filters, 2 * height * width),
        patch=min(config.patch, height // 2, width // 2),
        coding=config.coding,
        **{name: getattr(config, graded + name) for name in names},
        threshold_rate=config.threshold_rate,
        contrast_floor=config.contrast_floor,
        whitening_floor=config.whitening_floor,
        samples=config.samples,
        seed=seed,
    )
    return RidgeReadout(
        features.to(device),
        Schedule(batch_size=config.batch_size),
        strength=config.strength,
        held_out=config.held_out,
        seed=seed,
        name="foldiak_ridge",
        device=device,
    )
