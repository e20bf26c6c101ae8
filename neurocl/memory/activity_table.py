"""Stored activity sample by sample: its code, label, task and id, in ascending order of task, label and id."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from neurocl.memory.activity_stores import STORES, ActivityStore, Columns, Values, spikes_of
from neurocl.primitives.checks import BadInput

BLOCK = 2**19  # values coded at a time: few enough for the cache, and many for each call of NumPy
LABELS = 2**15  # labels and tasks are stored in two bytes
KEYS = ("store", "options", "sequence", "amplitude", "steps", "units", "labels", "tasks", "ids", "columns")


@dataclass(frozen=True, kw_only=True)
class Reactivated:
    """Activity drawn from a store.

    Attributes:
        activity: float32 ``[T, n, ...]``, or ``[n, ...]`` where the cut has no time.
        labels: ``[n]``.
        tasks: ``[n]``, number of the task under which each sample was added.
        sample_ids: ``[n]``.
    """

    activity: Float[Tensor, "..."]
    labels: Int64[Tensor, " sample"]
    tasks: Int64[Tensor, " sample"]
    sample_ids: Int64[Tensor, " sample"]


class ActivityTable:
    """Rows of codes with their labels, tasks and ids.

    Args:
        store: Name of the code, one of ``STORES``.
        options: What the code takes beside the sizes.
        sequence: Whether activity has a time axis; ``None`` until that is known.

    Attributes:
        amplitude: What a spike is worth; ``None`` before the first spike.
        units: Shape of one step of one sample.
        code: The code, once sizes are known.
        labels: int16, by sample.
        tasks: int16, by sample.
        ids: int64, by sample.
    """

    def __init__(self, store: str, options: dict[str, Any], sequence: bool | None) -> None:
        self.store, self.options, self._stated = store, options, sequence
        self.forget()

    def forget(self) -> None:
        """Drop all samples, and what they looked like."""
        self.sequence = self._stated
        self.amplitude: float | None = None
        self.units: tuple[int, ...] = ()
        self.code: ActivityStore | None = None
        self.columns: Columns = {}
        self.labels, self.tasks = np.zeros(0, np.int16), np.zeros(0, np.int16)
        self.ids = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bytes(self) -> int:
        """Bytes of codes, and of labels, tasks and ids."""
        return sum(column.nbytes for column in (*self.columns.values(), self.labels, self.tasks, self.ids))

    @property
    def groups(self) -> NDArray[np.int64]:
        """One number for every class of every task."""
        return self.tasks.astype(np.int64) * LABELS + self.labels

    def oriented(self, activity: Tensor, samples: int, *, sequence: bool | None) -> tuple[Values, bool]:
        """Return activity as ``[T, B, N]``, T = 1 where it has no time, and whether it has.

        Args:
            activity: ``[T, B, ...]`` or ``[B, ...]``.
            samples: Number of samples, B.
            sequence: Which of the two, where that is known from elsewhere.

        Raises:
            BadInput: If it is neither, both look possible, or it differs from what is stored.
        """
        shape, known = tuple(activity.shape), self.sequence if self.sequence is not None else sequence
        with_time = len(shape) > 2 and shape[1] == samples and known is not False
        without = len(shape) > 1 and shape[0] == samples and known is not True
        if with_time and without:
            raise BadInput(
                f"sequence must say whether activity {list(shape)} is [T, B, ...] or [B, ...]: {samples} samples fit "
                "both; give sequence=True or False, or add another number of samples first"
            )
        if not (with_time or without) or 0 in (*shape[: int(with_time)], *shape[1 + with_time :]):
            raise BadInput(
                f"activity must be [T, B, ...] or [B, ...] with B = {samples} as there are labels, and at least one "
                f"step and value; got {list(shape)}"
            )
        units, steps = shape[1 + with_time :], shape[0] if with_time else 1
        if self.code is not None and (units != self.units or steps != self.code.steps):
            raise BadInput(
                f"activity must have {self.code.steps} steps of {list(self.units)} values as what is stored; "
                f"got {steps} of {list(units)}: use another memory for another cut"
            )
        values = activity.detach().cpu().to(torch.float32).reshape(steps, samples, math.prod(units))
        return values.numpy(), with_time

    def insert(
        self,
        values: Values,
        labels: NDArray[np.int64],
        ids: NDArray[np.int64],
        task: int,
        *,
        stay: NDArray[np.int64],
        units: tuple[int, ...],
        sequence: bool,
    ) -> None:
        """Store samples beside those stored ones that ``stay``.

        Raises:
            BadInput: If values cannot be coded; nothing is changed then.
        """
        code = self.code or STORES[self.store](len(values), values.shape[2], **self.options)
        amplitude = self.amplitude
        if code.spikes:  # in blocks that stay in the cache
            block = max(BLOCK // (len(values) * values.shape[2]), 1)
            parts = []
            for start in range(0, len(ids), block):
                raster, amplitude = spikes_of(values[:, start : start + block], amplitude)
                parts.append(code.encode(raster))
        else:  # one range for the samples of a class: class by class
            by_class = np.argsort(labels, kind="stable")
            ends = np.flatnonzero(np.diff(labels[by_class])) + 1
            parts = [code.encode(values[:, part]) for part in np.split(by_class, ends)]
            labels, ids = labels[by_class], ids[by_class]
        columns = code.join(*parts)
        if self.code is not None:
            columns = code.join(code.take(self.columns, stay), columns)
        all_labels = np.concatenate([self.labels[stay], labels.astype(np.int16)])
        all_tasks = np.concatenate([self.tasks[stay], np.full(len(ids), task, np.int16)])
        all_ids = np.concatenate([self.ids[stay], ids])
        order = np.lexsort((all_ids, all_labels, all_tasks))
        self.columns = code.take(columns, order)
        self.labels, self.tasks, self.ids = all_labels[order], all_tasks[order], all_ids[order]
        self.code, self.amplitude, self.units, self.sequence = code, amplitude, units, sequence

    def keep(self, places: NDArray[np.int64]) -> None:
        """Drop all samples but those at ``places``, ascending; without any, what comes next may look otherwise."""
        if not len(places):
            self.forget()
        elif self.code is not None and len(places) < len(self):
            self.columns = self.code.take(self.columns, places)
            self.labels, self.tasks, self.ids = self.labels[places], self.tasks[places], self.ids[places]

    def totals(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the sums over time ``[sample, N]`` of the samples at ``places``."""
        if self.code is None:
            raise BadInput("memory must hold samples to sum, and holds none: add some first")
        sums = self.code.totals(self.code.take(self.columns, places))
        return sums * np.float32(self.amplitude or 1) if self.code.spikes else sums

    def decoded(self, places: NDArray[np.int64], generator: torch.Generator | None) -> Tensor:
        """Return the activity of the samples at ``places``."""
        if self.code is None or not len(self):
            raise BadInput("memory must hold samples to draw from, and holds none: add or observe some first")
        if len(places) and not 0 <= places.min() <= places.max() < len(self):
            raise BadInput(f"places must lie from 0 to {len(self) - 1}; got {places.min()} to {places.max()}")
        draws = None
        if generator is not None and self.options.get("timing") == "bernoulli":
            draws = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
        values = self.code.decode(self.code.take(self.columns, places), draws)
        if self.code.spikes and self.amplitude not in (None, 1):
            values *= np.float32(self.amplitude)
        activity = torch.from_numpy(np.ascontiguousarray(values))
        leading = (self.code.steps, len(places)) if self.sequence else (len(places),)
        return activity.view(*leading, *self.units)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is stored."""
        arrays = {"labels": self.labels, "tasks": self.tasks, "ids": self.ids}
        return {
            "store": self.store,
            "options": dict(self.options),
            "sequence": self.sequence,
            "amplitude": self.amplitude,
            "steps": 0 if self.code is None else self.code.steps,
            "units": list(self.units),
            **{name: torch.from_numpy(array.copy()) for name, array in arrays.items()},
            "columns": {name: torch.from_numpy(column.copy()) for name, column in self.columns.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Raises:
            BadInput: If it is damaged, or of a table with another code; nothing is changed then.
        """
        missing = [name for name in KEYS if name not in state]
        if missing:
            raise BadInput(f"state must hold {', '.join(KEYS)}; {', '.join(missing)} missing: the state is damaged")
        for name, own in (("store", self.store), ("options", self.options)):
            if state[name] != own:
                raise BadInput(f"state must be of a memory with {name} {own!r}; got {state[name]!r}: make one like it")
        labels, tasks, ids = (state[name].numpy().copy() for name in ("labels", "tasks", "ids"))
        kinds = [array.dtype for array in (labels, tasks, ids)]
        pairs = np.stack([tasks.astype(np.int64), ids]) if len(tasks) == len(ids) else np.zeros((2, 0), np.int64)
        unique = np.unique(pairs, axis=1).shape[1] == len(ids)
        if kinds != [np.int16, np.int16, np.int64] or not len(labels) == len(tasks) == len(ids) or not unique:
            raise BadInput("state must have one label, task and id a sample, ids of a task once; the state is damaged")
        units, steps = tuple(state["units"]), state["steps"]
        code, columns = None, {name: column.numpy().copy() for name, column in state["columns"].items()}
        if steps:
            code = STORES[self.store](steps, math.prod(units), **self.options)
            code.check(columns, len(ids))
        elif len(ids):
            raise BadInput("state must say how many steps its samples have; the state is damaged")
        self.sequence, self.amplitude, self.units, self.code = state["sequence"], state["amplitude"], units, code
        self.labels, self.tasks, self.ids, self.columns = labels, tasks, ids, columns


def check_activity(activity: object) -> Tensor:
    """Return activity if it is a floating-point tensor of at least two axes."""
    if not isinstance(activity, Tensor) or not activity.is_floating_point() or activity.ndim < 2:
        found = f"{activity.dtype} {list(activity.shape)}" if isinstance(activity, Tensor) else type(activity).__name__
        raise BadInput(
            f"activity must be a floating-point tensor [T, B, ...] or [B, ...]; got {found}: give what record() returns"
        )
    return activity


def check_labels(labels: object, task: int) -> NDArray[np.int64]:
    """Return labels if they, and the task, are numbers that two bytes hold."""
    label = as_numbers("labels", labels)
    if len(label) and not (label.min() >= 0 and max(int(label.max()), task) < LABELS):
        raise BadInput(f"labels and task must lie from 0 to {LABELS - 1}; got {label.min()} to {label.max()}")
    return label


def as_places(places: object, stored: int) -> NDArray[np.int64]:
    """Return places, or the truths of a mask over what is stored, as int64."""
    found = places if isinstance(places, Tensor) else None
    if isinstance(places, Sequence | np.ndarray) and not isinstance(places, str):
        try:
            plain = np.array(places)  # a copy: torch takes neither foreign byte orders nor negative strides
            plain = plain.astype(plain.dtype.newbyteorder("="))
            found = torch.from_numpy(plain if len(plain) or plain.dtype.kind != "f" else plain.astype(np.int64))
        except (TypeError, ValueError, RuntimeError, OverflowError):  # ragged, or of things that are no numbers
            found = None
    if found is None or found.ndim != 1 or found.is_floating_point() or found.is_complex():
        what = type(places).__name__ if found is None else f"{found.dtype} {list(found.shape)}"
        raise BadInput(
            f"places must be whole numbers in one row, from 0 to {stored - 1}, or a mask of {stored} truths; got {what}"
        )
    if found.dtype != torch.bool:
        return as_numbers("places", found)
    if len(found) != stored:
        raise BadInput(f"places must be as many truths as samples are stored, {stored}; got {len(found)}")
    return found.cpu().nonzero().squeeze(1).numpy()


def as_numbers(name: str, tensor: object) -> NDArray[np.int64]:
    """Return a tensor of whole numbers ``[B]`` as int64."""
    if not isinstance(tensor, Tensor) or tensor.ndim != 1 or tensor.is_floating_point() or tensor.is_complex():
        found = f"{tensor.dtype} {list(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise BadInput(f"{name} must be a tensor of whole numbers, one for each sample; got {found}")
    return tensor.detach().cpu().numpy().astype(np.int64)
