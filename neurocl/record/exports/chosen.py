"""What of a trace file is exported, in pieces that fit into memory, and where to."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput, check_name
from neurocl.record.population import Population
from neurocl.record.reading import Traces

VALUES = 1 << 22  # neurons times steps that are read at a time
Progress = Callable[[str], object]


class Channel(NamedTuple):
    """One variable of one population, and the samples to export of it."""

    population: Population
    variable: str
    samples: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Population and variable."""
        return f"{self.population.name} {self.variable}"


class Chosen:
    """The part of a trace file that is to be exported.

    Args:
        traces: The file.
        populations: Names; ``None`` means all.
        variables: Names; ``None`` means all. A population is left out if it has none of them.
        progress: Told what is being done.
        which: Samples, see :meth:`~neurocl.record.reading.Traces.select`.

    Attributes:
        samples: Numbers of the samples chosen.
        channels: What was recorded of them.

    Raises:
        BadInput: If nothing is left.
    """

    def __init__(
        self,
        traces: Traces,
        populations: Sequence[str] | None = None,
        variables: Sequence[str] | None = None,
        *,
        progress: Progress | None = None,
        **which: Any,
    ) -> None:
        self.traces, self.progress = traces, progress or (lambda _: None)
        self.samples = traces.select(**which)
        if not len(self.samples):
            raise BadInput(f"no samples of {traces.path} are chosen, of {len(traces)}{asked(which)}: {there(traces)}")
        names = traces.populations if populations is None else listed(populations)
        found = [traces[name] for name in names]
        if variables is not None:
            known = {variable for population in found for variable in population.variables}
            for variable in listed(variables):
                check_name("recorded variable", variable, known)
        self.populations, self.channels = [], []
        for population in found:
            wanted = [each for each in population.variables if variables is None or each in listed(variables)]
            channels = [Channel(population, each, self._recorded(population, each)) for each in wanted]
            channels = [channel for channel in channels if len(channel.samples)]
            self.channels += channels
            self.populations += [population] if channels else []
        if not self.channels:
            raise BadInput(f"nothing was recorded of the {len(self.samples)} samples chosen from {traces.path}")

    @property
    def spiking(self) -> list[Channel]:
        """The spikes."""
        return [channel for channel in self.channels if channel.variable == "spikes"]

    @property
    def analogue(self) -> list[Channel]:
        """Everything else."""
        return [channel for channel in self.channels if channel.variable != "spikes"]

    @property
    def starts(self) -> NDArray[np.int64]:
        """The step of the clock at which each sample of the file begins."""
        return self.traces.samples["start_step"]

    @property
    def ends(self) -> NDArray[np.int64]:
        """The step of the clock behind each sample of the file."""
        return self.starts + self.traces.samples["time_steps"]

    @property
    def span(self) -> tuple[int, int]:
        """First step of the first sample chosen, and the one behind the last."""
        return int(self.starts[self.samples[0]]), int(self.ends[self.samples[-1]])

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """What is known of the samples chosen, and their numbers in the trace file as ``sample``."""
        return {"sample": self.samples} | {name: column[self.samples] for name, column in self.traces.samples.items()}

    def spikes(self, channel: Channel) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield step of the clock, neuron and sample of spikes, by step."""
        for samples in self._batches(channel):
            found = channel.population.spikes(samples=samples)
            steps = np.rint(found.times_ms / self.traces.dt_ms).astype(np.int64)
            yield self.starts[found.samples] + steps, found.ids, found.samples

    def counts(self, channel: Channel) -> NDArray[np.int64]:
        """Return the number of spikes of each neuron recorded."""
        found = np.zeros(channel.population.size, np.int64)
        for _, ids, _ in self.spikes(channel):
            found += np.bincount(ids, minlength=len(found))
        return found[channel.population.ids("spikes")]

    def by_neuron(self, channel: Channel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the steps at which the first neuron spiked, then the second, and where each neuron's begin and end."""
        neurons = channel.population.ids("spikes")
        edges = np.append(0, np.cumsum(self.counts(channel)))
        spiked, free = np.empty(edges[-1], np.int64), edges[:-1].copy()
        for steps, ids, _ in self.spikes(channel):
            places = np.searchsorted(neurons, ids).astype(np.min_scalar_type(len(neurons)))  # small ones sort fast
            order, count = np.argsort(places, kind="stable"), np.bincount(places, minlength=len(neurons))
            before = free - (np.cumsum(count) - count)
            spiked[before[places[order]] + np.arange(len(order))] = steps[order]
            free += count
        return spiked, edges

    def blocks(self, channel: Channel) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield step of the clock and values, ``[row]`` and ``[row, neuron]``."""
        for samples in self._batches(channel):
            values = channel.population.read(channel.variable, samples=samples)
            steps = self.starts[samples][:, None] + np.arange(values.shape[1])
            yield steps.ravel(), values.reshape(-1, values.shape[2])

    def runs(self, channel: Channel) -> list[NDArray[np.int64]]:
        """Return the samples of a channel in groups that follow one another on the clock without a gap."""
        samples = channel.samples
        return np.split(samples, (self.starts[samples[1:]] != self.ends[samples[:-1]]).nonzero()[0] + 1)

    def _recorded(self, population: Population, variable: str) -> NDArray[np.int64]:
        return np.intersect1d(population.recorded(variable), self.samples)

    def _batches(self, channel: Channel) -> Iterator[NDArray[np.int64]]:
        """Yield samples of one length, as many as fit."""
        population, variable, samples = channel
        steps = self.traces.samples["time_steps"][samples].astype(np.int64)
        lot = np.cumsum(steps) * len(population.ids(variable)) // VALUES
        edges = ((np.diff(steps) != 0) | (np.diff(lot) != 0)).nonzero()[0] + 1
        for first, last in pairwise([0, *edges.tolist(), len(samples)]):
            self.progress(f"{channel.name}: {first} of {len(samples)} samples")
            yield samples[first:last]


def listed(names: Sequence[str] | str) -> list[str]:
    """Return one name or several as a list without repetitions."""
    return list(dict.fromkeys([names] if isinstance(names, str) else names))


def asked(which: dict[str, Any]) -> str:
    """Say what was asked for."""
    words = [f"{name}={value!r}" for name, value in which.items() if value is not None]
    return f" with {', '.join(words)}" if words else ""


def there(traces: Traces) -> str:
    """Say which tasks and phases a file has."""
    if not len(traces):
        return "it is empty"
    tasks = ", ".join(map(str, np.unique(traces.samples["task"])))
    return f"it has phase {', '.join(np.unique(phases(traces.samples['phase'])))} and task {tasks} (-1: not said)"


def phases(numbers: NDArray[Any]) -> NDArray[Any]:
    """Return the names of phases."""
    return np.array([*PHASES, "unknown"])[numbers.astype(np.int64)]


def units_of(channel: Channel) -> str:
    """Return the unit of an analogue variable."""
    return str(channel.population.units(channel.variable))


def destination(path: str | Path) -> Path:
    """Return where an export goes.

    Raises:
        BadInput: If something is there already, or the folder is not.
    """
    path = Path(path).expanduser()
    if path.exists() or path.is_symlink():
        raise BadInput(f"path must name a new file; {path} is there: choose another, or remove it")
    if not path.parent.is_dir():
        raise BadInput(f"path must lie in a folder that exists; {path.parent} does not: make it first")
    return path


def library(name: str) -> Any:
    """Return a library that an export needs.

    Raises:
        BadInput: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise BadInput(f'this export needs {name}, which is not installed: pip install "neurocl[record]"') from error
