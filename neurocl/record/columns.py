"""What is known of the samples of a pass, as the columns of a trace file."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurocl.primitives.annotation import PHASES, Annotation
from neurocl.primitives.checks import BadInput

Numbers = Tensor | Sequence[int] | NDArray[Any] | None
UNKNOWN = -1  # label, task or number of a sample that nobody named


def row_of(name: str, values: Any) -> Tensor | None:
    """Return what is said of each sample as a tensor ``[B]``; values on a device stay there."""
    if values is None:
        return None
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(f"{name} must be one whole number for each sample, [B]; got {values!r}: number them") from None
    if found.ndim != 1:
        shape = list(found.shape)
        raise BadInput(f"{name} must be one whole number for each sample, [B]; got shape {shape}: give one row")
    return found


def compared(known: Annotation, batch: int, told: set[str]) -> set[str]:
    """Warn of what was said of another number of samples than there are, unless ``told``; return the names of it."""
    found = set()
    for name in ("labels", "sample_ids", "task"):
        value = getattr(known, name)
        if isinstance(value, Tensor) and value.ndim and len(value) != batch and name not in told:
            found.add(name)
            warnings.warn(
                f"{name} must be one for each of the {batch} samples that the network saw; got {len(value)}, which are "
                "recorded as unknown, -1: give as many as there are",
                RuntimeWarning,
                stacklevel=2,
            )
    return found


def columns_of(known: Annotation, batch: int, kept: Tensor | None, number: int) -> dict[str, NDArray[Any]]:
    """Return the columns of the samples of a pass that are kept, ``None`` meaning all of them.

    Args:
        known: What was said of them.
        batch: How many there are.
        kept: Places of those kept.
        number: Of the pass.
    """

    def column(value: Any) -> NDArray[np.int64]:
        numbers = np.asarray(UNKNOWN if value is None else value.detach().cpu() if isinstance(value, Tensor) else value)
        fits = numbers.ndim == 0 or numbers.shape == (batch,)
        found = np.full(batch, numbers if fits else UNKNOWN, np.int64)
        return found if kept is None else found[kept.numpy()]

    return {
        "label": column(known.labels),
        "task": column(known.task),
        "stage": column(known.stage),
        "phase": column(UNKNOWN if known.phase is None else PHASES.index(known.phase)),
        "sample_id": column(known.sample_ids),
        "passage": column(number),
    }
