"""Activity on its way into a rule: its energy, and whether it can be learnt from."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import BadInput


def energy_of(rows: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return the sum of squares, in one pass; numbers of 16 bits are summed in 32, which they would overflow."""
    flat = widened(rows).reshape(-1)
    return torch.dot(flat, flat)


def widened(rows: Tensor) -> Tensor:
    """Return numbers of 32 bits at least."""
    return rows if rows.dtype.itemsize >= 4 else rows.float()


def check_activity(rows: Tensor) -> None:
    """Refuse activity whose squares are not finite.

    Raises:
        BadInput: With the number of rows that are at fault.
    """
    if not math.isfinite(float(energy_of(rows.detach()))):
        wrong = int((~torch.isfinite(widened(rows.detach()).square().flatten(1).sum(1))).sum())
        raise BadInput(
            f"activity must be finite, and its squares too; {wrong} of {len(rows)} rows are not: look for NaN or huge "
            "values in the data, or lower the network's learning rate"
        )


def check_rows(rows: object, weights: Float[Tensor, "row pre"]) -> None:
    """Refuse what lateral weights cannot be multiplied by.

    Raises:
        BadInput: With shape and type of numbers that it must have.
    """
    if not isinstance(rows, Tensor) or rows.shape[1:] != weights.shape[1:] or rows.dtype is not weights.dtype:
        given = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
        raise BadInput(
            f"rows must be a tensor of shape [R, {weights.shape[1]}] and type {weights.dtype}, as the lateral weights "
            f"are; got {given}: reshape or convert it"
        )
