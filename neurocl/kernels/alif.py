r"""Adaptive leaky integrate-and-fire over a whole sequence: every spike raises the threshold for a while.

One step, with membrane ``v``, adaptation ``a`` and input ``x``, in this order of floating-point operations: charge
:math:`h = keep\,v + gain\,x`; fire where :math:`h - (threshold + strength\,a)` is positive (``"above"``) or not
negative (``"at"``); reset the membrane as in :mod:`neurocl.kernels.lif`; :math:`a \leftarrow keep_a\,a + s`.
The reference is ``neurocl.neurons.adaptive_lif.adaptive_lif_step`` in a loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from neurocl.kernels.lif_passes import LIFRule, reset_into
from neurocl.kernels.slopes import slope_adder
from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.surrogates import Surrogate


@dataclass(frozen=True, kw_only=True)
class AdaptiveRule:
    """Constants of one layer of adaptive neurons: those of the membrane, and of the threshold."""

    membrane: LIFRule
    keep_adaptation: float
    strength: float


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What the way back needs: distances from threshold, and charged membranes where a reset to zero needs them."""

    distance: Tensor
    charged: Tensor


def _fire_into(spikes: Tensor, distance: Tensor, rule: AdaptiveRule) -> None:
    """Write 0 or 1 into ``spikes``."""
    (torch.gt if rule.membrane.fire == "above" else torch.ge)(distance, 0, out=spikes)


def _forward(
    current: Tensor, v: Tensor, adaptation: Tensor, rule: AdaptiveRule, steps: int | None, *, save: bool
) -> tuple[Tensor, Tensor, Tensor, _Kept]:
    """Return spikes, membrane, adaptation, and what the way back needs (empty unless ``save``)."""
    keep, gain, threshold = rule.membrane.keep, rule.membrane.gain, rule.membrane.threshold
    scaled = gain != 1 and steps is None
    if steps is not None:
        drives: Sequence[Tensor] = [current if gain == 1 else current * gain] * steps
    else:
        drives = current.unbind(0)
    spikes = current.new_empty((len(drives), *v.shape))
    zero = save and rule.membrane.reset == "zero" and not rule.membrane.detach_reset
    kept = _Kept(
        distance=current.new_empty((len(drives) if save else 0, *v.shape)),
        charged=current.new_empty((len(drives) if zero else 0, *v.shape)),
    )
    v, adaptation = (state.clone(memory_format=torch.contiguous_format) for state in (v, adaptation))
    scratch = torch.empty_like(v)
    for t, (drive, fired) in enumerate(zip(drives, spikes.unbind(0), strict=True)):
        h = kept.charged[t] if zero else v
        torch.mul(v, keep, out=h)
        h.add_(drive * gain if scaled else drive)
        distance = kept.distance[t] if save else scratch
        torch.mul(adaptation, rule.strength, out=distance)
        torch.sub(h, distance.add_(threshold), out=distance)
        _fire_into(fired, distance, rule)
        adaptation.mul_(rule.keep_adaptation).add_(fired)
        if rule.membrane.reset != "none":
            reset_into(v, h, fired, rule.membrane)
    return spikes, v, adaptation, kept


class _AdaptiveSequence(torch.autograd.Function):
    """Both passes as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        v: Tensor,
        adaptation: Tensor,
        rule: AdaptiveRule,
        surrogate: Surrogate,
        steps: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        spikes, v, adaptation, kept = _forward(current, v, adaptation, rule, steps, save=True)
        ctx.save_for_backward(kept.distance, kept.charged)
        ctx.rule, ctx.surrogate, ctx.constant = rule, surrogate, steps is not None
        return spikes, v, adaptation

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]  # torch's stub of the decorator hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        kept = _Kept(distance=ctx.saved_tensors[0], charged=ctx.saved_tensors[1])
        found = _backward(*grad_outputs, kept=kept, rule=ctx.rule, surrogate=ctx.surrogate, constant=ctx.constant)
        return *found, None, None, None


def _backward(
    grad_spikes: Tensor, grad_v: Tensor, grad_adaptation: Tensor, *, kept: _Kept, rule: AdaptiveRule,
    surrogate: Surrogate, constant: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    r"""Return the gradients of the current, the first membrane and the first adaptation.

    With :math:`c` the gradient of the membrane and :math:`b` that of the adaptation after a step, a spike's credit is
    :math:`\partial L/\partial s + b + r` with :math:`r` the path through the reset; the threshold's distance gets
    :math:`d = slope \cdot credit`, the charge :math:`g = c + d`, the adaptation before the step
    :math:`keep_a\,b - strength\,d`.
    """
    membrane = rule.membrane
    carry, trace = grad_v.clone(memory_format=torch.contiguous_format), grad_adaptation.clone()
    spiked, credit, sloped, x = (torch.empty_like(carry) for _ in range(4))
    nothing = torch.zeros_like(carry)
    add_sloped = slope_adder(surrogate, 1.0, carry)
    total = torch.zeros_like(carry)
    sequence = torch.empty_like(grad_spikes, memory_format=torch.contiguous_format) if not constant else None
    for t in range(len(kept.distance) - 1, -1, -1):
        torch.add(grad_spikes[t], trace, out=credit)
        if membrane.reset == "subtract" and not membrane.detach_reset:
            credit.sub_(carry, alpha=membrane.threshold)
        elif membrane.reset == "zero" and not membrane.detach_reset:
            credit.addcmul_(kept.charged[t] - membrane.v_reset, carry, value=-1)
        if membrane.reset == "zero":
            _fire_into(spiked, kept.distance[t], rule)
            carry.addcmul_(carry, spiked, value=-1)
        add_sloped(sloped, nothing, credit, x.copy_(kept.distance[t]))
        carry.add_(sloped)
        trace.mul_(rule.keep_adaptation).sub_(sloped, alpha=rule.strength)
        if sequence is None:
            total.add_(carry)
        else:
            torch.mul(carry, membrane.gain, out=sequence[t])
        carry.mul_(membrane.keep)
    return total.mul_(membrane.gain) if sequence is None else sequence, carry, trace


def adaptive_sequence(
    current: Float[Tensor, "..."],
    v: Float[Tensor, "*neuron"],
    adaptation: Float[Tensor, "*neuron"],
    *,
    surrogate: Surrogate,
    keep_adaptation: float,
    strength: float,
    time_steps: int | None = None,
    **constants: Any,
) -> tuple[Float[Tensor, " time *neuron"], Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    """Run adaptive neurons over a whole sequence, with a hand-written backward pass.

    Not for use within ``torch.func`` transforms or under ``torch.compile``: callers take the reference there.

    Args:
        current: ``[T, ...]``, one current a step; or, where ``time_steps`` is given, ``[...]``, the same at every step.
        v: Membrane before the first step.
        adaptation: Adaptation before the first step.
        surrogate: Gives the slope of the backward pass by ``slope_at``.
        keep_adaptation: Share of the adaptation left after one step.
        strength: Rise of the threshold by one spike.
        time_steps: Number of steps of a constant current.
        constants: Of :class:`neurocl.kernels.lif_passes.LIFRule`; the charge is ``"scaled"``.

    Returns:
        Spikes ``[T, ...]``, membrane and adaptation after the last step.

    Raises:
        BadInput: If the shapes do not fit, or the reset is not an immediate one.
    """
    rule = AdaptiveRule(membrane=LIFRule(**constants), keep_adaptation=keep_adaptation, strength=strength)
    if time_steps is not None:
        check_count("time_steps", time_steps)
    step_shape = current.shape if time_steps is not None else current.shape[1:]
    if v.shape != step_shape or adaptation.shape != step_shape:
        raise BadInput(
            f"v and adaptation must have the shape of one step of the current, {list(step_shape)}; "
            f"got {list(v.shape)} and {list(adaptation.shape)}"
        )
    if rule.membrane.reset == "subtract-delayed":
        raise BadInput("reset must be 'subtract', 'zero' or 'none' for adaptive neurons; got 'subtract-delayed'")
    if torch.is_grad_enabled() and any(x.requires_grad for x in (current, v, adaptation)):
        return _AdaptiveSequence.apply(current, v, adaptation, rule, surrogate, time_steps)
    return _forward(current, v, adaptation, rule, time_steps, save=False)[:3]
