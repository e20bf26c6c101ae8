"""A forked process has the same files open: what HDF5 does to them as that process ends must not reach the disk."""

import os
import tempfile
from typing import Protocol
from weakref import WeakSet


class Held(Protocol):
    """Something that holds open files."""

    def descriptors(self) -> list[int]:
        """Return the open files, as the system numbers them; asks nothing of HDF5, whose lock may be held."""
        ...


HELD: "WeakSet[Held]" = WeakSet()


def let_go_in_child() -> None:
    """Let everything that is written from here lead nowhere; the parent's files are its own."""
    descriptors = [descriptor for each in HELD for descriptor in each.descriptors()]
    if not descriptors:
        return
    with tempfile.TemporaryFile() as nowhere:
        for descriptor in descriptors:
            os.dup2(nowhere.fileno(), descriptor)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=let_go_in_child)
