"""SHARP where classes come back among novel ones, and raw replay of as many bytes there (Gurbuz et al. 2023).

Their blurry boundaries: episodes of three classes, each novel with probability 0.3 and otherwise seen before, until no
class is novel. MNIST, class-incremental, 600 training and 200 test images a class, half of a class's images in each
episode it is in (the published share is not known to us); idle units do not start anew and the least share is 0.8, as
published; all else as on split MNIST. Every training of SHARP is read out twice: by neighbours that vote, as published,
and by nested discriminants. No number of the paper could be had, so that none is stated.

Run: python experiments/gurbuz2023_blurry.py   (an hour of one core; --quick: one seed, rate-coded, without variants)
"""

import statistics
import sys
from pathlib import Path

from neurocl.cli.experiment import Claim, asked, save_table, tabulate
from neurocl.run.evaluation import TestSets, evaluate
from neurocl.run.job import reopened

SEEDS = range(3)
SPIKING_SEEDS = range(1)  # eight steps cost about eight times as much
OUT = "results/experiments/gurbuz2023_blurry"
EPISODES = {"classes_per_task": 3, "novel": 0.3, "share": 0.5, "train_per_class": 600, "test_per_class": 200}
BLURRY = {"reinitialise": False, "least_share": 0.8, "readout": "both"}
SAMPLES = 640  # of 798 bytes: what SHARP's window and its neighbours' vectors take together at most


def row(label: str, model: str, **settings: object) -> Claim:
    """One model on the episodes; SHARP's settings are the published ones of this scenario unless given."""
    own = {**BLURRY, **settings} if model.startswith("sharp") else settings
    return Claim(label=label, model=model, stream="episodic-mnist", settings=own, options=EPISODES)


BARS = [
    row("raw replay of equal bytes", "replay:rate", memory_size=SAMPLES),
    row("ridge on random features", "ridge:rate"),
]
RATE = [
    row("SHARP", "sharp:rate"),
    row("SHARP, no replay", "sharp:rate", replay="none"),
]
SPIKING = [row("SHARP", "sharp:spiking")]
CLAIMS = [*RATE, *BARS, *SPIKING]
QUICK = [RATE[0], *BARS]


def readouts(claims: list[Claim], seeds: range, out: str) -> int:
    """Print and save both readouts of SHARP's runs: all classes after the last episode, and bytes."""
    lines = ["| row | model | readout | accuracy, % | memory, kB |", "|---|---|---|---:|---:|"]
    found: dict[str, list[list[float]]] = {}
    for claim in claims:
        runs = [reopened(claim.job(seed, Path(out))) for seed in seeds]
        for name in ("nearest", "discriminant") if claim.model.startswith("sharp") else ("",):
            cells = []
            for run in runs:
                if name:
                    run.learner.answer_by(name)  # type: ignore[attr-defined]
                last = len(run.stream) - 1
                seen = evaluate(run.learner, TestSets(run.stream), [last], seed=run.job.seed)
                cost = run.learner.cost()
                cells.append([100 * seen.accuracy[0], (cost.memory_bytes + cost.auxiliary_bytes) / 1000])
            found[f"{claim.label}, {claim.model}, {name}"] = cells
            accuracy, kilobytes = ([*column] for column in zip(*cells, strict=True))
            spread = f" ± {statistics.stdev(accuracy):.2f}" if len(runs) > 1 else ""
            lines.append(
                f"| {claim.label} | {claim.model} | {name} | {statistics.fmean(accuracy):.2f}{spread} "
                f"| {statistics.fmean(kilobytes):.0f} |"
            )
    save_table(Path(out) / "readouts", lines, found)
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


if __name__ == "__main__":
    quick = "quick" in asked(__doc__, "quick").flags
    all_parts = [([*RATE, *BARS], SEEDS, OUT), (SPIKING, SPIKING_SEEDS, f"{OUT}/spiking")]
    failed = 0
    for claims, seeds, out in [(QUICK, range(1), OUT)] if quick else all_parts:
        failed |= tabulate("SHARP among classes that come back", claims, seeds=seeds, out=out)
        failed |= readouts(claims, seeds, out)
    sys.exit(failed)
