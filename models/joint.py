"""Joint training: all samples seen so far are kept, and a new network learns them at once. The upper bound of a table.

Not a continual learner: its memory is the whole stream. With `when="last"` it trains once, at the end; rows of the
accuracy matrix before the last then say nothing.

Expected, class-incremental split-digits, seeds 0-2: spiking 98.3 %, rate 97.5 %.
Command: `neurocl run joint split-digits --seeds 0-2`, and `joint:rate`.
"""

from dataclasses import dataclass
from typing import Literal

from neurocl.learners import GradientLearner, Joint, LossMask, OptimiserName, Schedule, make_optimiser
from neurocl.networks import MLP, Direct
from neurocl.neurons import LIF
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
    when: Literal["each", "last"] = "each"  # train at the end of each task, or of the last only
    optimiser: OptimiserName = "adam"  # betas 0.9, 0.999; made anew for every training
    learning_rate: float = 1e-3  # a step; van de Ven et al. 2022
    batch_size: int = 32  # samples a step
    epochs: int = 10  # passes over all samples; used where iterations is 0
    iterations: int = 0  # steps for every task seen so far; 2000 of 128 samples in van de Ven et al. 2022


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> Joint:
    """Return the learner for streams of this shape; all weights follow from ``seed``."""
    schedule = Schedule(batch_size=config.batch_size, epochs=config.epochs, iterations=config.iterations)

    def new_learner() -> GradientLearner:
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
        return GradientLearner(
            network,
            schedule,
            optimiser=make_optimiser(config.optimiser, learning_rate=config.learning_rate),
            name="joint",
            device=device,
            loss_mask=config.loss_mask,
        )

    return Joint(
        new_learner,
        schedule,
        num_tasks=task_shape.num_tasks,
        when=config.when,
        seed=seed,
        device=device,
        sequence=task_shape.time_steps is not None,
    )
