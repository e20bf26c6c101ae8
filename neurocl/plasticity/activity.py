"""Activity on its way into a rule: its energy, and whether it can be learnt from."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import BadInput


def energy_of(rows: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return the sum of squares, in one pass."""
    flat = rows.reshape(-1)
    return torch.dot(flat, flat)


def check_activity(rows: Tensor) -> None:
    """Refuse activity whose squares are not finite.

    Raises:
        BadInput: With the number of rows that are at fault.
    """
    if not math.isfinite(float(energy_of(rows.detach()))):
        wrong = int((~torch.isfinite(rows.detach().square().flatten(1).sum(1))).sum())
        raise BadInput(
            f"activity must be finite, and its squares too; {wrong} of {len(rows)} rows are not: look for NaN or huge "
            "values in the data, or lower the network's learning rate"
        )
