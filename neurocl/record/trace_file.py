"""The file itself: growing datasets, committed block by block, that stay readable whatever happens to the writer.

HDF5's single-writer mode keeps the file consistent on the disk at all times, at a price: while it is on nothing new can
be created. Datasets are therefore created in lots, with the mode off for a moment and a journal that undoes the lot if
the process is killed in it. What counts is written last, the lengths up to which everything is whole: a process killed
at any moment loses what came after its last commit.

Longer than others: all ways into and out of single-writer mode are to be seen together.
"""

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.record import journal, layout, views
from neurocl.record.disk import MARGIN, allocate, check_ours, check_same, claimed, give_back, resolved, sweep
from neurocl.record.forks import HELD
from neurocl.record.growing_datasets import begin_file, count, dataset_width, make_dataset
from neurocl.record.recovery import in_order, lock_of, shortened
from neurocl.record.steady_file import SteadyFile
from neurocl.record.uninterrupted import uninterrupted

RESERVE = 1 << 22  # bytes asked for ahead
PER_DATASET = 1 << 13  # bytes that a new dataset takes before it holds anything


class TraceFile:
    """A trace file open for writing, by this process alone.

    Args:
        path: Where it lies.
        run: What made the file; plain JSON values.
        resume: Go on with the file that is there, if there is one; without it none may be there.

    Attributes:
        lengths: By dataset, rows that are whole and those appended since.
        new: Whether there was no file before.

    Raises:
        BadInput: If the file cannot be written, is in use, or is no trace file.
    """

    def __init__(self, path: Path, run: dict[str, Any], *, resume: bool = False) -> None:
        self.path, self.lengths, self.committed = resolved(path), {}, {}
        self._file: h5py.File | None = None
        self._change: journal.JournalledFile | None = None  # where the file is changed outside single-writer mode
        self._datasets: dict[str, h5py.Dataset] = {}
        self._needed = self._room = 0  # bytes that the file takes at most; bytes that it has on the disk
        self._handle: int | None = None  # of the file that HDF5 opened by itself
        self._moved = False  # whether the path names another file by now
        self._lock = claimed(self.path)
        try:
            sweep(self.path)
            journal.roll_back(self.path)
            there = self.path.exists()
            self.new = not there
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
        HELD.add(self)

    def descriptors(self) -> list[int]:
        """Return the files that are open, as the system numbers them."""
        found = [] if self._file is None or self._handle is None else [self._handle]
        found += [] if self._change is None else self._change.descriptors()
        return found if self._lock is None else [*found, self._lock]

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
        with journal.ALONE:
            file = self._plain()
            self._reserve(len(new) * PER_DATASET + sum(64 * size for size in nodes.values()))
            for name, kind in new.items():
                make_dataset(file, name, *kind)
                self.lengths[name] = self.committed[name] = 0
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
        with journal.ALONE:
            self._check_place()
            self._handle = None
            self.file.close()
            self._file = None
            shortened(self.path, kept, goes_back=kept != self.committed)
            self._open(kept)

    def sync(self) -> None:
        """Wait until the disk has what was committed: from then on it outlives a power cut."""
        os.fsync(int(self.file.id.get_vfd_handle()))

    def close(self) -> None:
        """Close the file, with the views that other readers look for; twice is as good as once.

        An interrupt waits until that is done.
        """
        if self._file is not None:
            uninterrupted(self._close)

    def _close(self) -> None:
        self._datasets.clear()
        with journal.ALONE:
            try:
                self.commit()
                views.add(self._plain())
                self.file.close()
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
                if not self._moved:
                    journal.roll_back(self.path)
                    give_back(self.path)
        self._release()

    @property
    def _names(self) -> list[str]:
        return [*self.lengths]

    def _create(self, run: dict[str, Any]) -> None:
        files.check_writable(self.path.parent)
        kinds: dict[str, Any] = {f"{layout.SAMPLES}/{name}": ((), dtype, {}) for name, dtype in layout.COLUMNS.items()}
        kinds |= {f"{layout.MARKS}/{name}": ((), dtype, {}) for name, dtype in layout.MARKERS.items()}
        files.write(self.path, lambda fresh: begin_file(fresh, run, kinds))
        self._open(dict.fromkeys(kinds, 0))

    def _take_up(self, run: dict[str, Any]) -> None:
        """Go on with a file: what lies behind its last commit goes, and what other readers look for until the end."""
        check_ours(self.path)
        source = SteadyFile(self.path)
        try:
            check_same(self.path, source.run, run)
            lengths = source.lengths
            whole = in_order(self.path) and all(source.about(n).shape[0] == rows for n, rows in lengths.items())
        finally:
            source.close()
        if not whole:
            shortened(self.path, lengths)
        self._open(lengths)

    def _open(self, lengths: dict[str, int]) -> None:
        """Open a file that holds these lengths and nothing behind them."""
        self.lengths, self.committed = dict(lengths), dict(lengths)
        with journal.ALONE:
            views.remove(self._plain())
            self._swmr()

    def _plain(self) -> h5py.File:
        """Leave single-writer mode, in which nothing can be created; what changes from now on can be undone."""
        self._datasets.clear()
        if self._file is not None:
            self._check_place()
            self._handle = None
            self._file.close()
            give_back(self.path)
        journal.begin(self.path)
        try:
            self._file = h5py.File(self.path, "r+", libver=layout.LIBVER, locking=False)
        except OSError as error:
            journal.end(self.path)
            if "already open" not in str(error):
                raise
            raise BadInput(
                f"{self.path} is open for reading in this process, and so cannot be written: close() the "
                "h5py.File first, and read by neurocl.record.open meanwhile"
            ) from error
        self._handle = int(self._file.id.get_vfd_handle())
        if self._file.swmr_mode:  # it still is where a reader in this process holds the file
            journal.end(self.path)
        else:
            self._file.close()
            self._handle = None
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

    @property
    def _descriptor(self) -> int:
        """The open file, as the system numbers it."""
        handle = self._handle if self._change is None else self._change.fileno()
        assert handle is not None  # noqa: S101  # one of the two is open
        return handle

    def _check_place(self) -> None:
        """Refuse to open by its path a file that does not lie there any more.

        Raises:
            BadInput: If another file, or none, has its place; what was committed stays in it, wherever it is.
        """
        try:
            self._moved = not os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            self._moved = True
        if self._moved:
            raise BadInput(
                f"{self.path} was moved, removed or replaced while it was written: leave it where it is until close(); "
                "what was recorded is in the file that was moved"
            )

    def _reserve(self, size: int) -> None:
        """Make sure that the disk has room for ``size`` more bytes, before HDF5 finds out and breaks down over it."""
        needed = self._needed + size + size // 32
        if needed + MARGIN > self._room:
            for grown in (needed + MARGIN + RESERVE, needed + MARGIN):
                try:
                    allocate(self._descriptor, self.path.parent, self._room, grown - self._room)
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
        count(file, self.committed)
        file.flush()
        if self._change is None:  # single-writer mode is on, for a reader in this process
            return
        file.close()
        self._change.close()
        self._change = None
        journal.begin(self.path)  # the lot counts; what opening for single-writer mode leaves for a moment does not
        self._file = h5py.File(self.path, "r+", libver=layout.LIBVER, locking=False)
        self._handle = int(self._file.id.get_vfd_handle())
        self._file.swmr_mode = True
        self._needed = self._room = self.path.stat().st_size
        journal.end(self.path)
