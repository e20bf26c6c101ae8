"""Neuron models, one file each: a pure step function, and a thin module that runs it over time.

``neurocl.neurons.neuron`` states the contract and the conventions.
"""

from neurocl.neurons.adaptive_lif import AdaptiveLIF, AdaptiveLIFState, adaptive_lif_step
from neurocl.neurons.current_lif import CurrentLIF, CurrentLIFState, current_lif_step
from neurocl.neurons.dsr_lif import DSRLIF, RateResponse, dsr_lif_step
from neurocl.neurons.hidden import CellView, HiddenView, reset
from neurocl.neurons.integrator import Integrator, integrator_step
from neurocl.neurons.izhikevich import Izhikevich, IzhikevichState, izhikevich_step
from neurocl.neurons.lif import LIF, lif_step
from neurocl.neurons.neuron import Neuron
from neurocl.neurons.parametric_lif import ParametricLIF, parametric_lif_step
from neurocl.neurons.rate import Rate

__all__ = [
    "DSRLIF",
    "LIF",
    "AdaptiveLIF",
    "AdaptiveLIFState",
    "CellView",
    "CurrentLIF",
    "CurrentLIFState",
    "HiddenView",
    "Integrator",
    "Izhikevich",
    "IzhikevichState",
    "Neuron",
    "ParametricLIF",
    "Rate",
    "RateResponse",
    "adaptive_lif_step",
    "current_lif_step",
    "dsr_lif_step",
    "integrator_step",
    "izhikevich_step",
    "lif_step",
    "parametric_lif_step",
    "reset",
]
