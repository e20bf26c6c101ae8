"""HLOP: lateral circuits learn by Hebb's rule what each layer's input was like; new learning keeps orthogonal to it.

Class-incremental, which the paper has not, a recursive ridge readout on the protected hidden activity answers, since
statistics of old classes stay valid; else the head. Numbers are those of permuted MNIST but for `rows` (`fixed`).

Expected, class-incremental split-digits, seeds 0-2: spiking 96.2 %, rate 98.7 %.
Command: `neurocl run hlop split-digits --seeds 0-2`, and `hlop:rate`.

Source: Xiao, Meng, Zhang, He & Lin 2024, Hebbian learning based orthogonal projection for continual learning of
spiking neural networks, ICLR. Differs: see `neurocl.plasticity.LateralCircuit`; heads of later tasks train their bias.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from neurocl.learners import (
    Abilities,
    GradientLearner,
    Lateral,
    OptimiserName,
    ProtectedReadout,
    Rehearsal,
    Schedule,
    make_optimiser,
)
from neurocl.memory import RawReplay
from neurocl.networks import MLP, Conv2d, Direct, HeadName, HLOPNet, Linear, Network, Readout, ResNet18, WeightedRate
from neurocl.neurons import DSRLIF, LIF, Neuron
from neurocl.plasticity import HebbianRule, LateralCircuits, SimilarityMatching, attach_lateral, lateral_neurons
from neurocl.primitives.checks import check_counts, named_as
from neurocl.primitives.surrogates import Sigmoid
from neurocl.primitives.tasks import Coding, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every number of the model."""

    coding: Coding = "spiking"  # "rate": the same network with ReLU units and one step
    network: Literal["mlp", "cnn", "resnet"] = "mlp"  # "cnn" and "resnet": the paper's for CIFAR-100 and 5-Datasets
    hidden: tuple[int, ...] = (800, 800)  # neurons of the MLP
    bias: bool = False  # of the MLP
    training: Literal["dsr", "surrogate", "ottt"] = "dsr"  # by rates, through time, or forward in time
    feedback: Literal["transpose", "alignment", "sign"] = "transpose"  # what carries errors down
    time_steps: int = 20  # steps a static image is shown; the paper has 6 for surrogate and ottt
    tau_membrane_ms: float = 20.0  # ms, of DSR neurons; 0.05 of it a step, as in the paper
    threshold: float = 0.3  # of DSR neurons; learnt in the first task
    fire_at: float = 0.3  # share of the threshold at which DSR neurons fire
    keep: float = 0.5  # of the membrane after a step, for surrogate and ottt
    rows: Literal["explained-variance", "fixed", "none"] = "explained-variance"  # "none": no circuits, the control
    share: float = 0.99  # of the activity's energy that rows are to capture
    rows_first: tuple[int, ...] = (80, 200, 100)  # "fixed": in the first task, by layer; the last holds on
    rows_later: tuple[int, ...] = (70, 70, 50, 50, 50, 30, 30, 30, 10)  # in each later task, every layer
    rows_later_by_layer: tuple[int, ...] = ()  # or by layer, the same in every later task; the last holds on
    rule: Literal["similarity-matching", "oja"] = "similarity-matching"  # of rows; "oja" as published
    matching_rate: float = 0.02  # "similarity-matching": share of the last batch in what rows know
    hebbian_rate_first: float = 0.001  # "oja": learning rate of the first layer's lateral weights
    hebbian_rate: float = 0.01  # "oja": of the other layers'
    hebbian_momentum: float = 0.9  # "oja": share of the last lateral change that is kept
    hebbian_iterations: int = 5  # "oja": lateral changes a batch
    hebbian_clamp: float = 10.0  # "oja": largest change of a lateral weight before rate and momentum
    deflate: bool = True  # "oja": new rows see only what old ones leave over; false as published
    orthonormalise: Literal["task", "update", "never"] = "task"  # repair of rows; "never" as published
    lateral: Literal["linear", "spike-rates", "settling"] = "linear"  # lateral neurons
    lateral_scale: float = 20.0  # largest answer of spiking lateral neurons
    lateral_steps: int = 40  # lateral steps a network step; the quantum is scale / steps
    side: Literal["auto", "input", "weight"] = "auto"  # what is projected; linear lateral neurons only
    readout_layers: int = 0  # last hidden layers that the class-incremental readout reads; 0: all
    readout_strength: float | Literal["auto"] = "auto"  # ridge strength of the class-incremental readout
    optimiser: OptimiserName = "sgd"  # "momentum" for the cnn, 0.9
    learning_rate: float = 0.1  # a step; 0.01 for the cnn
    anneal: Literal["constant", "linear", "cosine"] = "constant"  # learning rate within a task; "cosine" for the cnn
    batch_size: int = 64  # samples a step
    epochs: int = 1  # passes over a task; 200 for the cnn
    memory_size: int = 0  # samples stored of each class of each task; the paper's combination with replay has 50
    replay_epochs: int = 1  # passes over the store at the end of a task, without circuits; 20 for the cnn
    replay_batch_size: int = 50  # stored samples of each task a step
    replay_learning_rate: float = 0.01  # 0.001 for the cnn


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> GradientLearner | ProtectedReadout:
    """Return the learner for streams of this shape; all weights follow from ``seed``."""
    shared, by_class = task_shape.setting == "domain-incremental", task_shape.setting == "class-incremental"
    network = make_network(config, task_shape, "single" if shared else "expanding" if by_class else "multi", seed)
    optimiser, parts, rest = make_optimiser(config.optimiser, learning_rate=config.learning_rate), {}, {}
    if config.rows != "none":
        circuits = attach_circuits(config, network, shared, seed)
        optimiser, rest = circuits.protecting(optimiser), {"resting": circuits.resting}
        parts["lateral"] = Lateral(network, circuits)
    if config.memory_size:
        with named_as("replay_", size="memory_size"):
            store, sequence = partial(RawReplay, "per-task-class", seed=seed), task_shape.time_steps is not None
            parts["rehearsal"] = Rehearsal(
                network, store(size=config.memory_size, sequence=sequence), epochs=config.replay_epochs,
                optimiser=make_optimiser(config.optimiser, learning_rate=config.replay_learning_rate),
                batch_size=config.replay_batch_size, seed=seed, device=device, **rest,
            )  # fmt: skip
    learner = GradientLearner(
        network, Schedule(batch_size=config.batch_size, epochs=config.epochs), optimiser=optimiser, device=device,
        loss_mask="task" if by_class else "all", anneal=config.anneal, at_task_end=[p.end for p in parts.values()],
        at_task_begin=[part.begin for part in parts.values() if isinstance(part, Lateral)], parts=parts, name="hlop",
        abilities=Abilities(needs_boundaries=True, replays=config.memory_size > 0),
    )  # fmt: skip
    if not by_class:
        return learner
    named = named_as("readout_", last="readout_layers")
    features = named(partial(network.hidden_features, last=config.readout_layers))
    return named(ProtectedReadout)(learner, features, strength=config.readout_strength, seed=seed, name="hlop")


def make_network(config: Config, task_shape: TaskShape, head: HeadName, seed: int) -> Network:
    """Return the paper's network for this training mode."""
    time = {"tau_membrane_ms": config.tau_membrane_ms, "dt_ms": config.tau_membrane_ms / 20}
    dsr = config.training == "dsr"

    def neuron() -> Neuron:
        if dsr:
            return DSRLIF(threshold=config.threshold, fire_at=config.fire_at, trainable=True, **time)
        return LIF.from_keep(config.keep, surrogate=Sigmoid(alpha=4.0), fire="at", detach_reset=True)

    mlp = partial(MLP, hidden=config.hidden, bias=config.bias, weight_scale=1 / math.sqrt(3))  # torch's own scale
    return {"mlp": mlp, "cnn": HLOPNet, "resnet": ResNet18}[config.network](
        task_shape, coding=config.coding, neuron=neuron, head=head, seed=seed,
        encoding=Direct(config.time_steps) if task_shape.time_steps is None else None,
        readout=WeightedRate(tau_ms=time["tau_membrane_ms"], dt_ms=time["dt_ms"]) if dsr else Readout(),
        feedback=config.feedback, training=config.training,
    )  # fmt: skip


def attach_circuits(config: Config, network: Network, head: bool, seed: int) -> LateralCircuits:
    """Return circuits on all layers of weights, in order, and on a shared head."""
    names = [name for name, part in network.named_modules() if isinstance(part, Conv2d | Linear)]
    names = [name for name in names if head or not name.startswith("head")]
    oja = named_as("hebbian_", learning_rate="hebbian_rate")(HebbianRule)(
        learning_rate=config.hebbian_rate, momentum=config.hebbian_momentum, iterations=config.hebbian_iterations,
        clamp=config.hebbian_clamp, deflate=config.deflate,
    )  # fmt: skip
    slower = named_as(learning_rate="hebbian_rate_first")(replace)(oja, learning_rate=config.hebbian_rate_first)
    matching = named_as(learning_rate="matching_rate")(SimilarityMatching)(learning_rate=config.matching_rate)
    first = check_counts("rows_first", config.rows_first, at_least=0)
    later = [[n] for n in config.rows_later_by_layer] or [check_counts("rows_later", config.rows_later, at_least=0)]
    fixed = {name: (first[min(k, len(first) - 1)], *later[min(k, len(later) - 1)]) for k, name in enumerate(names)}
    return attach_lateral(
        network, layers=names, rows=fixed if config.rows == "fixed" else config.rows, share=config.share,
        rule=oja if config.rule == "oja" else matching, rules={names[0]: slower} if config.rule == "oja" else None,
        side=config.side, orthonormalise=config.orthonormalise, neurons=named_as("lateral_")(lateral_neurons)(
            config.lateral, scale=config.lateral_scale, steps=config.lateral_steps), seed=seed,
    )  # fmt: skip
