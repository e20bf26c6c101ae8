"""The two passes over time of a leaky integrate-and-fire layer: in-place torch operations, no autograd.

Every step works on one ``[B, ...]`` slice, which stays in the cache between operations; of the sequence only the
charged membrane ``h`` is kept for the backward pass, and the rest is computed again from it. Both passes can be taken
piece by piece: they remember where they are.
"""

import math
from collections.abc import Callable, Sequence
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
    """Write 0 or 1 into ``spikes``."""
    (torch.gt if rule.fire == "above" else torch.ge)(h, rule.threshold, out=spikes)


def reset_into(v: Tensor, h: Tensor, spikes: Tensor, rule: LIFRule) -> None:
    """Write the membrane after an immediate reset; ``v`` may be ``h``."""
    if rule.reset == "subtract":
        torch.sub(h, spikes, alpha=rule.threshold, out=v)
    else:
        torch.addcmul(h, h, spikes, value=-1, out=v)
        if rule.v_reset:
            v.add_(spikes, alpha=rule.v_reset)


def _charger(rule: LIFRule, keep: Tensor | None, like: Tensor) -> Callable[[Tensor, Tensor, Tensor], None]:
    """Return ``charge(h, v, current)``, which writes ``h`` in the reference's order; ``h`` may be ``v``."""
    factor = rule.keep if keep is None else keep
    scratch = torch.empty_like(like)

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


class LIFForward:
    """The forward pass, from a membrane on.

    Args:
        v: Membrane before the first step; copied.
        keep: Tensor to use in place of the rule's ``keep``.
        rule: Constants of the layer.

    Attributes:
        membrane: Membrane after the last step taken.
    """

    def __init__(self, v: Tensor, keep: Tensor | None, rule: LIFRule) -> None:
        self.rule = rule
        self._v = v.clone(memory_format=torch.contiguous_format)
        self._charge = _charger(rule, keep, self._v)
        self.membrane = self._v
        self._delayed, self._immediate = rule.reset == "subtract-delayed", rule.reset in ("subtract", "zero")
        if self._delayed:
            self._fired = torch.empty_like(self._v)
            fire_into(self._fired, self._v, rule)

    def run(self, currents: Sequence[Tensor], spikes: Sequence[Tensor], charged: Sequence[Tensor] | None) -> None:
        """Take one step for each current; write its spikes, and the charged membranes where they are to be kept."""
        for t, current in enumerate(currents):
            h = self._v if charged is None else charged[t]
            self._charge(h, self.membrane, current)
            if self._delayed:
                h.sub_(self._fired, alpha=self.rule.threshold)
                self._fired = spikes[t]
            fire_into(spikes[t], h, self.rule)
            if self._immediate:
                reset_into(self._v, h, spikes[t], self.rule)
            else:
                self.membrane = h


class LIFBackward:
    r"""The backward pass, from the gradient of the last membrane on.

    With :math:`\hat g = gain \cdot \partial L / \partial h`, each step computes
    :math:`\hat g_t = \hat c_t + gain\,slope(h_t - threshold)\,(\partial L/\partial s_t + r_t)` and hands
    :math:`\hat c_{t-1} = keep\,\hat g_t` (masked where a reset to zero cut the path) to the step before;
    :math:`r_t` is the path through the reset, nothing when that is detached.

    Args:
        grad_v: Gradient of the last membrane; copied.
        keep: Tensor to use in place of the rule's ``keep``.
        rule: Constants of the layer.
        surrogate: Gives the slope at ``h - threshold``.
    """

    def __init__(self, grad_v: Tensor, keep: Tensor | None, rule: LIFRule, surrogate: Surrogate) -> None:
        self.rule, self.surrogate = rule, surrogate
        self._keep = rule.keep if keep is None else keep
        self._gain = rule.gain_of_current
        self._carry = (grad_v * self._gain).contiguous()
        self._offset, self._drive = torch.empty_like(self._carry), torch.empty_like(self._carry)
        self._zeros = torch.zeros_like(self._carry)
        self._add_sloped = slope_adder(surrogate, self._gain, self._carry)
        self._through = not rule.detach_reset and rule.reset != "none"
        self._after: Tensor | None = None

    def step(self, grad_spikes: Tensor | None, h: Tensor, out: Tensor) -> None:
        """Go one step back: write the gradient of the current into ``out``."""
        rule, carry = self.rule, self._carry
        credit = self._zeros if grad_spikes is None else grad_spikes
        if self._through and rule.reset == "subtract":
            credit = torch.add(credit, carry, alpha=-rule.threshold / self._gain, out=self._drive)
        elif self._through and rule.reset == "zero":
            beyond = torch.sub(h, rule.v_reset, out=self._offset) if rule.v_reset else h
            credit = torch.addcmul(credit, beyond, carry, value=-1 / self._gain, out=self._drive)
        elif self._through and self._after is not None:
            credit = torch.add(credit, self._after, alpha=-rule.threshold / self._gain, out=self._drive)
        if rule.reset == "zero":
            fire_into(self._offset, h, rule)
            carry.addcmul_(carry, self._offset, value=-1)
        self._add_sloped(out, carry, credit, torch.sub(h, rule.threshold, out=self._offset))
        torch.mul(out, self._keep, out=carry)
        self._after = out

    def grad_v(self, v: Tensor) -> Tensor:
        """Return the gradient of ``v``, the membrane before the first step."""
        carry = self._carry
        if self.rule.reset == "subtract-delayed" and self._through and self._after is not None:
            carry = carry - self.rule.threshold * self._after * self.surrogate.slope_at(v - self.rule.threshold)
        return carry / self._gain


def membrane_before(t: int, charged: Tensor, v: Tensor, rule: LIFRule) -> Tensor:
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


def run_forward(
    current: Tensor, v: Tensor, keep: Tensor | None, rule: LIFRule, *, time_steps: int | None, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes ``[T, ...]``, the last membrane, and the charged membranes ``[T, ...]`` (empty unless ``save``)."""
    constant = time_steps is not None
    shape = current.shape if constant else current.shape[1:]
    steps = time_steps if time_steps is not None else current.shape[0]
    spikes = current.new_empty((steps, *shape))
    charged = current.new_empty((steps if save else 0, *shape))
    if constant and rule.charge == "scaled" and rule.gain != 1:
        current, rule = current * rule.gain, replace(rule, gain=1.0)
    walk = LIFForward(v, keep, rule)
    walk.run(
        [current] * steps if constant else current.unbind(0), spikes.unbind(0), charged.unbind(0) if save else None
    )
    return spikes, walk.membrane.clone() if save else walk.membrane, charged


def run_backward(
    grad_spikes: Tensor | None,
    grad_v: Tensor | None,
    *,
    saved: tuple[Tensor, Tensor, Tensor | None],
    rule: LIFRule,
    surrogate: Surrogate,
    constant: bool,
    wants_current: bool = True,
    wants_keep: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return the gradients of the current, of the first membrane and of ``keep``, given what :func:`run_forward` had.

    Args:
        grad_spikes: Gradient of the spikes, ``[T, ...]``.
        grad_v: Gradient of the last membrane.
        saved: The charged membranes, the first membrane, and ``keep`` where it is a tensor.
        rule: Constants of the layer.
        surrogate: Gives the slope at ``h - threshold``.
        constant: Whether one current was used at every step; its gradient is then summed over time.
        wants_current: Whether the current's gradient is wanted.
        wants_keep: Whether the gradient of ``keep`` is wanted.
    """
    charged, v, keep = saved
    walk = LIFBackward(torch.zeros_like(v) if grad_v is None else grad_v, keep, rule, surrogate)
    total = torch.zeros_like(v) if constant and wants_current else None
    sequence = torch.empty_like(charged) if wants_current and not constant else None
    spare = (torch.empty_like(v), torch.empty_like(v)) if sequence is None else ()
    grad_keep = torch.zeros_like(v) if wants_keep and keep is not None else None
    for t in range(len(charged) - 1, -1, -1):
        out = spare[t % 2] if sequence is None else sequence[t]
        walk.step(None if grad_spikes is None else grad_spikes[t], charged[t], out)
        if total is not None:
            total.add_(out)
        if grad_keep is not None:
            grad_keep.addcmul_(out, membrane_before(t, charged, v, rule), value=1 / rule.gain_of_current)
    if grad_keep is not None and keep is not None:
        grad_keep = grad_keep.sum_to_size(keep.shape)
    return sequence if total is None else total, walk.grad_v(v), grad_keep
