"""Files that are there whole or not at all, and JSON that every reader accepts."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from neurocl.primitives.checks import BadInput

try:
    import fcntl
except ImportError:  # a system without these locks: two runs in one folder are then not told apart
    fcntl = None

TEMPORARY = ".part-"  # name of a file on its way to its place: .part-<process>-<final name>
LOCK = ".lock"  # in a folder that a process has for itself


def make_folder(folder: Path) -> list[Path]:
    """Create ``folder`` with its parents; return the folders that were new, outermost first.

    Raises:
        BadInput: If the folder cannot be made, or something else stands in its place.
    """
    new = [path for path in [*reversed(folder.parents), folder] if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remove_empty(new)
        raise unwritable(folder, error) from error
    return new


def check_writable(folder: Path) -> list[Path]:
    """Create ``folder`` if need be and write a file there for a moment; return the folders that were new.

    Raises:
        BadInput: If that cannot be done.
    """
    new = make_folder(folder)
    probe = folder / f"{TEMPORARY}{os.getpid()}-probe"
    try:
        probe.touch()
    except OSError as error:
        remove_empty(new)
        raise unwritable(folder, error) from error
    remove(probe)
    return new


def remove_empty(folders: list[Path]) -> None:
    """Remove those of ``folders`` that are empty, innermost first."""
    for folder in reversed(folders):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


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


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one step."""
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON in one step: ``null`` for what is unknown, and never NaN or Infinity."""
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    # rows of a matrix on one line each; a line break never stands inside a JSON string
    rows = re.sub(
        r"\[\n[^\[\]{}]*\]", lambda row: re.sub(r"\n\s*", " ", row[0]).replace("[ ", "[").replace(" ]", "]"), text
    )
    write_text(path, rows + "\n")


def read_json(path: Path, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a JSON file that holds at least ``keys``.

    Raises:
        BadInput: If it cannot be read or is not whole.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BadInput(f"{path} is damaged ({error}): remove it, or its folder, and run again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} is damaged (no JSON object): remove it, or its folder, and run again")
    check_keys(path, content, keys)
    return content


def check_keys(path: Path, content: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse the content of a JSON file that lacks some of ``keys``."""
    missing = [key for key in keys if key not in content]
    if missing:
        raise BadInput(f"{path} is damaged (it lacks {', '.join(missing)}): remove it, or its folder, and run again")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Create ``folder`` if need be and keep other processes that ask for it out while the block lasts.

    Folders that were new and are empty afterwards are removed. Where the system or the file system has no locks, or
    the folder is read-only, nobody is kept out.

    Raises:
        BadInput: If another process has it, or it cannot be made.
    """
    new = make_folder(folder)
    try:
        descriptor = locked(folder / LOCK)
    except BlockingIOError as error:
        raise BadInput(
            f"{folder} is in use by another run: wait until that has ended, or choose another folder with --out"
        ) from error
    try:
        yield
    finally:
        if descriptor is not None:
            remove(folder / LOCK)  # before it is let go: whoever opened it meanwhile sees that it is gone
            os.close(descriptor)
        remove_empty(new)


def locked(path: Path) -> int | None:
    """Open and lock a file until it is closed, by this process or by its end; ``None`` where that cannot be done.

    Raises:
        BlockingIOError: If another process has locked it.
    """
    if fcntl is None:
        return None
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        except OSError:
            try:
                descriptor = os.open(
                    path, os.O_RDONLY
                )  # somebody else's: whether it is locked can be asked all the same
            except OSError:
                return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)  # the lock of a file that its owner has just removed
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise
            return None


def sweep(folder: Path) -> None:
    """Remove what processes that were killed in the middle of writing left in ``folder``."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        process = leftover.name.removeprefix(TEMPORARY).partition("-")[0]
        if not process.isdecimal() or not is_another(int(process)):
            remove(leftover)


def is_another(process: int) -> bool:
    """Whether a process of that number is running, and is not this one."""
    if process == os.getpid() or os.name == "nt":  # there the question itself would end it
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def holds_files(folder: Path) -> bool:
    """Whether a folder holds anything but locks and files on their way to their place."""
    return folder.is_dir() and any(
        path.name != LOCK and not path.name.startswith(TEMPORARY) for path in folder.iterdir()
    )


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
