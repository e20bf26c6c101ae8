"""What each part of CLASSP is worth: power, gate, history and threshold, against plain, matched and EWC rows.

Digits of scikit-learn: five tasks of two classes, class-incremental, the task's logits competing; and four rotations,
domain-incremental. 64-100-10, spiking (T = 5) and rate-coded, three passes of batches of 32. The reduced grid turns one
part at a time from power 2, relative gate 0.1, gated history; --full takes all combinations; --mnist takes MNIST,
100 images a class. Rates are chosen from three with a seed of its own on held-out training samples.

Run: python experiments/classp_ablation.py   (a quarter of an hour of one core; --full: forty minutes)
"""

import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from neurocl import streams
from neurocl.cli.experiment import asked, save_table, spread
from neurocl.learners import EWC, GradientLearner, Schedule, Updates, batch_loss
from neurocl.networks import MLP, Direct
from neurocl.plasticity import CLASSP, HISTORIES, OnlineEWC
from neurocl.primitives.tasks import CODINGS
from neurocl.run.loop import scheduled
from neurocl.streams import Stream

SEEDS = range(5)
CLAIMS = ()  # what is measured is no table of runs
CHOOSING_SEED, VALIDATION = 100, 0.2
OUT = "results/experiments/classp_ablation"
RATES = (0.003, 0.01, 0.03)
GATES = {"absolute": (1e-6, 1e-4), "relative": (0.1, 1.0), "quantile": (0.3, 0.1), "winners": (0.3, 0.1)}
DEFAULT = {"power": 2.0, "gate": "relative", "threshold": 0.1, "history": "gated"}
STREAMS = {"class-incremental": "split-digits", "domain-incremental": "rotated-digits"}
PLAIN: dict[str, tuple[Callable[..., Any], tuple[float, ...], float, float]] = {  # optimiser, rates, fall, EWC
    "SGD": (torch.optim.SGD, (0.03, 0.1, 0.3), 1.0, 0),
    "SGD, a tenth after task 1 (matched)": (torch.optim.SGD, (0.03, 0.1, 0.3), 0.1, 0),
    "Adam": (torch.optim.Adam, (0.0003, 0.001, 0.003), 1.0, 0),
    "AdaGrad": (torch.optim.Adagrad, RATES, 1.0, 0),
    "EWC 100, Adam": (torch.optim.Adam, (0.0003, 0.001, 0.003), 1.0, 100.0),
}


def variants(full: bool) -> list[dict[str, Any]]:
    """Return the settings of the rule that are compared."""
    gates = [{"gate": gate, "threshold": t} for gate, thresholds in GATES.items() for t in thresholds]
    if full:
        every = itertools.product((1.0, 2.0), HISTORIES, gates)
        return [{"power": power, "history": history, **gate} for power, history, gate in every]
    single = [*gates[1:], {"power": 1.0}, {"history": "all"}, {"history": "decaying"}, {"gate": "none", "threshold": 0}]
    return [DEFAULT | change for change in single]


def learner_of(stream: Stream, coding: Any, make: Any, fall: float, strength: float, seed: int) -> Any:
    """Return a learner whose optimiser goes on over tasks, at ``fall`` of its rate after the first, and its report."""
    network = MLP(stream.shape, hidden=(100,), coding=coding, head="expanding", encoding=Direct(5), seed=seed)
    updates, ewc = Updates(network), EWC(network, OnlineEWC(strength=strength), seed=seed)
    begun = iter([1.0, *[fall] * len(stream)])
    learner = GradientLearner(
        network, Schedule(batch_size=32, epochs=3), name="ablation", loss_mask="task", fresh_optimiser=False,
        optimiser=updates.watching(lambda some: make(some, lr=make.keywords["lr"] * next(begun))),
        loss_terms={"batch": batch_loss, "penalty": ewc.penalty} if strength else {"batch": batch_loss},
        at_task_begin=[updates.begin], at_task_end=[updates.end, ewc.consolidate] if strength else [updates.end],
    )  # fmt: skip
    return learner, updates


def run(setting: str, name: str, seed: int, *, tested: bool, **of_learner: Any) -> tuple[float, float]:
    """Return final accuracy over all tasks, and the mean share of weights a task changed, in per cent."""
    few = {"train_per_class": 100} if name.endswith("mnist") else {}
    stream = streams.open(name, setting=setting, seed=seed, options={"validation": VALIDATION} | few)
    learner, updates = learner_of(stream, seed=seed, **of_learner)
    shares, right, asked = [], 0, 0
    for task in stream:
        learner.begin_task(task)
        for batch in scheduled(task, learner.schedule):
            learner.observe(batch)
        learner.end_task(task)
        shares.append(updates.diagnostics()["share"])
    for part in [(stream.test if tested else stream.validation)(index) for index in range(len(stream))]:
        right += int((learner.predict(part.inputs).argmax(1) == part.labels).sum())
        asked += len(part)
    return 100 * right / asked, 100 * sum(shares) / len(shares)


def rows(full: bool) -> dict[str, tuple[list[Callable[..., Any]], float, float]]:
    """Return every row's optimisers, one a rate, fall of the rate and strength of EWC."""
    plain = {name: ([partial(m, lr=r) for r in rates], *rest) for name, (m, rates, *rest) in PLAIN.items()}
    found: dict[str, Any] = dict(plain)
    for each in variants(full):
        name = f"CLASSP p={each['power']:g}, {each['gate']} {each['threshold']:g}, {each['history']}"
        rule = each | ({"gate": "absolute"} if each["gate"] == "none" else {})
        found[name] = [partial(CLASSP, lr=rate, **rule) for rate in RATES], 1.0, 0
    return found


def main(full: bool, mnist: bool) -> int:
    """Choose, run, print and save."""
    lines, kept = ["| setting | coding | row | accuracy | changed |", "|---|---|---|---:|---:|"], []
    for (setting, name), coding in itertools.product(STREAMS.items(), CODINGS):
        stream = name.replace("digits", "mnist") if mnist else name
        for row, (makes, fall, strength) in rows(full).items():
            ways = [{"coding": coding, "make": make, "fall": fall, "strength": strength} for make in makes]
            tried = [run(setting, stream, CHOOSING_SEED, tested=False, **way)[0] for way in ways]
            best = ways[max(range(len(tried)), key=tried.__getitem__)]
            found = [run(setting, stream, seed, tested=True, **best) for seed in SEEDS]
            cells = map(spread, zip(*found, strict=True))
            lines.append(f"| {setting} | {coding} | {row} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
            kept.append({"setting": setting, "coding": coding, "row": row, "found": found, "tried": tried})
    save_table(OUT, lines, kept)
    return 0


if __name__ == "__main__":
    flags = asked(__doc__, "full", "mnist").flags
    sys.exit(main("full" in flags, "mnist" in flags))
