"""One population of a trace file, and what was recorded of it.

Longer than others: a small class, whose public methods say what they take and give.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_name
from neurocl.record import layout
from neurocl.record.selection import SENT
from neurocl.record.steady_file import About


class Spikes(NamedTuple):
    """Spikes as times and ids.

    Attributes:
        times_ms: Since the sample's beginning, ascending within a sample.
        ids: The neuron of each.
        samples: The sample of each, numbered through the file.
    """

    times_ms: NDArray[np.float64]
    ids: NDArray[np.int64]
    samples: NDArray[np.int64]


@runtime_checkable
class Rows(Protocol):
    """What a population needs of its file; :class:`~neurocl.record.reading.Traces` has it."""

    dt_ms: float

    @property
    def samples(self) -> dict[str, NDArray[Any]]:
        """Return what is known of every sample."""
        ...

    def names(self, start: str) -> list[str]:
        """Return the rests of the names of datasets that begin so."""
        ...

    def rows(self, name: str, first: int = 0, last: int | None = None) -> NDArray[Any]:
        """Return the whole rows of a dataset from ``first`` to ``last``."""
        ...

    def about(self, name: str) -> About:
        """Return the shape, type and attributes of a dataset."""
        ...

    def length(self, name: str) -> int | None:
        """Return how many rows of a dataset are whole; ``None`` if there is no such dataset."""
        ...

    def select(self, *args: Any, **which: Any) -> NDArray[np.int64]:
        """Return the samples of which everything named is true."""
        ...


@dataclass(frozen=True)
class Population:
    """One population of a trace file.

    Attributes:
        traces: The file.
        name: Of the population.
    """

    traces: Rows
    name: str

    @property
    def variables(self) -> list[str]:
        """Names of the variables recorded."""
        return self.traces.names(f"{layout.INDEX}/{self.name}/")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the population, such as (channels, height, width)."""
        known = self.traces.about(self._dataset(self.variables[0]))
        first, *others = (int(size) for size in known.attributes["units_shape"])
        columns = int(np.prod(known.shape[1:]))
        if columns > first * int(np.prod(others)):  # lateral neurons have joined since
            first = columns // int(np.prod(others))
        return first, *others

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape))

    def ids(self, variable: str) -> NDArray[np.int64]:
        """Return which neurons were recorded, in the order of the columns of :meth:`read`."""
        name = self._dataset(variable)
        known = self.traces.about(name)
        ids = np.asarray(json.loads(known.attributes["neuron_ids"]), np.int64)
        if name.startswith(f"{layout.TRACES}/") and known.shape[1] > len(ids):  # some have joined since
            return np.arange(known.shape[1], dtype=np.int64)
        return ids

    def units(self, variable: str) -> str:
        """Return the unit of a variable, ``"ms"`` of spikes: ``"threshold"`` is the distance from rest to threshold."""
        return "ms" if variable == "spikes" else str(self._attributes(variable)["units"])

    def stored_as(self, variable: str) -> str:
        """Return ``"raster"``, ``"events"``, ``"float32"`` or ``"float16"``."""
        dataset = self._dataset(variable)
        if dataset.startswith(f"{layout.SPIKES}/"):
            return "events"
        return "raster" if dataset.startswith(f"{layout.RASTER}/") else self.traces.about(dataset).dtype

    def recorded(self, variable: str, **which: Any) -> NDArray[np.int64]:
        """Return the samples of which a variable was recorded, of those that :meth:`Traces.select` finds."""
        return np.intersect1d(self._index(variable)[:, 0], self.traces.select(**which))

    def spikes(self, *, time_ms: tuple[float, float] | None = None, **which: Any) -> Spikes:
        """Return spikes as times and ids.

        Args:
            time_ms: From and to, within the samples; the end is not in it.
            which: Samples, see :meth:`Traces.select`.

        Raises:
            UnknownName: If no spikes were recorded here.
        """
        samples = self.recorded("spikes", **which)
        if self.stored_as("spikes") == "events":
            found = self._events(samples)
        else:
            columns = self.ids("spikes")
            parts = [(numbers, *np.nonzero(block)) for numbers, block in self._blocks("spikes", samples)]
            none = [np.empty(0, np.int64)]
            steps = np.concatenate([step for _, _, step, _ in parts] or none)
            found = Spikes(
                times_ms=steps * np.float64(self.traces.dt_ms),
                ids=np.concatenate([columns[place] for *_, place in parts] or none),
                samples=np.concatenate([numbers[row] for numbers, row, _, _ in parts] or none),
            )
        if time_ms is None:
            return found
        steps, span = self._steps(found.times_ms), self._span(time_ms)
        inside = (steps >= span.start) & (steps < span.stop)
        return Spikes(times_ms=found.times_ms[inside], ids=found.ids[inside], samples=found.samples[inside])

    def raster(self, *, time_ms: tuple[float, float] | None = None, **which: Any) -> NDArray[np.bool_]:
        """Return spikes as ``[sample, time, neuron]``; samples are those of :meth:`recorded`, in that order."""
        return self.read("spikes", time_ms=time_ms, **which).astype(bool, copy=False)

    def read(self, variable: str, *, time_ms: tuple[float, float] | None = None, **which: Any) -> NDArray[Any]:
        """Return a variable as ``[sample, time, neuron]``.

        Args:
            variable: One of :attr:`variables`.
            time_ms: From and to, within the samples; the end is not in it.
            which: Samples, see :meth:`Traces.select`; those of which it was recorded come, see :meth:`recorded`.

        Raises:
            UnknownName: If the variable was not recorded.
            BadInput: If the samples chosen differ in length: choose some of one length, or a time range.
        """
        samples = self.recorded(variable, **which)
        steps = self._span(time_ms)
        if self.stored_as(variable) == "events":
            return self._raster_of_events(samples, steps)
        parts = [block[:, steps] for _, block in self._blocks(variable, samples)]
        if not parts:
            return np.empty((0, 0, len(self.ids(variable))), bool if variable == "spikes" else np.float32)
        return joined(parts)

    def torch(self, variable: str, *, time_ms: tuple[float, float] | None = None, **which: Any) -> Tensor:
        """Return :meth:`read` as a tensor ``[sample, time, neuron]``."""
        return torch.from_numpy(np.ascontiguousarray(self.read(variable, time_ms=time_ms, **which)))

    def mean(self, variable: str | None = None, **which: Any) -> NDArray[np.float64]:
        """Return the mean over time, ``[sample, neuron]``: spikes a step, or rates; without ever holding all steps.

        Args:
            variable: Without it the population's output.
            which: Samples, see :meth:`Traces.select`.
        """
        variable = variable or self.output
        samples = self.recorded(variable, **which)
        if self.stored_as(variable) == "events":
            return self._means_of_events(samples)
        parts = [block.mean(1, dtype=np.float64) for _, block in self._blocks(variable, samples)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.ids(variable))))

    @property
    def output(self) -> str:
        """What the population sends on: ``"spikes"``, ``"rate"`` or ``"output"``."""
        for name in SENT:
            if name in self.variables:
                return name
        raise BadInput(f"{self.name} has no output recorded, only {', '.join(self.variables)}: name one of these")

    def _dataset(self, variable: str) -> str:
        check_name(f"variable of {self.name}", variable, self.variables)
        places = [
            f"{layout.RASTER}/{self.name}", f"{layout.SPIKES}/{self.name}/timestamps",
        ] if variable == "spikes" else [f"{layout.TRACES}/{self.name}/{variable}"]  # fmt: skip
        return next(place for place in places if self.traces.length(place) is not None)

    def _attributes(self, variable: str) -> Any:
        return self.traces.about(self._dataset(variable)).attributes

    def _index(self, variable: str) -> NDArray[np.int64]:
        check_name(f"variable of {self.name}", variable, self.variables)
        return self.traces.rows(f"{layout.INDEX}/{self.name}/{variable}")

    def _span(self, time_ms: tuple[float, float] | None) -> slice:
        """Return the steps of a time range."""
        if time_ms is None:
            return slice(None)
        edges = np.asarray(time_ms)
        if edges.shape != (2,) or edges.dtype.kind not in "iuf" or not 0 <= edges[0] < edges[1]:
            raise BadInput(f"time_ms must be (from, to) in ms with 0 <= from < to; got {time_ms!r}")
        first, last = np.ceil(np.round(edges / self.traces.dt_ms, 9))  # a step's time is not always to the bit
        longest = self.traces.samples["time_steps"].max(initial=0)
        return slice(int(min(first, longest)), int(min(last, longest)))

    def _steps(self, times_ms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the steps of times: both are kept as products, which are not exact."""
        return np.rint(times_ms / self.traces.dt_ms).astype(np.int64)

    def _ranges(self, variable: str, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each sample its first row and the one behind its last."""
        index, end = self._index(variable), self.traces.length(self._dataset(variable))
        bounds = np.append(index[:, 1], np.int64(end or 0))
        places = np.searchsorted(index[:, 0], samples)
        return np.stack([bounds[places], bounds[places + 1]], axis=1)

    def _blocks(self, variable: str, samples: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield samples that lie behind one another and are of one length, and ``[sample, time, neuron]`` of them."""
        dataset, neurons = self._dataset(variable), len(self.ids(variable))
        ranges = self._ranges(variable, samples)
        for place in runs_of(ranges):
            first, last = int(ranges[place.start, 0]), int(ranges[place.stop - 1, 1])
            rows = self.traces.rows(dataset, first, last)
            if dataset.startswith(f"{layout.RASTER}/"):
                rows = np.unpackbits(rows, axis=1, count=neurons).view(bool)
            yield samples[place], rows.reshape(place.stop - place.start, -1, rows.shape[1])

    def _events(self, samples: NDArray[np.int64]) -> Spikes:
        """Return the spikes of samples that were stored as events."""
        node, ranges = f"{layout.SPIKES}/{self.name}", self._ranges("spikes", samples)
        parts = [(ranges[place.start, 0], ranges[place.stop - 1, 1]) for place in adjacent(ranges)]
        kinds = (("timestamps", np.float64), ("node_ids", np.uint64), ("sample_ids", np.uint32))
        columns = []
        for name, kind in kinds:
            found = [self.traces.rows(f"{node}/{name}", int(first), int(last)) for first, last in parts]
            columns.append(np.concatenate(found or [np.empty(0, kind)]))
        numbers = columns[2].astype(np.int64)
        starts = self.traces.samples["start_step"][numbers] * self.traces.dt_ms
        times_ms = self._steps(columns[0] - starts) * np.float64(self.traces.dt_ms)  # as a raster has them
        return Spikes(times_ms=times_ms, ids=columns[1].astype(np.int64), samples=numbers)

    def _raster_of_events(self, samples: NDArray[np.int64], steps: slice) -> NDArray[np.bool_]:
        lengths = set(self.traces.samples["time_steps"][samples].tolist())
        if len(lengths) > 1:
            raise BadInput(unequal(lengths))
        events, columns = self._events(samples), self.ids("spikes")
        raster = np.zeros((len(samples), lengths.pop() if lengths else 0, len(columns)), bool)
        places = np.searchsorted(samples, events.samples), np.searchsorted(columns, events.ids)
        raster[places[0], self._steps(events.times_ms), places[1]] = True
        return raster[:, steps]

    def _means_of_events(self, samples: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return spikes a step, ``[sample, neuron]``."""
        events, neurons = self._events(samples), len(self.ids("spikes"))
        places = np.searchsorted(samples, events.samples) * neurons
        places += np.searchsorted(self.ids("spikes"), events.ids)
        counts = np.bincount(places, minlength=len(samples) * neurons).reshape(len(samples), neurons)
        return counts / self.traces.samples["time_steps"][samples][:, None]


def runs_of(ranges: NDArray[np.int64]) -> list[slice]:
    """Return runs of ranges that lie behind one another and are equally long."""
    sizes = ranges[:, 1] - ranges[:, 0]
    breaks = (ranges[1:, 0] != ranges[:-1, 1]) | (sizes[1:] != sizes[:-1])
    return slices_at(breaks, len(ranges))


def adjacent(ranges: NDArray[np.int64]) -> list[slice]:
    """Return runs of ranges that lie behind one another."""
    return slices_at(ranges[1:, 0] != ranges[:-1, 1], len(ranges))


def slices_at(breaks: NDArray[np.bool_], size: int) -> list[slice]:
    """Return the slices between breaks."""
    edges = [0, *(breaks.nonzero()[0] + 1).tolist(), size]
    return [slice(first, last) for first, last in pairwise(edges) if last > first]


def joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return samples of one length in one array."""
    lengths = {part.shape[1] for part in parts}
    if len(lengths) > 1:
        raise BadInput(unequal(lengths))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def unequal(lengths: set[int]) -> str:
    """Say that samples differ in length."""
    return f"samples must be of one length to be one array; these have {sorted(lengths)} steps: choose by phase or task"
