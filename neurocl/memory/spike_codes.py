r"""Spike rasters and whole numbers as packed bits: pure functions on NumPy arrays, vectorised, on the CPU.

A raster has axes time, sample, neuron; codes have the sample first, one row of bytes each (events: rows of different
lengths, one behind the other). For N neurons, T steps and :math:`\rho` spikes a neuron and step, bytes a sample are

- raster: :math:`\lceil N T / 8 \rceil`;
- numbers of b bits, bit by bit in planes: :math:`\lceil N b / 8 \rceil`, counts of spikes have
  :math:`b = \lceil \log_2(T + 1) \rceil`;
- events: :math:`\lceil \rho N T w / 8 \rceil` with addresses of :math:`w = \lceil \log_2(N T) \rceil` bits (at least
  1), and 4 for the number of events. Fewer than those of a raster below a density of about :math:`1 / w`.

Source:
    Gurbuz, Moorman & Dovrolis 2023, SHARP. Differs: theirs are 8-bit values of rate-coded units; spikes need fewer.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bits = NDArray[np.bool_]
CACHED = 2**20  # values decoded at a time, a byte each: few enough for the cache, and many for each call of NumPy
SHORT = 64  # bytes of a sample below which samples are gathered byte by byte


def pack_raster(raster: Bits) -> Bytes:
    """Return ``[B, ceil(T N / 8)]`` bytes of a raster ``[T, B, N]``; each row runs over neurons, then steps."""
    steps, batch, neurons = raster.shape
    rows = np.ascontiguousarray(raster.transpose(1, 0, 2)).reshape(batch, steps * neurons)
    return np.packbits(rows, axis=1)


def unpack_raster(codes: Bytes, steps: int, neurons: int) -> NDArray[np.float32]:
    """Undo :func:`pack_raster`: ``[T, B, N]`` of 0 and 1."""
    bits = np.unpackbits(codes, axis=1, count=steps * neurons).reshape(len(codes), steps, neurons)
    raster = np.empty((steps, len(codes), neurons), np.float32)
    raster[...] = bits.transpose(1, 0, 2)
    return raster


def bits_for(largest: int) -> int:
    """Return how many bits whole numbers from 0 to ``largest`` take, at least 1."""
    return max(int(largest).bit_length(), 1)


def pack_numbers(numbers: NDArray[np.unsignedinteger], bits: int) -> Bytes:
    """Return ``[B, ceil(M bits / 8)]`` bytes of whole numbers ``[B, M]`` below ``2 ** bits``, plane by plane."""
    if bits == 8:
        return numbers.astype(np.uint8)
    batch, size = numbers.shape
    planes = np.empty((batch, bits, size), np.bool_)
    for bit in range(bits):
        np.not_equal(numbers & numbers.dtype.type(1 << bit), 0, out=planes[:, bit])
    return np.packbits(planes.reshape(batch, bits * size), axis=1)


def unpack_numbers(codes: Bytes, bits: int, size: int) -> NDArray[np.unsignedinteger]:
    """Undo :func:`pack_numbers`: ``[B, M]``, of one byte each up to 8 bits."""
    if bits == 8:
        return codes
    planes = np.unpackbits(codes, axis=1, count=bits * size).reshape(len(codes), bits, size)
    kind = np.uint8 if bits <= 8 else np.uint32
    numbers = np.zeros((len(codes), size), kind)
    for bit in range(bits):
        numbers |= planes[:, bit].astype(kind) << kind(bit)
    return numbers


class Events(NamedTuple):
    """Spikes by address.

    Attributes:
        codes: Addresses, packed; each sample begins on a byte of its own.
        counts: Number of spikes of every sample, int32.
    """

    codes: Bytes
    counts: NDArray[np.int32]


def pack_events(raster: Bits) -> Events:
    """Return the events of a raster ``[T, B, N]``, sample by sample in order of time."""
    steps, batch, neurons = raster.shape
    size = steps * neurons
    places = np.flatnonzero(np.ascontiguousarray(raster.transpose(1, 0, 2)))
    starts = np.arange(batch + 1) * size
    counts = np.diff(np.searchsorted(places, starts)).astype(np.int32)
    width = bits_for(size - 1)
    kind, used = word(width), in_use(counts, 1, 1)
    # eight addresses fill `width` whole bytes: samples are filled up to groups of eight, the surplus bytes cut off
    filled = np.zeros(len(used), kind)
    addresses = places.astype(kind)  # modulo the word's size, as are the starts
    addresses -= np.repeat(starts[:-1].astype(kind), counts)
    filled[used] = addresses
    return Events(pack_eights(filled, width)[in_use(counts, width, 8)], counts)


def unpack_events(events: Events, steps: int, neurons: int) -> NDArray[np.float32]:
    """Undo :func:`pack_events`: ``[T, B, N]`` of 0 and 1."""
    size, batch = steps * neurons, len(events.counts)
    raster = np.empty((steps, batch, neurons), np.float32)
    ends = np.cumsum(event_bytes(events.counts, bits_for(size - 1)))
    block = max(CACHED // size, 1)
    for first in range(0, batch, block):
        counts = events.counts[first : first + block]
        span = slice(ends[first - 1] if first else 0, ends[first + len(counts) - 1])
        places = addresses_of(Events(events.codes[span], counts), size)
        places += np.repeat(np.arange(len(counts)) * size, counts)
        rows = np.zeros((len(counts), steps, neurons), np.bool_)
        rows.reshape(-1)[places] = True
        raster[:, first : first + block] = rows.transpose(1, 0, 2)
    return raster


def addresses_of(events: Events, size: int) -> NDArray[np.int64]:
    """Return the addresses of all events, sample by sample."""
    width = bits_for(size - 1)
    used = in_use(events.counts, 1, 1)
    grouped = np.zeros(len(used) * width // 8, np.uint8)
    grouped[in_use(events.counts, width, 8)] = events.codes
    return unpack_eights(grouped, width)[used].astype(np.int64)


def pack_eights(numbers: NDArray[np.unsignedinteger], width: int) -> Bytes:
    """Return whole numbers of ``width`` bits, first bit first; they are as many as eight goes into, of ``word(width)``.

    Numbers side by side in a word of 64 bits close up, pair by pair, without a loop over bits.
    """
    lane = 8 * numbers.dtype.itemsize
    pieces, bits = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).view("<u8"), width
    while lane < 64:
        first = lanes(lane, 2 * lane)
        pieces = ((pieces & first) << np.uint64(bits)) | ((pieces >> np.uint64(lane)) & first)
        lane, bits = 2 * lane, 2 * bits
    pieces = pieces.reshape(-1, 8 * width // bits)
    words = np.zeros((len(pieces), -(-width // 8)), np.uint64)
    for place in range(pieces.shape[1]):
        at, end = place * bits // 64, place * bits % 64 + bits
        if end <= 64:
            words[:, at] |= pieces[:, place] << np.uint64(64 - end)
        else:
            words[:, at] |= pieces[:, place] >> np.uint64(end - 64)
            words[:, at + 1] |= pieces[:, place] << np.uint64(128 - end)
    return np.ascontiguousarray(eights(words.astype(">u8").view(np.uint8), width)).view(np.uint8).reshape(-1)


def unpack_eights(codes: Bytes, width: int) -> NDArray[np.unsignedinteger]:
    """Undo :func:`pack_eights`."""
    kind, whole = word(width), 8 * -(-width // 8)
    filled = np.zeros((len(codes) // width, whole), np.uint8)
    eights(filled, width)[...] = eights(codes.reshape(-1, width), width)
    words = filled.view(">u8").astype(np.uint64)
    lane, bits = 64, 64 // (8 * kind.itemsize) * width
    pieces = np.empty((len(filled), 8 * width // bits), np.uint64)
    for place in range(pieces.shape[1]):
        at, end = place * bits // 64, place * bits % 64 + bits
        if end <= 64:
            pieces[:, place] = words[:, at] >> np.uint64(64 - end)
        else:
            pieces[:, place] = words[:, at] << np.uint64(end - 64) | words[:, at + 1] >> np.uint64(128 - end)
    pieces &= lanes(bits, 64)
    while lane > 8 * kind.itemsize:
        half = bits // 2
        second = lanes(half, lane)
        pieces = ((pieces >> np.uint64(half)) & second) | ((pieces & second) << np.uint64(lane // 2))
        lane, bits = lane // 2, half
    return pieces.astype("<u8", copy=False).reshape(-1).view(kind.newbyteorder("<")).astype(kind, copy=False)


def eights(rows: Bytes, width: int) -> NDArray[Any]:
    """Return a view of the first ``width`` bytes of every row as one item, which is copied as a whole."""
    return rows[:, :width].view(f"V{width}")


def lanes(bits: int, every: int) -> np.uint64:
    """Return a word of 64 bits whose lowest ``bits`` of ``every`` many are 1."""
    return np.uint64(sum(((1 << bits) - 1) << start for start in range(0, 64, every)))


def in_use(counts: NDArray[np.integer], width: int, per: int) -> Bits:
    """Return what of every sample's whole groups of eight is in use: of bits ``counts * width``, ``per`` a place."""
    whole = -(-counts.astype(np.int64) // 8) * 8 * width // per
    taken = -(-counts.astype(np.int64) * width // per)
    used = np.ones(int(whole.sum()), np.bool_)
    used[spans(np.cumsum(whole) - whole + taken, whole - taken)] = False
    return used


def event_bytes(counts: NDArray[np.integer], width: int) -> NDArray[np.int64]:
    """Return how many bytes the addresses of every sample take."""
    return -(-counts.astype(np.int64) * width // 8)


def take_events(events: Events, places: NDArray[np.int64], size: int) -> Events:
    """Return the events of the samples at ``places``; a raster holds ``size`` addresses."""
    lengths = event_bytes(events.counts, bits_for(size - 1))
    ends, wanted = np.cumsum(lengths), lengths[places]
    starts, counts = ends[places] - wanted, events.counts[places]
    if int(wanted.sum()) < SHORT * len(places):
        return Events(events.codes[spans(starts, wanted)], counts)
    parts = [events.codes[a:b] for a, b in zip(starts.tolist(), (starts + wanted).tolist(), strict=True)]
    return Events(np.concatenate(parts) if parts else events.codes[:0], counts)


def spans(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the numbers from each start on, as many as its length, one span behind the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def word(width: int) -> np.dtype:
    """Return the smallest unsigned type of at least ``width`` bits, 16 or more."""
    return np.dtype(np.uint16 if width <= 16 else np.uint32 if width <= 32 else np.uint64)


def spread_evenly(counts: NDArray[np.unsignedinteger], steps: int) -> NDArray[np.float32]:
    r"""Return rasters ``[T, B, N]`` with the given counts ``[B, N]``, each neuron's spikes evenly spaced.

    Up to step t a neuron of n spikes has fired :math:`\lfloor n t / T + 1/2 \rfloor` times.
    """
    fired = (2 * np.arange(steps + 1)[:, None] * np.arange(steps + 1) + steps) // (2 * steps)  # [t, n]
    pattern = np.diff(fired, axis=0).astype(np.float32)  # [step, n]
    raster = np.empty((steps, *counts.shape), np.float32)
    for step in range(steps):
        np.take(pattern[step], counts, out=raster[step], mode="clip")  # the mode that needs no buffer
    return raster
