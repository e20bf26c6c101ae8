"""Neo objects of a trace file, for Elephant and whatever else works on Neo."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurocl.primitives.checks import check_name
from neurocl.record.exports.chosen import Channel, Chosen, library, phases, units_of
from neurocl.record.reading import Traces

SEGMENTS = ("recording", "samples")


def to_neo(traces: Traces, *, segments: str = "recording", **chosen: Any) -> Any:
    """Return a trace file as a ``neo.Block``.

    A spike train for each neuron recorded, silent ones too; an analogue signal for each variable, in several parts
    where it was not recorded without a gap. The columns of a signal are the neurons of its array annotation
    ``neuron_id``; spike trains are annotated with ``population`` and ``neuron_id``. Neo has no unit for a distance to
    threshold: signals are dimensionless and annotated with ``unit``. All of it is in memory, and neo
    takes a fraction of a millisecond for each spike train: choose.

    Args:
        traces: An open trace file.
        segments: ``"recording"`` is one segment on the file's clock, with samples, tasks and phases as epochs;
            ``"samples"`` is a segment for each sample, which begins at 0 and is annotated with what is known of it.
        chosen: ``populations``, ``variables``, ``progress``, and samples as :meth:`Traces.select` takes them.

    Raises:
        BadInput: If nothing is chosen, or neo is not installed.
    """
    check_name("segments", segments, SEGMENTS)
    neo = library("neo")
    parts = Chosen(traces, **chosen)
    block = neo.Block(name=traces.path.name, file_origin=str(traces.path), run=traces.run)
    block.segments = [recording(neo, parts)] if segments == "recording" else one_each(neo, parts)
    return block


def recording(neo: Any, parts: Chosen) -> Any:
    """Return everything as one segment."""
    dt_ms, (start, stop) = parts.traces.dt_ms, parts.span
    segment = neo.Segment(name="recording")
    for channel in parts.spiking:
        steps, edges = parts.by_neuron(channel)
        segment.spiketrains.extend([*trains(neo, channel, steps * dt_ms, edges, start * dt_ms, stop * dt_ms)])
    for channel in parts.analogue:
        for samples in parts.runs(channel):
            part = channel._replace(samples=samples)
            values = np.concatenate([block for _, block in parts.blocks(part)])
            segment.analogsignals.append(signal(neo, part, values, int(parts.starts[samples[0]]) * dt_ms, dt_ms))
    segment.epochs.extend([*epochs(neo, parts)])  # a generator would be left out without a word
    times = [marker.step * dt_ms for marker in parts.traces.markers]
    if times:
        columns = [np.array(column) for column in zip(*parts.traces.markers, strict=True)]
        known = {"task": columns[3], "value": columns[4], "text": columns[5]}
        event = neo.Event(times, labels=columns[2], units="ms", name="markers", array_annotations=known)
        segment.events.append(event)
    return segment


def one_each(neo: Any, parts: Chosen) -> list[Any]:
    """Return a segment for each sample."""
    dt_ms, table = parts.traces.dt_ms, parts.table | {"phase": phases(parts.table["phase"])}
    made = {
        int(sample): neo.Segment(
            name=f"sample {sample}", index=row, **{name: column[row].item() for name, column in table.items()}
        )
        for row, sample in enumerate(parts.samples)
    }
    for channel in parts.channels:
        for sample in channel.samples.tolist():
            part, segment = channel._replace(samples=np.array([sample])), made[sample]
            start = int(parts.starts[sample])
            if channel.variable != "spikes":
                values = next(parts.blocks(part))[1]
                segment.analogsignals.append(signal(neo, part, values, 0.0, dt_ms))
                continue
            (steps, edges), stop = parts.by_neuron(part), int(parts.ends[sample]) - start
            segment.spiketrains.extend([*trains(neo, part, (steps - start) * dt_ms, edges, 0.0, stop * dt_ms)])
    return [*made.values()]


def trains(
    neo: Any, channel: Channel, times: NDArray[Any], edges: NDArray[np.int64], start: float, stop: float
) -> Iterator[Any]:
    """Yield a spike train for each neuron."""
    name = channel.population.name
    for neuron, (first, last) in zip(channel.population.ids("spikes").tolist(), pairwise(edges), strict=True):
        known = {"population": name, "neuron_id": neuron}
        yield neo.SpikeTrain(
            times[first:last], units="ms", t_start=start, t_stop=stop, name=f"{name} {neuron}", **known
        )


def signal(neo: Any, channel: Channel, values: NDArray[Any], start: float, dt_ms: float) -> Any:
    """Return an analogue signal ``[time, neuron]``."""
    import quantities

    return neo.AnalogSignal(
        values.astype(np.float32),
        units="dimensionless",
        t_start=start * quantities.ms,
        sampling_period=dt_ms * quantities.ms,
        name=channel.name,
        array_annotations={"neuron_id": channel.population.ids(channel.variable)},
        population=channel.population.name,
        variable=channel.variable,
        unit=units_of(channel),
    )


def epochs(neo: Any, parts: Chosen) -> Iterator[Any]:
    """Yield the samples with what is known of them, and the times that one task or one phase lasts."""
    table, dt_ms = parts.table | {"phase": phases(parts.table["phase"])}, parts.traces.dt_ms
    starts, ends = parts.starts[parts.samples], parts.ends[parts.samples]

    def epoch(name: str, firsts: Any, lasts: Any, labels: Any, **known: Any) -> Any:
        times = starts[firsts] * dt_ms
        durations = ends[lasts] * dt_ms - times
        return neo.Epoch(times, durations, labels=labels, units="ms", name=name, array_annotations=known)

    every = np.arange(len(starts))
    known = {name: column for name, column in table.items() if name not in {"start_step", "time_steps"}}
    yield epoch("samples", every, every, table["label"].astype(str), **known)
    gap = starts[1:] != ends[:-1]
    for name, column in (("tasks", "task"), ("phases", "phase")):
        changes = (gap | (table[column][1:] != table[column][:-1])).nonzero()[0]
        firsts, lasts = np.append(0, changes + 1), np.append(changes, len(starts) - 1)
        yield epoch(name, firsts, lasts, table[column][firsts].astype(str), **{column: table[column][firsts]})
