"""A file that Python hands to HDF5: a place in it, where the next bytes are read or written."""

import io
import os
from typing import Any


class PlacedFile(io.RawIOBase):
    """A file with a place.

    Args:
        descriptor: The open file, as the system numbers it; closed with this.
        size: Bytes that it is to have; ``None``: as many as it has at the time.
    """

    def __init__(self, descriptor: int, *, size: int | None = None) -> None:
        self._file, self._fixed, self._place = descriptor, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self._file

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place."""
        end = os.fstat(self._file).st_size if self._fixed is None else self._fixed
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: end}[whence]
        return self._place

    def tell(self) -> int:
        """Where it stands."""
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Read from here; behind the end there are zeros, as HDF5 expects all that it asked for."""
        view = memoryview(buffer).cast("B")
        count = os.preadv(self._file, [view], self._place)
        view[count:] = bytes(len(view) - count)
        self._place += len(view)
        return len(view)

    def close(self) -> None:
        """Close."""
        if not self.closed:
            os.close(self._file)
        super().close()
