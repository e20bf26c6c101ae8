"""The 784-400-400-10 network learns MNIST jointly to at least 97 % in a few epochs, spiking and rate-coded.

All ten classes at once: the upper bound of every split-MNIST table, and the check that spiking training works.

Run: python experiments/joint_mnist.py
"""

import sys

from neurocl.cli.experiment import Claim, asked, tabulate

SEEDS = range(3)
OUT = "results/experiments/joint_mnist"
FEW_EPOCHS = {"hidden": (400, 400), "epochs": 3, "batch_size": 128, "when": "last"}

CLAIMS = [
    Claim(
        label="joint, MNIST", model=f"joint:{coding}", stream="split-mnist", stated="at least 97", settings=FEW_EPOCHS
    )
    for coding in ("spiking", "rate")
]

if __name__ == "__main__":
    wanted = asked(__doc__, rows=True)
    sys.exit(tabulate("Joint training on MNIST, 3 epochs", CLAIMS, seeds=SEEDS, out=OUT, asked=wanted))
