"""Synapses over time: layers of weights ``[post, pre]`` that spare the work a signal does not need.

A constant signal is multiplied once. A spike raster that enters a linear layer is multiplied event by event, forward
and for the weight gradient (see :mod:`neurocl.kernels.event_product`). Both give what the plain product gives, the
second to rounding. The classes are ``nn.Linear`` and ``nn.Conv2d`` in every other respect, so that whatever works on
those, works on them.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocl.kernels.event_product import event_linear
from neurocl.networks.signal import Signal

TORCH_SCALE = 1.0 / math.sqrt(3.0)  # what nn.Linear's own uniform initialisation amounts to


def initialise(synapse: nn.Linear | nn.Conv2d, *, scale: float, generator: torch.Generator) -> None:
    r"""Draw weights uniformly with standard deviation ``scale`` :math:`/\sqrt{n_{pre}}`, biases as torch does.

    Args:
        synapse: Layer to fill in place.
        scale: Standard deviation of the current for presynaptic values of mean square 1; torch's own choice is 0.577.
        generator: Source of the draws.
    """
    fan_in = synapse.weight[0].numel()
    bound = math.sqrt(3.0 / max(fan_in, 1)) * scale
    with torch.no_grad():
        synapse.weight.copy_(torch.rand(synapse.weight.shape, generator=generator).mul_(2 * bound).sub_(bound))
        if synapse.bias is not None:
            limit = 1.0 / math.sqrt(max(fan_in, 1))
            synapse.bias.copy_(torch.rand(synapse.bias.shape, generator=generator).mul_(2 * limit).sub_(limit))


class Linear(nn.Linear):
    """``nn.Linear`` that takes a :class:`Signal` by :meth:`transmit`, and spikes by their events.

    Args:
        pre: Number of presynaptic values.
        post: Number of neurons behind; 0 for a head that will grow.
        bias: Whether neurons have a constant current.
        scale: See :func:`initialise`.
        generator: Source of the weights; ``None`` means torch's own initialisation.

    Attributes:
        event_products: Whether spikes are multiplied event by event; off, every product is dense.
    """

    def __init__(
        self,
        pre: int,
        post: int,
        *,
        bias: bool = True,
        scale: float = TORCH_SCALE,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(pre, post, bias=bias)
        self.event_products = True
        if generator is not None:
            initialise(self, scale=scale, generator=generator)
        elif post > 0:
            super().reset_parameters()

    def reset_parameters(self) -> None:
        """Leave the weights alone: the constructor fills them, from a generator where there is one."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``, always as a dense product."""
        return functional.linear(input, self.weight, self.bias)

    def product(self, values: Tensor, *, spikes: bool) -> Tensor:
        """Return the product over the last axis, event by event where ``spikes`` says that values are 0 or 1."""
        if spikes and self.event_products:
            return event_linear(values, self.weight, self.bias, graded=False)
        return self(values)

    def transmit(self, signal: Signal) -> Signal:
        """Return the current that ``signal`` drives; axes after the batch are taken as one."""
        values = signal.values.flatten(1 if signal.constant else 2)
        return replace(signal, values=self.product(values, spikes=signal.are_spikes), spikes_per_unit=None)


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that takes a :class:`Signal` by :meth:`transmit`.

    Args:
        pre: Number of input channels.
        post: Number of output channels.
        kernel_size: Side of the square kernel.
        padding: Zeros added on every side.
        bias: Whether channels have a constant current.
        scale: See :func:`initialise`.
        generator: Source of the weights; ``None`` means torch's own initialisation.
    """

    def __init__(
        self,
        pre: int,
        post: int,
        *,
        kernel_size: int = 3,
        padding: int = 1,
        bias: bool = True,
        scale: float = TORCH_SCALE,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(pre, post, kernel_size, padding=padding, bias=bias)
        if generator is None:
            super().reset_parameters()
        else:
            initialise(self, scale=scale, generator=generator)

    def reset_parameters(self) -> None:
        """Leave the weights alone: the constructor fills them, from a generator where there is one."""

    def transmit(self, signal: Signal) -> Signal:
        """Return the current that ``signal`` drives; time and batch run as one axis through the convolution."""
        if signal.constant:
            return replace(signal, values=self(signal.values), spikes_per_unit=None)
        rows = self(signal.values.flatten(0, 1))
        return replace(signal, values=rows.unflatten(0, signal.values.shape[:2]), spikes_per_unit=None)
