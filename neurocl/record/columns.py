"""What is known of the samples of a pass, as the columns of a trace file."""

import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurocl.primitives.annotation import PHASES, Annotation
from neurocl.primitives.checks import BadInput
from neurocl.record import layout
from neurocl.record.bits import Fetch, fetching

Numbers = Tensor | Sequence[int] | NDArray[Any] | None
Column = NDArray[Any] | Fetch
UNKNOWN = -1  # label, task or number of a sample that nobody named
COLUMN_OF = {"labels": "label", "sample_ids": "sample_id"}


def row_of(name: str, values: Any) -> Tensor | None:
    """Return what is said of each sample as a tensor ``[B]``; values on a device stay there.

    Raises:
        BadInput: If it is no row of whole numbers, or a number is too large for its column. Whole numbers on a device
            are not waited for: those too large are recorded as unknown, with a warning.
    """
    if values is None:
        return None
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(f"{name} must be one whole number for each sample, [B]; got {values!r}: number them") from None
    if found.ndim != 1:
        shape = list(found.shape)
        raise BadInput(f"{name} must be one whole number for each sample, [B]; got shape {shape}: give one row")
    found = found.detach()
    broken = found[~found.isfinite() | (found != found.round())] if found.is_floating_point() else found[:0]
    if found.dtype.is_complex or len(broken):
        value = (broken if len(broken) else found).tolist()[:1]
        raise BadInput(f"{name} must be one whole number for each sample, [B]; got {value}: round or number them")
    if found.device.type == "cpu" and len(found):
        numbers = found.double().numpy() if found.is_floating_point() else found.numpy()
        for number in (numbers.min(), numbers.max()):
            whole(name, int(number), column=COLUMN_OF.get(name, name))
    return found


def whole(name: str, value: Any, *, column: str = "") -> int:
    """Return a whole number that a column can hold, of 64 bits where none is named.

    Raises:
        BadInput: If it is none.
    """
    limits = np.iinfo(layout.COLUMNS.get(column, np.int64))
    try:
        number = operator.index(value)
    except TypeError:
        raise BadInput(f"{name} must be a whole number; got {value!r}: give one, such as {name}=0") from None
    if not limits.min <= number <= limits.max:
        raise BadInput(
            f"{name} must be a whole number between {limits.min} and {limits.max}, of {limits.bits} bits; got "
            f"{number}: number them from 0"
        )
    return number


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


def columns_of(known: Annotation, batch: int, kept: Tensor | None, number: int) -> dict[str, Column]:
    """Return the columns of the samples of a pass that are kept, ``None`` meaning all of them.

    What is on a device is on its way to the host, and comes when the column is called.

    Args:
        known: What was said of them.
        batch: How many there are.
        kept: Places of those kept.
        number: Of the pass.
    """

    def column(value: Any) -> Column:
        if isinstance(value, Tensor) and value.device.type != "cpu":
            fetch = fetching(value.detach())
            return lambda: rows(fetch())
        return rows(np.asarray(UNKNOWN if value is None else value.detach() if isinstance(value, Tensor) else value))

    def rows(numbers: NDArray[Any]) -> NDArray[np.int64]:
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
