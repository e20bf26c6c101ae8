"""Synapses over time: layers of weights ``[post, pre]`` that spare the work a signal does not need.

A constant signal is multiplied once. A spike raster that enters a linear layer is multiplied event by event, forward
and for the weight gradient (see :mod:`neurocl.kernels.event_product`). Both give what the plain product gives, the
second to rounding. The classes are ``nn.Linear`` and ``nn.Conv2d`` in every other respect, so that whatever works on
those, works on them: every product is a call of the module, which forward hooks see with its keywords.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.modules import module

from neurocl.kernels.event_product import event_linear
from neurocl.kernels.transforms import inside_autocast, inside_compiler, inside_transform
from neurocl.networks.propagation import FEEDBACKS, Feedback, give_credit, given, layout_of, send_down, sign_weight
from neurocl.networks.signal import Signal, Steps
from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.seeding import generator as seeded_generator

TORCH_SCALE = 1.0 / math.sqrt(3.0)  # what nn.Linear's own uniform initialisation amounts to


def initialise(synapse: nn.Linear | nn.Conv2d, *, scale: float, generator: torch.Generator) -> None:
    r"""Draw weights uniformly with standard deviation ``scale`` :math:`/\sqrt{n_{pre}}`, biases as torch does.

    Args:
        synapse: Layer to fill in place.
        scale: Standard deviation of the current for presynaptic values of mean square 1; torch's own choice is 0.577.
        generator: Source of the draws.
    """
    fan_in = synapse.weight[0].numel()
    with torch.no_grad():
        synapse.weight.copy_(uniform_weights(synapse.weight.shape, scale=scale, generator=generator))
        if synapse.bias is not None:
            limit = 1.0 / math.sqrt(max(fan_in, 1))
            synapse.bias.copy_(torch.rand(synapse.bias.shape, generator=generator).mul_(2 * limit).sub_(limit))


def uniform_weights(shape: torch.Size, *, scale: float, generator: torch.Generator | None) -> Tensor:
    """Return weights ``[post, pre, ...]`` as :func:`initialise` draws them."""
    bound = math.sqrt(3.0 / max(math.prod(shape[1:]), 1)) * scale
    return torch.rand(shape, generator=generator).mul_(2 * bound).sub_(bound)


def feedback_options(feedback: Feedback, seed: int, layer: int) -> dict[str, Any]:
    """Return the keywords of a hidden layer's synapse that decide its way down."""
    if feedback != "alignment":
        return {"feedback": feedback}
    return {"feedback": feedback, "feedback_generator": seeded_generator(seed, "feedback", layer)}


def set_feedback(synapse: "Linear | Conv2d", feedback: str, *, scale: float, generator: torch.Generator | None) -> None:
    """Give ``synapse`` a way of sending errors down, and draw its matrix where it has one."""
    check_name("feedback", feedback, FEEDBACKS)
    synapse.feedback = cast(Feedback, feedback)
    if feedback == "alignment":
        drawn = uniform_weights(synapse.weight.shape, scale=scale, generator=generator)
        synapse.register_buffer("feedback_weight", drawn.to(synapse.weight))


def backward_weight_of(synapse: "Linear | Conv2d") -> Tensor:
    """Return the weights ``[post, pre, ...]`` that an error is multiplied by on its way down, without gradient."""
    if synapse.feedback == "transpose":
        return synapse.weight.detach()
    return synapse.feedback_weight if synapse.feedback == "alignment" else sign_weight(synapse.weight)


class Linear(nn.Linear):
    """``nn.Linear`` that takes a :class:`Signal` by :meth:`transmit`, and spikes by their events.

    Args:
        pre: Number of presynaptic values.
        post: Number of neurons behind; 0 for a head that will grow.
        bias: Whether neurons have a constant current.
        scale: See :func:`initialise`.
        generator: Source of the weights; ``None`` means torch's own initialisation.
        feedback: How errors go down: ``"transpose"``, ``"alignment"`` or ``"sign"``.
        feedback_generator: Source of the fixed weights of ``"alignment"``, which follow the law of the weights.

    Attributes:
        event_products: Whether spikes are multiplied event by event; off, every product is dense.
    """

    feedback: Feedback
    feedback_weight: Tensor

    def __init__(
        self,
        pre: int,
        post: int,
        *,
        bias: bool = True,
        scale: float = TORCH_SCALE,
        generator: torch.Generator | None = None,
        feedback: Feedback = "transpose",
        feedback_generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(pre, post, bias=bias)
        self.event_products = True
        if generator is not None:
            initialise(self, scale=scale, generator=generator)
        elif post > 0:
            super().reset_parameters()
        set_feedback(self, feedback, scale=scale, generator=feedback_generator)

    def reset_parameters(self) -> None:
        """Leave the weights alone: the constructor fills them, from a generator where there is one."""

    def forward(
        self,
        input: Tensor,
        *,
        spikes: bool = False,
        credit: Tensor | None = None,
        observed: Tensor | None = None,
        steps: Steps | None = None,
        product: Tensor | None = None,
    ) -> Tensor:
        """Return ``input @ weight.T + bias``.

        Args:
            input: ``[..., pre]``.
            spikes: Whether every value of ``input`` is 0 or 1: the product then goes event by event where
                :attr:`event_products` is on, and is dense otherwise.
            credit: Rows that the weight gradient pairs with the error in place of ``input``.
            observed: Rows for those who watch the layer by hooks; the layer does not use them.
            steps: For the same: what ``input`` is the average of over time.
            product: What is returned, where :attr:`takes_products` and somebody has it; only gradients are arranged.
        """
        check_rows(credit, input)
        if credit is None and self.feedback == "transpose":
            if product is not None:
                return given(product, input, self.weight, self.bias)
            return self._multiplied(input, spikes)
        if credit is None:
            output = self._multiplied(input.detach(), spikes)
        else:
            with torch.no_grad():
                output = self._multiplied(input, spikes)
            output = give_credit(output, credit, self.weight, self.bias, None)
        return send_down(output, input, self.backward_weight(), None)

    @property
    def takes_products(self) -> bool:
        """Whether a call returns the plain product, so that who has computed it may hand it in.

        Not where a subclass, a parametrisation or somebody's hook may make something else of it, nor under autocast,
        compilation, ``torch.func`` or forward-mode differentiation, which have their own ways with a product.
        """
        return (
            type(self) is Linear
            and self.feedback == "transpose"
            and "forward" not in vars(self)
            and all(getattr(hook, "keeps_values", False) for hook in self._forward_hooks.values())
            and not (self._forward_pre_hooks or module._global_forward_hooks or module._global_forward_pre_hooks)
            and not (inside_autocast(self.weight.device.type) or forward_ad._current_level >= 0)
            and not (inside_compiler() or inside_transform())
        )

    def backward_weight(self) -> Tensor:
        """Return the weights ``[post, pre]`` that an error is multiplied by on its way down."""
        return backward_weight_of(self)

    def product(self, values: Tensor, *, spikes: bool, **learning: Any) -> Tensor:
        """Return the product over the last axis, event by event where ``spikes`` says that values are 0 or 1."""
        return self(values, spikes=True, **learning) if spikes else self(values, **learning)

    def transmit(self, signal: Signal) -> Signal:
        """Return the current that ``signal`` drives; axes after the batch are taken as one."""
        values = signal.values.flatten(1 if signal.constant else 2)
        current = amplified(self.product(values, spikes=signal.are_spikes), signal.amplitude, self.bias)
        return Signal(values=current, time_steps=signal.time_steps, constant=signal.constant)

    def _multiplied(self, values: Tensor, spikes: bool) -> Tensor:
        """Return the product itself."""
        if spikes and self.event_products:
            return event_linear(values, self.weight, self.bias, graded=False)
        return functional.linear(values, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that takes a :class:`Signal` by :meth:`transmit`.

    Args:
        pre: Number of input channels.
        post: Number of output channels.
        kernel_size: Side of the square kernel.
        stride: Step of the kernel; 2 halves height and width.
        padding: Zeros added on every side.
        bias: Whether channels have a constant current.
        scale: See :func:`initialise`.
        generator: Source of the weights; ``None`` means torch's own initialisation.
        feedback: As in :class:`Linear`.
        feedback_generator: As in :class:`Linear`.
    """

    feedback: Feedback
    feedback_weight: Tensor

    def __init__(
        self,
        pre: int,
        post: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        bias: bool = True,
        scale: float = TORCH_SCALE,
        generator: torch.Generator | None = None,
        feedback: Feedback = "transpose",
        feedback_generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(pre, post, kernel_size, stride=stride, padding=padding, bias=bias)
        if generator is None:
            super().reset_parameters()
        else:
            initialise(self, scale=scale, generator=generator)
        set_feedback(self, feedback, scale=scale, generator=feedback_generator)

    def reset_parameters(self) -> None:
        """Leave the weights alone: the constructor fills them, from a generator where there is one."""

    def forward(
        self,
        input: Tensor,
        *,
        credit: Tensor | None = None,
        observed: Tensor | None = None,
        steps: Steps | None = None,
    ) -> Tensor:
        """Return the convolution of ``input`` ``[B, channel, height, width]``, as :meth:`Linear.forward` does."""
        check_rows(credit, input)
        if credit is None and self.feedback == "transpose":
            return super().forward(input)
        if credit is None:
            output = super().forward(input.detach())
        else:
            with torch.no_grad():
                output = super().forward(input)
            output = give_credit(output, credit, self.weight, self.bias, layout_of(self))
        return send_down(output, input, self.backward_weight(), layout_of(self))

    def backward_weight(self) -> Tensor:
        """Return the weights ``[post, pre, height, width]`` that an error is multiplied by on its way down."""
        return backward_weight_of(self)

    def transmit(self, signal: Signal) -> Signal:
        """Return the current that ``signal`` drives; time and batch run as one axis through the convolution."""
        current = self(signal.values if signal.constant else signal.values.flatten(0, 1))
        bias = None if self.bias is None else self.bias.view(-1, 1, 1)
        current = amplified(current, signal.amplitude, bias)
        if not signal.constant:
            current = current.unflatten(0, signal.values.shape[:2])
        return Signal(values=current, time_steps=signal.time_steps, constant=signal.constant)


def amplified(current: Tensor, amplitude: float, bias: Tensor | None) -> Tensor:
    """Return the current for values that carry ``amplitude``; the bias, which is in it, counts once."""
    if amplitude == 1:
        return current
    current = current * amplitude
    return current if bias is None else current + (1 - amplitude) * bias


def check_rows(credit: Tensor | None, values: Tensor) -> None:
    """Refuse a credit that does not stand row by row beside the input."""
    if credit is not None and credit.shape != values.shape:
        raise BadInput(f"credit must have the shape of input, {list(values.shape)}; got {list(credit.shape)}")
