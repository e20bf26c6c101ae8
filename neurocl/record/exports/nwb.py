"""An NWB file of a trace file: units, time series and trials."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.record.exports.chosen import VALUES, Channel, Chosen, destination, library, phases, units_of
from neurocl.record.reading import Marker, Traces

TRIALS = {
    "sample": "number of the sample in the trace file",
    "label": "class; -1: not said",
    "task": "the task it is from; -1: not said",
    "stage": "the task that was being learnt, or was learnt last; -1: not said",
    "phase": "training, evaluation, replay or consolidation",
    "sample_id": "its own number, constant over passes; -1: not said",
    "passage": "number of the pass within its phase",
}
MARKERS = {
    "kind": "what happened",
    "task": "of which task; -1: of none",
    "value": "a number, as of an accuracy",
    "text": "what was noted",
}


def to_nwb(
    traces: Traces,
    path: str | Path,
    *,
    description: str = "Activity of a spiking neural network",
    identifier: str | None = None,
    started: datetime | None = None,
    **chosen: Any,
) -> Path:
    """Write an NWB file: times are seconds on the file's clock.

    ``units`` has the spike times of each neuron recorded, with its ``population`` and ``neuron``; ``acquisition`` has
    every other variable as a time series ``POPULATION.VARIABLE``, with timestamps where it was not recorded without a
    gap, whose description is JSON with the numbers of its neurons; ``trials`` has the samples, ``intervals/markers``
    the markers; the run's JSON is in ``notes``. The spikes of one population are in memory at a time.

    Args:
        traces: An open trace file.
        path: The new file; its name ends in ``.nwb``.
        description: Of the session.
        identifier: Of the file, unlike any other's; without it a random one.
        started: When the session began; without it the time at which the trace file was written last.
        chosen: ``populations``, ``variables``, ``progress``, and samples as :meth:`Traces.select` takes them.

    Raises:
        BadInput: If nothing is chosen, pynwb is not installed, or the file cannot be written or is there already.

    Source:
        Rübel et al. 2022, The Neurodata Without Borders ecosystem; schema as of pynwb. Differs: voltages are in units
        of the distance from rest to threshold, not in volt.
    """
    path = destination(path)
    if path.suffix != ".nwb":
        raise BadInput(f"path must end in .nwb, which readers of NWB look for; got {path.name}")
    pynwb = library("pynwb")
    parts = Chosen(traces, **chosen)
    when = started or datetime.fromtimestamp(traces.path.stat().st_mtime, UTC)
    file = pynwb.NWBFile(
        session_description=description,
        identifier=identifier or str(uuid.uuid4()),
        session_start_time=when if when.tzinfo else when.astimezone(),
        notes=json.dumps(traces.run),
        source_script=f"{traces.path.name}, neurocl's trace file",
        source_script_file_name="neurocl.record.exports.to_nwb",
    )
    file.trials = trials(pynwb, parts)
    for channel in parts.analogue:
        file.add_acquisition(series(pynwb, parts, channel))
    if traces.markers:
        file.add_time_intervals(markers(pynwb, parts))
    if parts.spiking:
        file.units = units(pynwb, parts)

    def fill(fresh: Path) -> None:
        with pynwb.NWBHDF5IO(fresh, "w") as out:
            out.write(file)

    files.write(path, fill)
    return path


def trials(pynwb: Any, parts: Chosen) -> Any:
    """Return the samples as a table."""
    table, (starts, stops) = parts.table, seconds(parts, parts.starts[parts.samples], parts.ends[parts.samples])
    table = {name: table[name] for name in TRIALS} | {"phase": phases(table["phase"])}
    return intervals(pynwb, "trials", "samples shown to the network", starts, stops, TRIALS, table)


def markers(pynwb: Any, parts: Chosen) -> Any:
    """Return what happened when as a table."""
    columns = zip(*parts.traces.markers, strict=True)
    found = {name: np.array(column) for name, column in zip(Marker._fields, columns, strict=True)}
    (times,) = seconds(parts, found["step"])
    return intervals(pynwb, "markers", "boundaries of tasks, accuracies, notes", times, times, MARKERS, found)


def intervals(
    pynwb: Any,
    name: str,
    description: str,
    starts: NDArray[np.float64],
    stops: NDArray[np.float64],
    meanings: dict[str, str],
    values: dict[str, NDArray[Any]],
) -> Any:
    """Return a table of intervals."""
    column = pynwb.core.VectorData
    columns = [
        column(name="start_time", description="start in seconds", data=starts),
        column(name="stop_time", description="end in seconds", data=stops),
    ]
    for each, meaning in meanings.items():
        data = values[each].tolist() if values[each].dtype.kind == "U" else values[each]
        columns.append(column(name=each, description=meaning, data=data))
    return pynwb.epoch.TimeIntervals(name=name, description=description, columns=columns)


def series(pynwb: Any, parts: Chosen, channel: Channel) -> Any:
    """Return an analogue variable as a time series, which is read while it is written."""
    ids = channel.population.ids(channel.variable)
    facts = {"population": channel.population.name, "variable": channel.variable, "neuron_ids": ids.tolist()}
    starts, ends = parts.starts[channel.samples], parts.ends[channel.samples]
    shape = (int((ends - starts).sum()), len(ids))
    if len(parts.runs(channel)) == 1:
        clock = {"starting_time": seconds(parts, starts[:1])[0].item(), "rate": 1000.0 / parts.traces.dt_ms}
    else:
        steps = np.concatenate([np.arange(first, last) for first, last in zip(starts, ends, strict=True)])
        clock = {"timestamps": seconds(parts, steps)[0]}
    values = (block.astype(np.float32) for _, block in parts.blocks(channel))
    return pynwb.TimeSeries(
        name=f"{channel.population.name}.{channel.variable}",
        description=json.dumps(facts),
        data=streamed(values, shape, np.float32),
        unit=units_of(channel),
        **clock,
    )


def units(pynwb: Any, parts: Chosen) -> Any:
    """Return the spikes as a table of units."""
    counts = [parts.counts(channel) for channel in parts.spiking]
    neurons = [channel.population.ids("spikes") for channel in parts.spiking]
    names = [channel.population.name for channel in parts.spiking for _ in channel.population.ids("spikes")]
    total, ends = int(sum(count.sum() for count in counts)), np.cumsum(np.concatenate(counts)).astype(np.uint64)
    ids = np.concatenate(neurons)
    span = np.broadcast_to(np.stack(seconds(parts, *map(np.int64, parts.span))), (len(ids), 2))
    times = pynwb.core.VectorData(
        name="spike_times",
        description="spike times of each unit in seconds",
        data=streamed(sorted_times(parts), (total,), np.float64),
    )
    seen = pynwb.core.VectorData(name="obs_intervals", description="first and last time of the samples", data=span)
    rows = np.arange(1, len(ids) + 1, dtype=np.uint64)
    texts = {"population": "population of the neuron", "_name": "name of the unit, as neo shows it"}
    labels = {"population": names, "_name": [f"{name} {neuron}" for name, neuron in zip(names, ids, strict=True)]}
    columns = [
        pynwb.core.VectorIndex(name="spike_times_index", data=ends, target=times),  # before what is still to be read
        times,
        seen,
        pynwb.core.VectorIndex(name="obs_intervals_index", data=rows, target=seen),
        *(pynwb.core.VectorData(name=name, description=texts[name], data=labels[name]) for name in texts),
        pynwb.core.VectorData(name="neuron", description="number of the neuron in its population", data=ids),
    ]
    step = parts.traces.dt_ms / 1000
    return pynwb.misc.Units(name="units", description="neurons recorded", columns=columns, resolution=step)


def sorted_times(parts: Chosen) -> Iterator[NDArray[np.float64]]:
    """Yield spike times in seconds by neuron, a population at a time."""
    for channel in parts.spiking:
        steps, _ = parts.by_neuron(channel)
        for first in range(0, len(steps), VALUES):
            yield seconds(parts, steps[first : first + VALUES])[0]


def seconds(parts: Chosen, *steps: Any) -> list[NDArray[np.float64]]:
    """Return steps of the clock as seconds."""
    return [np.asarray(each * parts.traces.dt_ms / 1000) for each in steps]


def streamed(blocks: Iterator[NDArray[Any]], shape: tuple[int, ...], dtype: Any) -> Any:
    """Return rows that are fetched while they are written; what is empty is written as it is."""
    if 0 in shape:
        return np.empty(shape, dtype)
    iterator = library("hdmf.data_utils").AbstractDataChunkIterator
    chunk = library("hdmf.data_utils").DataChunk

    class Rows(iterator):
        """Blocks of rows, one behind the other."""

        def __init__(self) -> None:
            self.first = 0

        def __iter__(self) -> "Rows":
            return self

        def __len__(self) -> int:
            return shape[0]

        def __next__(self) -> Any:
            block = next(blocks)
            while not len(block):
                block = next(blocks)
            self.first += len(block)
            rows = slice(self.first - len(block), self.first)
            return chunk(data=block, selection=(rows, *map(slice, shape[1:])))

        def recommended_chunk_shape(self) -> Any:
            row = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
            return (max(1, min(shape[0], (1 << 18) // row)), *shape[1:])

        def recommended_data_shape(self) -> Any:
            return shape

        @property
        def dtype(self) -> Any:
            return np.dtype(dtype)

        @property
        def maxshape(self) -> Any:
            return shape

    return Rows()
