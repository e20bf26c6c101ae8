"""A SONATA file of a trace file: spikes, reports and nodes that every reader of SONATA opens.

A trace file is one itself as far as it can be. Here rasters become events as well, variables that were not recorded all
the time become reports, and so do those of half precision. Samples have no place in SONATA: spikes carry their sample
in a dataset more, and ``/samples`` holds what is known of each.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurocl.primitives import files
from neurocl.record import layout, views
from neurocl.record.exports.chosen import Channel, Chosen, destination, units_of
from neurocl.record.reading import Traces

CHUNK = 1 << 16  # spikes


def to_sonata(traces: Traces, path: str | Path, **chosen: Any) -> Path:
    """Write a SONATA file: uncompressed, of an HDF5 version that libsonata opens, and times in ms on the file's clock.

    A population's report shows its voltage, or the first of its other variables; each further variable is a report
    named ``POPULATION:VARIABLE``. A report reaches from the first step recorded to the last and is NaN in between where
    nothing was; such gaps take no room.

    Args:
        traces: An open trace file.
        path: The new file.
        chosen: ``populations``, ``variables``, ``progress``, and samples as :meth:`Traces.select` takes them.

    Raises:
        BadInput: If nothing is chosen, or the file cannot be written or is there already.

    Source:
        SONATA format 0.1. Differs: report mappings have ``n + 1`` index pointers, as libsonata wants them.
    """
    path = destination(path)
    parts = Chosen(traces, **chosen)
    files.write(path, lambda fresh: fill(fresh, parts))
    return path


def fill(path: Path, parts: Chosen) -> None:
    """Write the file."""
    with h5py.File(path, "w", libver=layout.LIBVER) as file:
        file.attrs["magic"] = np.uint32(layout.MAGIC)
        file.attrs["version"] = np.array(layout.VERSION, np.uint32)
        write_samples(file, parts)
        for population in parts.populations:
            layout.describe_nodes(file, population.name, population.size)
            kinds = ["point_neuron"] * population.size  # in a trace file one attribute says it for all
            file[f"nodes/{population.name}/0"].create_dataset("model_type", data=kinds)
        for channel in parts.spiking:
            write_spikes(file, parts, channel)
        for population in parts.populations:
            channels = {each.variable: each for each in parts.analogue if each.population == population}
            for variable, channel in channels.items():
                main = variable == views.reported([*channels])
                write_report(file, parts, channel, population.name if main else f"{population.name}:{variable}")


def write_samples(file: h5py.File, parts: Chosen) -> None:
    """Write what is known of the samples, and the run's JSON."""
    group = file.create_group("samples")
    group.attrs["run"] = json.dumps(parts.traces.run)
    for name, column in parts.table.items():
        group.create_dataset(name, data=column)


def write_spikes(file: h5py.File, parts: Chosen, channel: Channel) -> None:
    """Write spikes as events, by time."""
    group = file.create_group(f"{layout.SPIKES}/{channel.population.name}")
    kind = h5py.enum_dtype(layout.SORTING, basetype="u1")
    group.attrs.create("sorting", layout.SORTING["by_time"], dtype=kind)
    kinds = {"timestamps": np.float64, "node_ids": np.uint64, "sample_ids": np.uint32}
    made = [group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(CHUNK,)) for name, kind in kinds.items()]
    group["timestamps"].attrs["units"] = "ms"
    for steps, ids, samples in parts.spikes(channel):
        for dataset, values in zip(made, (steps * parts.traces.dt_ms, ids, samples), strict=True):
            first = len(dataset)
            dataset.resize((first + len(values),))
            dataset[first:] = values.astype(dataset.dtype)


def write_report(file: h5py.File, parts: Chosen, channel: Channel, name: str) -> None:
    """Write a variable as a report."""
    start, stop = int(parts.starts[channel.samples[0]]), int(parts.ends[channel.samples[-1]])
    ids = channel.population.ids(channel.variable)
    group = file.create_group(f"{views.REPORT}/{name}")
    shape = (stop - start, len(ids))
    chunk = tuple(min(pair) for pair in zip(shape, layout.chunk_of(name, shape[1:], np.float32), strict=True))
    data = group.create_dataset("data", shape, np.float32, chunks=chunk, fillvalue=np.nan)
    data.attrs["units"] = units_of(channel)
    views.describe_report(group, ids, first=start, last=stop, dt_ms=parts.traces.dt_ms)
    for steps, values in parts.blocks(channel):
        edges = (np.diff(steps) != 1).nonzero()[0] + 1
        for rows, part in zip(np.split(steps - start, edges), np.split(values, edges), strict=True):
            data[rows[0] : rows[-1] + 1] = part
