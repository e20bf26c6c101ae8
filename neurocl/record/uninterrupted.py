"""Work that Ctrl-C does not stop in the middle."""

from collections.abc import Callable
from threading import Event, Thread


def uninterrupted(work: Callable[[], object]) -> None:
    """Carry out work in a thread of its own, which no interrupt reaches; it is raised when the work is done.

    A second one is raised at once, and the work goes on as long as the process does.

    Raises:
        BaseException: What the work raised.
        KeyboardInterrupt: If there was one meanwhile.
    """
    errors: list[BaseException] = []
    done = Event()  # a thread whose join() was interrupted counts as ended in some versions of Python

    def carry_out() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    try:
        Thread(target=carry_out, name="neurocl closing", daemon=True).start()
    except RuntimeError:  # the process is about to end, and begins no threads any more
        carry_out()
    interrupt: KeyboardInterrupt | None = None
    while not done.is_set():
        try:
            done.wait()
        except KeyboardInterrupt as error:
            if interrupt is not None:
                raise
            interrupt = error
    if errors:
        raise errors[0]
    if interrupt is not None:
        raise interrupt
