"""Why fine-tuning forgets and protected networks do not, from recorded activity alone.

Class-incremental split MNIST, 1,000 training and 100 test images a class, spiking networks; every run records the
evaluations of all tasks so far after each task. What follows is read from these trace files: how far the activity of
the first task's images has moved by the end; how much of it lies in the span of what later tasks drive, where their
learning can reach it; and what a readout is worth whose class means were taken right after each class was learnt,
beside one whose means are taken anew at the end. The last says which part of forgetting is lost activity, and which is
a readout left behind. Means are of one half of each class's test images, accuracy is of the other half, both ways
round; old tasks are all but the last.

Run: python experiments/forgetting_in_traces.py   (half an hour of one core)
"""

import statistics
import sys
from pathlib import Path

import numpy as np
from rich.console import Console

from neurocl import record
from neurocl.cli.experiment import Claim, asked, save_table, tabulate
from neurocl.record import analysis, drawings, overview, plots
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


def class_mean_accuracy(
    taken: list[np.ndarray], end: list[np.ndarray], labels: list[np.ndarray], *, tasks: int
) -> float:
    """Return how often the nearest class mean, over other images of each class, is that of the image's own class.

    Args:
        taken: Of each task, the activity that means are of, [image, neuron].
        end: Of each task, the activity of the same images that is told apart.
        labels: Of each task, the classes of its images; images in the order of their ids.
        tasks: Of which the images are scored, the first ones; means are of all.
    """
    halves = [half_of(own) for own in labels]
    right = []
    for half in (0, 1):
        classes = [(task, label) for task, own in enumerate(labels) for label in np.unique(own)]
        means = np.stack([taken[t][(labels[t] == label) & (halves[t] == half)].mean(0) for t, label in classes])
        for task in range(tasks):
            others = halves[task] != half
            distance = ((end[task][others][:, None] - means) ** 2).sum(2)
            right.append(np.array([label for _, label in classes])[distance.argmin(1)] == labels[task][others])
    return float(np.concatenate(right).mean())


def half_of(labels: np.ndarray) -> np.ndarray:
    """Return 0 or 1 for each image: within a class they take turns, in the order of their ids."""
    half = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = labels == label
        half[own] = np.arange(own.sum()) % 2
    return half


def measures(path: Path) -> tuple[list[float], str]:
    """Return drifts, angle, and accuracies with old and with new class means, of the last hidden layer."""
    with record.open(path) as traces:
        name = traces.populations[-1]
        history = overview.history_of(traces, name)
        last = len(history) - 1
        places = [overview.ids_of(traces, traces[name], task, last)[1] for task in range(last + 1)]
        labels = [traces.samples["label"][own] for own in places]
    drift = analysis.drift_matrix(history)[last]
    learnt = [history[task][task] for task in range(last + 1)]
    angle = float(np.degrees(analysis.angle_matrix(learnt)[0, 1:].mean()))
    stale, fresh, old_stale, old_fresh = (
        100 * class_mean_accuracy(taken, history[last], labels, tasks=tasks)
        for tasks in (last + 1, last)
        for taken in (learnt, history[last])
    )
    return [float(drift[0]), float(drift[:last].mean()), angle, stale, fresh, old_stale, old_fresh], name


def main() -> int:
    """Run, read the traces, print and save the table and the figures."""
    failed = tabulate("Recorded runs", CLAIMS, seeds=SEEDS, out=OUT)
    lines = [
        "| row | drift of task 1's activity | of all old tasks' | angle to later tasks, ° | class means of then, % "
        "| of the end, % | old tasks: of then, % | of the end, % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
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
                    for figure_name, draw in drawings.drawings_of_tasks(traces, name):
                        plots.save(draw(), OUT / f"{safe(claim.label)}_{figure_name}.png")
        found[claim.label] = runs
        columns = [*zip(*runs, strict=True)]
        cells = [f"{statistics.fmean(c):.2f} ± {statistics.stdev(c) if len(c) > 1 else 0:.2f}" for c in columns]
        lines.append(f"| {claim.label} | {' | '.join(cells)} |")
    save_table(OUT / "from_traces", lines, found)
    Console(highlight=False, soft_wrap=True).print("\n".join(lines), markup=False)
    return failed


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
