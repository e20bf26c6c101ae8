r"""Spikes over time without a graph, and the derivative of firing rates by rates: what DSR is made of.

Weighted rates are :math:`\bar x = \sum_t w_t x_t`, :math:`w_t \propto keep^{T - t}`, :math:`\sum_t w_t = 1`. Summing a
membrane that loses ``threshold`` by a spike over time with these weights gives, without approximation,

.. math:: threshold\;\bar s = (1 - keep)\,\bar I - v_T\,w_T,

so that the rate of spikes follows the rate of the current, up to what is left in the membrane, from 0 to 1.

Source:
    Meng et al. 2022, Training high-performance low-latency spiking neural networks by differentiation on spike
    representation, CVPR.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def rate_weights(keep: float, time_steps: int) -> list[float]:
    """Return the weight of each step in a weighted rate, the last one largest; they sum to 1."""
    raw = [keep ** (time_steps - 1 - step) for step in range(time_steps)]
    total = math.fsum(raw)
    return [weight / total for weight in raw]


def subtracting_spikes(
    current: Float[Tensor, "..."],
    v: Float[Tensor, "*neuron"],
    *,
    keep: float,
    fire_at: float,
    threshold: float,
    scale: float = 1.0,
    time_steps: int | None = None,
) -> tuple[Float[Tensor, " time *neuron"], Float[Tensor, "*neuron"]]:
    r"""Run :math:`h = keep\,v + (1 - keep)\,a I`, spike where :math:`h \ge fire\_at`, :math:`v = h - s\,threshold`.

    Where :math:`a` is not 1, the membrane is kept in units of :math:`(1 - keep)\,a`, which leaves three passes over the
    neurons a step; a constant current takes as many. Otherwise every operation is that of the neurons' single step, so
    that spikes and membranes of 32 and 64 bits are bit for bit the same.

    Args:
        current: ``[T, ...]``; ``[...]`` where ``time_steps`` says how often it comes.
        v: Membrane before the first step.
        keep: Share of the membrane left after one step.
        fire_at: Membrane at which a neuron fires.
        threshold: What a spike takes off the membrane.
        scale: Factor :math:`a` on the current, above 0.
        time_steps: Number of steps of a constant current.

    Returns:
        Spikes of every step and the last membrane, without gradient.
    """
    with torch.no_grad():
        v, current = v.detach().clone(memory_format=torch.contiguous_format), current.to(v)
        steps = current.shape[0] if time_steps is None else time_steps
        spikes = current.new_empty((steps, *v.shape))
        wide = v.dtype in (torch.float32, torch.float64)  # half precision has not the range for other units
        unit = (1 - keep) * scale if scale != 1 and wide else scale
        gain = (1 - keep) * scale / unit
        v.div_(unit)
        level = torch.full((), fire_at / unit, dtype=v.dtype, device=v.device)  # compared faster than a number
        drive = current if gain == 1 or time_steps is None else current * gain
        for t, fired in enumerate(spikes.unbind(0)):
            if time_steps is None:
                drive = current[t] if gain == 1 else current[t] * gain
            torch.add(drive, v, alpha=keep, out=v)
            torch.ge(v, level, out=fired)
            v.sub_(fired, alpha=threshold / unit)
    return spikes, v.mul_(unit)


class _RateResponse(torch.autograd.Function):
    """The outgoing rate as it is; the error of the rate reaches the incoming one where it lies inside its range."""

    @staticmethod
    def forward(
        ctx: Any,
        rate: Tensor,
        threshold: Tensor | None,
        value: Tensor,
        rate_in: Tensor,
        slope: float,
        ceiling: float,
        per_threshold: float,
    ) -> Tensor:
        ctx.save_for_backward(rate_in)
        ctx.slope, ctx.ceiling, ctx.per_threshold = slope, ceiling, per_threshold
        return value.view_as(value)

    @staticmethod
    # pyrefly: ignore [bad-override]  # torch's stub hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (rate_in,), grad = ctx.saved_tensors, grad_outputs[0]
        inside = ((rate_in > 0) & (rate_in < ctx.ceiling)).to(grad.dtype)
        of_rate = inside.mul_(grad) if ctx.slope == 1 else inside.mul_(grad).mul_(ctx.slope)
        of_threshold = None
        if ctx.needs_input_grad[1]:
            of_threshold = (grad * (rate_in >= ctx.ceiling)).sum() * ctx.per_threshold
        return of_rate, of_threshold, None, None, None, None, None


def rate_response(
    rate: Float[Tensor, "*neuron"],
    *,
    value: Float[Tensor, "*neuron"],
    rate_in: Float[Tensor, "*neuron"],
    slope: float,
    ceiling: float,
    threshold: Tensor | None = None,
    per_threshold: float = 0.0,
) -> Float[Tensor, "*neuron"]:
    """Return ``value`` with the derivative ``slope`` by ``rate`` where ``rate_in`` lies between 0 and ``ceiling``.

    Args:
        rate: Time mean of the current, with gradient; its value is not used.
        value: Time mean of what the neurons sent out.
        rate_in: Weighted rate of the current, which decides who is inside.
        slope: Derivative of the outgoing by the incoming rate.
        ceiling: Incoming rate at which neurons fire at every step.
        threshold: Trainable threshold, a scalar; its gradient is ``per_threshold`` times the error at or above the
            ceiling.
        per_threshold: See ``threshold``.
    """
    return _RateResponse.apply(rate, threshold, value.detach(), rate_in.detach(), slope, ceiling, per_threshold)


def gathered(shares: Sequence[float], of_steps: Sequence[float]) -> float:
    r"""Return what reaches a rate of an error of 1, divided over the steps as ``of_steps``: :math:`T \sum_t w_t e_t`.

    1 where all steps get the same; 1.08 where the steps of the rate's own weights do, with the paper's numbers.
    """
    return len(shares) * math.fsum(share * error for share, error in zip(shares, of_steps, strict=True))


class _Carried(torch.autograd.Function):
    """A sequence as it is; the weighted sum of its errors over time is the error of its time mean."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, mean: Tensor, shares: Sequence[float] | None) -> Tensor:
        ctx.shares = shares
        return values.view_as(values)

    @staticmethod
    # pyrefly: ignore [bad-override]  # torch's stub hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        grad = grad_outputs[0]
        if ctx.shares is None:
            return None, grad.sum(0), None
        weights = torch.tensor(ctx.shares, dtype=grad.dtype, device=grad.device).mul_(len(grad))
        return None, torch.tensordot(weights, grad, 1), None


def carried(
    values: Float[Tensor, " time *neuron"], mean: Float[Tensor, "*neuron"], shares: Sequence[float] | None = None
) -> Float[Tensor, " time *neuron"]:
    r"""Return ``values``, whose errors reach ``mean`` as :math:`T \sum_t w_t e_t`; w is ``shares``, else alike."""
    return _Carried.apply(values.detach(), mean, shares)
