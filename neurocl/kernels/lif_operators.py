"""The two passes of :mod:`neurocl.kernels.lif` as operators that ``torch.compile`` takes as they are.

An operator's arguments are tensors, numbers and strings, so that a layer's constants and its surrogate travel as one
string and a list of numbers.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from neurocl.kernels.lif_passes import LIFRule, run_backward, run_forward
from neurocl.primitives.surrogates import SURROGATES, Surrogate

_NUMBERS = ("keep", "gain", "threshold", "v_reset", "v_rest")
_NAMES = ("charge", "fire", "reset")
_KINDS: dict[str, Any] = dict(SURROGATES)


def spell_rule(rule: LIFRule) -> tuple[str, list[float]]:
    """Return a rule as the operators take it."""
    numbers = [rule.keep, rule.gain, rule.threshold, rule.v_reset, rule.v_rest]
    return f"{rule.charge} {rule.fire} {rule.reset} {int(rule.detach_reset)}", numbers


def read_rule(names: str, numbers: Sequence[float]) -> LIFRule:
    """Return the rule that :func:`spell_rule` spelt."""
    *words, detached = names.split()
    constants: dict[str, Any] = dict(zip(_NUMBERS, numbers, strict=True)) | dict(zip(_NAMES, words, strict=True))
    return LIFRule(**constants, detach_reset=detached == "1")


def spell_surrogate(surrogate: object) -> tuple[str, list[float]] | None:
    """Return a surrogate as the operators take it, or ``None`` if it is not one of neurocl's own."""
    for name, kind in _KINDS.items():
        if type(surrogate) is kind:
            return name, [float(getattr(surrogate, field)) for field in kind.__dataclass_fields__]
    return None


def read_surrogate(name: str, numbers: Sequence[float]) -> Surrogate:
    """Return the surrogate that :func:`spell_surrogate` spelt."""
    kind = _KINDS[name]
    return kind(**{field.name: number for field, number in zip(fields(kind), numbers, strict=True)})


@torch.library.custom_op("neurocl::lif_forward", mutates_args=())
def lif_forward(
    current: Tensor,
    v: Tensor,
    keep: Tensor | None,
    names: str,
    numbers: list[float],
    surrogate: str,
    slope: list[float],
    steps: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, the last membrane, and the charged membranes; the surrogate is for the way back."""
    return run_forward(current, v, keep, read_rule(names, numbers), time_steps=steps, save=True)


@lif_forward.register_fake
def _(
    current: Tensor,
    v: Tensor,
    keep: Tensor | None,
    names: str,
    numbers: list[float],
    surrogate: str,
    slope: list[float],
    steps: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = current.shape if steps is None else (steps, *current.shape)
    return current.new_empty(shape), current.new_empty(v.shape), current.new_empty(shape)


@torch.library.custom_op("neurocl::lif_backward", mutates_args=())
def lif_backward(
    grad_spikes: Tensor,
    grad_v: Tensor,
    charged: Tensor,
    v: Tensor,
    keep: Tensor | None,
    names: str,
    numbers: list[float],
    surrogate: str,
    slope: list[float],
    constant: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the current, of the first membrane and of ``keep`` (empty where that is a number)."""
    current, first, of_keep = run_backward(
        grad_spikes,
        grad_v,
        saved=(charged, v, keep),
        rule=read_rule(names, numbers),
        surrogate=read_surrogate(surrogate, slope),
        constant=constant,
    )
    nothing = charged.new_empty(0)
    return nothing if current is None else current, first, nothing if of_keep is None else of_keep


@lif_backward.register_fake
def _(
    grad_spikes: Tensor,
    grad_v: Tensor,
    charged: Tensor,
    v: Tensor,
    keep: Tensor | None,
    names: str,
    numbers: list[float],
    surrogate: str,
    slope: list[float],
    constant: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    current = charged.new_empty(v.shape if constant else charged.shape)
    return current, charged.new_empty(v.shape), charged.new_empty(0 if keep is None else keep.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    """Keep what the way back needs."""
    _, v, keep, *ctx.spelling, ctx.steps = inputs
    ctx.save_for_backward(output[2], v, keep)


def _way_back(ctx: Any, grad_spikes: Tensor, grad_v: Tensor, _grad_charged: Tensor) -> tuple[Tensor | None, ...]:
    """Return one gradient for each argument of the forward operator."""
    charged, v, keep = ctx.saved_tensors
    grads = lif_backward(grad_spikes, grad_v, charged, v, keep, *ctx.spelling, ctx.steps is not None)
    return grads[0], grads[1], None if keep is None else grads[2], None, None, None, None, None


lif_forward.register_autograd(_way_back, setup_context=_remember)
