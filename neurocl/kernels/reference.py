"""The truth that every fast kernel is tested against: a step function in a Python loop, differentiated by autograd."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def run_steps(
    step: Callable[..., tuple[Tensor, Any]], current: Float[Tensor, " time *neuron"], state: Any, *args: Any
) -> tuple[Float[Tensor, " time *neuron"], Any]:
    """Call ``step(current[t], state, *args) -> (output, state)`` for every step and stack the outputs.

    The loop takes ``current.unbind(0)``, never ``current[t]``: indexing a tensor that needs a gradient writes a
    zero tensor of the whole sequence at every step of the backward pass, which is quadratic in time.

    Args:
        step: One time step of a neuron; whatever ``args`` it needs come after the state.
        current: Input current of every step.
        state: State before the first step; passed on untouched.
        args: Handed to every call of ``step``.

    Returns:
        The outputs of all steps, and the state after the last one.
    """
    outputs = []
    for now in current.unbind(0):
        output, state = step(now, state, *args)
        outputs.append(output)
    return (torch.stack(outputs) if outputs else torch.empty_like(current)), state
