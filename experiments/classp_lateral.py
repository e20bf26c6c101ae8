"""With lateral circuits the projection has to come last: after gate and saturation, or old activity leaks.

64-200-200-10, rate-coded, four permutations of the digits, circuits for 95 % of the activity of every layer, ten passes
of batches of 64. `gradient only`: the projected gradient meets the gate, nothing after it. `both`: and the step is
projected (`circuits.protect`). `step only`: the raw gradient meets the gate, the step is projected. Leak: share of the
last task's weight changes inside the protected span, greatest layer. Moved: share of weights a later task changed.

Run: python experiments/classp_lateral.py   (a few minutes of one core)
"""

import sys
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from neurocl import streams
from neurocl.cli.experiment import asked, save_table, spread
from neurocl.networks import MLP
from neurocl.plasticity import CLASSP, attach_lateral

SEEDS = range(3)
CLAIMS = ()  # what is measured is no table of runs
OUT = "results/experiments/classp_lateral"
PASSES, BATCH, RATE = 10, 64, 0.01
STREAM = {"tasks": "4", "normalise": "standardise"}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {  # where the projection stands, options of the rule
    "SGD 0.1, circuits": ("SGD", {}),
    "no circuits, relative 0.1": ("none", {}),
    "gradient only, relative 0.1": ("gradient", {}),
    "both, relative 0.1": ("both", {}),
    "step only, relative 0.1": ("step", {}),
    "gradient only, quantile 0.1": ("gradient", {"gate": "quantile"}),
    "both, quantile 0.1": ("both", {"gate": "quantile"}),
    "step only, quantile 0.1": ("step", {"gate": "quantile"}),
}


def run(order: str, options: dict[str, Any], seed: int) -> dict[str, float]:
    """Return accuracy over the four permutations, leak, and share of weights moved by tasks after the first."""
    stream = streams.open("permuted-digits", seed=seed, options=STREAM)
    network = MLP(stream.shape, hidden=(200, 200), coding="rate", head="single", seed=seed)
    circuits = attach_lateral(network, rows="explained-variance", share=0.95, seed=seed) if order != "none" else None
    parameters = network.parameters()
    optimiser = torch.optim.SGD(parameters, 0.1) if order == "SGD" else CLASSP(parameters, RATE, **options)
    if circuits is not None and order in {"both", "step"}:
        circuits.protect(optimiser)
    moved = []
    for task in stream:
        if circuits is not None:
            circuits.begin_task()
        before = torch.cat([p.detach().flatten().clone() for p in parameters_of(network)])
        for number in range(PASSES):
            for batch in task.batches(BATCH, number):
                optimiser.zero_grad()
                cross_entropy(network(batch.inputs), batch.labels).backward()
                if circuits is not None and order == "step":  # circuits have learnt; take the raw gradient instead
                    optimiser.zero_grad()
                    with circuits.resting():
                        cross_entropy(network(batch.inputs), batch.labels).backward()
                optimiser.step()
        after = torch.cat([p.detach().flatten() for p in parameters_of(network)])
        moved.append(100 * float((after != before).float().mean()))
        if circuits is not None:
            circuits.end_task()
    tests = [stream.test(index) for index in range(len(stream))]
    right = [float((network.predict(test.inputs).argmax(1) == test.labels).float().mean()) for test in tests]
    leaks = [report.leak for report in circuits.reports if report.leak is not None] if circuits is not None else [1.0]
    return {"accuracy": 100 * sum(right) / len(right), "leak": max(leaks), "moved": sum(moved[1:]) / len(moved[1:])}


def parameters_of(network: MLP) -> list[torch.Tensor]:
    """Weights alone: biases stay as they are once there are old rows."""
    return [p for name, p in network.named_parameters() if name.endswith("weight")]


def main() -> int:
    """Run, print and save."""
    lines, kept = ["| row | accuracy | leak | moved |", "|---|---:|---:|---:|"], {}
    for name, (order, options) in ROWS.items():
        kept[name] = [run(order, options, seed) for seed in SEEDS]
        accuracy, leak, moved = ([found[key] for found in kept[name]] for key in ("accuracy", "leak", "moved"))
        lines.append(f"| {name} | {spread(accuracy)} | {max(leak):.1e} | {spread(moved)} |")
        print(lines[-1], flush=True)
    save_table(OUT, lines, kept)
    return 0


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
