"""CLASSP keeps MNIST while Fashion-MNIST is learnt into the same ten outputs, better than EWC (Ludwig 2024).

Published: conv 32, conv 64, max pooling, dropout 0.25, 128, dropout 0.5, 10; MNIST four passes, Fashion-MNIST one;
batches of 32, unshuffled; judged on training images with dropout at work, one run. Here: evaluation mode, and held-out
test images as well. The file asks for the first 1,500 images a task and 1,000 test images, one seed, for want of time;
--full takes all, the published size. Rows that are done are kept, so that a stopped run goes on. Rates are those of
the sources; ours were chosen elsewhere, see `classp_two_domains.py`. No number of the paper could be obtained.

Run: python experiments/ludwig2024_mnist_then_fashion.py   (five minutes of one core; --full: two hours)
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from neurocl.cli.experiment import asked, save_table
from neurocl.plasticity import CLASSP, OnlineEWC, fisher_diagonal
from neurocl.primitives.files import read_json
from neurocl.primitives.seeding import seeded
from neurocl.streams.datasets import load

SEEDS = range(1)
CLAIMS = ()  # what is measured is no table of runs
SAMPLES, TESTED = (60_000, 10_000) if "--full" in sys.argv else (1500, 1000)
PASSES, BATCH, FISHER_SAMPLES = (4, 1), 32, 64
OUT = f"results/experiments/ludwig2024_mnist_then_fashion/{SAMPLES}"
FIRST_TASK = PASSES[0] * -(-SAMPLES // BATCH)  # steps

Make = Callable[[Any], torch.optim.Optimizer]
VISION = {"power": 1.0, "threshold": 0.0, "epsilon": 1e-5, "gate": "absolute", "plain_steps": FIRST_TASK}
METHODS: dict[str, tuple[Make, float, float]] = {  # optimiser, its rate in task 2 relative to task 1, strength of EWC
    "vision schedule, threshold inert": (lambda some: CLASSP(some, 0.2, **VISION), 1.0, 0),
    "AdaGrad 0.01": (lambda some: torch.optim.Adagrad(some, 0.01), 1.0, 0),
    "AdaGrad 0.003": (lambda some: torch.optim.Adagrad(some, 0.003), 1.0, 0),
    "CLASSP, relative 0.1, rate 0.003": (lambda some: CLASSP(some, 0.003), 1.0, 0),
    "SGD 0.1, then 0.01": (lambda some: torch.optim.SGD(some, 0.1), 0.1, 0),
    "SGD 0.1, EWC 5000 (own anchor, implicit)": (lambda some: torch.optim.SGD(some, 0.1), 1.0, 5000.0),
    "Adam 0.001": (lambda some: torch.optim.Adam(some, 0.001), 1.0, 0),
    "CLASSP, quantile 0.3, rate 0.003": (
        lambda some: CLASSP(some, 0.003, threshold=0.3, gate="quantile"), 1.0, 0),
    "SGD 0.1": (lambda some: torch.optim.SGD(some, 0.1), 1.0, 0),
    "vision schedule, rate 0.05": (lambda some: CLASSP(some, 0.05, **VISION), 1.0, 0),
    "as printed: 0.2, 0.5 by weight": (lambda some: CLASSP(some, 0.2, 1.0, 0.5, 1e-5, gate="absolute"), 1.0, 0),
}  # fmt: skip


def published_network(seed: int) -> nn.Sequential:
    """The network of the released vision script."""
    with seeded(seed, "weights"):
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
            nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
        )  # fmt: skip


def images(name: str) -> tuple[torch.Tensor, ...]:
    """Training and test images with labels, the first of each."""
    data = load(name)
    x, tx = data.train[:SAMPLES].float() / 255, data.test[:TESTED].float() / 255
    return x, torch.from_numpy(data.train_classes[:SAMPLES]), tx, torch.from_numpy(data.test_classes[:TESTED])


def accuracy(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Accuracy in per cent, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        return 100 * float((torch.cat([network(part) for part in x.split(256)]).argmax(1) == y).float().mean())


def run(make: Make, fall: float, strength: float, seed: int) -> dict[str, float]:
    """Learn both tasks and return accuracies."""
    network, consolidation, found = published_network(seed), OnlineEWC(strength=strength), {}
    optimiser, tasks = make(network.parameters()), [images("mnist"), images("fashion-mnist")]
    with seeded(seed, "dropout"):
        for place, (x, y, *_) in enumerate(tasks):
            for group in optimiser.param_groups:
                group["lr"] *= fall**place
            network.train()
            for _ in range(PASSES[place]):
                for own, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
                    optimiser.zero_grad()
                    cross_entropy(network(own), labels).backward()
                    optimiser.step()
                    consolidation.pull(network, step_size=optimiser.param_groups[0]["lr"])
            after = "before" if not place else "after"
            found |= {f"MNIST {after}": accuracy(network, *tasks[0][2:])}
            if strength and not place:
                consolidation.consolidate(network, fisher_diagonal(network, x[:FISHER_SAMPLES]))
    found |= {"Fashion": accuracy(network, *tasks[1][2:]), "MNIST train": accuracy(network, *tasks[0][:2])}
    return found | {"mean": (found["MNIST after"] + found["Fashion"]) / 2}


def main() -> int:
    """Run, print and save."""
    there = Path(OUT) / "table.json"
    rows = read_json(there)["rows"] if there.exists() else {}
    for name, method in METHODS.items():
        if name not in rows:
            rows[name] = [run(*method, seed) for seed in SEEDS]
        heads = ["| method | " + " | ".join(rows[name][0]) + " |", "|---|" + "---:|" * len(rows[name][0])]
        lines = [
            f"| {n} | " + " | ".join(" / ".join(f"{each[k]:.1f}" for each in r) for k in r[0]) + " |"
            for n, r in rows.items()
        ]
        print(lines[[*rows].index(name)], flush=True)
        save_table(OUT, [*heads, *lines], rows)
    return 0


if __name__ == "__main__":
    asked(__doc__, "full")
    sys.exit(main())
