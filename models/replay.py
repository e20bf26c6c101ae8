"""Experience replay: every step learns from stored samples beside the current ones.

Stored samples are raw, one byte a value where that is exact, and are encoded anew when they return.

Expected, class-incremental split-digits, seeds 0-2: spiking 95.3 %, rate 92.1 %.
Command: `neurocl run replay split-digits --seeds 0-2`, and `replay:rate`.

Source: Chaudhry et al. 2019 (ER). Differs: which samples stay is decided by lots that hang on their ids, not by the
order they come in; as with a reservoir, each is as likely as another.
"""

from dataclasses import dataclass
from typing import Literal

from neurocl.learners import (
    Abilities,
    GradientLearner,
    LossMask,
    OptimiserName,
    Replay,
    Schedule,
    Weighting,
    make_optimiser,
)
from neurocl.memory import Policy, RawReplay
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
    memory: Policy = "class-balanced"  # how `memory_size` is shared; "per-class": that many of every class
    memory_size: int = 200  # samples; van de Ven et al. 2022: 100 per class
    store: Literal["online", "task-end"] = "task-end"  # offer samples after every step, or at a task's end
    replay_batch_size: int = 32  # stored samples a step
    weighting: Weighting = "sum"  # "by-task": current and replayed count 1/t and 1 - 1/t; van de Ven et al. 2022
    optimiser: OptimiserName = "adam"  # betas 0.9, 0.999
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
    memory = RawReplay(config.memory, size=config.memory_size, seed=seed, sequence=task_shape.time_steps is not None)
    replay = Replay(memory, batch_size=config.replay_batch_size, weighting=config.weighting, seed=seed, device=device)
    online = config.store == "online"
    return GradientLearner(
        network,
        Schedule(batch_size=config.batch_size, epochs=config.epochs, iterations=config.iterations),
        optimiser=make_optimiser(config.optimiser, learning_rate=config.learning_rate),
        name="replay",
        device=device,
        loss_mask=config.loss_mask,
        fresh_optimiser=config.fresh_optimiser,
        loss_terms={"batch": replay.current, "replay": replay.replayed},
        after_step=(replay.store,) if online else (),
        at_task_end=() if online else (replay.store_task,),
        parts={"replay": replay},
        abilities=Abilities(needs_boundaries=not online, replays=True),
    )
