"""Memory that is not there: every library's way of saying so becomes one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from neurocl.primitives.checks import BadInput

# what torch's allocators say, whose errors are plain RuntimeErrors on the CPU
SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "Storage size calculation overflowed")


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise :class:`BadInput` where the block asks for more memory than there is."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(sign in text for sign in SIGNS):
            raise
        reason = text.partition("\n")[0].rpartition("] ")[2] or "no more memory"
        raise BadInput(
            f"this needs more memory than there is ({reason}): "
            "make layers, time steps, batches or memories smaller with --set"
        ) from error
