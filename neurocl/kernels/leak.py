r"""A leaky integrator over a whole sequence: linear, so that the way back is the way forth in reverse.

:math:`v_t = keep\,v_{t-1} + gain\,x_t` for synaptic currents, traces and readouts that never spike.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from neurocl.kernels.reference import run_steps
from neurocl.kernels.transforms import inside_compiler, inside_transform
from neurocl.primitives.checks import BadInput, check_count


def leaky_step(
    current: Float[Tensor, "*neuron"], v: Float[Tensor, "*neuron"], *, keep: float, gain: float = 1.0
) -> Float[Tensor, "*neuron"]:
    """Return the membrane after one step, in plain autograd: the reference.

    Args:
        current: Input.
        v: Membrane before the step.
        keep: Share of the membrane left after one step.
        gain: Factor on the input.
    """
    return keep * v + (current if gain == 1 else gain * current)


class _LeakySequence(torch.autograd.Function):
    """Both passes as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, v: Tensor, keep: float, gain: float, steps: int | None) -> Tensor:
        ctx.constants = keep, gain, steps is not None
        return _forward(current, v, keep, gain, steps)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]  # torch's stub of the decorator hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        keep, gain, constant = ctx.constants
        grads = torch.empty_like(grad_outputs[0], memory_format=torch.contiguous_format)
        after: Tensor | None = None
        for grad, out in zip(reversed(grad_outputs[0].unbind(0)), reversed(grads.unbind(0)), strict=True):
            after = out.copy_(grad) if after is None else torch.add(grad, after, alpha=keep, out=out)
        of_v = None if after is None else after * keep
        if ctx.needs_input_grad[0] and constant:
            return grads.sum(0) * gain, of_v, None, None, None
        return grads.mul_(gain) if gain != 1 else grads, of_v, None, None, None


def _forward(current: Tensor, v: Tensor, keep: float, gain: float, steps: int | None) -> Tensor:
    """Return the membranes ``[T, ...]``."""
    scaled = gain != 1 and steps is None
    if steps is not None:
        drives: Sequence[Tensor] = [current if gain == 1 else current * gain] * steps
    else:
        drives = current.unbind(0)
    out = current.new_empty((len(drives), *v.shape))
    for drive, membrane in zip(drives, out.unbind(0), strict=True):
        torch.mul(v, keep, out=membrane)
        membrane.add_(drive * gain if scaled else drive)
        v = membrane
    return out


def leaky_sequence(
    current: Float[Tensor, "..."],
    v: Float[Tensor, "*neuron"],
    *,
    keep: float,
    gain: float = 1.0,
    time_steps: int | None = None,
) -> tuple[Float[Tensor, " time *neuron"], Float[Tensor, "*neuron"]]:
    """Run leaky integrators over a whole sequence.

    Within ``torch.func`` transforms and under ``torch.compile`` the steps run under plain autograd instead.

    Args:
        current: ``[T, ...]``, one input a step; or, where ``time_steps`` is given, ``[...]``, the same at every step.
        v: Membrane before the first step, shaped like one step of the input.
        keep: As in :func:`leaky_step`.
        gain: As in :func:`leaky_step`.
        time_steps: Number of steps of a constant input.

    Returns:
        The membrane after every step, and after the last.

    Raises:
        BadInput: If the shapes do not fit.
    """
    if time_steps is not None:
        check_count("time_steps", time_steps)
    step_shape = current.shape if time_steps is not None else current.shape[1:]
    if v.shape != step_shape:
        raise BadInput(f"v must have the shape of one step of the current, {list(step_shape)}; got {list(v.shape)}")
    if inside_transform() or inside_compiler():
        drive = current if time_steps is None else current.expand(time_steps, *current.shape)

        def step(x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            after = leaky_step(x, u, keep=keep, gain=gain)
            return after, after

        return run_steps(step, drive, v)
    v = v.to(current.dtype)
    if torch.is_grad_enabled() and (current.requires_grad or v.requires_grad):
        membranes = _LeakySequence.apply(current, v, keep, gain, time_steps)
    else:
        membranes = _forward(current, v, keep, gain, time_steps)
    return membranes, membranes[-1].clone() if len(membranes) else v
