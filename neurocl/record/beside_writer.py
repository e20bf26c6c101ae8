"""A trace file as HDF5 can read it at any moment: while its writer is at work, and after it was killed.

HDF5's own readers of unfinished files ask again, with pauses that double, for whatever has a wrong checksum: for ever
where the writer has moved it, or was killed over it. Here the file looks closed: HDF5 asks once, what is wrong is an
error, and whoever reads opens the file anew. Nothing of the process's own writer is shared either.
"""

import os
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurocl.record.placed_file import PlacedFile

SIGNATURE = b"\x89HDF\r\n\x1a\n\x03"  # of an HDF5 file whose superblock is of our version
SUPERBLOCK = 48  # bytes: flags at 11, end of the file at 28, checksum of what lies before at 44
WORDS = 1 << 32


class ReadingFile(h5py.File):
    """A trace file open for reading; ``with`` closes it.

    Args:
        path: The file.

    Raises:
        OSError: If HDF5 cannot read it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._source = path, LooksClosed(path)
        try:
            super().__init__(self._source, "r")
        except BaseException:
            self._source.close()
            raise

    def changed(self) -> bool:
        """Whether the writer has made or removed datasets since this was opened: what is known of it may be wrong."""
        return self._source.changed()

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._source.close()


class LooksClosed(PlacedFile):
    """The bytes of a file, with a superblock that says that nobody writes it and that all of it counts."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        size = os.fstat(descriptor).st_size
        super().__init__(descriptor, size=size)
        self._found = self._start = os.pread(descriptor, SUPERBLOCK, 0)
        if len(self._start) == SUPERBLOCK and self._start.startswith(SIGNATURE):
            head = self._start[:11] + b"\0" + self._start[12:28] + struct.pack("<Q", size) + self._start[36:44]
            self._start = head + struct.pack("<I", checksum(head))

    def changed(self) -> bool:
        """Whether the file's own superblock is another one by now."""
        return os.pread(self._file, SUPERBLOCK, 0) != self._found

    def readinto(self, buffer: Any, /) -> int:
        """Read from here."""
        view, place = memoryview(buffer).cast("B"), self._place
        count = super().readinto(view)
        start = self._start[place : place + count]
        view[: len(start)] = start
        return count


def checksum(data: bytes) -> int:
    """Return Jenkins's lookup3 of bytes, as HDF5 has it of its metadata."""
    a = b = c = (0xDEADBEEF + len(data)) % WORDS
    words = np.frombuffer(data + bytes(-len(data) % 12), "<u4").tolist()
    for place in range(0, len(words) - 3, 3):
        a, b, c = mixed(a + words[place], b + words[place + 1], c + words[place + 2])
    a, b, c = a + words[-3], b + words[-2], c + words[-1]
    for first, second, third in ((14, 11, 25), (16, 4, 14)):
        c = ((c ^ b) - turned(b, first)) % WORDS
        a = ((a ^ c) - turned(c, second)) % WORDS
        b = ((b ^ a) - turned(a, third)) % WORDS
    return ((c ^ b) - turned(b, 24)) % WORDS


def mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    """Return three words, each spread over all three."""
    for first, second, third in ((4, 6, 8), (16, 19, 4)):
        a, c = ((a - c) ^ turned(c, first)) % WORDS, c + b
        b, a = ((b - a) ^ turned(a, second)) % WORDS, a + c
        c, b = ((c - b) ^ turned(b, third)) % WORDS, b + a
    return a % WORDS, b % WORDS, c % WORDS


def turned(word: int, places: int) -> int:
    """Return 32 bits turned to the left."""
    word %= WORDS
    return (word << places | word >> (32 - places)) % WORDS
