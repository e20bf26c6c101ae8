"""The two passes over time of a leaky integrate-and-fire layer: in-place torch operations, no autograd.

Every step works on one ``[B, ...]`` slice, which stays in the cache between operations; of the sequence only the
charged membrane ``h`` is kept for the backward pass, and the rest is computed again from it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from neurocl.kernels.slopes import slope_adder
from neurocl.primitives.surrogates import Fire, Surrogate

Charge = Literal["scaled", "euler", "divided", "leak"]
Reset = Literal["subtract", "zero", "none", "subtract-delayed"]


@dataclass(frozen=True, kw_only=True)
class LIFRule:
    """Constants of one layer of leaky integrate-and-fire neurons; ``kernels/lif.py`` states the equations."""

    keep: float
    gain: float = 1.0
    threshold: float = 1.0
    v_reset: float = 0.0
    v_rest: float = 0.0
    charge: Charge = "scaled"
    fire: Fire = "above"
    reset: Reset = "subtract"
    detach_reset: bool = False

    @property
    def gain_of_current(self) -> float:
        """Derivative of the charge by the current."""
        return 1.0 if self.charge == "leak" else self.gain


def fire_into(spikes: Tensor, h: Tensor, rule: LIFRule) -> None:
    """Write 0 or 1 into ``spikes`` (of any dtype)."""
    (torch.gt if rule.fire == "above" else torch.ge)(h, rule.threshold, out=spikes)


def _charger(rule: LIFRule, keep: Tensor | None, like: Tensor) -> Callable[[Tensor, Tensor, Tensor], None]:
    """Return ``charge(h, v, current)``, which writes ``h`` in the reference's order; ``h`` may be ``v``."""
    factor = rule.keep if keep is None else keep
    scratch = torch.empty_like(like, memory_format=torch.contiguous_format)

    def scaled(h: Tensor, v: Tensor, current: Tensor) -> None:
        torch.mul(v, factor, out=h)
        h.add_(current if rule.gain == 1 else torch.mul(current, rule.gain, out=scratch))

    def euler(h: Tensor, v: Tensor, current: Tensor) -> None:
        torch.sub(current + rule.v_rest if rule.v_rest else current, v, out=scratch)
        torch.add(v, scratch.mul_(rule.gain), out=h)

    def divided(h: Tensor, v: Tensor, current: Tensor) -> None:
        torch.sub(current, v - rule.v_rest if rule.v_rest else v, out=scratch)
        if math.frexp(rule.gain)[0] == 0.5:  # a power of two: the fused product rounds as the division does
            torch.add(v, scratch, alpha=rule.gain, out=h)
        else:
            torch.add(v, scratch.div_(1 / rule.gain), out=h)

    def leak(h: Tensor, v: Tensor, current: Tensor) -> None:
        torch.div(v - rule.v_rest if rule.v_rest else v, 1 / (1 - rule.keep), out=scratch)
        torch.sub(v, scratch, out=h).add_(current)

    return {"scaled": scaled, "euler": euler, "divided": divided, "leak": leak}[rule.charge]


def reset_into(v: Tensor, h: Tensor, spikes: Tensor, rule: LIFRule) -> None:
    """Write the membrane after an immediate reset; ``v`` may be ``h``."""
    if rule.reset == "subtract":
        torch.sub(h, spikes, alpha=rule.threshold, out=v)
    else:
        torch.addcmul(h, h, spikes, value=-1, out=v)
        if rule.v_reset:
            v.add_(spikes, alpha=rule.v_reset)


def lif_forward(
    current: Tensor, v: Tensor, keep: Tensor | None, rule: LIFRule, *, time_steps: int | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes ``[T, ...]``, the last membrane, and the charged membranes ``[T, ...]`` (empty unless ``save``)."""
    constant = time_steps is not None
    shape = current.shape if constant else current.shape[1:]
    steps = time_steps if time_steps is not None else current.shape[0]
    spikes = current.new_empty((steps, *shape))
    charged = current.new_empty((steps if save else 0, *shape))
    v = v.to(current.dtype).clone(memory_format=torch.contiguous_format)
    if constant and rule.charge == "scaled" and rule.gain != 1:
        current, rule = current * rule.gain, replace(rule, gain=1.0)
    charge = _charger(rule, keep, v)
    delayed, immediate = rule.reset == "subtract-delayed", rule.reset in ("subtract", "zero")
    fired = torch.empty_like(v) if delayed else v
    if delayed:
        fire_into(fired, v, rule)
    inputs = [current] * steps if constant else current.unbind(0)
    keeps = charged.unbind(0) if save else [v] * steps
    membrane = v
    for x, h, s in zip(inputs, keeps, spikes.unbind(0), strict=True):
        charge(h, membrane, x)
        if delayed:
            h.sub_(fired, alpha=rule.threshold)
            fired = s
        fire_into(s, h, rule)
        if immediate:
            reset_into(v, h, s, rule)
        else:
            membrane = h
    return spikes, membrane.clone() if membrane is not v else v, charged


@dataclass(frozen=True, kw_only=True)
class LIFGradients:
    """What the backward pass returns; ``None`` where nobody asked."""

    current: Tensor | None
    v: Tensor
    keep: Tensor | None


def lif_backward(
    grad_spikes: Tensor | None,
    grad_v: Tensor | None,
    *,
    charged: Tensor,
    v: Tensor,
    keep: Tensor | None,
    rule: LIFRule,
    surrogate: Surrogate,
    constant: bool,
    needs: tuple[bool, bool],
) -> LIFGradients:
    r"""Carry the gradient from the last step to the first.

    With :math:`\hat g = gain \cdot \partial L / \partial h`, each step computes
    :math:`\hat g_t = \hat c_t + gain\,slope(h_t - threshold)\,(\partial L/\partial s_t + r_t)` and hands
    :math:`\hat c_{t-1} = keep\,\hat g_t` (masked where a reset to zero cut the path) to the step before;
    :math:`r_t` is the path through the reset, nothing when that is detached.

    Args:
        grad_spikes: Gradient of the spikes, ``[T, ...]``.
        grad_v: Gradient of the last membrane.
        charged: What the forward pass kept.
        v: Membrane before the first step.
        keep: The tensor ``keep``, if it is one.
        rule: Constants of the layer.
        surrogate: Gives the slope at ``h - threshold``.
        constant: Whether one current was used at every step; its gradient is then summed over time.
        needs: Whether the gradients of the current and of ``keep`` are wanted.
    """
    gain = rule.gain_of_current
    carry = torch.zeros_like(v) if grad_v is None else grad_v * gain
    carry = carry.to(charged.dtype).contiguous()
    step = _backward_step(rule, surrogate, carry)
    total = torch.zeros_like(carry) if constant and needs[0] else None
    sequence = torch.empty_like(charged) if needs[0] and not constant else None
    spare = (torch.empty_like(carry), torch.empty_like(carry))
    grad_keep = torch.zeros_like(carry) if needs[1] else None
    after: Tensor | None = None
    for t in range(len(charged) - 1, -1, -1):
        g = spare[t % 2] if sequence is None else sequence[t]
        step(g, carry, None if grad_spikes is None else grad_spikes[t], charged[t], after)
        if total is not None:
            total.add_(g)
        if grad_keep is not None:
            grad_keep.addcmul_(g, _membrane_before(t, charged, v, rule))
        torch.mul(g, rule.keep if keep is None else keep, out=carry)
        after = g
    if rule.reset == "subtract-delayed" and not rule.detach_reset and after is not None:
        carry.addcmul_(surrogate.slope_at(v - rule.threshold), after, value=-rule.threshold)
    if keep is not None and grad_keep is not None:
        grad_keep = (grad_keep / gain).sum_to_size(keep.shape)
    return LIFGradients(current=sequence if total is None else total, v=carry / gain, keep=grad_keep)


def _backward_step(
    rule: LIFRule, surrogate: Surrogate, like: Tensor
) -> Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor | None], None]:
    """Return ``step(g, carry, grad_spikes, h, g_after)``, which writes ``g``; it may change ``carry``."""
    gain = rule.gain_of_current
    through = not rule.detach_reset and rule.reset != "none"
    offset, drive, zeros = torch.empty_like(like), torch.empty_like(like), torch.zeros_like(like)
    add_sloped = slope_adder(surrogate, gain, like)

    def step(g: Tensor, carry: Tensor, grad_spikes: Tensor | None, h: Tensor, after: Tensor | None) -> None:
        credit = zeros if grad_spikes is None else grad_spikes
        if through and rule.reset == "subtract":
            credit = torch.add(credit, carry, alpha=-rule.threshold / gain, out=drive)
        elif through and rule.reset == "zero":
            beyond = torch.sub(h, rule.v_reset, out=offset) if rule.v_reset else h
            credit = torch.addcmul(credit, beyond, carry, value=-1 / gain, out=drive)
        elif through and after is not None:
            credit = torch.add(credit, after, alpha=-rule.threshold / gain, out=drive)
        if rule.reset == "zero":
            fire_into(offset, h, rule)
            carry.addcmul_(carry, offset, value=-1)
        add_sloped(g, carry, credit, torch.sub(h, rule.threshold, out=offset))

    return step


def _membrane_before(t: int, charged: Tensor, v: Tensor, rule: LIFRule) -> Tensor:
    """Compute the membrane that entered step ``t`` again."""
    if t == 0:
        return v
    h = charged[t - 1]
    if rule.reset in ("none", "subtract-delayed"):
        return h
    spikes, before = torch.empty_like(h), torch.empty_like(h)
    fire_into(spikes, h, rule)
    reset_into(before, h, spikes, rule)
    return before
