"""Where everything lies in a trace file, and of what kind it is.

::

    /                       SONATA's magic and version
    /spikes/POPULATION      spikes as events: timestamps (ms), node_ids, sample_ids, by time
    /nodes/POPULATION       SONATA's table of neurons
    /neurocl                format; run: what made the file, as JSON
    /neurocl/samples/COLUMN one row for each sample, see :data:`COLUMNS`
    /neurocl/raster/POP     spikes as bits, uint8 [row, ceil(neurons / 8)], first neuron in the highest bit
    /neurocl/traces/POP/VAR numbers, [row, neuron recorded]
    /neurocl/index/POP/VAR  int64 [recorded sample, (sample, first row or event)]
    /neurocl/weights/NAME   snapshots [k, ...], or their changes; index/weights/NAME: (sample, step, whether whole)
    /neurocl/markers/COLUMN task boundaries, accuracies, snapshots, checkpoints, notes
    /neurocl/n_valid        lengths up to which everything above is whole

One clock counts steps through the file: samples follow one another on it as if they had been shown one by one. A sample
has its rows in a variable only where that was recorded. When the file is closed, views of the same numbers are added:
``/report`` for SONATA, and NIR's observables below ``/nodes``.
"""

import json
import uuid
from typing import Any

import h5py
import numpy as np

FORMAT = 1
ROOT = "neurocl"
LIBVER = ("v110", "v110")  # the oldest that can be read while written; libsonata does not open the latest
# what HDF5 writes over while it appends never lies across two of the system's pages, which a kill could part
PAGES: dict[str, Any] = {"fs_strategy": "page", "fs_page_size": 4096}
MAGIC, VERSION = 0x0A7A, (0, 1)
SORTING = {"none": 0, "by_id": 1, "by_time": 2}
COLUMNS = {
    "start_step": np.int64,
    "time_steps": np.int32,
    "label": np.int32,
    "task": np.int32,
    "stage": np.int32,
    "phase": np.int8,
    "sample_id": np.int64,
    "passage": np.int32,
}
MARKERS = {"step": np.int64, "sample": np.int64, "kind": "S16", "task": np.int64, "value": np.float64, "text": "S64"}
MARKER_KINDS = ("task-begins", "task-ends", "accuracy", "weights", "checkpoint", "note")
CHUNK_BYTES = 128 * 1024
SAMPLES, INDEX, RASTER, TRACES = f"{ROOT}/samples", f"{ROOT}/index", f"{ROOT}/raster", f"{ROOT}/traces"
WEIGHTS, MARKS, VALID, SPIKES = f"{ROOT}/weights", f"{ROOT}/markers", f"{ROOT}/n_valid", "spikes"
UNITS = {"voltage": "threshold", "trace": "spikes"}  # rest 0, threshold 1


def chunk_of(name: str, tail: tuple[int, ...], dtype: Any) -> tuple[int, ...]:
    """Return a chunk of whole rows: a commit writes all of the last one, so that columns have small ones."""
    if name.startswith(WEIGHTS):  # a snapshot each; rows of a head come with its classes
        return (1, *(max(8, size) if axis == 0 else max(1, size) for axis, size in enumerate(tail)))
    row = max(1, int(np.prod(tail)) * np.dtype(dtype).itemsize)
    small = name.startswith((SAMPLES, MARKS, INDEX))
    return (max(1, min(8192, (CHUNK_BYTES // 16 if small else CHUNK_BYTES) // row)), *(max(1, size) for size in tail))


def begin(file: h5py.File, run: dict[str, Any]) -> None:
    """Write what every trace file has."""
    file.attrs["magic"] = np.uint32(MAGIC)
    file.attrs["version"] = np.array(VERSION, np.uint32)
    group = file.require_group(ROOT)
    group.attrs["format"] = FORMAT
    group.attrs["id"] = uuid.uuid4().hex
    file.require_group(f"{ROOT}/run").attrs["json"] = json.dumps(run)


def describe_nodes(file: h5py.File, population: str, size: int) -> None:
    """Write SONATA's table of a population's neurons."""
    group = file.require_group(f"nodes/{population}")
    if "node_type_id" in group:
        return
    group.create_dataset("node_type_id", data=np.full(size, -1, np.int64))
    group.create_dataset("node_id", data=np.arange(size, dtype=np.uint64))
    group.create_dataset("node_group_id", data=np.zeros(size, np.uint64))
    group.create_dataset("node_group_index", data=np.arange(size, dtype=np.uint64))
    group.require_group("0").attrs["model_type"] = "point_neuron"


def identity_of(file: h5py.File) -> tuple[str, int]:
    """Return a file's own name, and how often its writer went back behind what counted."""
    known = file[ROOT].attrs
    return str(known.get("id", "")), int(known.get("times_gone_back", 0))


def go_back(file: h5py.File) -> None:
    """Write down that what counted before counts no more."""
    file[ROOT].attrs["times_gone_back"] = identity_of(file)[1] + 1


def is_ours(file: h5py.File) -> bool:
    """Whether a file is a trace file."""
    return ROOT in file and "format" in file[ROOT].attrs and "run" in file[ROOT]
