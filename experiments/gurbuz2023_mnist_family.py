"""SHARP on MNIST, Fashion-MNIST and letters: what its readout loses, and what replay is worth (Gurbuz et al. 2023).

Class-incremental, five tasks of two classes, 600 training and 200 test images a class, the published settings of each
set; notMNIST stands in for EMNIST, and one of its rows has, for good, the convolutions that seed 0 learnt on MNIST. One
training of each row is read out twice: by neighbours that vote, as published, and by nested discriminants. Stated,
MNIST, rate-coded, neighbours: the authors' code, seeds 0 and 1, others one seed.

Run: python experiments/gurbuz2023_mnist_family.py   (six hours of one core; --quick: rate-coded MNIST, half an hour;
--whole: all images of MNIST, seed 0, an hour and a half)
"""

import statistics
import sys
from dataclasses import replace
from pathlib import Path

from neurocl.cli.experiment import Claim, asked, save_table, tabulate
from neurocl.run.evaluation import TestSets, evaluate
from neurocl.run.job import reopened, run_name

SEEDS = range(5)
OUT = "results/experiments/gurbuz2023_mnist_family"
SMALL = {"train_per_class": 600, "test_per_class": 200}
FASHION = {"phases": 12, "least_share": 0.75, "temperature": 0.2, "neighbours": 25}
FASHION |= {"batch_size": 1024, "replay_batch_size": 1024}
SETS = {
    "MNIST": ("split-mnist", {}),
    "Fashion-MNIST": ("split-fashion-mnist", FASHION),
    "notMNIST": ("split-notmnist", {"phases": 15, "least_share": 0.6}),
}
STATED = {
    "published": "0.79 to 0.83",
    "horizon 2": "0.858",
    "no replay": "0.751",
    "raw replay": "0.867",
    "least share 0.6": "0.755",
}
VARIANTS = {
    "published": {},
    "no replay": {"replay": "none"},
    "horizon 2": {"horizon": 2},
    "raw replay": {"replay": "raw"},
    "least share 0.6": {"least_share": 0.6},
}


def row(name: str, coding: str, variant: str = "published") -> Claim:
    """One training, read out twice."""
    stream, settings = SETS[name]
    return Claim(
        label=f"{variant}, {name}",
        model=f"sharp:{coding}",
        stream=stream,
        settings={**settings, **VARIANTS[variant], "readout": "both"},
        options=SMALL,
    )


def stated(claim: Claim) -> str:
    """What others state of a row's readout by neighbours, in fractions; empty where nobody does."""
    variant, name = claim.label.split(", ")
    return STATED.get(variant, "") if (name, claim.model) == ("MNIST", "sharp:rate") else ""


def last_checkpoint(claim: Claim, tasks: int) -> str:
    """Where the first seed's run of a claim leaves its network."""
    job = claim.job(SEEDS[0], Path(OUT))
    run = Path(str(job.out)) / run_name(job.model, str(job.coding), job.settings) / f"seed-{job.seed}"
    return str(run / "checkpoints" / f"task-{tasks - 1}.safetensors")


CLAIMS = [
    *(row("MNIST", "rate", variant) for variant in VARIANTS),
    row("MNIST", "spiking"),
    *(row(name, coding) for name in ("Fashion-MNIST", "notMNIST") for coding in ("rate", "spiking")),
]
WHOLE = [replace(row("MNIST", coding), label="published, all of MNIST", options={}) for coding in ("rate", "spiking")]
VARIANTS["early layers of MNIST"] = {"fixed_layers": 2, "pretrained": last_checkpoint(CLAIMS[0], tasks=5)}
CLAIMS.append(row("notMNIST", "rate", "early layers of MNIST"))  # after the run it takes them from


def readouts(claims: list[Claim], seeds: range, out: str) -> int:
    """Print and save both readouts of every run: mean over tasks, all classes competing and the task's alone."""
    lines = [
        "| row | coding | readout | stated | class-incremental | task-incremental | memory, kB |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    found: dict[str, list[list[float]]] = {}
    for claim in claims:
        runs = [reopened(claim.job(seed, Path(out))) for seed in seeds]
        for name in ("nearest", "discriminant"):
            cells = []
            for run in runs:
                run.learner.answer_by(name)  # type: ignore[attr-defined]
                tasks = range(len(run.stream))
                seen = evaluate(run.learner, TestSets(run.stream), tasks, seed=run.job.seed, device="cpu")
                kilobytes = ((cost := run.learner.cost()).memory_bytes + cost.auxiliary_bytes) / 1000
                both = ([a for a in of if a is not None] for of in (seen.accuracy, seen.accuracy_within_task))
                cells.append([*map(statistics.fmean, both), kilobytes])
            key = f"{claim.label}, {claim.model}, {name}"
            found[key] = cells
            mean = [statistics.fmean(column) for column in zip(*cells, strict=True)]
            spread = [statistics.stdev(column) if len(column) > 1 else 0.0 for column in zip(*cells, strict=True)]
            theirs = stated(claim) if name == "nearest" else ""
            lines.append(
                f"| {claim.label} | {claim.model} | {name} | {theirs} | {mean[0]:.3f} ± {spread[0]:.3f} "
                f"| {mean[1]:.3f} ± {spread[1]:.3f} | {mean[2]:.0f} |"
            )
    save_table(Path(out) / "readouts", lines, found)
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


if __name__ == "__main__":
    flags = asked(__doc__, "quick", "whole").flags
    quick = [claim for claim in CLAIMS if claim.model == "sharp:rate" and "MNIST" in claim.label.split(", ")]
    sized = (WHOLE, range(1), f"{OUT}_whole") if "whole" in flags else (CLAIMS, SEEDS, OUT)
    chosen, seeds, out = (quick, SEEDS, OUT) if "quick" in flags else sized
    title = "SHARP on the MNIST family, discriminants"
    sys.exit(tabulate(title, chosen, seeds=seeds, out=out) or readouts(chosen, seeds, out))
