"""Neuron models, one file each: a pure step function, and a thin module that runs it over time.

``neurocl.neurons.neuron`` states the contract and the conventions.
"""

from neurocl.neurons.hidden import CellView, HiddenView, reset
from neurocl.neurons.integrator import Integrator, integrator_step
from neurocl.neurons.lif import LIF, lif_step
from neurocl.neurons.neuron import Neuron
from neurocl.neurons.rate import Rate

__all__ = ["LIF", "CellView", "HiddenView", "Integrator", "Neuron", "Rate", "integrator_step", "lif_step", "reset"]
