"""Thresholded, saturating plasticity forgets less than AdaGrad and than a matched fall of the learning rate.

784-128-10; domain 1: 6,000 digits of MNIST, four passes; domain 2: 6,000 others, inverted and mirrored, one pass, the
same labels and head. Rates and thresholds are chosen on 3,000 further training digits with a seed of their own, from
five values a method, nine for the matched control (a rate for each domain); accuracy on 3,000 test digits a domain.
`one history a tensor`: AdaGrad whose steps fall alike for all weights of a tensor, the closest match of rates.

Run: python experiments/classp_two_domains.py   (ten minutes of one core)
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from neurocl.cli.experiment import asked, save_table, spread
from neurocl.plasticity import CLASSP
from neurocl.primitives.seeding import generator, seeded
from neurocl.streams.datasets import load

SEEDS = range(5)
CLAIMS = ()  # what is measured is no table of runs
CHOOSING_SEED, SAMPLES, TESTED, PASSES, BATCH = 100, 6000, 3000, (4, 1), 32
OUT = "results/experiments/classp_two_domains"
classp = partial(partial, CLASSP)  # classp(lr=0.1)(parameters); the optimiser's own rate is 0.01
absolute = partial(classp, epsilon=1e-5, gate="absolute")
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)  # of rules whose rate is a displacement


class OneHistory(torch.optim.SGD):
    """AdaGrad with one history for all weights of a tensor: the mean of its squared gradients, summed."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make one step."""
        for group in self.param_groups:
            for p in group["params"]:
                total = self.state[p]["total"] = self.state[p].get("total", 0.0) + p.grad.square().mean()
                p.sub_(p.grad / total.clamp_min(1e-30).sqrt(), alpha=group["lr"])


METHODS: dict[str, list[tuple[str, Callable[..., Any], float]]] = {  # (setting, optimiser, rate of domain 2 to 1)
    "SGD": [(f"{r}", lambda some, r=r: torch.optim.SGD(some, r), 1.0) for r in (0.003, 0.01, 0.03, 0.1, 0.3)],
    "matched SGD": [
        (f"{r}, then {r * k:.2g}", lambda some, r=r: torch.optim.SGD(some, r), k)
        for r in (0.03, 0.1, 0.3)
        for k in (0.3, 0.1, 0.03)
    ],
    "Adam": [(f"{r}", lambda some, r=r: torch.optim.Adam(some, r), 1.0) for r in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)],
    "AdaGrad": [(f"{r}", lambda some, r=r: torch.optim.Adagrad(some, r), 1.0) for r in RATES],
    "one history a tensor": [(f"{r}", lambda some, r=r: OneHistory(some, r), 1.0) for r in RATES],
    "absolute, rate 0.01": [(f"{t:g}", absolute(threshold=t), 1.0) for t in (0.0, 1e-8, 1e-7, 1e-6, 1e-5)],
    "relative, rate 0.01": [(f"{t}", classp(threshold=t), 1.0) for t in (0.03, 0.1, 0.3, 1.0, 2.0)],
    "all drives, rate 0.01": [(f"{t}", classp(threshold=t, history="all"), 1.0) for t in (0.03, 0.1, 0.3, 1.0, 2.0)],
    "quantile, rate 0.01": [(f"{q}", classp(threshold=q, gate="quantile"), 1.0) for q in (0.05, 0.1, 0.3, 0.5, 0.8)],
    "relative 0.1": [(f"{r}", classp(lr=r), 1.0) for r in RATES],
    "relative 0.1, power 1": [(f"{r}", classp(lr=r, power=1.0), 1.0) for r in RATES],
}


def domains(seed: int, tested: bool) -> list[tuple[torch.Tensor, ...]]:
    """Return training and evaluation images and labels of both domains; test digits only where ``tested``."""
    data = load("mnist")
    labels, order = torch.from_numpy(data.train_classes), torch.randperm(60000, generator=generator(seed, "digits"))
    held = order[2 * SAMPLES : 2 * SAMPLES + TESTED]
    eval_x, eval_y = (data.test, torch.from_numpy(data.test_classes)) if tested else (data.train[held], labels[held])
    found: list[tuple[torch.Tensor, ...]] = []
    for place, change in enumerate((lambda x: x, lambda x: 1 - x.flip(-1))):
        own = order[place * SAMPLES : (place + 1) * SAMPLES]
        train, test = (change(x.float() / 255) for x in (data.train[own], eval_x[:TESTED]))
        found.append((train, labels[own], test, eval_y[:TESTED]))
    return found


def run(make: Callable[..., Any], fall: float, seed: int, *, tested: bool) -> dict[str, float]:
    """Learn both domains; return accuracies and the share of weights that domain 2 changed."""
    with seeded(seed, "weights"):  # torch's own scale of weights
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimiser, data, found = make(network.parameters()), domains(seed, tested), {}
    for place, (x, y, *_) in enumerate(data):
        before = torch.cat([p.detach().flatten().clone() for p in network.parameters()])
        for group in optimiser.param_groups:
            group["lr"] *= fall**place
        for number in range(PASSES[place]):
            for own in torch.randperm(SAMPLES, generator=generator(seed, place, number)).split(BATCH):
                optimiser.zero_grad()
                cross_entropy(network(x[own]), y[own]).backward()
                optimiser.step()
        scores = [100 * float((network(tx).argmax(1) == ty).float().mean()) for _, _, tx, ty in data]
        found |= {"A1 before": scores[0]} if not place else {"A1": scores[0], "A2": scores[1]}
        changed = torch.cat([p.detach().flatten() for p in network.parameters()]) != before
        found["changed"] = 100 * float(changed.float().mean())
    return found | {"mean": (found["A1"] + found["A2"]) / 2}


def main() -> int:
    """Choose, run, print and save."""
    heads = ("A1 before", "A1", "A2", "mean", "changed")
    lines, rows = ["| method | chosen | " + " | ".join(heads) + " |", "|---|---|" + "---:|" * 5], []
    for method, settings in METHODS.items():
        tried = [run(make, k, CHOOSING_SEED, tested=False)["mean"] for _, make, k in settings]
        setting, make, k = settings[max(range(len(tried)), key=tried.__getitem__)]
        runs = [run(make, k, seed, tested=True) for seed in SEEDS]
        cells = [spread([each[head] for each in runs]) for head in heads]
        lines.append(f"| {method} | {setting} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
        rows.append({"method": method, "chosen": setting, "runs": runs, "tried": tried})
    save_table(OUT, lines, rows)
    return 0


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
