"""Samples that are not trained on: all at once, or a few at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neurocl.primitives.checks import check_count
from neurocl.primitives.tasks import Batch
from neurocl.streams.portion import Part, Portion


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Test or held-out samples of one task.

    Attributes:
        inputs: float32 ``[n, ...]``, or ``[T, n, ...]`` for sequences, as in :class:`Batch`.
        labels: int64 ``[n]``.
        sample_ids: int64 ``[n]``, unique over the stream's samples of this kind; a shared test set repeats them.
        task_id: As in :class:`Batch`.
        sequence: Whether ``inputs`` has time as first axis.
    """

    inputs: Tensor
    labels: Tensor
    sample_ids: Tensor
    task_id: int | None = None
    sequence: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Iterate in order; the last batch may be smaller."""
        size = check_count("batch_size", batch_size)
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            inputs = self.inputs[:, part] if self.sequence else self.inputs[part]
            yield Batch(inputs=inputs, labels=self.labels[part], sample_ids=self.sample_ids[part], task_id=self.task_id)


class HeldOut:
    """Test or held-out samples of one task, scaled and permuted only when they are asked for.

    Ten permutations of 10,000 images would be 314 MB as float32; the raw bytes they are made of are 8. What a costly
    view makes of the raw samples is kept, in their own type.

    Attributes:
        labels: int64 ``[n]``.
        sample_ids: As in :class:`Samples`.
        sequence: Whether inputs have time as first axis.
    """

    def __init__(self, portion: Portion, part: Part, task_id: int | None) -> None:
        self._portion, self._part, self._task_id = portion, part, task_id
        self._rows = portion.rows(part)
        self.labels = torch.from_numpy(self._rows.labels.copy())
        self.sample_ids = torch.from_numpy(self._rows.ids + portion.first_id)
        self.sequence = portion.data.sequence

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: Int64[Tensor, " batch"]) -> Samples:
        """Return the samples at these places, in this order."""
        chosen = places.numpy()
        raw = self._portion.raw(self._part, chosen) if self._portion.view is None else self._viewed[places]
        inputs = self._portion.inputs(raw)
        return Samples(
            inputs=inputs.transpose(0, 1) if self.sequence else inputs,
            labels=self.labels[places],
            sample_ids=self.sample_ids[places],
            task_id=self._task_id,
            sequence=self.sequence,
        )

    def all(self) -> Samples:
        """Return all samples."""
        return self.at(torch.arange(len(self)))

    @cached_property
    def _viewed(self) -> Tensor:
        """All samples after the view, so that a costly one runs once."""
        return self._portion.raw(self._part, np.arange(len(self)))
