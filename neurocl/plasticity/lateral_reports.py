"""What lateral circuits have to say of themselves, and of what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from neurocl.primitives.checks import BadInput


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """State of one layer's circuits.

    Attributes:
        layer: Name of the layer.
        rows: Lateral neurons, all groups together.
        inputs: Dimensions of the input, all groups together.
        captured: Share of the activity's energy that the rows explain: of recent activity at a task's end where rows
            follow a share, else of the last batches before each was learnt; ``None`` where the task showed no batch.
        room: Dimensions left for learning.
        drift: Largest entry of H Hᵀ - I.
        leak: Share of the energy of the last task's weight change inside the span that was protected; ``None`` where
            there was nothing to protect, or weights changed by no more than rounding. That makes some 1e-11 of it, more
            where weights hardly changed.
        missed: Share of the energy of old rows' drive that answers in whole spikes round away; 0 for linear neurons.
    """

    layer: str
    rows: int
    inputs: int
    captured: float | None
    room: int
    drift: float
    leak: float | None
    missed: float = 0.0


@contextmanager
def naming(layer: str) -> Iterator[None]:
    """Put the layer's name before the message of a :class:`BadInput` raised inside."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"layer {layer!r}: {error}") from error
