"""In what code activity is stored: raster, count, events, or values of a few bits. Codes are columns, sample first.

Every store turns values ``[T, B, N]`` into columns and back; the columns belong to the caller.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurocl.memory.spike_codes import (
    Events,
    addresses_of,
    bits_for,
    event_bytes,
    pack_events,
    pack_numbers,
    pack_raster,
    spread_evenly,
    take_events,
    unpack_events,
    unpack_numbers,
    unpack_raster,
)
from neurocl.primitives.checks import BadInput, check_count, check_name

Values = NDArray[np.float32]
Columns = dict[str, NDArray[Any]]
TIMINGS = ("even", "bernoulli")


class ActivityStore:
    """Contract of a code for T steps of N neurons, and the columns' handling: rows of one length.

    Args:
        steps: Number of time steps, T.
        neurons: Number of values at a step, N.

    Attributes:
        spikes: Whether values are spikes: :meth:`encode` then takes a raster of booleans.
        exact: Whether values come back bit for bit.
    """

    spikes = True
    exact = True

    def __init__(self, steps: int, neurons: int) -> None:
        self.steps, self.neurons = steps, neurons

    def encode(self, values: NDArray[Any]) -> Columns:
        """Return the columns of ``[T, B, N]``."""
        raise NotImplementedError

    def decode(self, columns: Columns, draws: np.random.Generator | None) -> Values:
        """Return ``[T, B, N]``; ``draws`` is for codes that leave something to chance."""
        raise NotImplementedError

    def totals(self, columns: Columns) -> NDArray[np.float32]:
        """Return the sums over time, ``[B, N]``."""
        return self.decode(columns, None).sum(0)

    def bytes_for(self, samples: int, spikes: int = 0) -> int:
        """Return what ``samples`` samples take by the formula of the code; ``spikes`` is for events."""
        raise NotImplementedError

    def take(self, columns: Columns, places: NDArray[np.int64]) -> Columns:
        """Return the columns of some samples."""
        return {name: column[places] for name, column in columns.items()}

    def join(self, *parts: Columns) -> Columns:
        """Return the columns of one sample after another."""
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def check(self, columns: Mapping[str, NDArray[Any]], samples: int) -> None:
        """Refuse columns that this store cannot have written for so many samples."""
        empty = self.encode(np.zeros((self.steps, 0, self.neurons), np.bool_ if self.spikes else np.float32))
        for name, column in empty.items():
            given = columns.get(name)
            shape = (samples, *column.shape[1:])
            if given is None or given.shape != shape or given.dtype != column.dtype:
                found = "nothing" if given is None else f"{given.dtype} {list(given.shape)}"
                raise BadInput(
                    f"state['columns'][{name!r}] must be {column.dtype} {list(shape)}; got {found}: "
                    "the state is damaged, or of another memory"
                )


class RasterStore(ActivityStore):
    """One bit a neuron and step."""

    def encode(self, values: NDArray[Any]) -> Columns:
        """Return packed rasters."""
        return {"codes": pack_raster(values)}

    def decode(self, columns: Columns, draws: np.random.Generator | None) -> Values:
        """Return the rasters, bit for bit."""
        return unpack_raster(columns["codes"], self.steps, self.neurons)

    def bytes_for(self, samples: int, spikes: int = 0) -> int:
        r"""Return :math:`B \lceil N T / 8 \rceil`."""
        return samples * -(-self.steps * self.neurons // 8)


class CountStore(ActivityStore):
    """The number of spikes of every neuron; their times are made up at replay.

    Args:
        steps: Number of time steps, T.
        neurons: Number of values at a step, N.
        timing: ``"even"``: evenly spaced; ``"bernoulli"``: a spike at each step with chance n / T.
    """

    exact = False

    def __init__(self, steps: int, neurons: int, *, timing: str = "even") -> None:
        super().__init__(steps, neurons)
        self.timing = check_name("timing", timing, TIMINGS)
        self.bits = bits_for(steps)

    def encode(self, values: NDArray[Any]) -> Columns:
        """Return packed counts."""
        kind = np.uint8 if self.steps < 256 else np.uint32
        return {"codes": pack_numbers(values.sum(0, dtype=kind), self.bits)}

    def decode(self, columns: Columns, draws: np.random.Generator | None) -> Values:
        """Return rasters with these counts, or with these chances."""
        counts = unpack_numbers(columns["codes"], self.bits, self.neurons)
        if self.timing == "even":
            return spread_evenly(counts, self.steps)
        if draws is None:
            raise BadInput("generator must be given for timing='bernoulli': it draws the times of the spikes")
        drawn = draws.random((self.steps, *counts.shape), np.float32)
        return (drawn * np.float32(self.steps) < counts).astype(np.float32)

    def totals(self, columns: Columns) -> NDArray[np.float32]:
        """Return the counts themselves."""
        return unpack_numbers(columns["codes"], self.bits, self.neurons).astype(np.float32)

    def bytes_for(self, samples: int, spikes: int = 0) -> int:
        r"""Return :math:`B \lceil N \lceil \log_2(T + 1) \rceil / 8 \rceil`."""
        return samples * -(-self.neurons * self.bits // 8)


class EventStore(ActivityStore):
    """An address for every spike; samples take different numbers of bytes."""

    def encode(self, values: NDArray[Any]) -> Columns:
        """Return packed addresses, and the number of spikes of every sample."""
        return pack_events(values)._asdict()

    def decode(self, columns: Columns, draws: np.random.Generator | None) -> Values:
        """Return the rasters, bit for bit."""
        return unpack_events(Events(**columns), self.steps, self.neurons)

    def bytes_for(self, samples: int, spikes: int = 0) -> int:
        """Return 4 B, and as many bytes as the addresses fill; each sample may waste 7 bits more."""
        return 4 * samples + -(-spikes * bits_for(self.steps * self.neurons - 1) // 8)

    def take(self, columns: Columns, places: NDArray[np.int64]) -> Columns:
        """Return the columns of some samples."""
        return take_events(Events(**columns), places, self.steps * self.neurons)._asdict()

    def check(self, columns: Mapping[str, NDArray[Any]], samples: int) -> None:
        """Refuse columns that this store cannot have written for so many samples."""
        codes, counts = (columns.get(name, np.zeros(0)) for name in ("codes", "counts"))
        size, right = self.steps * self.neurons, False
        if counts.shape == (samples,) and counts.dtype == np.int32 and codes.dtype == np.uint8:
            within = bool(((counts >= 0) & (counts <= size)).all())
            if within and codes.shape == (int(event_bytes(counts, bits_for(size - 1)).sum()),):
                right = bool((addresses_of(Events(codes, counts), size) < size).all())
        if not right:
            raise BadInput(
                f"state['columns'] must hold the events of {samples} samples with addresses below {size}; got others: "
                "the state is damaged, or of another memory"
            )


class QuantisedStore(ActivityStore):
    r"""Values rounded to :math:`2^b` levels between the least and the largest, those two included.

    The range is of all values encoded in one call; a constant has a range of length 0 and comes back exactly. The
    error is at most half a step, :math:`(max - min) / (2 (2^b - 1))`, and float32's rounding.

    Args:
        steps: Number of time steps, T.
        neurons: Number of values at a step, N.
        bits: Bits a value, b, from 1 to 16.

    Source:
        Gurbuz, Moorman & Dovrolis 2023, SHARP: 8 bits between the least and the largest value of a class. Differs:
        constants survive, where theirs divide by zero; other numbers of bits.
    """

    spikes = False
    exact = False

    def __init__(self, steps: int, neurons: int, *, bits: int = 8) -> None:
        super().__init__(steps, neurons)
        self.bits = check_count("bits", bits)
        if self.bits > 16:
            raise BadInput(f"bits must be at most 16; got {bits}")

    def encode(self, values: NDArray[Any]) -> Columns:
        """Return packed levels, and the range of every sample."""
        rows = np.ascontiguousarray(values.transpose(1, 0, 2)).reshape(values.shape[1], self.steps * self.neurons)
        low, high = (rows.min(), rows.max()) if rows.size else (np.float32(0), np.float32(0))
        if not (np.isfinite(low) and np.isfinite(high)):
            raise BadInput(f"activity must be finite; got values from {low} to {high}: clean it before use")
        with np.errstate(over="ignore"):
            span = high - low
        if not np.isfinite(span):
            raise BadInput(f"activity must span a range that float32 holds; got {low} to {high}: scale it down")
        share = (rows - low) / (span or np.float32(1))  # a new array, worked on in place from here
        share *= 2**self.bits - 1
        levels = np.rint(share, out=share).astype(np.uint8 if self.bits <= 8 else np.uint16)
        ranges = np.empty((len(rows), 2), np.float32)
        ranges[...] = low, high
        return {"codes": pack_numbers(levels, self.bits), "ranges": ranges}

    def decode(self, columns: Columns, draws: np.random.Generator | None) -> Values:
        """Return the levels' values."""
        low, high = columns["ranges"][:, :1], columns["ranges"][:, 1:]
        levels = unpack_numbers(columns["codes"], self.bits, self.steps * self.neurons)
        rows = levels.astype(np.float32)
        rows *= (high - low) / np.float32(2**self.bits - 1)
        rows += low
        np.clip(rows, low, high, out=rows)
        return rows.reshape(len(rows), self.steps, self.neurons).transpose(1, 0, 2)

    def bytes_for(self, samples: int, spikes: int = 0) -> int:
        r"""Return :math:`B (\lceil N T b / 8 \rceil + 8)`: the range is two float32 a sample."""
        return samples * (-(-self.steps * self.neurons * self.bits // 8) + 8)

    def check(self, columns: Mapping[str, NDArray[Any]], samples: int) -> None:
        """Refuse columns that this store cannot have written for so many samples."""
        super().check(columns, samples)
        low, high = columns["ranges"].T
        if not (np.isfinite(columns["ranges"]).all() and (low <= high).all()):
            raise BadInput("state['columns']['ranges'] must be finite, least first; got others: the state is damaged")


STORES: dict[str, type[ActivityStore]] = {
    "raster": RasterStore,
    "count": CountStore,
    "events": EventStore,
    "quantised": QuantisedStore,
}


def spikes_of(values: Values, amplitude: float | None) -> tuple[NDArray[np.bool_], float | None]:
    """Return which values are spikes, and what a spike is worth; ``None`` where that is not known yet.

    Raises:
        BadInput: If values are neither 0 nor one other number, or that number is not ``amplitude``.
    """
    fired = values != 0
    if amplitude is None:
        places = np.flatnonzero(fired)[:1]
        if not len(places):
            return fired, None
        amplitude = float(values.reshape(-1)[places[0]])
        if not np.isfinite(amplitude):
            raise BadInput(f"activity must be finite; got {amplitude}: clean it before use")
    worth = values == np.float32(amplitude)
    if np.count_nonzero(worth) != np.count_nonzero(fired):
        other = values[fired & ~worth][0]
        if not np.isfinite(other):
            raise BadInput(f"activity must be finite; got {other}: clean it before use")
        raise BadInput(
            f"activity must hold spikes, all 0 or one amplitude ({amplitude:g}), to be stored as raster, count or "
            f"events; got {float(other):g}: cut before pooling or normalisation, or use store='quantised'"
        )
    return fired, amplitude
