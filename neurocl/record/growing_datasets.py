"""Datasets that grow row by row, and the list of how many rows of each count."""

import errno
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurocl.record import layout
from neurocl.record.disk import MARGIN


def begin_file(fresh: Path, run: dict[str, Any], kinds: dict[str, Any]) -> None:
    """Write a file with these datasets, in which nothing was recorded yet."""
    if shutil.disk_usage(fresh.parent).free < MARGIN:  # HDF5 breaks down over a full disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with h5py.File(fresh, "w", libver=layout.LIBVER, locking=False, **layout.PAGES) as file:
        layout.begin(file, run)
        for name, kind in kinds.items():
            make_dataset(file, name, *kind)
        count(file, dict.fromkeys(kinds, 0))


def make_dataset(file: h5py.File, name: str, tail: tuple[int, ...], dtype: Any, attributes: dict[str, Any]) -> None:
    """Create one growing dataset, see :meth:`TraceFile.create`."""
    attributes = dict(attributes)
    compression, grows = attributes.pop("compression", None), attributes.pop("grows", False)
    dataset = file.create_dataset(
        name,
        shape=(0, *tail),
        maxshape=(None, *((None,) * len(tail) if grows else tail)),
        dtype=dtype,
        chunks=layout.chunk_of(name, tail, dtype),
        fillvalue=np.nan if np.dtype(dtype).kind == "f" else None,
        compression=compression,
        shuffle=compression is not None,
        track_times=False,
    )
    dataset.attrs.update(attributes)
    if name.startswith(f"{layout.SPIKES}/") and name.endswith("/timestamps"):
        kind = h5py.enum_dtype(layout.SORTING, basetype="u1")
        dataset.parent.attrs.create("sorting", layout.SORTING["by_time"], dtype=kind)


def count(file: h5py.File, committed: dict[str, int]) -> None:
    """Write which datasets there are, and how many rows of each count."""
    if layout.VALID not in file:
        file.create_dataset(layout.VALID, (0,), np.int64, maxshape=(None,), chunks=(512,), track_times=False)
    valid = file[layout.VALID]
    valid.resize((len(committed),))
    valid[...] = np.array([*committed.values()], np.int64)
    valid.attrs["names"] = json.dumps([*committed])


def dataset_width(dataset: h5py.Dataset) -> int:
    """Return how many chunks stand side by side in a row, where rows have grown since the dataset was made."""
    return math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape[1:], dataset.chunks[1:], strict=True))
