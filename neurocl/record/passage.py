"""A pass under way, and one that is ready to be written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from neurocl.primitives.annotation import Annotation
from neurocl.record.bits import Fetch
from neurocl.record.columns import Column


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One variable of one population in a pass.

    Attributes:
        fetch: Gives ``[B, T, bytes]`` of packed bits, or ``[B, T, n]`` of numbers; waits for the device if it must.
        neurons: Neurons recorded.
        units: Shape of the whole population.
        ids: Which of its neurons; ``None`` means all.
        packed: Whether values are bits.
        nbytes: Size of what waits.
        ours: Whether the neurons are ours, whose membranes are in units of their distance from rest to threshold.
    """

    fetch: Fetch
    neurons: int
    units: tuple[int, ...]
    ids: tuple[int, ...] | None
    packed: bool
    nbytes: int
    ours: bool = True


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A pass, ready to be written.

    Attributes:
        time_steps: Steps of every sample.
        columns: What is known of the samples, ``[B]`` each, or what gives it once it is there.
        pieces: By population and variable.
    """

    time_steps: int
    columns: Mapping[str, Column]
    pieces: dict[tuple[str, str], Piece]

    @property
    def nbytes(self) -> int:
        """Size of what waits."""
        return sum(piece.nbytes for piece in self.pieces.values())


@dataclass(kw_only=True)
class Open:
    """A pass under way: for every channel the parts seen so far.

    Attributes:
        bits: By population, whether what seemed spikes was 0 or 1 in each call, on its device; nobody looked yet.
        held: Size of the outputs that wait for that.
    """

    annotation: Annotation
    number: int
    batch: int | None = None
    kept: Tensor | None = None
    steps: dict[str, int] = field(default_factory=dict)
    parts: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    units: dict[str, tuple[int, ...]] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    graded: set[str] = field(default_factory=set)
    bits: dict[str, list[Tensor]] = field(default_factory=dict)
    held: int = 0
    states: dict[str, list[Tensor]] = field(default_factory=dict)
