"""Scaling of inputs, decided before the stream starts: constants, or statistics of the first task's training data.

Never of later tasks, and never per task: both tell a learner what it cannot know. Four ways:

- ``"unit"`` (default): to 0..1. Values with a known range (bytes: 0..255) by that range. Others by the smallest and
  largest value of the first task: one pair for images, and for vectors of whole numbers from 0 to 255 (flattened
  pixels, counts); one pair a feature for other vectors. Data already inside 0..1 stay as they are. Later tasks may
  leave 0..1.
- ``"standardise"``: mean 0 and deviation 1 over the first task, per feature (vectors) or per channel (images).
- ``"published"``: the mean and deviation published for a known dataset, after scaling its range to 0..1.
- ``(mean, deviation)``: given, each one number or one a channel (a feature); applied after scaling a known range to
  0..1, otherwise to the raw values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_name
from neurocl.streams.labelled_data import LabelledData

WAYS = ("unit", "standardise", "published")
ROWS_AT_ONCE = 4096  # bounds the memory of the statistics' float64 copies


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """Inputs are ``(raw - offset) / divisor``, broadcast against a sample; ``recipe`` says how they were chosen."""

    offset: Tensor
    divisor: Tensor
    recipe: str

    def __call__(self, raw: Shaped[Tensor, "sample ..."]) -> Float[Tensor, "sample ..."]:
        """Return a new float32 tensor."""
        inputs = raw.to(torch.float32, copy=True)
        return inputs.sub_(self.offset).div_(self.divisor)


def fit_scale(normalise: Any, data: LabelledData, first_task: np.ndarray) -> Scale:
    """Return the scale for ``data``; ``first_task`` indexes the training samples whose statistics may be used.

    Raises:
        BadInput: Unknown way, no published constants, or a deviation that is not positive and finite.
    """
    if not isinstance(normalise, str):
        mean, deviation = _given(normalise, data)
        return _affine(data, mean, deviation, recipe=f"{mean} {deviation}")
    way = check_name("normalisation", normalise, WAYS)
    if way == "published":
        if data.published is None:
            raise BadInput(
                f"no published mean and deviation are known for {data.name}; "
                "give normalise=(mean, deviation) or 'standardise'"
            )
        return _affine(data, *data.published, recipe=f"published {data.published}")
    if way == "standardise":
        return _standardise(data, first_task)
    if data.value_range is not None:
        low, high = data.value_range
        return _scale(data, np.array([low]), np.array([high - low]), recipe="unit")
    return _unit(data, first_task)


def _scale(data: LabelledData, offset: np.ndarray, divisor: np.ndarray, *, recipe: str) -> Scale:
    """Shape one number, or one a feature or channel, so that it broadcasts against a sample."""
    tail = (1,) * (len(data.input_shape) - 1)
    shape = (-1, *tail)
    return Scale(
        offset=torch.from_numpy(np.asarray(offset, np.float32).reshape(shape)),
        divisor=torch.from_numpy(np.asarray(divisor, np.float32).reshape(shape)),
        recipe=recipe,
    )


def _affine(data: LabelledData, mean: Sequence[float], deviation: Sequence[float], *, recipe: str) -> Scale:
    """Scale of a mean and deviation that hold after the known range, if any, went to 0..1."""
    low, high = data.value_range or (0.0, 1.0)
    span = high - low
    return _scale(
        data, low + np.asarray(mean, np.float64) * span, np.asarray(deviation, np.float64) * span, recipe=recipe
    )


def _given(normalise: Any, data: LabelledData) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Check a user's mean and deviation."""
    rule = "normalise must be 'unit', 'standardise', 'published' or a pair (mean, deviation)"
    try:
        mean, deviation = (np.atleast_1d(np.asarray(part, np.float64)) for part in normalise)
    except (TypeError, ValueError):
        raise BadInput(f"{rule}; got {normalise!r}") from None
    channels = data.input_shape[0]
    if any(part.ndim != 1 or len(part) not in (1, channels) for part in (mean, deviation)):
        raise BadInput(f"{rule}, each one number or {channels} numbers; got {normalise!r}")
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
        raise BadInput(f"{rule}, finite, with deviations greater than 0; got {normalise!r}")
    return tuple(mean.tolist()), tuple(deviation.tolist())


def _feature_axes(data: LabelledData) -> tuple[int, ...]:
    """Axes to take statistics over, so that one number a feature (vectors) or channel (images) is left."""
    keep = 2 if data.sequence else 1
    return tuple(axis for axis in range(data.train.ndim) if axis != keep)


def _unit(data: LabelledData, first_task: np.ndarray) -> Scale:
    """Smallest and largest value of the first task to 0 and 1."""
    values = data.train[torch.from_numpy(first_task)]
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1 and values.is_floating_point():
        return _scale(data, np.zeros(1), np.ones(1), recipe="unit")
    whole = not values.is_floating_point() or (low >= 0 and high <= 255 and bool((values == values.floor()).all()))
    if len(data.input_shape) > 1 or whole:
        return _scale(data, np.array([low]), np.array([(high - low) or 1.0]), recipe="unit")
    axes = _feature_axes(data)
    lows, highs = values.amin(axes).numpy().astype(np.float64), values.amax(axes).numpy().astype(np.float64)
    spans = highs - lows
    # a feature that never varied in the first task has no scale of its own: take the widest one's
    spans[spans == 0] = spans.max() or 1.0
    return _scale(data, lows, spans, recipe="unit")


def _standardise(data: LabelledData, first_task: np.ndarray) -> Scale:
    """Mean and deviation of the first task, in two passes over blocks of rows."""
    axes = _feature_axes(data)
    rows = [
        torch.from_numpy(block) for block in np.split(first_task, range(ROWS_AT_ONCE, len(first_task), ROWS_AT_ONCE))
    ]
    count = len(first_task) * data.train[0].numel() // data.input_shape[0]
    mean = sum(data.train[block].double().sum(axes) for block in rows) / count
    shape = (-1,) + (1,) * (len(data.input_shape) - 1)
    centre = torch.as_tensor(mean).reshape(shape)
    squares = sum((data.train[block].double() - centre).square_().sum(axes) for block in rows)
    deviation = torch.as_tensor(squares / count).sqrt().numpy()
    deviation[deviation == 0] = deviation.max() or 1.0  # as for "unit": borrowed from the widest feature
    return _scale(data, torch.as_tensor(mean).numpy(), deviation, recipe="standardise")
