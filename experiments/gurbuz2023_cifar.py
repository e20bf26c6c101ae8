"""SHARP on CIFAR-10 and CIFAR-100, and early layers learnt on one that stay for the other (Gurbuz et al. 2023).

Class-incremental, VGG_Small as published: four convolutions below the cut, three behind it, two linear layers of 1,024.
Published: all images (5,000 and 500 a class), 15 phases of 5 passes, 200 and 100 samples stored a class, 50 remembered,
batches of 256 and 64. Reduced here by the constants below to what two CPU cores can run in about an hour, rate-coded,
so that accuracy lies far below the published network's and rows are to be compared with one another. Discriminants read
the two linear layers alone: what they keep grows with the square of the units. No number of the paper could be had.

Run: python experiments/gurbuz2023_cifar.py   (an hour of two cores; --quick: CIFAR-10 alone)
"""

import statistics
import sys
from pathlib import Path

from neurocl.cli.experiment import Claim, asked, save_table, tabulate
from neurocl.run.evaluation import TestSets, evaluate
from neurocl.run.job import reopened, run_name

SEEDS = range(1)  # published: 0, 1, 2
OUT = "results/experiments/gurbuz2023_cifar"
IMAGES = {"split-cifar10": 100, "split-cifar100": 20}  # training images a class; published: 5,000 and 500
TEST_PER_CLASS = {"split-cifar10": 100, "split-cifar100": 20}  # published: 1,000 and 100
STORED = {"split-cifar10": 20, "split-cifar100": 4}  # samples a class; published: 200 and 100
REMEMBERED = 10  # vectors a class; published: 50
PHASES = 5  # published: 15
PHASE_EPOCHS = 2  # published: 5
BATCH_SIZE = 32  # published: 256 and 64; smaller ones make more steps of few images

VGG_SMALL = {
    "channels": (64, 64, 64, 64, 128, 128, 128),
    "pooled": (1, 3, 6),
    "hidden": (1024, 1024),
    "cut": 4,
    "read_layers": 2,
    "readout": "both",
    "least_share": 0.7,
    "phases": PHASES,
    "phase_epochs": PHASE_EPOCHS,
    "batch_size": BATCH_SIZE,
    "replay_batch_size": BATCH_SIZE,
    "remembered": REMEMBERED,
}
TEMPERATURE = {"split-cifar10": 0.2, "split-cifar100": 0.05}
CLASSES = {"split-cifar10": 2, "split-cifar100": 10}  # a task


def row(label: str, stream: str, **settings: object) -> Claim:
    """One variant on one of the streams."""
    return Claim(
        label=f"{label}, {stream.removeprefix('split-')}",
        model="sharp:rate",
        stream=stream,
        settings={**VGG_SMALL, "temperature": TEMPERATURE[stream], "per_class": STORED[stream], **settings},
        options={
            "classes_per_task": CLASSES[stream],
            "train_per_class": IMAGES[stream],
            "test_per_class": TEST_PER_CLASS[stream],
        },
    )


def last_checkpoint(claim: Claim, tasks: int) -> str:
    """Where the first seed's run of a claim leaves its network."""
    job = claim.job(SEEDS[0], Path(OUT))
    run = Path(str(job.out)) / run_name(job.model, str(job.coding), job.settings) / f"seed-{job.seed}"
    return str(run / "checkpoints" / f"task-{tasks - 1}.safetensors")


def rows(stream: str) -> list[Claim]:
    """The three ways of replay on one stream."""
    return [
        row("SHARP", stream),
        row("no replay", stream, replay="none"),
        row("raw replay", stream, replay="raw"),
    ]


FIRST = rows("split-cifar10")
EARLY = {"fixed_layers": 4, "pretrained": last_checkpoint(FIRST[0], tasks=5)}
SECOND = [*rows("split-cifar100"), row("activation replay, early layers of CIFAR-10", "split-cifar100", **EARLY)]
CLAIMS = [*FIRST, *SECOND]


def readouts(claims: list[Claim]) -> int:
    """Print and save both readouts of every run: mean over tasks, all classes competing, and bytes."""
    lines = ["| row | readout | class-incremental, % | memory, kB |", "|---|---|---:|---:|"]
    found: dict[str, list[list[float]]] = {}
    for claim in claims:
        for name in ("nearest", "discriminant"):
            cells = []
            for run in [reopened(claim.job(seed, Path(OUT))) for seed in SEEDS]:
                run.learner.answer_by(name)  # type: ignore[attr-defined]
                seen = evaluate(run.learner, TestSets(run.stream), range(len(run.stream)), seed=run.job.seed)
                cost = run.learner.cost()
                accuracy = statistics.fmean(a for a in seen.accuracy if a is not None)
                cells.append([100 * accuracy, (cost.memory_bytes + cost.auxiliary_bytes) / 1000])
            found[f"{claim.label}, {name}"] = cells
            mean = [statistics.fmean(column) for column in zip(*cells, strict=True)]
            lines.append(f"| {claim.label} | {name} | {mean[0]:.2f} | {mean[1]:.0f} |")
    save_table(Path(OUT) / "readouts", lines, found)
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


if __name__ == "__main__":
    quick = "quick" in asked(__doc__, "quick").flags
    failed = 0
    for claims in (FIRST,) if quick else (FIRST, CLAIMS):  # later rows take layers from the first
        failed |= tabulate("SHARP on CIFAR, discriminants", claims, seeds=SEEDS, out=OUT)
        failed |= readouts(claims)
    sys.exit(failed)
