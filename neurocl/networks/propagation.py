r"""How an error travels down through a layer of weights, and what the weight gradient pairs it with.

A layer :math:`I = W x` has two ways down. The weight gradient is :math:`g\,c^\top`, where the credit :math:`c` is the
input unless somebody gives another: an eligibility trace in online training through time. The error goes on as
:math:`B^\top g`, where ``"transpose"`` takes :math:`B = W`, ``"alignment"`` a fixed random matrix of the law of
:math:`W`, and ``"sign"`` the signs of :math:`W` times a constant.

Source:
    Lillicrap et al. 2016, Random synaptic feedback weights support error backpropagation; Liao et al. 2016, How
    important is weight symmetry in backpropagation; Xiao et al. 2022, Online training through time.
"""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

Feedback = Literal["transpose", "alignment", "sign"]
FEEDBACKS: tuple[str, ...] = get_args(Feedback)
Layout = tuple[Any, Any, Any, int]  # stride, padding, dilation and groups of a convolution


def layout_of(synapse: nn.Linear | nn.Conv2d) -> Layout | None:
    """Return the numbers that a convolution's gradients need; ``None`` for a linear layer."""
    if isinstance(synapse, nn.Linear):
        return None
    return synapse.stride, synapse.padding, synapse.dilation, synapse.groups


class _Descent(torch.autograd.Function):
    """The output as it is; its error reaches the input through ``back``."""

    generate_vmap_rule = True

    @staticmethod
    # pyrefly: ignore [bad-override]  # the form with setup_context has no ctx here
    def forward(output: Tensor, pre: Tensor, back: Tensor, layout: Layout | None) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, pre, back, ctx.layout = inputs
        ctx.shape = pre.shape
        ctx.save_for_backward(back)

    @staticmethod
    # pyrefly: ignore [bad-override]  # torch's stub hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (back,), grad = ctx.saved_tensors, grad_outputs[0]
        if ctx.layout is None:
            return grad, grad @ back, None, None
        return grad, nn.grad.conv2d_input(ctx.shape, back, grad, *ctx.layout), None, None


class _Credit(torch.autograd.Function):
    """The output as it is; its error is paired with ``credit`` for the weights."""

    generate_vmap_rule = True

    @staticmethod
    # pyrefly: ignore [bad-override]  # the form with setup_context has no ctx here
    def forward(output: Tensor, credit: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout | None) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, credit, weight, _, ctx.layout = inputs
        ctx.shape = weight.shape
        ctx.save_for_backward(credit)

    @staticmethod
    # pyrefly: ignore [bad-override]  # torch's stub hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (credit,), grad = ctx.saved_tensors, grad_outputs[0]
        of_bias = ctx.needs_input_grad[3]
        if ctx.layout is None:
            rows = _as_rows(grad)
            weight = rows.t() @ _as_rows(credit)
            return None, None, weight, rows.sum(0) if of_bias else None, None
        weight = nn.grad.conv2d_weight(credit, ctx.shape, grad, *ctx.layout)
        return None, None, weight, grad.sum((0, 2, 3)) if of_bias else None, None


class _Given(torch.autograd.Function):
    """A product of a linear layer that somebody computed already, with the derivatives of the product, of any order."""

    @staticmethod
    # pyrefly: ignore [bad-override]  # torch's stub has the form without setup_context only
    def forward(ctx: Any, output: Tensor, pre: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        wants = ctx.needs_input_grad  # what no gradient asks for may be changed in place by then
        ctx.save_for_backward(pre if wants[2] else None, weight if wants[1] else None)
        return output.clone()

    @staticmethod
    # pyrefly: ignore [bad-override]  # torch's stub hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (pre, weight), grad, wants = ctx.saved_tensors, grad_outputs[0], ctx.needs_input_grad
        rows = _as_rows(grad)
        of_weight = rows.t() @ _as_rows(pre) if wants[2] else None
        return None, grad @ weight if wants[1] else None, of_weight, rows.sum(0) if wants[3] else None


def _as_rows(values: Tensor) -> Tensor:
    """Return ``values`` with all axes but the last taken as one, also where the last is empty."""
    return values.reshape(math.prod(values.shape[:-1]), values.shape[-1])


def given(output: Tensor, pre: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``output``, with the derivatives of ``pre @ weight.T + bias``, which it is.

    Args:
        output: ``[..., post]`` the product, without gradient, in the type of the others.
        pre: ``[..., pre]``.
        weight: ``[post, pre]``.
        bias: ``[post]``.
    """
    return _Given.apply(output.detach(), pre, weight, bias)


def send_down(output: Tensor, pre: Tensor, back: Tensor, layout: Layout | None) -> Tensor:
    """Return ``output``, whose error reaches ``pre`` through the weights ``back`` and not those that made it.

    Args:
        output: What a layer made of ``pre`` without its gradient.
        pre: Input of the layer, with gradient.
        back: Weights ``[post, pre, ...]`` of the way down.
        layout: See :func:`layout_of`.
    """
    return _Descent.apply(output, pre, back.detach(), layout) if pre.requires_grad else output


def give_credit(output: Tensor, credit: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout | None) -> Tensor:
    """Return ``output``, whose error is paired with ``credit`` for the gradient of ``weight``; the bias is as ever.

    Args:
        output: What the layer gives, computed without gradient.
        credit: ``[..., pre]``, or images as the layer takes them; as many rows as ``output``.
        weight: Weights of the layer.
        bias: Biases of the layer.
        layout: See :func:`layout_of`.
    """
    return _Credit.apply(output, credit.detach(), weight, bias, layout)


def sign_weight(weight: Tensor) -> Tensor:
    r"""Return signs of ``weight`` times :math:`1/\sqrt{n_{pre}}`; for k x k kernels :math:`\sqrt{2/(k^2 n_{post})}`.

    Source:
        Xiao et al. 2024, Hebbian learning based orthogonal projection: the constants.
    """
    fan = weight.shape[1] if weight.ndim == 2 else 0.5 * weight[0, 0].numel() * weight.shape[0]
    return weight.detach().sign() / max(fan, 1) ** 0.5
