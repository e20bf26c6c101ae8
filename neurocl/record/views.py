"""The same numbers for other readers: SONATA's reports and NIR's observables, without copies.

A report is the dataset of a variable under a second name; NIR's observables are virtual datasets over the whole
recording as one sample. Times are milliseconds in all of them, NIR's too.
"""

import json
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurocl.record import layout

REPORT = "report"


def add(file: h5py.File) -> None:
    """Add the views that a finished file has."""
    remove(file)
    dt_ms = float(json.loads(file[f"{layout.ROOT}/run"].attrs["json"])["dt_ms"])
    samples = file[f"{layout.SAMPLES}/time_steps"]
    clock = int(samples[...].sum()) if len(samples) else 0
    for population, variables in groups(file, layout.TRACES):
        for variable in variables:
            dataset = file[f"{layout.TRACES}/{population}/{variable}"]
            if len(dataset) == clock and clock and variable == reported(variables):
                add_report(file, population, variable, dt_ms)
            if len(dataset) and dataset.ndim == 2:
                observe(file, population, variable, dataset, dt_ms)
    for population, _ in groups(file, layout.SPIKES):
        if len(file[f"{layout.SPIKES}/{population}/timestamps"]):
            observe_events(file, population, clock * dt_ms)
    if "nodes" in file:
        file.attrs["__type__"] = "NIRGraphData"
        for name in file["nodes"]:
            file["nodes"][name].attrs["__type__"] = "NIRNodeData"
            file["nodes"][name].require_group("observables")
    file.flush()


def remove(file: h5py.File) -> None:
    """Take the views away, for the file to grow again."""
    if REPORT in file:
        del file[REPORT]
    for name in file.get("nodes", ()):
        if "observables" in file["nodes"][name]:
            del file["nodes"][name]["observables"]


def groups(file: h5py.File, place: str) -> list[tuple[str, list[str]]]:
    """Return the groups at a place with the names in them."""
    return [(name, [*group]) for name, group in file[place].items()] if place in file else []


def reported(variables: list[str]) -> str:
    """Return the variable that SONATA's report of a population shows: the membrane where there is one."""
    return "voltage" if "voltage" in variables else sorted(variables)[0]


def add_report(file: h5py.File, population: str, variable: str, dt_ms: float) -> None:
    """Show a float32 variable, recorded at every step of the clock, as SONATA's report."""
    dataset = file[f"{layout.TRACES}/{population}/{variable}"]
    if dataset.dtype != np.float32:
        return
    ids = np.asarray(json.loads(dataset.attrs["neuron_ids"]), np.int64)
    if len(ids) != dataset.shape[1]:  # lateral circuits that have grown
        return
    group = file.require_group(f"{REPORT}/{population}")
    group["data"] = dataset  # a second name of the same numbers
    describe_report(group, ids, first=0, last=len(dataset), dt_ms=dt_ms)


def describe_report(group: h5py.Group, ids: NDArray[np.int64], *, first: int, last: int, dt_ms: float) -> None:
    """Write what SONATA wants to know of a report: its neurons, and its steps from ``first`` to before ``last``."""
    mapping = group.create_group("mapping")
    mapping.create_dataset("node_ids", data=ids.astype(np.uint64)).attrs["sorted"] = np.uint8(1)
    mapping.create_dataset("index_pointers", data=np.arange(len(ids) + 1, dtype=np.uint64))
    mapping.create_dataset("element_ids", data=np.zeros(len(ids), np.uint32))
    time = mapping.create_dataset("time", data=np.array([first, last, 1]) * np.float64(dt_ms))
    time.attrs["units"] = "ms"


def observe(file: h5py.File, population: str, variable: str, dataset: h5py.Dataset, dt_ms: float) -> None:
    """Show a variable as NIR's gridded data, one sample long."""
    group = observable(file, population, variable, "TimeGriddedData")
    group.attrs["dt"], group.attrs["units"] = dt_ms, "ms"
    virtual = h5py.VirtualLayout((1, *dataset.shape), dtype=dataset.dtype)
    virtual[0] = source_of(dataset)
    group.create_virtual_dataset("data", virtual)


def observe_events(file: h5py.File, population: str, duration_ms: float) -> None:
    """Show spikes as NIR's events, one sample long."""
    group = observable(file, population, "spikes", "EventData")
    group.attrs["n_neurons"] = len(file[f"nodes/{population}/node_id"])
    group.attrs["t_max"], group.attrs["units"] = duration_ms, "ms"
    for name, source, kind in (("idx", "node_ids", np.int64), ("time", "timestamps", np.float64)):
        dataset = file[f"{layout.SPIKES}/{population}/{source}"]
        virtual = h5py.VirtualLayout((1, len(dataset)), dtype=kind)
        virtual[0] = source_of(dataset)
        group.create_virtual_dataset(name, virtual)


def source_of(dataset: h5py.Dataset) -> h5py.VirtualSource:
    """Return a dataset of the same file as a source; HDF5 takes ``%`` in its name for a pattern, ``%%`` for itself."""
    return h5py.VirtualSource(".", dataset.name.replace("%", "%%"), dataset.shape, dtype=dataset.dtype)


def observable(file: h5py.File, population: str, variable: str, kind: str) -> Any:
    """Return a new group for an observable of a population."""
    group = file.require_group(f"nodes/{population}/observables/{variable}")
    group.attrs["__type__"] = kind
    return group
