"""The file itself: growing datasets, committed block by block, that stay readable whatever happens to the writer.

HDF5's single-writer mode keeps the file consistent on the disk at all times, at a price: while it is on nothing new can
be created. Datasets are therefore created in lots, with the mode off for a moment and a journal that undoes the lot if
the process is killed in it. What counts is written last, the lengths up to which everything is whole: a process killed
at any moment loses what came after its last commit.
"""

import errno
import json
import math
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.record import journal, layout, views
from neurocl.record.recovery import in_order, lock_of, opened_for_reading, shortened, valid_lengths

RESERVE, MARGIN = 1 << 22, 1 << 20  # bytes asked for ahead; what is always left for the file to be closed
PER_DATASET = 1 << 13  # bytes that a new dataset takes before it holds anything


class TraceFile:
    """A trace file open for writing, by this process alone.

    Args:
        path: Where it lies.
        run: What made the file; plain JSON values.
        resume: Go on with the file that is there, if there is one; without it none may be there.

    Attributes:
        lengths: By dataset, rows that are whole and those appended since.

    Raises:
        BadInput: If the file cannot be written, is in use, or is no trace file.
    """

    def __init__(self, path: Path, run: dict[str, Any], *, resume: bool = False) -> None:
        self.path, self.lengths, self.committed = path, {}, {}
        self._file: h5py.File | None = None
        self._change: journal.JournalledFile | None = None  # where the file is changed outside single-writer mode
        self._datasets: dict[str, h5py.Dataset] = {}
        self._needed = self._room = 0  # bytes that the file takes at most; bytes that it has on the disk
        self._lock = claimed(path)
        try:
            journal.roll_back(path)
            there = path.exists()
            if there and not resume:
                raise BadInput(
                    f"path must name a new file; {path} is there: choose another, remove it, or go on with resume=True"
                )
            if there:
                self._take_up(run)
            else:
                self._create(run)
        except BaseException:
            self._release()
            raise

    @property
    def file(self) -> h5py.File:
        """The HDF5 file."""
        if self._file is None:
            raise BadInput(f"{self.path} is closed: what comes now is not recorded; make a new Recorder, resume=True")
        return self._file

    def dataset(self, name: str) -> h5py.Dataset:
        """Return a dataset; asking HDF5 for it takes as long as writing to it."""
        if name not in self._datasets:
            self._datasets[name] = self.file[name]
        return self._datasets[name]

    def has(self, name: str) -> bool:
        """Whether there is a dataset of that name."""
        return name in self.lengths

    def create(self, wanted: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]], *, nodes: dict[str, int]) -> None:
        """Create growing datasets: by name the shape of a row, the dtype, and attributes.

        Args:
            wanted: A key ``"compression"`` among the attributes is the dataset's; ``"grows"`` lets rows grow too.
            nodes: Sizes of populations that get SONATA's table.
        """
        new = {name: kind for name, kind in wanted.items() if not self.has(name)}
        if not new:
            return
        file = self._plain()
        self._reserve(len(new) * PER_DATASET + sum(64 * size for size in nodes.values()))
        for name, (tail, dtype, attributes) in new.items():
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
            self.lengths[name] = self.committed[name] = 0
            if name.startswith(f"{layout.SPIKES}/") and name.endswith("/timestamps"):
                kind = h5py.enum_dtype(layout.SORTING, basetype="u1")
                dataset.parent.attrs.create("sorting", layout.SORTING["by_time"], dtype=kind)
        for population, size in nodes.items():
            layout.describe_nodes(file, population, size)
        self._swmr()

    def append(self, name: str, rows: NDArray[Any]) -> None:
        """Write rows behind those that are there; they count from the next commit on."""
        dataset, length = self.dataset(name), self.lengths[name]
        if rows.shape[1:] != dataset.shape[1:]:  # a dataset whose rows grow, such as a head's weights
            tail = tuple(max(pair) for pair in zip(rows.shape[1:], dataset.shape[1:], strict=True))
            dataset.resize((dataset.shape[0], *tail))
            whole = np.full((len(rows), *tail), np.nan, rows.dtype)
            whole[tuple(slice(size) for size in rows.shape)] = rows
            rows = whole
        chunk = dataset.chunks
        new = -(-(length + len(rows)) // chunk[0]) - -(-length // chunk[0])
        self._reserve(new * math.prod(chunk) * dataset.dtype.itemsize * max(1, dataset_width(dataset)))
        dataset.id.set_extent((length + len(rows), *dataset.shape[1:]))
        dataset[length:] = rows
        self.lengths[name] = length + len(rows)

    def commit(self) -> None:
        """Make everything appended so far count, whatever happens from now on."""
        grown = [name for name, length in self.lengths.items() if length != self.committed[name]]
        for name in grown:
            self.dataset(name).flush()
        valid = self.dataset(layout.VALID)
        valid[...] = [self.lengths[name] for name in self._names]
        valid.flush()
        self.committed = dict(self.lengths)

    def truncate(self, lengths: dict[str, int]) -> None:
        """Go back to the lengths of an earlier commit; datasets not named become empty.

        The file is copied: HDF5 has been seen to break down over datasets that shrink.
        """
        kept = {name: min(length, lengths.get(name, 0)) for name, length in self.lengths.items()}
        self.file.close()
        self._file = None
        shortened(self.path, kept)
        self._open(kept)

    def sync(self) -> None:
        """Wait until the disk has what was committed: from then on it outlives a power cut."""
        os.fsync(int(self.file.id.get_vfd_handle()))

    def close(self) -> None:
        """Close the file, with the views that other readers look for; twice is as good as once."""
        if self._file is None:
            return
        self._datasets.clear()
        try:
            self.commit()
            views.add(self._plain())
            self._file.close()
            self._end_change()
            give_back(self.path)
        finally:
            self.abandon()

    def _release(self) -> None:
        """Let other writers have the path."""
        if self._lock is not None:
            files.remove(lock_of(self.path))  # before it is let go: whoever opened it meanwhile sees that it is gone
            os.close(self._lock)
            self._lock = None

    def abandon(self) -> None:
        """Let go of the file after an error in writing: what was committed stays readable, and a lot is undone."""
        file, self._file = self._file, None
        self._datasets.clear()
        if file is not None:
            with suppress(Exception):
                file.close()
            with suppress(Exception):
                if self._change is not None:
                    self._change.close()
                journal.roll_back(self.path)
                give_back(self.path)
        self._release()

    @property
    def _names(self) -> list[str]:
        return [*self.lengths]

    def _create(self, run: dict[str, Any]) -> None:
        files.check_writable(self.path.parent)
        files.write(self.path, lambda fresh: begin_file(fresh, run))
        kinds: dict[str, Any] = {f"{layout.SAMPLES}/{name}": ((), dtype, {}) for name, dtype in layout.COLUMNS.items()}
        kinds |= {f"{layout.MARKS}/{name}": ((), dtype, {}) for name, dtype in layout.MARKERS.items()}
        self.create(kinds, nodes={})

    def _take_up(self, run: dict[str, Any]) -> None:
        """Go on with a file: what lies behind its last commit goes, and what other readers look for until the end."""
        check_ours(self.path)
        with opened_for_reading(self.path) as file:
            check_same(self.path, json.loads(file[f"{layout.ROOT}/run"].attrs["json"]), run)
            lengths = valid_lengths(file)
            longer = any(len(file[name]) != length for name, length in lengths.items())
        if longer or not in_order(self.path):
            shortened(self.path, lengths)
        self._open(lengths)

    def _open(self, lengths: dict[str, int]) -> None:
        """Open a file that holds these lengths and nothing behind them."""
        self.lengths, self.committed = dict(lengths), dict(lengths)
        views.remove(self._plain())
        self._swmr()

    def _plain(self) -> h5py.File:
        """Leave single-writer mode, in which nothing can be created; what changes from now on can be undone."""
        self._datasets.clear()
        if self._file is not None:
            self._file.close()
            give_back(self.path)
        journal.begin(self.path)
        self._file = h5py.File(self.path, "r+", libver=layout.LIBVER, locking=False)
        if self._file.swmr_mode:  # it still is where a reader in this process holds the file
            journal.end(self.path)
        else:
            self._file.close()
            self._change = journal.JournalledFile(self.path)
            self._file = h5py.File(self._change, "r+", libver=layout.LIBVER)
        self._needed = self._room = self.path.stat().st_size  # HDF5 gave back what it had not used
        return self._file

    def _end_change(self) -> None:
        """Make what was changed count; the file is closed."""
        if self._change is not None:
            self._change.close()
            self._change = None
        journal.end(self.path)

    def _reserve(self, size: int) -> None:
        """Make sure that the disk has room for ``size`` more bytes, before HDF5 finds out and breaks down over it."""
        needed = self._needed + size + size // 32
        if needed + MARGIN > self._room:
            for grown in (needed + MARGIN + RESERVE, needed + MARGIN):
                try:
                    allocate(self.path, self._room, grown - self._room)
                except OSError:
                    if grown == needed + MARGIN:
                        raise
                    continue
                self._room = grown
                break
        self._needed = needed

    def _swmr(self) -> None:
        """Write the names of all datasets, and go into single-writer mode."""
        file = self.file
        self._datasets.clear()
        counted = np.array([self.committed[name] for name in self._names], np.int64)
        if layout.VALID not in file:
            file.create_dataset(layout.VALID, (0,), np.int64, maxshape=(None,), chunks=(512,), track_times=False)
        valid = file[layout.VALID]
        valid.resize((len(counted),))
        valid[...] = counted
        valid.attrs["names"] = json.dumps(self._names)
        file.flush()
        if self._change is None:  # single-writer mode is on, for a reader in this process
            return
        file.close()
        self._change.close()
        self._change = None
        journal.begin(self.path)  # the lot counts; what opening for single-writer mode leaves for a moment does not
        self._file = h5py.File(self.path, "r+", libver=layout.LIBVER, locking=False)
        self._file.swmr_mode = True
        self._needed = self._room = self.path.stat().st_size
        journal.end(self.path)


def begin_file(fresh: Path, run: dict[str, Any]) -> None:
    """Write a file without any dataset yet."""
    if shutil.disk_usage(fresh.parent).free < MARGIN:  # HDF5 breaks down over a full disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with h5py.File(fresh, "w", libver=layout.LIBVER, locking=False) as file:
        layout.begin(file, run)


def allocate(path: Path, start: int, size: int) -> None:
    """Have the disk set room aside behind what a file has."""
    if hasattr(os, "posix_fallocate"):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.posix_fallocate(descriptor, start, size)
        finally:
            os.close(descriptor)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def give_back(path: Path) -> None:
    """Cut off the room that was set aside and not used, of a file that was closed in order."""
    with path.open("rb") as file:
        start = file.read(48)
    end = int.from_bytes(start[28:36], "little")
    if start[11] == 0 and 48 <= end < path.stat().st_size:
        os.truncate(path, end)


def dataset_width(dataset: h5py.Dataset) -> int:
    """Return how many chunks stand side by side in a row, where rows have grown since the dataset was made."""
    return math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape[1:], dataset.chunks[1:], strict=True))


def claimed(path: Path) -> int | None:
    """Lock a path for this process.

    Raises:
        BadInput: If another writer has it.
    """
    if not path.parent.is_dir():
        raise BadInput(f"path must lie in a folder that exists; {path.parent} does not: make it first")
    if path.is_dir():
        raise BadInput(f"path must name a file; {path} is a folder: name a file in it, such as {path / 'traces.h5'}")
    try:
        return files.locked(lock_of(path))
    except BlockingIOError as error:
        raise BadInput(
            f"{path} is being written by another recorder: close that first, or choose another path"
        ) from error


def check_same(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse to go on with a file that was begun with other choices."""
    for key in ("dt_ms", "selection"):
        if there.get(key) != here[key]:
            raise BadInput(
                f"{key} must be as the file was begun, to go on with {path}; it is {there.get(key)} there and "
                f"{here[key]} here: choose the same, or another path"
            )


def check_ours(path: Path) -> None:
    """Refuse a file that no recorder wrote, untouched."""
    with opened_for_reading(path) as file:
        if not layout.is_ours(file):
            raise BadInput(f"{path} is no trace file of neurocl (it has no /neurocl): choose another path")
