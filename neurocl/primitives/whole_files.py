"""Files that are there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from neurocl.primitives.checks import BadInput

TEMPORARY = ".part-"  # name of a file on its way to its place: .part-<process>-<final name>


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a temporary file beside ``path``, then put it in place in one step.

    A reader, and a run killed at any moment, sees the old file or the new one, never half of it.

    Raises:
        BadInput: If the folder cannot be written to or the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        fill(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on the disk before the name points to it
        temporary.replace(path)
    except OSError as error:
        remove(temporary)
        raise unwritable(path, error) from error
    except BaseException:
        remove(temporary)
        raise


def remove(path: Path) -> None:
    """Remove a file if it is there and can be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def unwritable(path: Path, error: OSError) -> BadInput:
    """Say on one line why ``path`` cannot be written, and the way out."""
    reason = error.strerror or str(error)
    return BadInput(
        f"cannot write {path}: {reason}; choose another place with --out, or make room and permission there"
    )
