r"""Leaky integrate-and-fire over a whole sequence: the equation once, and a fast forward and backward pass of it.

One step, with membrane ``v`` and input ``x``, in this order of floating-point operations:

1. charge ``h``, one of (``gain`` is left out where it is 1)

   - ``"scaled"``: :math:`h = keep\,v + gain\,x`
   - ``"euler"``: :math:`h = v + gain\,((x + v_{rest}) - v)`, Norse's order
   - ``"divided"``: :math:`h = v + (x - (v - v_{rest})) / \tau`, with :math:`\tau = 1/gain`, SpikingJelly's order
   - ``"leak"``: :math:`h = (v - (v - v_{rest}) / \tau) + x`, with :math:`\tau = 1/(1 - keep)`, SpikingJelly's order
     where the input does not decay;

2. fire: :math:`s = 1` where :math:`h > threshold` (``"above"``) or :math:`h \ge threshold` (``"at"``);
3. reset, one of ``"subtract"``: :math:`v = h - s\,threshold`; ``"zero"``: :math:`v = (1 - s)\,h + s\,v_{reset}`;
   ``"none"``: :math:`v = h`; ``"subtract-delayed"``: :math:`v = h`, and the threshold goes off the *next* charge,
   decided by the membrane that the state carries (snnTorch's default).

In ``"scaled"`` the two factors are free and the rest is 0; in ``"euler"`` and ``"divided"`` ``keep`` has to be
``1 - gain``; in ``"leak"`` the gain has to be 1. The reference (:func:`lif_step` in a loop under autograd) and
:func:`lif_sequence` share that order, so their spikes agree bit for bit.
"""

from collections.abc import Callable
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from neurocl.kernels.lif_operators import lif_forward, spell_rule, spell_surrogate
from neurocl.kernels.lif_passes import Charge, Fire, LIFRule, Reset, run_backward, run_forward
from neurocl.kernels.reference import run_steps
from neurocl.kernels.transforms import inside_compiler, inside_transform
from neurocl.primitives.checks import BadInput, check_count, check_name
from neurocl.primitives.surrogates import Surrogate


def lif_step(
    current: Float[Tensor, "*neuron"],
    v: Float[Tensor, "*neuron"],
    *,
    keep: float | Tensor,
    surrogate: Callable[..., Tensor],
    gain: float | Tensor = 1.0,
    threshold: float = 1.0,
    v_reset: float = 0.0,
    v_rest: float = 0.0,
    charge: Charge = "scaled",
    fire: Fire = "above",
    reset: Reset = "subtract",
    detach_reset: bool = False,
) -> tuple[Float[Tensor, "*neuron"], Float[Tensor, "*neuron"]]:
    """Advance leaky integrate-and-fire neurons by one step, in plain autograd: the reference.

    Args:
        current: Input current.
        v: Membrane before the step.
        keep: Share of the membrane left after one step; a tensor (one value, or one a neuron) may carry a gradient.
        surrogate: ``surrogate(h - threshold, fire=fire)`` gives spikes and their gradient.
        gain: Factor on the current; larger drives harder.
        threshold: Membrane at which a neuron fires.
        v_reset: Membrane after a spike, for ``reset="zero"``.
        v_rest: Membrane without input, for every charge but ``"scaled"``.
        charge: Order of operations of the charge; see the module's docstring.
        fire: Whether a membrane exactly at threshold fires.
        reset: What a spike does to the membrane.
        detach_reset: Cut the gradient's path through the reset.

    Returns:
        Spikes (0 or 1) and the membrane after the step.

    Source:
        Gerstner et al. 2014, Neuronal Dynamics, section 1.3. Differs: discrete time, several reset rules.
    """
    h = _charged(current, v, keep, gain, v_rest, charge)
    if reset == "subtract-delayed":
        fired = surrogate(v - threshold, fire=fire)
        h = h - (fired.detach() if detach_reset else fired) * threshold
    spikes = surrogate(h - threshold, fire=fire)
    fired = spikes.detach() if detach_reset else spikes
    if reset == "subtract":
        return spikes, h - fired * threshold
    if reset == "zero":
        return spikes, (1 - fired) * h + fired * v_reset
    return spikes, h


def _charged(
    current: Tensor, v: Tensor, keep: float | Tensor, gain: float | Tensor, v_rest: float, charge: Charge
) -> Tensor:
    """The four orders of operations of the module's docstring."""
    if charge == "scaled":
        unit = isinstance(gain, float | int) and gain == 1
        return keep * v + (current if unit else gain * current)
    towards = current + v_rest if v_rest else current
    excess = v - v_rest if v_rest else v
    if charge == "euler":
        return v + gain * (towards - v)
    if charge == "divided":
        return v + (current - excess) / (1 / gain)
    return v - excess / (1 / (1 - keep)) + current


class _LIFSequence(torch.autograd.Function):
    """Both passes as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        v: Tensor,
        keep: Tensor | None,
        rule: LIFRule,
        surrogate: Surrogate,
        steps: int | None,
    ) -> tuple[Tensor, Tensor]:
        spikes, last, charged = run_forward(current, v, keep, rule, time_steps=steps, save=True)
        ctx.save_for_backward(charged, v, keep)
        ctx.rule, ctx.surrogate, ctx.constant = rule, surrogate, steps is not None
        ctx.set_materialize_grads(False)
        return spikes, last

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]  # torch's stub of the decorator hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        grad_spikes, grad_v = grad_outputs
        if grad_spikes is None and grad_v is None:
            return (None,) * 6
        wants = ctx.needs_input_grad
        current, v, keep = run_backward(
            grad_spikes,
            grad_v,
            saved=ctx.saved_tensors,
            rule=ctx.rule,
            surrogate=ctx.surrogate,
            constant=ctx.constant,
            wants_current=wants[0],
            wants_keep=wants[2],
        )
        return current, v if wants[1] else None, keep, None, None, None


def lif_sequence(
    current: Float[Tensor, "..."],
    v: Float[Tensor, "*neuron"],
    *,
    keep: float | Tensor,
    surrogate: Surrogate | Callable[..., Tensor],
    gain: float | Tensor = 1.0,
    threshold: float = 1.0,
    v_reset: float = 0.0,
    v_rest: float = 0.0,
    charge: Charge = "scaled",
    fire: Fire = "above",
    reset: Reset = "subtract",
    detach_reset: bool = False,
    time_steps: int | None = None,
) -> tuple[Float[Tensor, " time *neuron"], Float[Tensor, "*neuron"]]:
    """Run leaky integrate-and-fire neurons over a whole sequence, with a hand-written backward pass.

    The dynamics are those of :func:`lif_step`. Within ``torch.func`` transforms, with a surrogate that has no
    ``slope_at``, and under ``torch.compile`` with a surrogate that is not neurocl's own, the steps run under plain
    autograd instead. Nothing is kept for a backward pass where no input needs a gradient.

    Args:
        current: ``[T, ...]``, one current a step; or, where ``time_steps`` is given, ``[...]``, the same at every step:
            it is then never expanded, and its gradient is the sum over time.
        v: Membrane before the first step, shaped like one step of the current.
        keep: As in :func:`lif_step`; a tensor needs ``charge="scaled"``.
        surrogate: Gives the slope of the backward pass by ``slope_at(h - threshold)``.
        gain: As in :func:`lif_step`; a tensor needs ``charge="scaled"``.
        threshold: As in :func:`lif_step`.
        v_reset: As in :func:`lif_step`.
        v_rest: As in :func:`lif_step`.
        charge: As in :func:`lif_step`.
        fire: As in :func:`lif_step`.
        reset: As in :func:`lif_step`.
        detach_reset: As in :func:`lif_step`.
        time_steps: Number of steps of a constant current.

    Returns:
        Spikes ``[T, ...]`` in the dtype of the current, and the membrane after the last step.

    Raises:
        BadInput: If the shapes do not fit, a name is unknown, or ``keep`` and ``gain`` do not fit the charge.
    """
    _check(current, v, keep, gain, charge, fire, reset, time_steps)
    constants: dict[str, Any] = {
        "threshold": threshold, "v_reset": v_reset, "v_rest": v_rest, "charge": charge,
        "fire": fire, "reset": reset, "detach_reset": detach_reset,
    }  # fmt: skip
    if not _can_run_passes(surrogate):
        drive = current if time_steps is None else current.expand(time_steps, *current.shape)
        return run_steps(lambda x, u: lif_step(x, u, keep=keep, gain=gain, surrogate=surrogate, **constants), drive, v)
    if isinstance(gain, Tensor):
        current, gain = gain * current, 1.0
    v = v.to(current.dtype)
    tensor = keep if isinstance(keep, Tensor) else None
    rule = LIFRule(keep=0.0 if isinstance(keep, Tensor) else float(keep), gain=float(gain), **constants)
    if inside_compiler():
        spelling = (*spell_rule(rule), *(spell_surrogate(surrogate) or ()))
        return lif_forward(current, v, tensor, *spelling, time_steps)[:2]
    wanted = any(x is not None and x.requires_grad for x in (current, v, tensor))
    if not (wanted and torch.is_grad_enabled()):
        return run_forward(current, v, tensor, rule, time_steps=time_steps, save=False)[:2]
    return _LIFSequence.apply(current, v, tensor, rule, surrogate, time_steps)


def _can_run_passes(surrogate: Surrogate | Callable[..., Tensor]) -> bool:
    """Whether nobody needs to see into the passes: no transform at work, and a surrogate that can be handed over."""
    if inside_compiler():
        return spell_surrogate(surrogate) is not None
    return hasattr(surrogate, "slope_at") and not inside_transform()


def _check(
    current: Tensor, v: Tensor, keep: float | Tensor, gain: float | Tensor, charge: str, fire: str, reset: str,
    time_steps: int | None,
) -> None:  # fmt: skip
    """Refuse what the passes could not run."""
    for what, name, known in (("charge", charge, Charge), ("fire", fire, Fire), ("reset", reset, Reset)):
        check_name(what, name, get_args(known))
    if time_steps is not None:
        check_count("time_steps", time_steps)
    elif current.ndim == 0:
        raise BadInput("current must have a time axis first, [T, ...], unless time_steps is given; got a single number")
    step_shape = current.shape if time_steps is not None else current.shape[1:]
    if v.shape != step_shape:
        raise BadInput(f"v must have the shape of one step of the current, {list(step_shape)}; got {list(v.shape)}")
    if charge == "scaled":
        return
    if isinstance(keep, Tensor) or isinstance(gain, Tensor):
        raise BadInput(f"keep and gain must be numbers for charge={charge!r}; use charge='scaled' to train them")
    expected = 1.0 if charge == "leak" else 1.0 - keep
    if abs(gain - expected) > 1e-6:
        raise BadInput(f"gain must be {expected:g} for charge={charge!r} and keep={keep:g}; got {gain:g}")
