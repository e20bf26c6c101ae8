"""NISPA: sparse networks in which every task keeps the few units it needs, frozen, and leaves the rest plastic.

Between phases of training the most active units become candidates, connections from plastic units to them are dropped
and as many grown into plastic ones, until accuracy on held-out training samples falls. `memory_size=0` is NISPA, whose
old answers never change by a bit where the task is named (task-incremental); with a memory it is NISPA-Replay, for
class-incremental streams: beside all stored samples, weighed 5 times, output units go on learning.

Expected, class-incremental split-digits, seeds 0-2: spiking 93.9 %, rate 87.7 % (84.6 to 92.6).
Command: `neurocl run nispa split-digits --seeds 0-2`, and `nispa:rate`.

NISPA, task-incremental, rate: 99.7 %, and not a bit forgotten. Command: the same with `:rate`, `--setting
task-incremental --set memory_size=0`. A task of digits holds out about 28 samples: one of them is 3.6 points, more than
any published `accuracy_drop`, so that tasks end by the largest number of phases, or too early by chance: two of the
three rate-coded, class-incremental runs lost a task after its third phase so.

Source: Gurbuz & Dovrolis 2022, NISPA: neuro-inspired stability-plasticity adaptation for continual learning in sparse
networks, ICML, arXiv:2206.09117; numbers from its code and result sheets. Differs: see
`neurocl.learners.NISPALearner`; which samples are stored hangs on lots, as with a reservoir each is as likely.
"""

import math
from dataclasses import dataclass
from typing import Any

from neurocl.learners import NISPALearner, OptimiserName, Replay, make_optimiser
from neurocl.memory import RawReplay
from neurocl.networks import CNN, MLP, Direct, Network
from neurocl.plasticity import NEVER, NewWeights, StructuralPlasticity
from neurocl.primitives.tasks import Coding, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model."""

    coding: Coding = "spiking"  # "rate": the same network with ReLU units and one step
    channels: tuple[int, ...] = ()  # of convolutions: none, an MLP; (64, 64, 128, 128) for CIFAR-10
    pooled: tuple[int, ...] = (1, 3)  # convolutions that are pooled, by place
    hidden: tuple[int, ...] = (400, 400, 400)  # units of linear layers; (1024,) for CIFAR-10
    time_steps: int = 8  # steps a static image is shown
    density: float = 0.2  # share of connections present: EMNIST and Fashion-MNIST; 0.1 CIFAR-10 and most of Replay
    phases: int = 10  # at most; 26 as published, where 5 % of the activity are left
    phase_epochs: int = 5  # passes over a task's samples in a phase, of which the best is kept
    accuracy_drop: float = 0.75  # points (a_f) that end a task; Replay: 0.5 MNIST, 2.0 CIFAR-10 and EMNIST
    period: int = 30  # phases until no unit would be left (k)
    new_weights: NewWeights = "normal"  # of grown connections; "zero" in the later code
    validation_share: float = 0.1  # of a task's training samples, held out to end phases; ours
    memory_size: int = 200  # samples of all tasks, 0: NISPA; published 1000 MNIST and CIFAR-10, 5700 EMNIST
    replay_strength: float = 5.0  # lambda_r; 1 for EMNIST and Fashion-MNIST
    replay_batch_size: int = 32  # stored samples a step; ours
    optimiser: OptimiserName = "adam"  # betas 0.9, 0.999; new for each phase
    learning_rate: float = 2e-3  # CIFAR-10; 0.01 for EMNIST and Fashion-MNIST with batches of 512
    batch_size: int = 64  # samples a step; ours, for few digits; 128 CIFAR-10, 512 EMNIST and Fashion-MNIST


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> NISPALearner:
    """Return the learner for streams of this shape; all weights follow from ``seed``."""
    network = make_network(config, task_shape, seed).to(device)
    replays = config.memory_size != 0
    plasticity = StructuralPlasticity(
        network, density=config.density, frozen_from=[2] * len(network.layers) + [NEVER if replays else 2], seed=seed,
        keep_variance=config.coding == "spiking",
    )  # fmt: skip
    replay = None
    if replays:
        memory = RawReplay(
            "reservoir", size=config.memory_size, seed=seed, sequence=task_shape.time_steps is not None
        )  # fmt: skip
        replay = Replay(memory, batch_size=config.replay_batch_size, seed=seed, device=device)
    return NISPALearner(
        network, plasticity=plasticity, replay=replay, replay_strength=config.replay_strength,
        optimiser=make_optimiser(config.optimiser, learning_rate=config.learning_rate),
        batch_size=config.batch_size, phases=config.phases, phase_epochs=config.phase_epochs,
        accuracy_drop=config.accuracy_drop, period=config.period, new_weights=config.new_weights,
        validation_share=config.validation_share, seed=seed, device=device,
    )  # fmt: skip


def make_network(config: Config, task_shape: TaskShape, seed: int) -> Network:
    """Return convolutions and linear layers with one head for all labels; an MLP where samples are no images."""
    options: dict[str, Any] = {
        "coding": config.coding, "head": "single", "seed": seed,
        "encoding": Direct(config.time_steps) if task_shape.time_steps is None else None,
        "weight_scale": math.sqrt(2) if config.coding == "rate" else None,  # Kaiming's for rectified units
    }  # fmt: skip
    if config.channels and len(task_shape.input_shape) == 3:
        return CNN(task_shape, channels=config.channels, pooled=config.pooled, hidden=config.hidden, **options)
    return MLP(task_shape, hidden=config.hidden, **options)
