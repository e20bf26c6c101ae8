"""Dark experience replay (DER++): stored samples return with their labels and with what was once answered to them.

As `replay`, with a second batch from memory on which the logits stored with the samples are held: what the network
knew of likenesses among classes is replayed too. A logit is stored for every class seen by then, four bytes each, and
counts as memory; columns of later classes are free.

Expected, class-incremental split-digits, seeds 0-2: spiking 94.7 %, rate 91.3 %.
Command: `neurocl run der split-digits --seeds 0-2`, and `der:rate`.

Source: Buzzega et al. 2020, Dark experience for general continual learning, NeurIPS, arXiv:2004.07211; weights from its
code. Differs: see `neurocl.learners.DarkReplay`; Adam, several passes and samples stored at a task's end, as in
`replay`, so that the two compare; published: SGD, one pass, a reservoir filled at every step (`store="online"`).
"""

from dataclasses import dataclass
from typing import Literal

from neurocl.learners import (
    Abilities,
    DarkReplay,
    GradientLearner,
    LossMask,
    OptimiserName,
    Replay,
    Schedule,
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
    store: Literal["online", "task-end"] = "task-end"  # when samples and logits are stored; published: online
    replay_batch_size: int = 32  # stored samples a step in each of the two batches; published 128 for 200 samples
    alpha: float = 0.2  # weight of stored logits (mean square); published for split MNIST and 200 samples, 1 for 500
    beta: float = 1.0  # weight of stored labels; published likewise, 0.5 for 500; 0 is DER
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
    replay = Replay(memory, batch_size=config.replay_batch_size, seed=seed, device=device)
    dark = DarkReplay(
        replay, network, alpha=config.alpha, beta=config.beta, batch_size=config.replay_batch_size
    )  # fmt: skip
    online = config.store == "online"
    return GradientLearner(
        network,
        Schedule(batch_size=config.batch_size, epochs=config.epochs, iterations=config.iterations),
        optimiser=make_optimiser(config.optimiser, learning_rate=config.learning_rate),
        name="der",
        device=device,
        loss_mask=config.loss_mask,
        fresh_optimiser=config.fresh_optimiser,
        loss_terms={"batch": replay.current, "logits": dark.distilled, "labels": dark.labelled},
        after_step=(dark.store,) if online else (),
        at_task_end=() if online else (dark.store_task,),
        parts={"replay": dark},
        abilities=Abilities(needs_boundaries=not online, replays=True),
    )
