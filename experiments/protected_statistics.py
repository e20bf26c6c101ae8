"""Under lateral circuits old inputs go on driving the same hidden activity: statistics of old classes stay valid.

Hidden rates of the first task's test images right after that task and after the last: relative change of the activity,
and how well the ridge readout, whose statistics of these classes were taken then, still tells all classes apart.
Class-incremental, 5 tasks of two classes, 1,000 images a class, one pass; the accuracy is on test images.

Run: python experiments/protected_statistics.py   (five minutes of one core)
"""

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from rich.console import Console

from neurocl import streams
from neurocl.cli.experiment import asked, save_table
from neurocl.learners import ProtectedReadout
from neurocl.run.loop import scheduled
from neurocl.run.shelf import load_model

SEEDS = range(3)
CLAIMS = ()  # what is measured is no table of runs
STREAM = {"train_per_class": "1000", "test_per_class": "100"}
VARIANTS = {"99 %": {}, "95 %": {"share": 0.95}, "80 %": {"share": 0.8}, "no circuits": {"rows": "none"}}
OUT = Path("results/experiments/protected_statistics")


def drift_and_accuracy(coding: str, seed: int, settings: Mapping[str, object]) -> tuple[float, float, float]:
    """Return the relative change of old activity, accuracy on the first task, and on all of them."""
    stream, model = streams.open("split-mnist", seed=seed, options=STREAM), load_model("hlop")
    learner = cast(ProtectedReadout, model.build(model.config(coding=coding, **settings), stream.shape, seed))
    probe, before = stream.test(0), torch.empty(0)
    for task in stream:
        learner.begin_task(task)
        for batch in scheduled(task, learner.schedule):
            learner.observe(batch)
        learner.end_task(task)
        if task.index == 0:
            before = learner.features(probe.inputs)
    change = float((learner.features(probe.inputs) - before).norm() / before.norm())
    tests = [stream.test(index) for index in range(len(stream))]
    right = [float((learner.predict(test.inputs).argmax(1) == test.labels).float().mean()) for test in tests]
    return change, right[0], statistics.fmean(right)


def main() -> int:
    """Run, print and save."""
    lines = [
        "| circuits | coding | change of old activity | accuracy, first task | accuracy, all |",
        "|---|---|---:|---:|---:|",
    ]
    found: dict[str, list[tuple[float, float, float]]] = {}
    for coding in ("spiking", "rate"):
        for name, settings in VARIANTS.items():
            runs = found[f"{name}, {coding}"] = [drift_and_accuracy(coding, seed, settings) for seed in SEEDS]
            cells = [f"{statistics.fmean(r):.3f} ± {statistics.stdev(r):.3f}" for r in zip(*runs, strict=True)]
            lines.append(f"| {name} | {coding} | " + " | ".join(cells) + " |")
    save_table(OUT, lines, found)
    Console(width=120, highlight=False).print("\n".join(lines), markup=False)
    return 0


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
