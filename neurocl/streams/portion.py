"""One task's share of the data: which samples, under which labels, seen through which transformation."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neurocl.streams.labelled_data import LabelledData
from neurocl.streams.normalisation import Scale

Part = Literal["train", "validation", "test"]
NOTHING = np.zeros(0, np.int64)


@runtime_checkable
class View(Protocol):
    """A transformation of raw samples (before scaling), the same on every call."""

    @property
    def recipe(self) -> str:
        """What identifies the transformation in the stream's digest."""
        ...

    def __call__(self, raw: Shaped[Tensor, "sample ..."]) -> Shaped[Tensor, "sample ..."]:
        """Return the transformed samples in the same type."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Samples of a dataset by index, and their labels in the stream."""

    ids: np.ndarray = field(default_factory=NOTHING.copy)
    labels: np.ndarray = field(default_factory=NOTHING.copy)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, eq=False)
class Portion:
    """What one task is made of.

    Attributes:
        data: Where its samples lie.
        train: Training rows.
        test: Test rows.
        validation: Held-out training rows.
        scale: Raw values to inputs; the same in all tasks unless the user asked otherwise.
        view: Applied to raw samples before scaling.
        permutation: ``new[j] = old[permutation[j]]`` over a sample's places, applied after scaling; the channels of an
            image move together.
        first_id: Added to indices to give sample ids that are unique over the stream.
        test_group: Tasks with the same number share one test set.
    """

    data: LabelledData
    train: Rows
    test: Rows
    scale: Scale
    validation: Rows = field(default_factory=Rows)
    view: View | None = None
    permutation: np.ndarray | None = None
    first_id: int = 0
    test_group: int = 0

    def rows(self, part: Part) -> Rows:
        """Rows of one part."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[part]

    def raw(self, part: Part, places: np.ndarray) -> Shaped[Tensor, "sample ..."]:
        """Samples at these places of a part, after the view; a new tensor."""
        source = self.data.test if part == "test" else self.data.train
        samples = source[torch.from_numpy(self.rows(part).ids[places])]
        return samples if self.view is None else self.view(samples)

    def inputs(self, raw: Shaped[Tensor, "sample ..."]) -> Float[Tensor, "sample ..."]:
        """Scale and permute what :meth:`raw` returned."""
        scaled = self.scale(raw)
        if self.permutation is None:
            return scaled
        places = torch.from_numpy(self.permutation)
        lead = scaled.ndim - len(self.data.input_shape) + (len(self.data.input_shape) > 1)
        return scaled.flatten(lead).index_select(lead, places).reshape(scaled.shape)
