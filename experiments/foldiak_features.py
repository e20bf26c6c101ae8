"""A circuit of learnt lateral inhibition and homeostatic thresholds lifts patch features above random patches.

CIFAR-10 subset, five tasks of two classes, class-incremental, one pass, no replay; 400 filters, 3,601 features each.
Stated: the best test accuracy of random whitened patches (closed_form_bar.py, seed 0). The circuit learns from the
first task's patches alone; its numbers were chosen on held-out training images. Controls: without lateral synapses, and
without lateral synapses and Oja's rule, thresholds homeostatic in all.

Run: python experiments/foldiak_features.py   (half an hour of one core)
"""

import sys

from neurocl.cli.experiment import Claim, tabulate

SEEDS = [0]
OUT = "results/experiments/foldiak_features"
BARS = {"rate": "69.80", "spiking": "68.80"}


def row(label: str, coding: str, **settings: float) -> Claim:
    """One variant; settings under the names that hold for its coding."""
    named = {f"graded_{name}" if coding == "rate" else name: value for name, value in settings.items()}
    model = f"foldiak_ridge:{coding}"
    return Claim(label=label, model=model, stream="split-cifar10", stated=f"above {BARS[coding]}", settings=named)


CLAIMS = [
    *(row("circuit", coding) for coding in BARS),
    *(row("random patches, homeostatic", coding, anti_hebbian_rate=0.0, hebbian_rate=0.0) for coding in BARS),
    *(row("Oja without lateral synapses", coding, anti_hebbian_rate=0.0) for coding in BARS),
]

if __name__ == "__main__":
    sys.exit(tabulate("Patch features of a lateral circuit, class-incremental", CLAIMS, seeds=SEEDS, out=OUT))
