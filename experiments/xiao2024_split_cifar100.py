"""Lateral circuits hold ten tasks of CIFAR-100, in a small part of the published budget (Xiao et al. 2024, ICLR).

Published protocol: 10 tasks of 10 classes in natural order, task-incremental, convolutions 3-64-128-256 with batch
normalisation, all 500 images a class, 200 epochs a task, batches of 64, SGD 0.01 with momentum 0.9, T = 20, seed 2022;
rows 6, 100, 200 in the first task and 2, 20, 40 in each later one. Stated: average accuracy / backward transfer.
Reduced here, by the constants below, to what two CPU cores can run; accuracy is therefore far below what is stated, and
rows are to be compared with one another. The cosine of the learning rate has no five epochs of warming up.

Run: python experiments/xiao2024_split_cifar100.py   (half an hour of one core)
"""

import sys

from neurocl.cli.experiment import Claim, asked, tabulate

SEEDS = (2022,)
OUT = "results/experiments/xiao2024_split_cifar100"
EPOCHS = 4  # published: 200
BATCH_SIZE = 16  # published: 64; smaller ones make more steps of few images
TIME_STEPS = 4  # published: 20
TRAIN_PER_CLASS = 32  # published: 500
TEST_PER_CLASS = 20  # published: 100

SETTING = {
    "network": "cnn",
    "optimiser": "momentum",
    "learning_rate": 0.01,
    "anneal": "cosine",
    "batch_size": BATCH_SIZE,
    "hebbian_rate_first": 0.01,  # convolutions have one rate
    "epochs": EPOCHS,
    "time_steps": TIME_STEPS,
}
ROWS = {"rows": "fixed", "rows_first": (6, 100, 200), "rows_later_by_layer": (2, 20, 40)}
PUBLISHED = ROWS | {"rule": "oja", "deflate": False, "orthonormalise": "never"}
REPLAY = {"memory_size": 10, "replay_epochs": 1, "replay_learning_rate": 0.001}  # published: 50, 20 epochs


def row(label: str, stated: str = "", **settings: object) -> Claim:
    """One variant of the model."""
    return Claim(
        label=label,
        model="hlop:spiking",
        stream="split-cifar100",
        setting="task-incremental",
        stated=stated,
        settings=SETTING | settings,
        options={
            "classes_per_task": 10,
            "normalise": "published",
            "train_per_class": TRAIN_PER_CLASS,
            "test_per_class": TEST_PER_CLASS,
        },
    )


CLAIMS = [
    row("as published", "78.58 / -0.26", **PUBLISHED),
    row("equal rows, repaired", **ROWS),
    row("rows for 95 % of the energy", share=0.95),
    row("no circuits", rows="none"),
    row("as published, with replay", "", **PUBLISHED, **REPLAY),
]

if __name__ == "__main__":
    wanted = asked(__doc__, rows=True)
    sys.exit(tabulate("Split CIFAR-100, lateral circuits", CLAIMS, seeds=SEEDS, out=OUT, asked=wanted))
