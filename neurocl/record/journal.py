"""An undo journal: what a file was before a change that a kill would leave half done.

HDF5 keeps a file consistent at all times in its single-writer mode alone, and nothing new can be created in that mode.
While something is created, every byte is therefore saved before it is written over; whoever next opens the file finds
the journal and puts the bytes back. Written by plain system calls, in order: that outlives the process, no power cut.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

from neurocl.primitives import files
from neurocl.record.placed_file import PlacedFile

ALONE = RLock()  # held while a file is changed or opened: HDF5 has one view of a file for all threads of a process
SUPERBLOCK = 48  # bytes at the start of an HDF5 file of our version
ROOM = 1 << 17  # bytes that the disk must have for a journal, before anything changes
HEAD = struct.Struct("<8sq?")  # magic, size of the file, whether the journal was found to fit the file
ENTRY = struct.Struct("<qqqI")  # where, how many bytes there were, how many came, checksum
MAGIC = b"neurocl\x02"
Entry = tuple[int, bytes, bytes]  # where, what was there, what came


def journal_of(path: Path) -> Path:
    """Return the file that stands for an unfinished change of ``path``."""
    path = path.resolve()
    return path.with_name(f".{path.name}.journal")


def begin(path: Path) -> None:
    """Begin a journal with a file's size and superblock; one that is there is replaced in one step.

    Raises:
        OSError: If the disk has no room for it; the file is as it was.
    """
    journal = journal_of(path)
    fresh = journal.with_name(f"{journal.name}.new")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, ROOM)
        head = HEAD.pack(MAGIC, path.stat().st_size, False)
        with path.open("rb") as file:
            start = entry(0, file.read(SUPERBLOCK), b"")
        os.pwrite(descriptor, head + start, 0)
        fresh.replace(journal)
    except BaseException:
        files.remove(fresh)
        raise
    finally:
        os.close(descriptor)


def end(path: Path) -> None:
    """The change is whole: from now on it counts."""
    files.remove(journal_of(path))


def entry(offset: int, old: bytes, new: bytes) -> bytes:
    """Bytes that are about to be written over, as the journal holds them."""
    return ENTRY.pack(offset, len(old), len(new), checksum(offset, old, new)) + old + new


def checksum(offset: int, old: bytes, new: bytes) -> int:
    """Of an entry: a kill can leave the last one half written."""
    return zlib.crc32(new, zlib.crc32(old, zlib.crc32(struct.pack("<qqq", offset, len(old), len(new)))))


def roll_back(path: Path) -> None:
    """Make a file what it was when its journal began, if there is one; the caller holds the file's lock.

    A journal of another file, that has since been put in this one's place, is removed and changes nothing. May be
    killed and done again.

    Raises:
        OSError: If the file cannot be written.
    """
    journal = journal_of(path)
    try:
        saved = journal.read_bytes()
    except FileNotFoundError:
        return
    if len(saved) >= HEAD.size and saved.startswith(MAGIC) and path.exists():
        _, size, fits = HEAD.unpack_from(saved)
        entries = whole_entries(saved)
        with path.open("rb+") as file:
            if fits or belongs(entries, lambda offset, length: os.pread(file.fileno(), length, offset)):
                with journal.open("rb+") as known:  # half undone the file would not look like its journal's any more
                    known.write(HEAD.pack(MAGIC, size, True))
                for offset, old, _ in reversed(entries):  # the oldest last
                    file.seek(offset)
                    file.write(old)
                file.truncate(size)
    journal.unlink(missing_ok=True)


def whole_entries(saved: bytes) -> list[Entry]:
    """Return the entries of a journal, up to where the process was killed."""
    found, place = [], HEAD.size
    while place + ENTRY.size <= len(saved):
        offset, before, came, check = ENTRY.unpack_from(saved, place)
        place += ENTRY.size
        if before <= 0 or came < 0 or place + before + came > len(saved):
            break
        old, new = saved[place : place + before], saved[place + before : place + before + came]
        if checksum(offset, old, new) != check:
            break
        found.append((offset, old, new))
        place += before + came
    return found


def belongs(entries: list[Entry], read: Callable[[int, int], bytes]) -> bool:
    """Whether a file holds what its writer would have left: walking back, each entry's new bytes, or its old ones.

    The last write may have been cut short. Of the superblock, which is first and is changed by being opened, all but
    the flags (byte 11) and the checksum behind them (its last four) must be as it was.
    """
    undone: list[tuple[int, bytes]] = []

    def at(offset: int, length: int) -> bytes:
        found = bytearray(read(offset, length).ljust(length, b"\0"))
        for start, old in undone:
            first, last = max(offset, start), min(offset + length, start + len(old))
            if first < last:
                found[first - offset : last - offset] = old[first - start : last - start]
        return bytes(found)

    for offset, old, new in reversed(entries[1:]):
        if new:  # nothing came where the file was cut
            here = at(offset, len(old))
            same = next(
                (n for n, (a, b) in enumerate(zip(here, new, strict=False)) if a != b), min(len(here), len(new))
            )
            if here[same:] != old[same:]:
                return False
        undone.append((offset, old))
    if not entries:
        return False
    start, known = at(0, SUPERBLOCK), entries[0][1]
    return (start[:11], start[12:44]) == (known[:11], known[12:44])


class JournalledFile(PlacedFile):
    """A file for HDF5 to change, whose journal has begun: what is written over is saved first."""

    def __init__(self, path: Path) -> None:
        super().__init__(os.open(path, os.O_RDWR))
        self._journal = os.open(journal_of(path), os.O_RDWR)
        saved = os.pread(self._journal, 1 << 20, 0)
        self._end = HEAD.size + sum(ENTRY.size + len(old) + len(new) for _, old, new in whole_entries(saved))
        self._size = HEAD.unpack_from(saved)[1]  # bytes beyond are new, and need not be saved

    def writable(self) -> bool:
        """It is."""
        return True

    def descriptors(self) -> list[int]:
        """The open files: what is changed, and the journal."""
        return [] if self.closed else [self._file, self._journal]

    def write(self, data: Any, /) -> int:
        """Save what stands here, and write over it."""
        view = memoryview(data).cast("B")
        self._save(self._place, self._place + len(view), bytes(view))
        done = 0
        while done < len(view):
            done += os.pwrite(self._file, view[done:], self._place + done)
        self._place += done
        return done

    def truncate(self, size: int | None = None, /) -> int:
        """Save what is cut off, and cut."""
        size = self._place if size is None else size
        self._save(size, self._size, b"")
        os.ftruncate(self._file, size)
        return size

    def close(self) -> None:
        """Close; the journal stays."""
        if not self.closed:
            os.close(self._journal)
        super().close()

    def _save(self, start: int, stop: int, new: bytes) -> None:
        length = min(stop, self._size) - start
        if length > 0:
            saved = entry(start, os.pread(self._file, length, start), new[:length])
            os.pwrite(self._journal, saved, self._end)
            self._end += len(saved)
