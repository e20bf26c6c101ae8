"""Why fine-tuning forgets and protected networks do not, from recorded activity alone.

Class-incremental split MNIST, 1,000 training and 100 test images a class, spiking networks; every run records the
evaluations of all tasks so far after each task. What follows is read from these trace files: how far the activity of
the first task's images has moved by the end; how much of it lies in the span of what later tasks drive, where their
learning can reach it; and what a readout is worth whose class means were taken right after each class was learnt,
beside one whose means are taken anew at the end. The last says which part of forgetting is lost activity, and which is
a readout left behind.

Run: python experiments/forgetting_in_traces.py   (half an hour of one core)
"""

import statistics
import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from neurocl import record
from neurocl.cli.experiment import Claim, save_table, tabulate
from neurocl.record import analysis, overview, plots
from neurocl.run.job import prepare, safe

SEEDS = range(3)
OUT = Path("results/experiments/forgetting_in_traces")
STREAM = {"train_per_class": 1000, "test_per_class": 100}
WANTED = {"phases": "evaluation", "weights": "none"}
ROWS = {"finetune": ("finetune", {}), "hlop": ("hlop", {}), "hlop, no circuits": ("hlop", {"rows": "none"})}
CLAIMS = [
    Claim(label=label, model=model, stream="split-mnist", settings=settings, options=STREAM, record=WANTED)
    for label, (model, settings) in ROWS.items()
]


def class_mean_accuracy(means: list[np.ndarray], activity: np.ndarray, labels: np.ndarray) -> float:
    """Return how often the nearest class mean is that of the sample's class."""
    distance = ((activity[:, None] - np.stack(means)[None]) ** 2).sum(2)
    return float((distance.argmin(1) == labels).mean())


def measures(path: Path) -> tuple[list[float], str]:
    """Return drift, captured share, and accuracy with old and with new class means, of the last hidden layer."""
    with record.open(path) as traces:
        name = traces.populations[-1]
        history = overview.history_of(traces, name)
        last = len(history) - 1
        labels = []
        for task in range(last + 1):
            _, places = overview.ids_of(traces, traces[name], task, last)
            labels.append(traces.samples["label"][places])
        old, new = (
            [history[after(task)][task][labels[task] == label].mean(0) for task in range(last + 1)
             for label in np.unique(labels[task])]
            for after in (lambda task: task, lambda task: last)
        )  # fmt: skip
        end, known = np.concatenate(history[last]), np.concatenate(labels)
        drift = float(analysis.drift_matrix(history)[last, 0])
        learnt = [history[task][task] for task in range(last + 1)]
        angle = float(np.degrees(analysis.angle_matrix(learnt)[0, 1:].mean()))
        stale, fresh = (class_mean_accuracy(means, end, known) for means in (old, new))
        return [drift, angle, 100 * stale, 100 * fresh], name


def main() -> int:
    """Run, read the traces, print and save the table and the figures."""
    failed = tabulate("Recorded runs", CLAIMS, seeds=SEEDS, out=OUT)
    lines = [
        "| row | drift of task 1's activity | angle to later tasks, ° | class means of then, % | of the end, % |",
        "|---|---:|---:|---:|---:|",
    ]
    found = {}
    for claim in CLAIMS:
        runs = []
        for seed in SEEDS:
            path = prepare(claim.job(seed, OUT)).folder.path / "traces.h5"
            values, name = measures(path)
            runs.append(values)
            if seed == SEEDS[0]:
                with record.open(path) as traces:
                    for figure_name, figure in overview.figures_of_tasks(traces, name):
                        plots.save(figure, OUT / f"{safe(claim.label)}_{figure_name}.png")
        found[claim.label] = runs
        columns = [*zip(*runs, strict=True)]
        cells = [f"{statistics.fmean(c):.2f} ± {statistics.stdev(c) if len(c) > 1 else 0:.2f}" for c in columns]
        lines.append(f"| {claim.label} | {' | '.join(cells)} |")
    save_table(OUT / "from_traces", lines, found)
    Console(highlight=False, soft_wrap=True).print("\n".join(lines), markup=False)
    return failed


if __name__ == "__main__":
    sys.exit(main())
