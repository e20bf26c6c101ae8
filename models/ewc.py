"""Online elastic weight consolidation: weights that mattered for old tasks are held by a quadratic penalty.

Importance is the exact diagonal Fisher information, summed over the classes and taken sample by sample. It is known
not to help where classes are learnt one after another with a softmax, and to help where the task is named; both are
shown. Strengths of van de Ven et al. 2022 on split MNIST: 1e5 task-, 1e10 domain-, 1e9 class-incremental.

Expected, class-incremental split-digits, seeds 0-2: spiking 19.8 %, rate 19.2 %.
Command: `neurocl run ewc split-digits --seeds 0-2`, and `ewc:rate`.

Source: Kirkpatrick et al. 2017; Schwarz et al. 2018. Differs: see `neurocl.plasticity.OnlineEWC`.
"""

from dataclasses import dataclass
from typing import Literal

from neurocl.learners import (
    EWC,
    Abilities,
    GradientLearner,
    ImportanceKind,
    LossMask,
    OptimiserName,
    Schedule,
    batch_loss,
    make_optimiser,
)
from neurocl.networks import MLP, Direct
from neurocl.neurons import LIF
from neurocl.plasticity import OnlineEWC
from neurocl.primitives.surrogates import ATan
from neurocl.primitives.tasks import Coding, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model."""

    coding: Coding = "spiking"  # "rate": the same network with ReLU units and one step
    hidden: tuple[int, ...] = (400, 400)  # neurons; van de Ven et al. 2022, split MNIST
    time_steps: int = 8  # steps a static image is shown; sequences bring their own
    dt_ms: float = 1.0  # ms, length of a step
    tau_membrane_ms: float = 4.5  # ms; the membrane holds about 5 steps, more than half of a presentation
    threshold: float = 1.0  # membrane at which a neuron fires; rest is 0
    surrogate_alpha: float = 2.0  # steepness of the arctan surrogate; Fang et al. 2021
    head: Literal["expanding", "single"] = "expanding"  # "single": columns for all classes from the start
    loss_mask: LossMask = "seen"  # whose logits compete: all classes seen, the task's, or all there are
    strength: float = 1000.0  # of the penalty; larger holds old weights faster
    gamma: float = 1.0  # share of old importance kept at a new task; 1 forgets nothing
    fisher: ImportanceKind = "exact"  # "empirical" (labels only), "sampled"; "activation": NAI-style, units by activity
    fisher_samples: int = 0  # samples of a task that importance is taken over; 0 means all
    optimiser: OptimiserName = "adam"  # betas 0.9, 0.999; "classp": weights are pulled after its step, not penalised
    fresh_optimiser: bool = True  # whether every task begins with an optimiser without memory
    learning_rate: float = 1e-3  # a step; van de Ven et al. 2022
    batch_size: int = 32  # samples a step
    epochs: int = 5  # passes over a task; used where iterations is 0
    iterations: int = 0  # steps a task; 2000 of 128 samples in van de Ven et al. 2022


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> GradientLearner:
    """Return the learner for streams of this shape; all weights follow from ``seed``."""
    network = MLP(
        task_shape,
        hidden=config.hidden,
        coding=config.coding,
        neuron=lambda: LIF(
            tau_membrane_ms=config.tau_membrane_ms,
            dt_ms=config.dt_ms,
            threshold=config.threshold,
            surrogate=ATan(alpha=config.surrogate_alpha),
        ),
        encoding=Direct(config.time_steps) if task_shape.time_steps is None else None,
        head="multi" if task_shape.setting == "task-incremental" else config.head,
        seed=seed,
    )
    gated = config.optimiser == "classp"  # the penalty must meet neither its gate nor its history
    ewc = EWC(
        network,
        OnlineEWC(strength=config.strength, gamma=config.gamma),
        kind=config.fisher,
        samples=config.fisher_samples,
        seed=seed,
        device=device,
        sequence=task_shape.time_steps is not None,
        pull=config.learning_rate if gated else 0.0,
    )
    return GradientLearner(
        network,
        Schedule(batch_size=config.batch_size, epochs=config.epochs, iterations=config.iterations),
        optimiser=make_optimiser(config.optimiser, learning_rate=config.learning_rate),
        name="ewc",
        device=device,
        loss_mask=config.loss_mask,
        fresh_optimiser=config.fresh_optimiser,
        loss_terms={"batch": batch_loss} if gated else {"batch": batch_loss, "penalty": ewc.penalty},
        after_step=(ewc.pull_back,) if gated else (),
        at_task_end=(ewc.consolidate,),
        parts={"ewc": ewc},
        abilities=Abilities(needs_boundaries=True),
    )
