"""Whole-sequence dynamics and event products.

Every kernel has a reference in plain autograd that it has to agree with: spikes bit for bit, gradients to rounding.
"""

from neurocl.kernels.event_product import event_linear
from neurocl.kernels.lif import lif_sequence, lif_step
from neurocl.kernels.reference import run_steps

__all__ = ["event_linear", "lif_sequence", "lif_step", "run_steps"]
