"""SHARP: sparse connections rewired task by task, units frozen for good, hidden activity of the last tasks replayed.

A network without a head is taught by supervised contrast. Units that a task needs are recruited from idle ones and
frozen when their classes leave the window; what a frozen unit answers does not change by a bit afterwards. A spiking
loop of your own has this within `neurocl.plasticity.fisher.dense_products(network)` alone: whether products by events
pay depends on all units' spikes. Numbers are those of split MNIST. The published readout is `--set readout=nearest`;
the default tells two classes apart by discriminants on the units that were frozen when the older one was learnt. Of
spiking units these read the mean current, as spike counts of 8 steps are too coarse: `--set read=spikes` reads those.

Expected, class-incremental split-digits, seeds 0-2: spiking 93.1 %, rate 95.3 %.
Command: `neurocl run sharp split-digits --seeds 0-2`, and `sharp:rate`.

Source: Gurbuz, Moorman & Dovrolis 2023, Sparsity and hidden activation replay for neuro-inspired continual learning,
arXiv:2305.18563. Differs: see `neurocl.learners.SparseReplayLearner`; the readout by discriminants is ours.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neurocl.learners import (
    ActivationWindow,
    Discriminants,
    Neighbours,
    OptimiserName,
    RawWindow,
    SparseReplayLearner,
    make_optimiser,
    take_layers,
)
from neurocl.memory import ActivationReplay, MaskedNeighbours
from neurocl.networks import CNN, MLP, Conv2d, Direct, Network, Read, Readout
from neurocl.neurons import LIF
from neurocl.plasticity import NEVER, StructuralPlasticity
from neurocl.primitives.checks import BadInput, check_count, named_as
from neurocl.primitives.tasks import Coding, TaskShape
from neurocl.run.checkpoint import learner_state


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model."""

    coding: Coding = "spiking"  # "rate": the same network with ReLU units and one step
    channels: tuple[int, ...] = (16, 16)  # of convolutions; (64, 64, 64, 64, 128, 128, 128) for CIFAR; none: an MLP
    pooled: tuple[int, ...] = (0, 1)  # convolutions that are pooled, by place; (1, 3, 6) for CIFAR
    hidden: tuple[int, ...] = (500, 500)  # units of linear layers; (1024, 1024) for CIFAR
    pool: Read = "currents"  # spiking: pooled before neurons, one a window, as four that take turns say less; or spikes
    tau_membrane_ms: float = 1000.0  # ms; nothing leaks in 8 steps of 1 ms: counts are the mean current, in eighths
    time_steps: int = 8  # steps a static image is shown; a raster of 8 takes the bytes of the paper's 8-bit store
    cut: int | Literal["auto"] = "auto"  # layers below where activity is stored: the convolutions; 4 for CIFAR
    replay: Literal["activation", "raw", "none"] = "activation"  # "raw": samples as they were, all layers replayed
    store: Literal["auto", "raster", "count", "events", "quantised"] = "auto"  # rasters, or 8 bits of rates
    per_class: int = 25  # samples stored of each class; 200 and 100 for CIFAR-10 and CIFAR-100
    choose: Literal["first", "random", "herding", "reservoir"] = "first"  # which samples
    horizon: int = 1  # tasks before the present one that are replayed, and whose units are fine-tuned
    density: float = 0.4  # share of connections that are present
    phases: int = 10  # phases a task: units selected, connections rewired; 12 for Fashion-MNIST, 15 for CIFAR
    phase_epochs: int = 3  # passes over a task's samples in a phase; 5 for CIFAR
    least_share: float = 0.9  # of a layer's activity that selected units carry; 0.75 Fashion-MNIST, 0.7 CIFAR
    period: int = 30  # phases until that share would be 0
    reinitialise: bool = True  # idle units start anew after each task
    temperature: float = 0.1  # of the contrast; 0.2 for Fashion-MNIST and CIFAR-10, 0.05 for CIFAR-100
    optimiser: OptimiserName = "adadelta"  # new for each phase
    learning_rate: float = 1.0  # as published, for Adadelta
    batch_size: int = 256  # samples a step; 1024 for Fashion-MNIST, 64 for CIFAR-100
    replay_batch_size: int = 256  # replayed samples a step, likewise
    skip_idle: Literal["training", "always", "never"] = "training"  # idle units take no time; "always": nor in answers
    fixed_layers: int = 0  # layers, from the input, that do not learn
    pretrained: str = ""  # checkpoint (.safetensors) of an earlier run whose first `fixed_layers` layers are taken
    readout: Literal["discriminant", "nearest", "both"] = "discriminant"  # "nearest": neighbours vote, as published
    read_layers: int = 3  # "discriminant": last layers whose units are read
    read: Read = "currents"  # "discriminant": mean current into spiking units; "spikes": their rates, 9 values, 8 steps
    shrinkage: float = 0.01  # "discriminant": added to covariances, in their mean variance
    remembered: int = 25  # "nearest": vectors of each class; 50 for CIFAR
    neighbours: int = 5  # "nearest": votes; 25 for Fashion-MNIST


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> SparseReplayLearner:
    """Return the learner for streams of this shape; all weights follow from ``seed``."""
    network = make_network(config, task_shape, seed).to(device)
    if config.pretrained and not config.fixed_layers:
        raise BadInput("pretrained layers are fixed: set fixed_layers to how many are taken; got 0")
    if config.pretrained:
        learnt = learner_state(Path(config.pretrained).expanduser())
        take_layers(network, learnt.get("network", {}), layers=config.fixed_layers)
    depth, replays = len(network.layers), config.replay != "none"
    held_later = min(2 + config.horizon, NEVER) if replays else 2
    convolutions = sum(isinstance(layer.synapse, Conv2d) for layer in network.layers)
    cut = max(convolutions, 1) if config.cut == "auto" else config.cut
    if not 1 <= cut < depth:
        raise BadInput(f"cut must lie between 1 and {depth - 1}, one less than the layers; got {cut}")
    below = cut if config.replay == "activation" else 0
    plasticity = StructuralPlasticity(
        network, density=config.density, frozen_from=[2] * below + [held_later] * (depth - below), seed=seed,
        keep_variance=config.coding == "spiking", fixed_layers=config.fixed_layers,
    )  # fmt: skip
    readouts: dict[str, Discriminants | Neighbours] = {}  # the first answers
    if config.readout != "nearest":
        last = min(check_count("read_layers", config.read_layers), depth)
        readouts["discriminant"] = named_as(last="read_layers")(Discriminants)(
            network, plasticity, last=last, shrinkage=config.shrinkage, read=config.read
        )
    if config.readout != "discriminant":
        memory = MaskedNeighbours(neighbours=config.neighbours)
        readouts["nearest"] = Neighbours(network, plasticity, memory, per_class=config.remembered)
    return SparseReplayLearner(
        network, plasticity=plasticity, readouts=readouts, window=make_window(config, task_shape, cut, seed),
        optimiser=make_optimiser(config.optimiser, learning_rate=config.learning_rate),
        batch_size=config.batch_size, replay_batch_size=config.replay_batch_size, phases=config.phases,
        phase_epochs=config.phase_epochs, least_share=config.least_share, period=config.period,
        temperature=config.temperature, reinitialise=config.reinitialise, skip_idle=config.skip_idle,
        fixed_layers=config.fixed_layers, seed=seed, device=device,
    )  # fmt: skip


def make_network(config: Config, task_shape: TaskShape, seed: int) -> Network:
    """Return convolutions and linear layers without a head; an MLP where samples are no images."""
    options: dict[str, Any] = {
        "coding": config.coding, "head": "none", "seed": seed, "readout": Readout(),
        "encoding": Direct(config.time_steps) if task_shape.time_steps is None else None,
        "weight_scale": math.sqrt(2) if config.coding == "rate" else None,  # Kaiming's for rectified units
        "neuron": lambda: LIF(tau_membrane_ms=config.tau_membrane_ms, dt_ms=1.0),
    }  # fmt: skip
    if config.channels and len(task_shape.input_shape) == 3:
        pools: dict[str, Any] = {
            "pooled": config.pooled,
            "pool": config.pool if config.coding == "spiking" else "spikes",
        }
        return CNN(task_shape, channels=config.channels, hidden=config.hidden, **pools, **options)
    return MLP(task_shape, hidden=config.hidden, **options)


def make_window(config: Config, task_shape: TaskShape, cut: int, seed: int) -> ActivationWindow | RawWindow | None:
    """Return what is kept of the last tasks."""
    if config.replay == "none":
        return None
    if config.replay == "raw":
        sequence = task_shape.time_steps is not None
        return RawWindow(config.per_class, horizon=config.horizon, seed=seed, sequence=sequence)
    default = "raster" if config.coding == "spiking" else "quantised"
    return ActivationWindow(
        ActivationReplay(
            cut - 1, store=default if config.store == "auto" else config.store,
            per_class=config.per_class, horizon=config.horizon, choose=config.choose, seed=seed,
        )
    )  # fmt: skip
