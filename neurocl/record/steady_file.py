"""A trace file that goes on answering while its writer adds to it, by being opened anew whenever that is needed."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import h5py

from neurocl.primitives.checks import BadInput
from neurocl.record import layout
from neurocl.record.beside_writer import ReadingFile
from neurocl.record.recovery import being_changed, damage, may_succeed_later, opened_for_reading, valid_lengths

Answer = TypeVar("Answer")
PAUSE_S = 0.005  # between two looks


class About(NamedTuple):
    """What is known of a dataset beside its rows."""

    shape: tuple[int, ...]
    dtype: str
    attributes: dict[str, Any]


class Contents(NamedTuple):
    """What a trace file is and holds.

    Attributes:
        run: What made it.
        lengths: By dataset, rows that are whole.
        identity: Another one where its writer went back, or it was made anew.
    """

    run: dict[str, Any]
    lengths: dict[str, int]
    identity: tuple[str, int]


class SteadyFile:
    """What a trace file held when it was opened, to be read at any time since.

    Args:
        path: The file.

    Attributes:
        run: What made the file.
        lengths: By dataset, rows that were whole.

    Raises:
        BadInput: If there is no such file, or it is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path  # as errors of opening call it
        self._file: ReadingFile | None = None
        self._closed, self._alone = False, RLock()
        self._known: Contents | None = None
        self._known = self.ask(contents_of)
        self.run, self.lengths = self._known.run, self._known.lengths
        self.path = path.resolve()  # wherever the process goes and links point later

    def ask(self, question: Callable[[h5py.File], Answer]) -> Answer:
        """Return what the file answers, asked again where its writer has changed it meanwhile.

        Raises:
            BadInput: If it cannot be read, or no longer holds what it held.
        """
        with self._alone:
            return self._ask(question)

    def _ask(self, question: Callable[[h5py.File], Answer]) -> Answer:
        began = time.monotonic()
        while True:
            try:
                file = self._opened()
                answer = question(file)
                changed = being_changed(self.path) or file.changed()
            except BadInput:
                raise
            except Exception as error:  # h5py has half a dozen kinds for what it cannot read
                self._let_go()
                if not may_succeed_later(self.path, began):
                    raise BadInput(
                        f"{damage(self.path, error)}: other populations and variables may still be read"
                    ) from error
            else:
                if not changed:
                    return answer
                self._let_go()
                if not may_succeed_later(self.path, began, changed=True):
                    raise BadInput(f"{self.path} is being changed by its writer all the time: try again in a moment")
            time.sleep(PAUSE_S)

    def about(self, name: str) -> About:
        """Return what is known of a dataset beside its rows."""

        def of(file: h5py.File) -> About:
            dataset = file[name]
            return About(dataset.shape, str(dataset.dtype), dict(dataset.attrs))

        return self.ask(of)

    def close(self) -> None:
        """Close the file."""
        with self._alone:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _opened(self) -> ReadingFile:
        """Return the file, opened if need be, if it still holds what it held."""
        if self._closed:
            raise BadInput(f"{self.path} is closed: open it again")
        if self._file is None:
            self._file = opened_for_reading(self.path)
            if self._known is not None:
                self._check_same(contents_of(self._file), self._known)
        return self._file

    def _check_same(self, now: "Contents", known: "Contents") -> None:
        shorter = any(now.lengths.get(name, -1) < length for name, length in known.lengths.items())
        if now.run != known.run or now.identity != known.identity or shorter:
            raise BadInput(
                f"{self.path} no longer holds what was opened: its writer went back behind that, or another file took "
                "its place: open it again"
            )


def contents_of(file: h5py.File) -> Contents:
    """Return what a file is and holds.

    Raises:
        BadInput: If it is no trace file.
    """
    path = getattr(file, "path", file.filename)
    if not layout.is_ours(file):
        raise BadInput(f"{path} is no trace file of neurocl: it has no /neurocl in it")
    group = file[layout.ROOT]
    if int(group.attrs["format"]) > layout.FORMAT:
        raise BadInput(f"{path} was written by a newer neurocl (format {group.attrs['format']}): update")
    if layout.VALID not in file:
        raise BadInput(f"{path} is damaged or just being made (it lacks /{layout.VALID}): try again")
    return Contents(json.loads(file[f"{layout.ROOT}/run"].attrs["json"]), valid_lengths(file), layout.identity_of(file))
