"""What passes between the layers of a network, and what a layer shows of itself.

Axes: time, batch, then neuron (or channel, height, width). A signal that is the same at every step is kept once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Activity on its way to the next layer.

    Attributes:
        values: ``[T, B, ...]``; ``[B, ...]`` where the signal is the same at every step.
        time_steps: Number of steps, ``T``.
        constant: Whether ``values`` holds one step that stands for all of them.
        spikes_per_unit: Number of spikes that a value of 1 stands for: 1 for spikes, 4 behind 2 x 2 average pooling of
            spikes, ``None`` for analogue values.
        amplitude: What a value of 1 carries into the next layer: 1 but for neurons whose spikes are worth a rate.
        credit: ``[B, ...]`` time mean of values times amplitude, with gradient, where rates are differentiated
            (``training="dsr"``); the gradient of everything that ``values`` drive goes through it.
        rate: ``[B, ...]`` weighted firing rate times amplitude, where there is a credit.
        shares: Weight of each step in ``rate``, where there is one. An error that differs from step to step reaches the
            credit by these weights, see :func:`~neurocl.kernels.weighted_rates.gathered`.
        current: What the neurons that sent the values were given, before normalisation, where an identity shortcut
            is to add it to a later current.
    """

    values: Tensor
    time_steps: int
    constant: bool = False
    spikes_per_unit: float | None = None
    amplitude: float = 1.0
    credit: Tensor | None = None
    rate: Tensor | None = None
    shares: tuple[float, ...] | None = None
    current: "Signal | None" = None

    @property
    def are_spikes(self) -> bool:
        """Whether every value is 0 or 1."""
        return self.spikes_per_unit == 1.0

    def recorded(self) -> Float[Tensor, "time batch ..."]:
        """Return the values with a time axis: length T, or 1 where the signal is constant."""
        return self.values.unsqueeze(0) if self.constant else self.values


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What rows are the average of over time; for those who watch a layer and do not answer to an average as to steps.

    Attributes:
        values: ``[T, B, ...]``.
        shares: Weight of each step in the rows; they sum to 1.
        amplitude: What a value of 1 stands for in the rows.
    """

    values: Tensor
    shares: Sequence[float]
    amplitude: float = 1.0

    def rows(self) -> Float[Tensor, "..."]:
        """Return every step's rows, one step after another."""
        return self.values.flatten(0, 1) * self.amplitude


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One step of a signal, where learning goes forward in time (``training="ottt"``).

    Attributes:
        values: ``[B, ...]`` what goes into the next layer, amplitude included.
        trace: ``[B, ...]`` the values' eligibility trace, which their weights' gradient is paired with; ``None`` for an
            input that is the same at every step, which stands for itself.
        current: As in :class:`Signal`, of this step.
    """

    values: Tensor
    trace: Tensor | None = None
    current: Tensor | None = None

    def flat(self) -> "Moment":
        """Return the moment with all axes behind the batch taken as one."""
        trace = None if self.trace is None else self.trace.flatten(1)
        return Moment(values=self.values.flatten(1), trace=trace)

    def times(self, gain: float) -> "Moment":
        """Return the moment with values and trace scaled."""
        if gain == 1:
            return self
        return Moment(values=self.values * gain, trace=None if self.trace is None else self.trace * gain)

    def learning(self) -> dict[str, Tensor]:
        """Return the keywords of a synapse that say what to learn from: ``credit``, and ``observed`` rows."""
        if self.trace is None:
            return {}
        return {"credit": self.trace, "observed": torch.cat([self.values.detach(), self.trace])}


@dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """One synapse at work: what came in, and what its neurons made of it.

    Attributes:
        name: The layer's name, for instance ``hidden.0``; ``head`` for the last one.
        synapse: The module that holds the weights ``[post, pre]``.
        pre: ``[T, B, ...]``, or ``[1, B, ...]`` where the product was computed once for all steps.
        pre_is_spikes: Whether every value of ``pre`` is 0 or 1.
        post: ``[T, B, ...]`` output of the neurons; ``[1, B, classes]`` scores for a head that is read once.
        pre_spikes_per_unit: Spikes that a value of 1 in ``pre`` stands for (4 behind 2 x 2 average pooling of spikes);
            ``None`` where ``pre`` is analogue.
    """

    name: str
    synapse: nn.Linear | nn.Conv2d
    pre: Tensor
    pre_is_spikes: bool
    post: Tensor
    pre_spikes_per_unit: float | None = None
