"""Lateral neurons that spike project as linear ones do, given a few dozen steps, and protect memory as well.

Left: error of the projection over lateral steps, closed-form rate code and simulated population, on orthonormal rows
(repaired) and on rows that overlap (three tasks, as published). Right: accuracy after four permutations of the digits.

Run: python experiments/lateral_settling.py   (twenty minutes of one core)
"""

import statistics
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console

from neurocl import streams
from neurocl.cli.experiment import asked, save_table
from neurocl.plasticity import HebbianRule, LateralCircuit, lateral_neurons
from neurocl.run.loop import run
from neurocl.run.shelf import load_model

SEEDS = range(3)
CLAIMS = ()  # what is measured is no table of runs
STEPS = (2, 5, 10, 20, 40, 80, 160)
SCALE = 8.0  # largest answer of a lateral neuron; images of unit mean square have a norm of 8
KINDS = ("spike-rates", "settling")
RULES, LINES = {"repaired": True, "published": False}, {"repaired": "-", "published": "--"}
STYLES = {"spike-rates": {"color": "C0", "lw": 3.0}, "settling": {"color": "C1", "lw": 1.2}, "linear": {"color": "0.4"}}
STREAM = {"tasks": "4", "normalise": "standardise"}
ROWS = {"rows": "fixed", "rows_first": (12, 30, 30), "rows_later": (12,)}
MODEL = ROWS | {"hidden": (200, 200), "epochs": 10, "rule": "oja"}
OUT = Path("results/experiments/lateral_settling")


def rows_of(repaired: bool, seed: int) -> tuple[LateralCircuit, torch.Tensor]:
    """Return a circuit that learnt the first three permutations, and activity of all of them."""
    circuit = LateralCircuit(
        64, seed=seed, rule=HebbianRule(deflate=repaired), orthonormalise="task" if repaired else "never"
    )
    seen = []
    for task in streams.open("permuted-digits", seed=seed, options=STREAM):
        if task.index == 3:
            break
        circuit.grow(12)
        for epoch in range(10):
            for batch in task.batches(64, epoch):
                circuit.hebbian_update(batch.inputs.flatten(1))
        circuit.consolidate()
        seen.append(batch.inputs.flatten(1))
    return circuit, torch.cat(seen)


def projection_errors(seed: int) -> dict[str, list[float]]:
    """Return the share of the energy inside the rows' span that projections leave there, by rule and neurons."""
    errors = {}
    for rule, repaired in RULES.items():
        circuit, x = rows_of(repaired, seed)
        basis = torch.linalg.qr(circuit.old.double().T).Q.T.float()
        there = (x @ basis.T).square().sum()
        for kind in (*KINDS, "linear"):
            errors[f"{kind}, {rule}"] = []
            for steps in STEPS:
                circuit.neurons = lateral_neurons(kind, scale=SCALE, steps=steps)
                left = (circuit.project(x) @ basis.T).square().sum()
                errors[f"{kind}, {rule}"].append(float(left / there))
    return errors


def accuracy(seed: int, **settings: object) -> float:
    """Return the accuracy after four permutations, on average."""
    model, stream = load_model("hlop"), streams.open("permuted-digits", seed=seed, options=STREAM)
    learner = model.build(model.config(**MODEL | settings), stream.shape, seed)
    return statistics.fmean(value for value in run(learner, stream, seed=seed).accuracy[-1] if value is not None)


def plot(errors: dict[str, list[float]], kept: dict[str, list[list[float]]], path: Path) -> None:
    """Draw errors and accuracies over lateral steps."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in errors.items():
        kind, rule = name.split(", ")
        if min(values) > 1e-10:  # linear neurons on repaired rows leave rounding errors
            left.loglog(STEPS, values, LINES[rule], marker="o", ms=4, label=name, **STYLES[kind])
    left.set(xlabel="lateral steps", ylabel="energy left inside the rows' span", title="Projection")
    for kind in KINDS:
        spread = 100 * torch.tensor(kept[kind])
        right.errorbar(STEPS, spread.mean(1), spread.std(1), marker="o", ms=4, label=kind, **STYLES[kind])
    for name, style, label in (("linear", "--", "linear"), ("none", ":", "no")):
        right.axhline(100 * statistics.fmean(kept[name][0]), color="0.4", ls=style, label=f"{label} lateral neurons")
    right.set(xlabel="lateral steps", ylabel="average accuracy, %", title="Memory of four permutations", xscale="log")
    for axes in (left, right):
        axes.set_xticks(STEPS, [*map(str, STEPS)])
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> int:
    """Run, print and save."""
    found = [projection_errors(seed) for seed in SEEDS]
    errors = {name: torch.tensor([errors[name] for errors in found]).mean(0).tolist() for name in found[0]}
    kept = {"linear": [[accuracy(s) for s in SEEDS]], "none": [[accuracy(s, rows="none") for s in SEEDS]]}
    for kind in KINDS:
        kept[kind] = [[accuracy(s, lateral=kind, lateral_scale=SCALE, lateral_steps=n) for s in SEEDS] for n in STEPS]
    lines = ["| lateral steps | " + " | ".join(map(str, STEPS)) + " |", "|---|" + "---:|" * len(STEPS)]
    for name, values in errors.items():
        lines.append(" | ".join([f"| energy left, {name}", *(f"{value:.1e}" for value in values)]) + " |")
    for name, rows in kept.items():
        cells = [f"{100 * statistics.fmean(row):.1f} ± {100 * statistics.stdev(row):.1f}" for row in rows]
        lines.append(f"| accuracy, {name} | " + " | ".join(cells) + " |" * (1 + len(STEPS) - len(cells)))
    save_table(OUT, lines, {"steps": STEPS, "errors": errors, "accuracy": kept})
    plot(errors, kept, OUT / "lateral_settling.png")
    Console(width=120, highlight=False).print("\n".join(lines), markup=False)
    return 0


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
