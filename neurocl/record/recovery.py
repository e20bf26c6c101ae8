"""Opening what a killed writer left, and making it whole."""

import errno
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.record import journal, layout, views
from neurocl.record.beside_writer import SIGNATURE, SUPERBLOCK, ReadingFile

INSTEAD = "and cannot be gone on with: read what there is with record.open, and record into another file"
SLAB_BYTES = 1 << 24  # copied at a time
PATIENCE_S = 10.0  # that a reader waits for a writer to end a change, which takes milliseconds
SECOND_LOOKS_S = 1.0  # that a reader tries again what its writer may just be writing


def opened_for_reading(path: Path) -> ReadingFile:
    """Open a file to read, also one that is being written or whose writer was killed.

    Raises:
        BadInput: If there is none, or it is no HDF5 file.
    """
    began = time.monotonic()
    while True:
        try:
            settle(path)
            file = opened_as_it_is(path)
        except CannotBeUndone:
            raise
        except BadInput:
            if not may_succeed_later(path, began):
                raise
        else:
            if not being_changed(path) and not file.changed():
                return file
            file.close()  # a change has begun since it was settled
            if not may_succeed_later(path, began, changed=True):
                raise BadInput(f"{path} is being changed by its writer all the time: try again in a moment")
        time.sleep(0.005)


def may_succeed_later(path: Path, began: float, *, changed: bool = False) -> bool:
    """Whether what has failed since ``began`` is worth trying again, as a writer is or may be at work."""
    waited = time.monotonic() - began
    if changed or being_changed(path):
        return waited < PATIENCE_S
    return waited < SECOND_LOOKS_S and lock_of(path).exists()


class CannotBeUndone(BadInput):
    """An unfinished change cannot be undone where the file lies."""


def being_changed(path: Path) -> bool:
    """Whether a change of a file has begun and not ended."""
    return journal.journal_of(path).exists()


def lock_of(path: Path) -> Path:
    """Return the file whose lock stands for a path."""
    path = path.resolve()
    return path.with_name(f".{path.name}{files.LOCK}")


def settle(path: Path) -> None:
    """Undo a change in whose middle the writer was killed.

    Raises:
        BadInput: If a writer is in the middle of one, or the file cannot be written to.
    """
    if not being_changed(path):
        return
    try:
        lock = files.locked(lock_of(path))
    except BlockingIOError as error:
        raise BadInput(f"{path} is being changed by its writer: try again in a moment") from error
    try:
        journal.roll_back(path)
    except OSError as error:
        raise CannotBeUndone(
            f"the writer of {path} was killed in the middle of a change, and undoing that takes write permission "
            f"({error.strerror or error}): give it, or copy the file and {journal.journal_of(path).name} elsewhere"
        ) from error
    finally:
        if lock is not None:
            files.remove(lock_of(path))
            os.close(lock)


def opened_as_it_is(path: Path) -> ReadingFile:
    """Open a file to read, whatever its writer does.

    Raises:
        BadInput: If that cannot be done.
    """
    try:
        if cut_short(path):
            raise OSError("it is shorter than it says")
        return ReadingFile(path)
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {path}") from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror or str(error).splitlines()[0] if isinstance(error, OSError) else str(error)
        raise BadInput(
            f"{path} cannot be read as HDF5 ({reason}): it is no trace file, or was damaged after it was written"
        ) from error


def cut_short(path: Path) -> bool:
    """Whether a file is shorter than its own superblock says: HDF5 would be given zeros for the rest."""
    with path.open("rb") as file:
        start = file.read(SUPERBLOCK)
        return start.startswith(SIGNATURE) and os.fstat(file.fileno()).st_size < int.from_bytes(start[28:36], "little")


def valid_lengths(file: h5py.File) -> dict[str, int]:
    """Return by dataset the number of rows that are whole.

    Raises:
        BadInput: If datasets are being added.
    """
    valid = file[layout.VALID]
    names, lengths = json.loads(valid.attrs["names"]), valid[...]
    if len(names) != len(lengths):
        raise BadInput(
            f"{getattr(file, 'path', file.filename)} is being changed by its writer: open it again in a moment"
        )
    return dict(zip(names, map(int, lengths), strict=True))


def in_order(path: Path) -> bool:
    """Whether a file was closed, and not just left: its superblock says so."""
    with path.open("rb") as file:
        return file.read(12)[11:] == b"\0"


def shortened(path: Path, lengths: dict[str, int], *, goes_back: bool = False) -> None:
    """Put a copy in a trace file's place that holds so many rows of its datasets, and nothing behind them.

    Where that takes away what counted it ``goes_back``, and the copy says so to readers.

    Nothing is lost if this is killed, or the disk is full: the old file stays until the new one is whole.

    Raises:
        BadInput: If there is no room for the copy.
    """
    files.write(path, lambda fresh: copy_whole(path, fresh, lengths, goes_back=goes_back))


def copy_whole(path: Path, fresh: Path, lengths: dict[str, int], *, goes_back: bool) -> None:
    """Copy what counts of a trace file; views of other readers come anew when it is closed."""
    if shutil.disk_usage(path.parent).free < path.stat().st_size:  # HDF5 breaks down over a full disk
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for a copy of {path.stat().st_size} bytes")
    with (
        opened_for_reading(path) as old,
        h5py.File(fresh, "w", libver=layout.LIBVER, locking=False, **layout.PAGES) as new,
    ):

        def copy(name: str, item: Any) -> None:
            if name.startswith(f"{views.REPORT}") or "/observables" in name:
                return
            if isinstance(item, h5py.Group):
                copy_attributes(item, new.require_group(name))
            elif name in lengths:
                copy_rows(path, item, new, name, lengths[name])
            elif name != layout.VALID:
                old.copy(item, new, name=name)

        copy_attributes(old, new)
        try:
            old.visititems(copy)
        except (KeyError, RuntimeError) as error:  # a full disk is an OSError
            raise BadInput(f"{damage(path, error)}, {INSTEAD}") from error
        valid = new.create_dataset(
            layout.VALID, data=np.array([*lengths.values()], np.int64), maxshape=(None,), chunks=(512,)
        )
        valid.attrs["names"] = json.dumps([*lengths])
        if goes_back:
            layout.go_back(new)
        new.flush()
        os.fsync(int(new.id.get_vfd_handle()))


def copy_attributes(old: Any, new: Any) -> None:
    """Copy attributes, their types as they are."""
    for key in old.attrs:
        attribute = h5py.h5a.open(old.id, key.encode())
        new.attrs.create(key, old.attrs[key], dtype=attribute.dtype if attribute.shape == () else None)


def copy_rows(path: Path, old: h5py.Dataset, new: h5py.File, name: str, length: int) -> None:
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
        try:
            rows = old[first:last]
        except (OSError, RuntimeError) as error:
            raise BadInput(f"{damage(path, error, name)}, {INSTEAD}") from error
        made[first:last] = rows


def damage(path: Path, error: Exception, what: str = "what was asked for") -> str:
    """Say that something in a file cannot be read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path} is damaged in {what} ({reason}), as the last write of a killed process can do, or the disk"
