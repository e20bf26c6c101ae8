"""A circuit of learnt lateral inhibition and homeostatic thresholds lifts patch features above random patches.

CIFAR-10 subset, MNIST and Fashion-MNIST with 1,000 training images a class, five tasks of two classes, and the
CIFAR-100 subset, ten tasks of ten classes; class-incremental, one pass, no replay; 400 filters, 3,601 features each.
The bar: random whitened patches on the same images, seeds and bytes. The circuit learns from the first task's patches
alone; its numbers were chosen on held-out training images of the CIFAR-10 subset. Controls there: without lateral
synapses, and without these and Oja's rule, thresholds homeostatic in all. --whole: circuits on all images of MNIST and
Fashion-MNIST, against the bar of closed_form_bar.py (same protocol, random patches, seed 0).

Run: python experiments/foldiak_features.py   (several hours of one core; --whole: half an hour a row)
"""

import sys

from neurocl.cli.experiment import Claim, asked, tabulate

SEEDS = range(3)
OUT = "results/experiments/foldiak_features"
SETS = {
    "CIFAR-10 subset": "split-cifar10",
    "MNIST": "split-mnist",
    "Fashion-MNIST": "split-fashion-mnist",
    "CIFAR-100 subset": "split-cifar100",
}
OPTIONS = {"CIFAR-10 subset": {}, "CIFAR-100 subset": {"classes_per_task": 10}}
CODINGS = ("spiking", "rate")
BAR = {("MNIST", "rate"): "98.64", ("MNIST", "spiking"): "98.60"}  # random patches, all images, seed 0
BAR |= {("Fashion-MNIST", "rate"): "90.56", ("Fashion-MNIST", "spiking"): "90.09"}


def row(label: str, coding: str, name: str, *, model: str = "foldiak_ridge", **settings: float) -> Claim:
    """One variant; settings under the names that hold for its coding."""
    return Claim(
        label=f"{label}, {name}",
        model=f"{model}:{coding}",
        stream=SETS[name],
        stated="above random" if label == "circuit" else "",
        settings={f"graded_{key}" if coding == "rate" else key: value for key, value in settings.items()},
        options=OPTIONS.get(name, {"train_per_class": 1000}),
    )


def whole(name: str, coding: str) -> Claim:
    """The circuit on all images of a set."""
    stated = f"above {BAR[name, coding]}"
    return Claim(
        label=f"circuit, {name}, all images", model=f"foldiak_ridge:{coding}", stream=SETS[name], stated=stated
    )


CLAIMS = [
    *(row("circuit", coding, name) for name in SETS for coding in CODINGS),
    *(row("random patches", coding, name, model="patch_ridge") for name in SETS for coding in CODINGS),
    *(
        row("random patches, homeostatic", coding, "CIFAR-10 subset", anti_hebbian_rate=0.0, hebbian_rate=0.0)
        for coding in CODINGS
    ),
    *(row("Oja without lateral synapses", coding, "CIFAR-10 subset", anti_hebbian_rate=0.0) for coding in CODINGS),
]

WHOLE = [whole(name, coding) for coding in CODINGS for name in ("MNIST", "Fashion-MNIST")]

if __name__ == "__main__":
    wanted = asked(__doc__, "whole", rows=True)
    claims, seeds, out = (WHOLE, range(1), f"{OUT}/whole") if "whole" in wanted.flags else (CLAIMS, SEEDS, OUT)
    title = "Patch features of a lateral circuit, class-incremental"
    sys.exit(tabulate(title, claims, seeds=seeds, out=out, asked=wanted))
