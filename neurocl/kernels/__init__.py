"""Whole-sequence dynamics and event products.

Every kernel has a reference in plain autograd that it has to agree with: spikes bit for bit, gradients to rounding.
"""

from neurocl.kernels.alif import adaptive_sequence
from neurocl.kernels.event_product import event_linear
from neurocl.kernels.leak import leaky_sequence, leaky_step
from neurocl.kernels.lif import lif_sequence, lif_step
from neurocl.kernels.reference import run_steps

__all__ = [
    "adaptive_sequence",
    "event_linear",
    "leaky_sequence",
    "leaky_step",
    "lif_sequence",
    "lif_step",
    "run_steps",
]
