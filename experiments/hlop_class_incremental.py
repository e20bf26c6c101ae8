"""Replay-free, class-incremental: features learnt under lateral circuits, against fixed random ones of equal bytes.

Five tasks of two classes, whole training sets, one pass of SGD on the task's two classes alone; a recursive ridge
readout of both hidden layers (1,600 rates) answers for all ten. `no circuits`: the same without protection: statistics
of old classes go stale. `random`: ridge on as many fixed random features as the same bytes hold (statistics of 1,601
features are most of them). The bar is `random`.

Run: python experiments/hlop_class_incremental.py   (half an hour of one core)
"""

import sys

from neurocl.cli.experiment import Claim, tabulate

SEEDS = range(3)
OUT = "results/experiments/hlop_class_incremental"
# chosen on held-out training images of MNIST: 1,600 units beside one another, and finer spikes
ONE_LAYER = {"rate": {"hidden": (1600,)}, "spiking": {"hidden": (1600,), "threshold": 0.05}}
EQUAL_BYTES = {"features": 1650, "time_steps": 16}

CLAIMS = [
    Claim(label=f"{label}, {name}", model=f"{model}:{coding}", stream=stream, stated=stated, settings=settings)
    for name, stream in (("MNIST", "split-mnist"), ("Fashion-MNIST", "split-fashion-mnist"))
    for coding in ("spiking", "rate")
    for label, model, stated, settings in (
        ("protected, 99 %", "hlop", "above random", {}),
        ("protected, 95 %", "hlop", "above random", {"share": 0.95}),
        ("protected, 99 %, one layer", "hlop", "above random", ONE_LAYER[coding]),
        ("no circuits", "hlop", "", {"rows": "none"}),
        ("random", "ridge", "", EQUAL_BYTES),
    )
]

if __name__ == "__main__":
    sys.exit(tabulate("Class-incremental, replay-free", CLAIMS, seeds=SEEDS, out=OUT))
