"""Layers over time: synapse, optional normalisation, neuron, optional pooling."""

from dataclasses import replace

from torch import nn

from neurocl.networks.signal import LayerActivity, Signal
from neurocl.networks.synapses import Conv2d, Linear
from neurocl.neurons import Neuron
from neurocl.primitives.checks import BadInput


class HiddenLayer(nn.Module):
    """Contract of a layer: ``layer(signal) -> signal``, and the activity of its synapses for those who ask."""

    def forward(self, signal: Signal) -> Signal:
        """Return the layer's output signal."""
        raise NotImplementedError

    def observed(self, name: str, signal: Signal) -> tuple[Signal, list[LayerActivity]]:
        """Return the layer's output signal and what its synapses did."""
        raise NotImplementedError


class Layer(HiddenLayer):
    """Synapse, optional batch normalisation, neuron, optional pooling, over a whole signal.

    Normalisation sees T x B rows in training and its running statistics in evaluation. A constant signal is
    normalised once, over B rows: mean and variance are those of the repeated rows; only the running variance differs,
    by the factor (T B - 1) / (T (B - 1)) of the unbiased estimate (for convolutions, B counts rows times positions).

    Args:
        synapse: Weights.
        neuron: Unit over time; ``neuron(current)``, ``neuron.constant(current, time_steps)``, ``neuron.spiking``.
        normalise: Batch normalisation of the current, or ``None``.
        pool: ``nn.AvgPool2d`` or ``nn.MaxPool2d`` on the neurons' output, or ``None``.
    """

    def __init__(
        self,
        synapse: Linear | Conv2d,
        neuron: Neuron,
        *,
        normalise: nn.Module | None = None,
        pool: nn.AvgPool2d | nn.MaxPool2d | None = None,
    ) -> None:
        super().__init__()
        self.synapse = synapse
        self.normalise = normalise
        self.neuron = neuron
        self.pool = pool

    def forward(self, signal: Signal) -> Signal:
        """Return the layer's output signal."""
        return self._pooled(self._response(signal))

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
        return self._pooled(response), [activity]

    def _response(self, signal: Signal) -> Signal:
        """Return what the neurons make of ``signal``, before pooling."""
        current = self._normalised(self.synapse.transmit(signal))
        if current.constant:
            values, _ = self.neuron.constant(current.values, current.time_steps)
        else:
            values, _ = self.neuron(current.values)
        return Signal(values=values, time_steps=signal.time_steps, spikes_per_unit=1.0 if self.neuron.spiking else None)

    def _pooled(self, signal: Signal) -> Signal:
        """Return ``signal`` as it leaves the layer: pooled where the layer pools."""
        if self.pool is None:
            return signal
        values = self.pool(signal.values.flatten(0, 1)).unflatten(0, signal.values.shape[:2])
        if signal.spikes_per_unit is None or isinstance(self.pool, nn.MaxPool2d):
            return replace(signal, values=values)
        side = self.pool.kernel_size
        area = side * side if isinstance(side, int) else side[0] * side[1]
        return replace(signal, values=values, spikes_per_unit=signal.spikes_per_unit * area)

    def _normalised(self, current: Signal) -> Signal:
        """Normalise over time and batch as one axis."""
        if self.normalise is None:
            return current
        rows = current.values if current.constant else current.values.flatten(0, 1)
        if self.training and rows.numel() == rows.shape[1]:
            raise BadInput("batch normalisation cannot train on a single value a channel: use a batch of at least 2")
        rows = self.normalise(rows)
        return replace(current, values=rows if current.constant else rows.unflatten(0, current.values.shape[:2]))
