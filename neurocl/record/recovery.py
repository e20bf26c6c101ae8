"""Opening what a killed writer left, and making it whole."""

import json
import math
import os
from pathlib import Path
from typing import Any

import h5py

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.record import layout

SLAB_BYTES = 1 << 24  # copied at a time
# an ordinary file; one that this process is writing; one whose writer is at work, or was killed
READING: list[dict[str, bool]] = [{}, {"locking": False}, {"swmr": True}, {"swmr": True, "locking": False}]


def opened_for_reading(path: Path) -> h5py.File:
    """Open a file to read, also one that is being written or whose writer was killed.

    Raises:
        BadInput: If there is none, or it is no HDF5 file.
    """
    first: Exception | None = None
    for mode in READING:
        try:
            return h5py.File(path, "r", **mode)
        except FileNotFoundError as error:
            raise BadInput(f"there is no file {path}") from error
        except (OSError, ValueError) as error:
            first = first or error
    reason = str(first).splitlines()[0] if str(first) else type(first).__name__
    raise BadInput(
        f"{path} cannot be read as HDF5 ({reason}): it is no trace file, or was damaged after it was written"
    ) from first


def valid_lengths(file: h5py.File) -> dict[str, int]:
    """Return by dataset the number of rows that are whole."""
    valid = file[layout.VALID]
    return dict(zip(json.loads(valid.attrs["names"]), (int(length) for length in valid[...]), strict=True))


def recovered(path: Path) -> bool:
    """Make a file whose writer was killed an ordinary one again; return whether it was such a file.

    What was committed is copied to a new file, which then takes the old one's place: nothing is lost if this is killed
    too, or the disk is full.

    Raises:
        BadInput: If there is no room for the copy.
    """
    try:
        with h5py.File(path, "r+", locking=False):
            return False
    except OSError:
        pass
    files.write(path, lambda fresh: copy_whole(path, fresh))
    return True


def copy_whole(path: Path, fresh: Path) -> None:
    """Copy what counts of a trace file."""
    with opened_for_reading(path) as old, h5py.File(fresh, "w", libver=layout.LIBVER, locking=False) as new:
        lengths = valid_lengths(old)

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                copy_attributes(item, new.require_group(name))
            elif name in lengths:
                copy_rows(item, new, name, lengths[name])
            else:
                old.copy(item, new, name=name)

        copy_attributes(old, new)
        old.visititems(copy)
        new.flush()
        os.fsync(int(new.id.get_vfd_handle()))


def copy_attributes(old: Any, new: Any) -> None:
    """Copy attributes, their types as they are."""
    for key in old.attrs:
        attribute = h5py.h5a.open(old.id, key.encode())
        new.attrs.create(key, old.attrs[key], dtype=attribute.dtype if attribute.shape == () else None)


def copy_rows(old: h5py.Dataset, new: h5py.File, name: str, length: int) -> None:
    """Copy the first ``length`` rows of a dataset into a new one of the same make."""
    made = new.create_dataset(
        name,
        shape=(length, *old.shape[1:]),
        maxshape=old.maxshape,
        dtype=old.dtype,
        chunks=old.chunks,
        fillvalue=old.fillvalue if old.dtype.kind == "f" else None,
        compression=old.compression,
        shuffle=old.shuffle,
        track_times=False,
    )
    copy_attributes(old, made)
    slab = max(1, SLAB_BYTES // max(1, old.dtype.itemsize * math.prod(old.shape[1:])))
    for first in range(0, length, slab):
        last = min(length, first + slab)
        made[first:last] = old[first:last]
