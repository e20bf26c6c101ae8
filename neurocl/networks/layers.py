"""Layers over time: synapse, optional normalisation, neuron, optional pooling.

A layer runs in three ways. Called, it takes a whole signal under autograd. :meth:`HiddenLayer.by_rates` takes a whole
signal without a graph and differentiates rates (DSR); :meth:`HiddenLayer.step` takes one step and learns from
eligibility traces (OTTT).
"""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from neurocl.kernels.weighted_rates import carried, rate_weights
from neurocl.networks.signal import LayerActivity, Moment, Signal, Steps
from neurocl.networks.synapses import Conv2d, Linear
from neurocl.neurons import DSRLIF, Neuron
from neurocl.primitives.checks import BadInput

Pool = nn.AvgPool2d | nn.MaxPool2d
Read = Literal["spikes", "currents"]  # what is read of a layer: what it sends, or the current into its neurons


class OnlineState(NamedTuple):
    """What a layer carries from step to step: the state of its neurons, and the trace of what it sends out."""

    neuron: Any
    trace: Tensor


class HiddenLayer(nn.Module):
    """Contract of a layer: ``layer(signal) -> signal``, and the activity of its synapses for those who ask.

    Attributes:
        adds_current: Whether the layer adds the current of the one before, which its output does not tell.
    """

    adds_current: bool = False

    def forward(self, signal: Signal) -> Signal:
        """Return the layer's output signal."""
        raise NotImplementedError

    def observed(self, name: str, signal: Signal) -> tuple[Signal, list[LayerActivity]]:
        """Return the layer's output signal and what its synapses did."""
        raise NotImplementedError

    def by_rates(self, signal: Signal) -> Signal:
        """Return the layer's output signal, whose credit has the derivative of rates by rates."""
        raise BadInput(f"{type(self).__name__} cannot be trained by rates: use training='surrogate'")

    def step(self, moment: Moment, state: OnlineState | None) -> tuple[Moment, OnlineState]:
        """Return one step's output, with its eligibility trace, and the state, without its past's gradient."""
        raise BadInput(f"{type(self).__name__} cannot be trained online: use training='surrogate'")


class Layer(HiddenLayer):
    """Synapse, optional batch normalisation, neuron, optional pooling, over a whole signal.

    Normalisation sees T x B rows in training and its running statistics in evaluation. A constant signal is
    normalised once, over B rows: mean and variance are those of the repeated rows; only the running variance differs,
    by the factor (T B - 1) / (T (B - 1)) of the unbiased estimate (for convolutions, B counts rows times positions).

    Args:
        synapse: Weights.
        neuron: Unit over time; ``neuron(current)``, ``neuron.constant(current, time_steps)``, ``neuron.spiking``.
        normalise: Batch normalisation of the current, or ``None``; or ``nn.MaxPool2d``, by which neurons get the
            largest current of each window, and each window has one neuron.
        pool: ``nn.AvgPool2d`` or ``nn.MaxPool2d`` on the neurons' output, or ``None``.
    """

    def __init__(
        self,
        synapse: Linear | Conv2d,
        neuron: Neuron,
        *,
        normalise: nn.Module | None = None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__()
        self.synapse = synapse
        self.normalise = normalise
        self.neuron = neuron
        self.pool = pool

    def forward(self, signal: Signal) -> Signal:
        """Return the layer's output signal."""
        return pooled(self._response(signal), self.pool, self.neuron)

    def by_rates(self, signal: Signal) -> Signal:
        """Return the layer's output signal, whose credit has the derivative of rates by rates.

        Spikes over time are computed without a graph. The gradient takes B rows, the time mean of what came in; batch
        statistics in training are another matter: their gradient differs from step to step, and takes T x B rows.
        """
        neuron = check_dsr(self.neuron)
        if signal.constant:
            current = normalised(self.synapse.transmit(signal), self.normalise).values
            response = neuron.respond(current, current, time_steps=signal.time_steps)
        else:
            mean, rate = rates_of(signal, neuron.keep)
            if isinstance(self.synapse, Linear):
                mean, rate = mean.flatten(1), rate.flatten(1)
            by_batch = self.normalise is not None and self.normalise.training
            run = self._current_of_batch if by_batch else self._current_and_credit
            current, credit, scale = run(signal, mean, rate)
            response = neuron.respond(current, credit, scale=scale)
        sending = sent(response.spikes, neuron, credit=response.credit, rate=response.rate)
        return pooled(sending, self.pool, neuron)

    def step(self, moment: Moment, state: OnlineState | None) -> tuple[Moment, OnlineState]:
        r"""Return one step's output, with its eligibility trace, and the state, without its past's gradient.

        The trace of what is sent out is :math:`a_t = keep\,a_{t-1} + s_t`; normalisation sees the B rows of the step.
        """
        moment = moment.flat() if isinstance(self.synapse, Linear) else moment
        # dense: for B rows alone, events do not pay for their table of transposed weights
        current = self.synapse(moment.values, **moment.learning())
        current = normalised(Signal(values=current, time_steps=1, constant=True), self.normalise).values
        output, after = self.neuron.step(current, None if state is None else state.neuron)
        values, trace = sent_at_once(output, self.neuron, self.pool, state)
        return Moment(values=values, trace=trace), OnlineState(detached(after), trace)

    def observed(self, name: str, signal: Signal) -> tuple[Signal, list[LayerActivity]]:
        """Return the layer's output signal and what its synapse did; ``post`` is the output before pooling."""
        response = self._response(signal)
        pre = signal.recorded()
        activity = LayerActivity(
            name=name,
            synapse=self.synapse,
            pre=pre.flatten(2) if isinstance(self.synapse, Linear) else pre,
            pre_is_spikes=signal.are_spikes,
            post=response.values,
            pre_spikes_per_unit=signal.spikes_per_unit,
        )
        return pooled(response, self.pool, self.neuron), [activity]

    def _response(self, signal: Signal) -> Signal:
        """Return what the neurons make of ``signal``, before pooling."""
        current = normalised(self.synapse.transmit(signal), self.normalise)
        if current.constant:
            values, _ = self.neuron.constant(current.values, current.time_steps)
        else:
            values, _ = self.neuron(current.values)
        return sent(values, self.neuron)

    def _current_and_credit(self, signal: Signal, mean: Tensor, rate: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return current over time, up to a factor, its time mean with gradient, and the factor."""
        bias, scale, options = self.synapse.bias, signal.amplitude, {}
        with torch.no_grad():
            if isinstance(self.synapse, Linear) and self.normalise is None:
                current = self.synapse.product(signal.values.flatten(2), spikes=signal.are_spikes)
                if bias is not None and scale != 1:  # which the factor must not change
                    current += (1 / scale - 1) * bias
                if self.synapse.takes_products:
                    shares = current.new_full((len(current),), scale / len(current))
                    options["product"] = torch.tensordot(shares, current, 1)
            else:
                current, scale = normalised(self.synapse.transmit(signal), self.normalise).values, 1.0
        mean_current = with_credit(self.synapse, signal, mean, rate, **options)
        credit = Signal(values=mean_current, time_steps=1, constant=True)
        return current, normalised(credit, self.normalise).values, scale

    def _current_of_batch(self, signal: Signal, mean: Tensor, rate: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return the same where normalisation takes batch statistics: the gradient then runs through every step."""
        current = by_steps(self.synapse, signal, mean, rate)
        current = normalised(Signal(values=current, time_steps=signal.time_steps), self.normalise).values
        return current, current.mean(0), 1.0


def with_credit(synapse: Linear | Conv2d, signal: Signal, mean: Tensor, rate: Tensor, **options: Tensor) -> Tensor:
    """Return the time mean of the current, with a gradient that pairs errors with the time mean of ``signal``."""
    values = signal.values.flatten(2) if isinstance(synapse, Linear) else signal.values
    equally = [1 / signal.time_steps] * signal.time_steps
    steps = None if signal.constant else Steps(values=values, shares=equally, amplitude=signal.amplitude)
    return synapse(mean, observed=rate, steps=steps, **options)


def by_steps(synapse: Linear | Conv2d, signal: Signal, mean: Tensor, rate: Tensor) -> Tensor:
    """Return the current at every step, with a gradient that runs through every step down to the time mean.

    Batch statistics make errors that differ from step to step; they count as the steps do in the rate.
    """
    values = signal.values.flatten(2) if isinstance(synapse, Linear) else signal.values
    rows = carried(values * signal.amplitude, mean, signal.shares).flatten(0, 1)
    return synapse(rows, observed=rate).unflatten(0, values.shape[:2])


def normalised(current: Signal, normalise: nn.Module | None) -> Signal:
    """Normalise over time and batch as one axis."""
    if normalise is None:
        return current
    rows = current.values if current.constant else current.values.flatten(0, 1)
    if normalise.training and rows.numel() == rows.shape[1]:
        raise BadInput("batch normalisation cannot train on a single value a channel: use a batch of at least 2")
    rows = normalise(rows)
    return replace(current, values=rows if current.constant else rows.unflatten(0, current.values.shape[:2]))


def sent(values: Tensor, neuron: Neuron, *, credit: Tensor | None = None, rate: Tensor | None = None) -> Signal:
    """Return what neurons put out as a signal."""
    return Signal(
        values=values,
        time_steps=len(values),
        spikes_per_unit=1.0 if neuron.spiking else None,
        amplitude=neuron.amplitude,
        credit=credit,
        rate=rate,
        shares=None if rate is None else tuple(rate_weights(check_dsr(neuron).keep, len(values))),
    )


def sent_at_once(output: Tensor, neuron: Neuron, pool: Pool | None, state: OnlineState | None) -> tuple[Tensor, Tensor]:
    """Return what leaves a layer at one step, and its eligibility trace; ``state`` is that of the step before."""
    signal = pooled(sent(output.unsqueeze(0), neuron), pool, neuron)
    values = signal.values.squeeze(0)
    if signal.amplitude != 1:
        values = values * signal.amplitude
    trace = values.detach()
    if state is not None:
        trace = state.trace * kept(neuron) + trace
    return values, trace


def pooled(signal: Signal, pool: Pool | None, neuron: Neuron) -> Signal:
    """Return ``signal`` as it leaves a layer: pooled where the layer pools."""
    if pool is None:
        return signal
    if isinstance(pool, nn.MaxPool2d) and signal.credit is not None:
        return largest(signal, signal.credit, pool, neuron)
    values = pool(signal.values.flatten(0, 1)).unflatten(0, signal.values.shape[:2])
    if signal.spikes_per_unit is None or isinstance(pool, nn.MaxPool2d):
        return replace(signal, values=values)
    signal = replace(signal, values=values, spikes_per_unit=signal.spikes_per_unit * area_of(pool))
    if signal.credit is None or signal.rate is None:
        return signal
    return replace(signal, credit=pool(signal.credit), rate=pool(signal.rate))


def area_of(pool: nn.AvgPool2d) -> int:
    """Return how many values one pooled value stands for."""
    side = pool.kernel_size
    return side * side if isinstance(side, int) else side[0] * side[1]


def largest(signal: Signal, credit: Tensor, pool: nn.MaxPool2d, neuron: Neuron) -> Signal:
    """Return a pooled signal where the largest spike wins: who won differs from step to step, and so do the paths.

    An error of the outgoing time mean is split equally over the steps.
    """
    rows = carried(signal.values, credit / signal.amplitude, signal.shares).flatten(0, 1)
    values = pool(rows).unflatten(0, signal.values.shape[:2])
    best = replace(signal, values=values.detach(), credit=None, rate=None)
    _, rate = rates_of(best, check_dsr(neuron).keep)
    return replace(best, credit=values.mean(0) * signal.amplitude, rate=rate)


def rates_of(signal: Signal, keep: float) -> tuple[Tensor, Tensor]:
    """Return the signal's credit and weighted rate; those of an input over time are made here."""
    if signal.credit is not None and signal.rate is not None:
        return signal.credit, signal.rate
    values = signal.values
    shares = torch.tensor(rate_weights(keep, signal.time_steps), dtype=values.dtype, device=values.device)
    rate = torch.tensordot(shares, signal.values, 1)
    return signal.values.mean(0) * signal.amplitude, rate * signal.amplitude


def detached(state: Any) -> Any:
    """Return a neuron's state without its gradient."""
    if state is None or isinstance(state, Tensor):
        return None if state is None else state.detach()
    return type(state)(*(value.detach() for value in state))


def kept(neuron: nn.Module | None) -> float | Tensor:
    """Return the share of an eligibility trace left after one step: what the neurons keep of their membranes."""
    keep: Any = getattr(neuron, "keep", 0.0)
    return keep.detach() if isinstance(keep, Tensor) else keep


def check_dsr(neuron: Neuron) -> DSRLIF:
    """Return ``neuron`` if its rates have a derivative."""
    if not isinstance(neuron, DSRLIF):
        raise BadInput(f"neuron must be DSRLIF for training='dsr'; got {type(neuron).__name__}")
    return neuron


def mean_current(layer: nn.Module, entering: Signal) -> Tensor:
    """Return ``[B, feature]``: the mean current over time into each neuron, negative ones 0, pooled as the layer pools.

    Finer than a spike count of T + 1 levels, and no more than the membranes of neurons without leak would tell.

    Raises:
        BadInput: If the layer is none with one synapse.
    """
    if not isinstance(layer, Layer):
        raise BadInput(f"currents are read of plain layers (MLP, CNN); got {type(layer).__name__}: read spikes")
    current = layer.synapse.transmit(entering)
    mean = Signal(values=current.values if current.constant else current.values.mean(0), time_steps=1, constant=True)
    positive = normalised(mean, layer.normalise).values.relu()
    return (positive if layer.pool is None else layer.pool(positive)).flatten(1)
