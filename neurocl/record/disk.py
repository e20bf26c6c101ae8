"""Room on the disk for a file, and the right to write it."""

import errno
import glob
import os
import shutil
from pathlib import Path
from typing import Any

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.record import layout
from neurocl.record.recovery import lock_of, opened_for_reading

LONGER = len(f"{files.TEMPORARY}4194304-")  # bytes by which names beside a file are longer than its own, at most
MARGIN = 1 << 20  # bytes that are always left for a file to be closed


def claimed(path: Path) -> int | None:
    """Lock a path for this process.

    Raises:
        BadInput: If another writer has it.
    """
    if not path.parent.is_dir():
        raise BadInput(f"path must lie in a folder that exists; {path.parent} does not: make it first")
    longest = longest_name(path.parent)
    length = len(os.fsencode(path.name))
    if longest is not None and length + LONGER > longest:
        raise BadInput(
            f"path must name a file of at most {longest - LONGER} bytes, so that names of helping files beside it fit "
            f"into {longest}; got {length}: choose a shorter name"
        )
    if path.is_dir():
        raise BadInput(f"path must name a file; {path} is a folder: name a file in it, such as {path / 'traces.h5'}")
    try:
        return files.locked(lock_of(path))
    except BlockingIOError as error:
        raise BadInput(
            f"{path} is being written by another recorder: close that first, or choose another path"
        ) from error


def longest_name(folder: Path) -> int | None:
    """Return how many bytes a file's name may have in a folder; ``None`` where the system does not say."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return None


def sweep(path: Path) -> None:
    """Remove copies of a file that processes which were killed left beside it, half made."""
    for leftover in path.parent.glob(f"{files.TEMPORARY}*-{glob.escape(path.name)}"):
        process = leftover.name.removeprefix(files.TEMPORARY).partition("-")[0]
        if process.isdecimal() and not files.is_another(int(process)):
            files.remove(leftover)


def allocate(descriptor: int, folder: Path, start: int, size: int) -> None:
    """Have the disk set room aside behind what an open file in ``folder`` has."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, size)
    elif shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def give_back(path: Path) -> None:
    """Cut off the room that was set aside and not used, of a file that was closed in order."""
    with path.open("rb") as file:
        start = file.read(48)
    end = int.from_bytes(start[28:36], "little")
    if start[11] == 0 and 48 <= end < path.stat().st_size:
        os.truncate(path, end)


def resolved(path: Path) -> Path:
    """Return where a path leads now: links and the working folder may change while the file is written.

    Raises:
        BadInput: If links lead in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise BadInput(f"path must lead to a file; the links of {path} lead in a circle: choose another") from error


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
