"""Writing in the background: a thread of its own, a queue of bounded size, and errors that reach the user."""

import atexit
import os
import time
import warnings
from collections import deque
from collections.abc import Callable
from threading import Condition, Event, Thread

from neurocl.primitives.checks import BadInput
from neurocl.record.blocks import Blocks

QUEUE_BYTES = 1 << 23  # of activity that may wait; whoever hands on more is held up until there is room
SYNC_SECONDS = 30.0  # between two waits for the disk
Work = Callable[[], object]
RUNNING: set["Writer"] = set()  # ended when the process does: a thread that is stopped in HDF5 keeps its lock for ever


class Writer:
    """Carries out what is handed to it, one thing after the other, in a thread of its own.

    Args:
        blocks: Where passes go.
        block_bytes: Size at which what waits is written and committed.
        block_seconds: Time after which it is in any case.

    Attributes:
        error: What went wrong in the background; work that comes later is dropped.
        at_exit: Gives what closes everything if the process ends before that was done; or ``None``, where it is gone.
    """

    def __init__(self, blocks: Blocks, *, block_bytes: int, block_seconds: float) -> None:
        self.blocks, self.block_bytes, self.block_seconds = blocks, block_bytes, block_seconds
        self.error: BaseException | None = None
        self.at_exit: Callable[[], Work | None] = lambda: None
        self._process = os.getpid()
        self._queue: deque[tuple[Work, int]] = deque()
        self._bytes, self._busy, self._ending = 0, False, False
        self._changed, self._ended = Condition(), Event()
        self._written = self._synced = time.monotonic()
        RUNNING.add(self)
        Thread(target=self._run, name=f"neurocl recorder {blocks.file.path.name}", daemon=True).start()

    def put(self, work: Work, *, size: int = 0) -> None:
        """Hand on work that holds ``size`` bytes; waits while too much does.

        Raises:
            BadInput: If an earlier piece of work failed.
        """
        self.check()
        with self._changed:
            self._changed.wait_for(lambda: not self._queue or self._bytes + size <= QUEUE_BYTES or self.error)
            self._queue.append((work, size))
            self._bytes += size
            self._changed.notify_all()
        self.check()

    def wait(self) -> None:
        """Wait until everything handed on so far is in the file.

        Raises:
            BadInput: If writing failed.
        """
        self.put(lambda: self.blocks.write())
        with self._changed:
            self._changed.wait_for(lambda: (not self._queue and not self._busy) or self.error)
        self.check()

    def end(self) -> None:
        """Write what waits, and end the thread; does not raise, see :attr:`error`."""
        with self._changed:
            self._queue.append((lambda: self.blocks.write(), 0))
            self._ending = True
            self._changed.notify_all()
        self._ended.wait()
        RUNNING.discard(self)

    def finish(self) -> None:
        """End as the process does, with everything handed on in the file; of the process that began it alone."""
        if os.getpid() == self._process:
            (self.at_exit() or self.end)()

    def check(self) -> None:
        """Raise what went wrong in the background, and say what else there was."""
        while self.blocks.complaints:
            warnings.warn(self.blocks.complaints.pop(), RuntimeWarning, stacklevel=2)
        if self.error is not None:
            raise failure(self.blocks.file.path, self.error) from self.error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ending, timeout=self.block_seconds)
                if not self._queue and self._ending:
                    self._ended.set()
                    return
                work, size = self._queue.popleft() if self._queue else (self._due, 0)
                self._busy = True
            try:
                if self.error is None:
                    work()
                    self._due()
            except BaseException as error:
                self.error = error
            with self._changed:
                self._bytes -= size
                self._busy = False
                self._changed.notify_all()

    def _due(self) -> None:
        """Write what waits, if it is enough or has waited long enough."""
        now = time.monotonic()
        late = now - self._written > self.block_seconds
        if self.blocks.waiting and (late or self.blocks.bytes >= self.block_bytes):
            self.blocks.write()
            self._written = now
        if now - self._synced > SYNC_SECONDS:
            self.blocks.file.sync()
            self._synced = now


@atexit.register
def finish_all() -> None:
    """End all writers whose recorders were not closed."""
    for writer in [*RUNNING]:
        try:
            writer.finish()
        except Exception as error:  # there is nobody left to raise it to
            warnings.warn(str(error), RuntimeWarning, stacklevel=1)


def failure(path: object, error: BaseException) -> BadInput:
    """Say what went wrong in writing, and what became of the file."""
    if isinstance(error, BadInput):
        return error
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BadInput(
        f"recording to {path} failed: {reason}; everything up to the last block is in the file and can be read: make "
        "room or choose another path, then go on with Recorder(..., resume=True)"
    )
