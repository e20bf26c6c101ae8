"""Similarity matching learns a circuit's rows in a fraction of the samples that the published rule needs.

Standardised MNIST images, batches of 64, one pass: share of the energy of 5,000 held-out training images that rows miss
beyond what the best subspace of as many dimensions (eigenvectors of the training images) misses, over samples seen; and
processor time of one update. Published rule: 5 iterations, momentum 0.9, rate 0.001, as in permuted MNIST.

Run: python experiments/lateral_rules.py   (two minutes of one core)
"""

import statistics
import sys
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from rich.console import Console

from neurocl import streams
from neurocl.cli.experiment import asked, save_table
from neurocl.plasticity import HebbianRule, LateralCircuit, LateralRule, SimilarityMatching
from neurocl.plasticity.subspaces import orthonormal_rows

SEEDS = range(3)
CLAIMS = ()  # what is measured is no table of runs
ROWS = (80, 242)  # published number in the first layer, and what 99 % of one task's energy takes at best
SAMPLES = (640, 1_600, 6_400, 25_600, 49_984)
RULES: dict[str, LateralRule] = {
    "published": HebbianRule(learning_rate=0.001, deflate=False),
    "similarity matching": SimilarityMatching(),
}
OUT = Path("results/experiments/lateral_rules")


def energy_inside(x: torch.Tensor, rows: torch.Tensor) -> float:
    """Return the share of the energy of ``x`` inside the span of rows."""
    return float((x @ orthonormal_rows(rows).T).double().square().sum() / x.double().square().sum())


def course(
    rule: LateralRule, rows: int, x: torch.Tensor, held_out: torch.Tensor, seed: int
) -> tuple[list[float], float]:
    """Return the energy that rows capture after each number of samples, and milliseconds an update."""
    circuit, captured, times = LateralCircuit(x.shape[1], rule=rule, seed=seed), [], []
    circuit.grow(rows)
    for seen, batch in enumerate(x.split(64), start=1):
        started = time.process_time()
        circuit.hebbian_update(batch)
        times.append(1000 * (time.process_time() - started))
        if seen * 64 in SAMPLES:
            captured.append(energy_inside(held_out, circuit.new))
    return captured, statistics.median(times)


def main() -> int:
    """Run, print, draw and save."""
    torch.set_num_threads(1)
    stream = streams.open("permuted-mnist", seed=0, options={"tasks": 1, "normalise": "published"})
    batches = next(iter(stream)).batches(60_000, 0)
    every = next(iter(batches)).inputs.flatten(1)
    missed: dict[str, list[list[float]]] = {}
    times: dict[str, float] = {}
    for rows in ROWS:
        for name, rule in RULES.items():
            found = missed[f"{name}, {rows} rows"] = []
            for seed in SEEDS:
                order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))
                x, held_out = every[order[: SAMPLES[-1]]], every[order[-5000:]]
                best = energy_inside(held_out, torch.linalg.eigh((x.T @ x).double())[1].flip(1).T[:rows].float())
                captured, times[f"{name}, {rows} rows"] = course(rule, rows, x, held_out, seed)
                found.append([100 * (best - value) for value in captured])
    lines = ["| missed, points of energy; samples: | " + " | ".join(f"{n:,}" for n in SAMPLES) + " | ms an update |"]
    lines.append("|---|" + "---:|" * (len(SAMPLES) + 1))
    for name, found in missed.items():
        cells = [f"{statistics.fmean(c):.2f} ± {statistics.stdev(c):.2f}" for c in zip(*found, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {times[name]:.2f} |")
    save_table(OUT, lines, {"samples": SAMPLES, "missed": missed, "ms": times})
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, found in missed.items():
        style = {"color": "C1" if "similarity" in name else "C0", "ls": "-" if str(ROWS[0]) in name else "--"}
        axes.loglog(SAMPLES, torch.tensor(found).mean(0), marker="o", ms=4, label=name, **style)
    axes.set(xlabel="samples seen", ylabel="energy missed, points")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(OUT / "lateral_rules.png", dpi=150)
    Console(width=140, highlight=False).print("\n".join(lines), markup=False)
    return 0


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
