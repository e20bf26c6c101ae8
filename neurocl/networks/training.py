"""How weights get their gradient: three training modes, and what each asks of a network's parts.

- ``"surrogate"``: backpropagation through time with surrogate slopes.
- ``"dsr"``: spikes over time without a graph, differentiation of firing rates by firing rates; B rows in the backward
  pass whatever the number of steps.
- ``"ottt"``: forward in time; each step's loss is sent back at once through that step alone, and weights pair it with
  eligibility traces, so that memory does not grow with the number of steps.

Rate-coded networks have one step, in which all three are plain backpropagation: the mode is then left aside.

Source:
    Meng et al. 2022, DSR, CVPR; Xiao et al. 2022, Online training through time, NeurIPS.
"""

from collections.abc import Iterable, Iterator
from typing import get_args

import torch
from torch import Tensor, nn

from neurocl.networks.coding import TrainingMode
from neurocl.networks.readout import Count, Readout
from neurocl.networks.signal import Moment, Signal
from neurocl.neurons import DSRLIF, Neuron
from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.tasks import Coding


def check_training(training: TrainingMode, coding: Coding) -> TrainingMode:
    """Return the training mode that a network of this coding has: ``"surrogate"`` for rate coding."""
    check_name("training mode", training, get_args(TrainingMode))
    return "surrogate" if coding == "rate" else training


def check_parts(training: TrainingMode, neurons: Iterable[nn.Module], readout: Readout) -> TrainingMode:
    """Return ``training`` if neurons and readout can be trained so."""
    check_name("training mode", training, get_args(TrainingMode))
    if training == "surrogate":
        return training
    for neuron in neurons:
        if training == "dsr" and not isinstance(neuron, DSRLIF):
            raise BadInput(
                f"neuron must be DSRLIF for training='dsr', which differentiates its rates; got "
                f"{type(neuron).__name__}: pass neuron=DSRLIF, or none at all"
            )
        if training == "ottt" and not (isinstance(neuron, Neuron) and neuron.spiking and hasattr(neuron, "keep")):
            raise BadInput(
                f"neuron must be a spiking one with a keep for training='ottt', whose traces decay by it; got "
                f"{type(neuron).__name__}: pass for instance neuron=LIF, or none at all"
            )
    if isinstance(readout, Count):
        raise BadInput(
            f"readout must be linear in the last layer's activity for training={training!r}; got 'count': "
            "use 'weighted-rate' or 'mean'"
        )
    return training


def moments(signal: Signal, keep: float | Tensor) -> Iterator[Moment]:
    """Return the signal step by step, with its eligibility trace unless it is constant.

    Args:
        signal: What enters the first layer.
        keep: Share of the trace left after one step.
    """
    if signal.constant:
        moment = Moment(values=signal.values)
        for _ in range(signal.time_steps):
            yield moment
        return
    trace = torch.zeros_like(signal.values[0])
    for values in signal.values.unbind(0):
        trace = trace * keep + values
        yield Moment(values=values, trace=trace)
