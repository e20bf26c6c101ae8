"""Anti-Hebbian lateral inhibition makes Hebbian units differ: localised, oriented fields, decorrelated, sparse.

144 spiking units see 10 x 10 grey patches of CIFAR-10 images, contrast-normalised and whitened, and learn by Földiák's
local rules alone; beside them the same units without lateral synapses. Held against each other on images not learnt
from: correlation of different units, likeness of fields (mean over units of the largest |cosine| with another unit's),
lifetime and population sparseness. Nothing published is reproduced number by number.

Run: python experiments/foldiak1990_receptive_fields.py   (minutes; writes fields.png, table.md)
"""

import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from neurocl import streams
from neurocl.cli.experiment import asked
from neurocl.networks import FoldiakLayer, mean_absolute_correlation, sparseness
from neurocl.primitives.seeding import generator

SEEDS = range(3)
OUT = Path("results/experiments/foldiak1990_receptive_fields")
CLAIMS: list[Any] = []  # no continual learning here: nothing for the shelf to run
SIDE, UNITS = 10, 144
BATCH, UPDATES, TESTED = 100, 2500, 20_000  # patches an update; updates; patches measured
RULES: dict[str, Any] = {
    "target_rate": 0.01, "time_steps": 20, "keep": 0.9,
    "anti_hebbian_rate": 0.02, "hebbian_rate": 8.0, "threshold_rate": 0.3,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {"with lateral inhibition": {}, "without": {"anti_hebbian_rate": 0.0}}
MEASURES = ("mean rate", "|correlation|", "likeness of fields", "lifetime sparseness", "population sparseness")


def patches(images: Tensor, *, seed: int) -> Tensor:
    """Draw a patch from each place of a random list, flat and contrast-normalised."""
    draws, count = generator(seed, "patches"), BATCH * UPDATES
    windows = images.mean(1).unfold(1, SIDE, 1).unfold(2, SIDE, 1)
    image, row, column = (torch.randint(size, (count,), generator=draws) for size in windows.shape[:3])
    flat = windows[image, row, column].flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    variance = centred.square().mean(1, keepdim=True)
    return centred / (variance + 0.1 * variance.mean()).sqrt()


def whitening(rows: Tensor) -> Tensor:
    """Return the symmetric matrix that whitens ``rows``, the finest structure less."""
    values, vectors = torch.linalg.eigh(torch.cov(rows.T))
    return vectors @ torch.diag((values + 0.05 * values.mean()).rsqrt()) @ vectors.T


def learnt(rows: Tensor, *, seed: int, **rules: Any) -> FoldiakLayer:
    """Let the circuit see every row once; the last third at a quarter of the rates."""
    layer = FoldiakLayer(rows.shape[1], UNITS, seed=seed, **(RULES | rules))
    for update, batch in enumerate(rows.split(BATCH)):
        layer.learn(batch, pace=1.0 if update < 2 * UPDATES // 3 else 0.25)
    return layer


def measured(layer: FoldiakLayer, rows: Tensor) -> list[float]:
    """Return the numbers of one row of the table, in the order of MEASURES."""
    output = layer(rows)
    fields = functional.normalize(layer.feedforward, dim=1)
    likeness = (fields @ fields.T).abs().fill_diagonal_(0).amax(1).mean()
    code = [mean_absolute_correlation(output), float(likeness), sparseness(output.T), sparseness(output)]
    return [float(output.mean()), *code]


def figure(fields: dict[str, Tensor]) -> Figure:
    """Draw every unit's field, in units of its own largest weight, a panel a variant."""
    drawn = Figure(figsize=(12, 6.6))
    drawn.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.88, wspace=0.05)
    across = int(UNITS**0.5)
    for place, (name, rows) in enumerate(fields.items(), start=1):
        axes = drawn.add_subplot(1, len(fields), place)
        tiles = (rows / rows.abs().amax(1, keepdim=True)).view(across, -1, SIDE, SIDE)
        framed = functional.pad(tiles, (1, 1, 1, 1), value=torch.nan)
        mosaic = framed.permute(0, 2, 1, 3).reshape(across * (SIDE + 2), -1)
        axes.imshow(mosaic, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_title(name, fontsize=13)
        axes.set_axis_off()
    drawn.suptitle(f"Fields of {UNITS} spiking units on whitened {SIDE} x {SIDE} patches of CIFAR-10", fontsize=14)
    return drawn


def main() -> int:
    """Learn, measure, print the table and draw the fields of the first seed."""
    stream = streams.open("split-cifar10", seed=0)
    train = torch.cat([batch.inputs for batch in stream.task(0).batches(1000, -1)])
    test = torch.cat([stream.test(index).inputs for index in range(5)])
    found: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
    fields = {}
    for seed in SEEDS:
        rows = patches(train, seed=seed)
        matrix, unseen = whitening(rows), patches(test, seed=seed)[:TESTED]
        for name, rules in VARIANTS.items():
            layer = learnt(rows @ matrix, seed=seed, **rules)
            found[name].append(measured(layer, unseen @ matrix))
            fields.setdefault(name, layer.feedforward)
    lines = [f"| | {' | '.join(MEASURES)} |", f"|---|{'---:|' * len(MEASURES)}"]
    for name, rows in found.items():
        cells = (f"{statistics.fmean(c):.3f} ± {statistics.stdev(c):.3f}" for c in zip(*rows, strict=True))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    table = "\n".join([*lines, "", f"seeds {', '.join(map(str, SEEDS))}, mean ± SD; {TESTED} patches of test images"])
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "table.md").write_text(table + "\n")
    figure(fields).savefig(OUT / "fields.png", dpi=160)
    print(table)
    return 0


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
