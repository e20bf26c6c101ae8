"""The NIR data of a trace file: what each node of a NIR graph did, ``[sample, time, neuron]``."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurocl.primitives import files
from neurocl.record.exports.chosen import Chosen, destination, library
from neurocl.record.exports.sonata import write_samples
from neurocl.record.reading import Traces


def to_nir(traces: Traces, path: str | Path | None = None, **chosen: Any) -> Any:
    """Return a trace file as a ``nir.NIRGraphData``, and write it where ``path`` says so.

    Every variable is gridded data ``[sample, time, neuron recorded]``, spikes as bool, steps in seconds. All of it is
    in memory: a byte for every spike or none. The file has beside it what ``nir.read_data`` leaves aside: ``/samples``,
    and with each observable ``samples`` and ``neurons``, the numbers of its rows and columns.

    Args:
        traces: An open trace file.
        path: A new file, which ``nir.read_data`` opens.
        chosen: ``populations``, ``variables``, ``progress``, and samples as :meth:`Traces.select` takes them.

    Raises:
        BadInput: If nothing is chosen, the samples chosen differ in length, nir is not installed, or the file cannot be
            written or is there already.
    """
    place = None if path is None else destination(path)
    nir = library("nir")
    parts = Chosen(traces, **chosen)
    nodes: dict[str, Any] = {population.name: {} for population in parts.populations}
    for channel in parts.channels:
        parts.progress(channel.name)
        values = channel.population.read(channel.variable, samples=channel.samples)
        values = values.astype(bool, copy=False) if channel.variable == "spikes" else values
        nodes[channel.population.name][channel.variable] = nir.TimeGriddedData(values, dt=traces.dt_ms / 1000)
    data = nir.NIRGraphData({name: nir.NIRNodeData(observables) for name, observables in nodes.items()})
    if place is not None:
        files.write(place, lambda fresh: fill(fresh, parts, data, nir))
    return data


def fill(path: Path, parts: Chosen, data: Any, nir: Any) -> None:
    """Write the file."""
    parts.progress("writing")
    nir.write_data(path, data)
    with h5py.File(path, "r+") as file:
        write_samples(file, parts)
        for channel in parts.channels:
            group = file[f"nodes/{channel.population.name}/observables/{channel.variable}"]
            group.create_dataset("samples", data=channel.samples)
            group.create_dataset("neurons", data=np.asarray(channel.population.ids(channel.variable)))
