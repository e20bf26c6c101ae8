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
    """Every number of the model; two where the units' output differs by coding: spikes per step, or graded."""

    coding: Coding = "spiking"  # "rate": graded outputs, settled under graded inhibition
    filters: int = 400  # units a place, of 9 features each, and a constant feature; at most 2 a pixel of the image
    patch: int = 6  # pixels, side of a patch; at most half the image's side
    target_rate: float = 0.08  # spiking: spikes per step that a unit is held at; smaller is sparser
    target_output: float = 0.07  # rate coding: graded output, in root mean squares of the response
    time_steps: int = 8  # spiking: steps a place is given to settle
    keep: float = 0.8  # spiking: share of a unit's membrane left after one step
    settling_steps: int = 4  # rate coding: the same two
    settling_keep: float = 0.6
    anti_hebbian_rate: float = 0.05  # of lateral inhibition; 0: no lateral synapses
    lateral_decay: float = 5.0  # spiking: of lateral inhibition; larger keeps it weaker
    output_decay: float = 20.0  # rate coding: the same
    hebbian_rate: float = 0.0  # of filters; 0: they stay the patches they start as
    threshold_rate: float = 0.05  # of homeostatic thresholds
    contrast_floor: float = 0.5  # added to a patch's variance, in mean variances; larger leaves faint patches fainter
    whitening_floor: float = 0.1  # added to the spectrum before whitening; larger whitens fine structure less
    samples: int = 50_000  # patches of the first task that the circuit learns from
    strength: float | Literal["auto"] = "auto"  # ridge strength; "auto": least error on held-out training samples
    held_out: float = 0.1  # share of training samples held out for that choice; the weights use all
    batch_size: int = 1000  # samples counted at once; changes nothing but speed and memory


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> RidgeReadout:
    """Return the learner for streams of this shape; the circuit follows from ``seed`` and the first task."""
    height, width = task_shape.input_shape[-2:] if len(task_shape.input_shape) == 3 else (64, 64)  # else refused below
    spiking = config.coding == "spiking"
    features = FoldiakFeatures(
        task_shape,
        filters=min(config.filters, 2 * height * width),
        patch=min(config.patch, height // 2, width // 2),
        coding=config.coding,
        target_rate=config.target_rate if spiking else config.target_output,
        time_steps=config.time_steps if spiking else config.settling_steps,
        keep=config.keep if spiking else config.settling_keep,
        anti_hebbian_rate=config.anti_hebbian_rate,
        lateral_decay=config.lateral_decay if spiking else config.output_decay,
        hebbian_rate=config.hebbian_rate,
        threshold_rate=config.threshold_rate,
        threshold=4.0 if spiking else 0.5,
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
