"""What a coding stands for in a network: the neuron that carries activity, and how a static input enters.

A rate-coded network is the same network with a rate unit as neuron and one time step. Every constructor therefore
takes the neuron and the encoding of its *spiking* form, and ``coding`` decides whether they are used.
"""

from collections.abc import Callable
from typing import Literal

from neurocl.networks.encoding import Direct, Encoding, Frames
from neurocl.networks.synapses import TORCH_SCALE
from neurocl.neurons import DSRLIF, LIF, Neuron, Rate
from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.tasks import CODINGS, Coding, TaskShape

MakeNeuron = Callable[[], Neuron]
TrainingMode = Literal["surrogate", "ottt", "dsr"]

# With default_neuron these fire 5 to 20 % of the time in every layer before training, on images from 0 to 1 (tested).
SPIKE_SCALE = 1.5  # for the layers behind the first; that one's scale belongs to the encoding
TIME_STEPS = 16


def default_neuron() -> LIF:
    """Return the spiking neuron that networks use unless told otherwise.

    Its membrane holds about 5 steps and takes the whole current (gain 1), so that a current of 0.2 just fires.
    """
    return LIF(tau_membrane_ms=4.5, dt_ms=1.0)


def neuron_for(coding: Coding, spiking: MakeNeuron | None, training: TrainingMode = "surrogate") -> MakeNeuron:
    """Return ``spiking``, by default what the training mode can train, or the rate unit for ``coding="rate"``."""
    check_name("coding", coding, CODINGS)
    if coding == "rate":
        return Rate
    return spiking or (DSRLIF if training == "dsr" else default_neuron)


def initial_weight_scale(
    coding: Coding, encoding: Encoding, *, layer: int, training: TrainingMode = "surrogate"
) -> float:
    """Return the standard deviation of a current for inputs of mean square 1, before training, for the n-th layer.

    Rates that are differentiated by rates pass through layers as rate units' do, whatever carries them.
    """
    if coding == "rate" or (training == "dsr" and layer > 0):
        return TORCH_SCALE
    return encoding.weight_scale if layer == 0 else SPIKE_SCALE


def readout_gain_for(coding: Coding, training: TrainingMode = "surrogate") -> float:
    """Return the factor between firing rates and what the head multiplies.

    Rates around 0.1 need it: without, training drives them up until the scores are large enough. With 10 the
    784-400-400-10 network fires 14 % instead of 40 % after one epoch of MNIST, and classifies better (94.7 instead of
    93.6 % after 20,000 images). Rate-coded networks stay what they are everywhere else; where rates are differentiated
    spikes carry an amplitude already, and online every step is read alone: 1, as in the papers.
    """
    return 10.0 if coding == "spiking" and training == "surrogate" else 1.0


def encoding_for(coding: Coding, spiking: Encoding | None, shape: TaskShape) -> Encoding:
    """Return the encoding of an input of ``shape``.

    Args:
        coding: ``"spiking"`` or ``"rate"``; rate coding takes a static input in one step.
        spiking: Encoding of the spiking form; ``None`` means direct, 16 steps. Sequences take :class:`Frames` only.
        shape: Whether samples are sequences, and how long.
    """
    check_name("coding", coding, CODINGS)
    if shape.time_steps is not None:
        if spiking is None:
            return Frames(shape.time_steps)
        if isinstance(spiking, Frames) and spiking.time_steps == shape.time_steps:
            return spiking
        raise BadInput(
            f"encoding must be Frames({shape.time_steps}) or left out, as the samples are sequences of "
            f"{shape.time_steps} steps; got {type(spiking).__name__}({spiking.time_steps})"
        )
    if isinstance(spiking, Frames):
        raise BadInput("encoding Frames is for sequences, and shape.time_steps is None: use Direct, Poisson or Latency")
    if coding == "rate":
        return Direct(1)
    return Direct(TIME_STEPS) if spiking is None else spiking
