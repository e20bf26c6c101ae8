"""CLASSP: a weight moves where its drive passes a threshold, and the less the more it was driven before.

No task labels, no boundaries, no stored data: one number a weight beside the weights, carried over all tasks. In class-
incremental streams only the task's own logits compete in the loss (`loss_mask=task`), as nothing in the rule protects
a shared output layer; with `loss_mask=seen` it ends where fine-tuning ends. `strength` adds EWC's pull, outside gate
and history; that needs boundaries. results.json tells which share of weights every task updated, how far tasks updated
the same ones, and how saturated weights are.

Expected, class-incremental split-digits, seeds 0-2: spiking 72.9 %, rate 62.0 %.
Command: `neurocl run classp split-digits --seeds 0-2`, and `classp:rate`.

Source: Ludwig 2024, CLASSP, arXiv:2405.09637. Differs: see `neurocl.plasticity.CLASSP`; the network is ours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from neurocl.learners import EWC, Abilities, GradientLearner, ImportanceKind, LossMask, Schedule, Updates
from neurocl.networks import MLP, Direct
from neurocl.neurons import LIF
from neurocl.plasticity import CLASSP, GateKind, HistoryKind, OnlineEWC
from neurocl.primitives.checks import check_number, named_as
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
    loss_mask: LossMask = "task"  # whose logits compete: the task's, all classes seen, or all there are
    learning_rate: float = 0.01  # about the first change of a weight, whatever its gradient; 0.2 as published
    power: float = 2.0  # 1 as published saturates faster; 2 is AdaGrad's
    gate: GateKind = "relative"  # "absolute" as published, "quantile", "winners"
    induction: float = 0.1  # the gate's threshold: times the root mean square; a share for quantile and winners
    induction_depression: float = -1.0  # the same for drives that lower a weight; below 0: as for those that raise it
    epsilon: float = 1e-10  # in the power of the gradient's unit; 1e-5 as published
    history: HistoryKind = "gated"  # "all" drives, or "decaying"
    history_keep: float = 0.999  # share of a decaying history left after a step
    plain_steps: int = 0  # first steps without saturation; as many as the first task has, as published
    strength: float = 0.0  # of EWC's pull; larger holds old weights faster, 0 leaves it out
    importance: ImportanceKind = "exact"  # what it holds: by the Fisher information; "activation": NAI-style
    batch_size: int = 32  # samples a step
    epochs: int = 5  # passes over a task; used where iterations is 0
    iterations: int = 0  # steps a task


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
    check_number("learning_rate", config.learning_rate, above=0)
    updates = Updates(network)
    ewc = EWC(
        network,
        OnlineEWC(strength=config.strength),
        kind=config.importance,
        pull=config.learning_rate,
        seed=seed,
        device=device,
        sequence=task_shape.time_steps is not None,
    )
    held = config.strength > 0
    return GradientLearner(
        network,
        Schedule(batch_size=config.batch_size, epochs=config.epochs, iterations=config.iterations),
        optimiser=updates.watching(lambda parameters: rule(config, parameters)),
        name="classp",
        device=device,
        loss_mask=config.loss_mask,
        fresh_optimiser=False,
        after_step=(ewc.pull_back,) if held else (),
        at_task_begin=(updates.begin,),
        at_task_end=(updates.end, ewc.consolidate) if held else (updates.end,),
        parts={"updates": updates, "ewc": ewc} if held else {"updates": updates},
        abilities=Abilities(needs_boundaries=held),
    )


def rule(config: Config, parameters: Iterable[nn.Parameter]) -> CLASSP:
    """Return the optimiser."""
    published = named_as(threshold="induction", threshold_depression="induction_depression", keep="history_keep")
    return published(CLASSP)(
        parameters,
        config.learning_rate,
        config.power,
        config.induction,
        config.epsilon,
        gate=config.gate,
        threshold_depression=config.induction_depression if config.induction_depression >= 0 else None,
        history=config.history,
        keep=config.history_keep,
        plain_steps=config.plain_steps,
    )
