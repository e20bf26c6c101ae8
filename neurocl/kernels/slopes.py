"""Slopes of surrogates for the backward pass, in as few passes over memory as they take.

The formulas are those of :mod:`neurocl.primitives.surrogates`. Two of them are inverses of simple polynomials, which
one division can apply together with the chain rule: 24 instead of 46 microseconds a slice of 51,200 neurons for the
arc tangent. Every other surrogate goes through its ``slope_at``.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from neurocl.primitives.surrogates import ATan, SuperSpike, Surrogate

AddSloped = Callable[[Tensor, Tensor, Tensor, Tensor], None]


def slope_adder(surrogate: Surrogate, gain: float, like: Tensor) -> AddSloped:
    """Return ``add(out, carry, credit, x)``, which writes ``carry + gain * slope(x) * credit``; it may change ``x``."""
    scratch = torch.empty_like(like)
    one = like.new_ones(())

    if isinstance(surrogate, ATan) and type(surrogate).slope_at is ATan.slope_at:
        steepness, height = (math.pi * surrogate.alpha / 2) ** 2, gain * surrogate.alpha / 2

        def atan(out: Tensor, carry: Tensor, credit: Tensor, x: Tensor) -> None:
            torch.addcmul(one, x, x, value=steepness, out=scratch)
            torch.addcdiv(carry, credit, scratch, value=height, out=out)

        return atan
    if isinstance(surrogate, SuperSpike) and type(surrogate).slope_at is SuperSpike.slope_at:
        slope = gain * surrogate.alpha

        def super_spike(out: Tensor, carry: Tensor, credit: Tensor, x: Tensor) -> None:
            x.abs_().add_(1)
            torch.mul(x, x, out=scratch)
            torch.addcdiv(carry, credit, scratch, value=slope, out=out)

        return super_spike

    def any_other(out: Tensor, carry: Tensor, credit: Tensor, x: Tensor) -> None:
        torch.addcmul(carry, surrogate.slope_at(x), credit, value=gain, out=out)

    return any_other
