"""Passes as rows of a trace file: which datasets they need, and what goes into each."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurocl.record import layout
from neurocl.record.columns import UNKNOWN
from neurocl.record.passage import Passage, Piece
from neurocl.record.selection import Selection
from neurocl.record.trace_file import TraceFile

EVENTS_BELOW = 1 / 128  # spikes a neuron and step at which an event's 16 bytes take as much as bits
Rows = dict[str, list[NDArray[Any]]]


class Blocks:
    """Collects passes, and writes them to the file as one block.

    Args:
        file: The trace file.
        selection: How things are to be stored.
        dt_ms: Length of a step.
    """

    def __init__(self, file: TraceFile, selection: Selection, dt_ms: float) -> None:
        self.file, self.selection, self.dt_ms = file, selection, dt_ms
        samples, markers = f"{layout.SAMPLES}/time_steps", f"{layout.MARKS}/step"
        stored = file.file[samples]
        self.samples = len(stored)
        self.clock = int(stored[...].sum()) if self.samples else 0
        self.markers = file.lengths[markers]
        self.kept: dict[tuple[str, str], str | None] = {}  # dataset of a channel; None for one that cannot be kept
        self.sizes: dict[tuple[str, str], int] = {}
        self.ends: dict[str, int] = dict(file.lengths)
        self.waiting: Rows = {}
        self.bytes = 0
        self.complaints: list[str] = []
        self.complained: set[object] = set()  # what a complaint is about that comes once
        self.snapshots: dict[str, NDArray[Any]] = {}

    def add(self, passage: Passage) -> None:
        """Take a pass."""
        columns = {name: value() if callable(value) else value for name, value in passage.columns.items()}
        batch = len(columns["label"])
        new = {channel: piece for channel, piece in passage.pieces.items() if channel not in self.kept}
        if new:
            self._declare(new)
        starts = self.clock + passage.time_steps * np.arange(batch, dtype=np.int64)
        columns |= {"start_step": starts, "time_steps": np.full(batch, passage.time_steps)}
        for name, dtype in layout.COLUMNS.items():
            self._put(f"{layout.SAMPLES}/{name}", self._fitted(name, columns[name], dtype))
        for channel, piece in passage.pieces.items():
            self._add_piece(channel, piece, starts)
        self.samples += batch
        self.clock += batch * passage.time_steps

    def mark(self, kind: str, *, task: int, value: float, text: str) -> None:
        """Take a marker: something that happened at this step of the clock."""
        row: dict[str, Any] = {
            "step": self.clock,
            "sample": self.samples,
            "kind": kind,
            "task": task,
            "value": value,
            "text": text,
        }
        for name, dtype in layout.MARKERS.items():
            one = row[name].encode()[:64] if isinstance(row[name], str) else row[name]
            self._put(f"{layout.MARKS}/{name}", np.array([one], dtype))
        self.markers += 1

    def snapshot(self, values: dict[str, NDArray[Any]], *, task: int) -> None:
        """Take the weights, or what changed since the last time."""
        changes = self.selection.weights == "changes"
        compression = None if self.selection.compression == "none" else self.selection.compression
        wanted: dict[str, Any] = {}
        for name, value in values.items():
            attributes = {"kind": self.selection.weights, "grows": True, "compression": compression}
            wanted[f"{layout.WEIGHTS}/{name}"] = (value.shape, np.float32, attributes)
            wanted[f"{layout.INDEX}/weights/{name}"] = ((3,), np.int64, {})
        self._create(wanted, {})
        for name, value in values.items():
            before = self.snapshots.get(name)
            stored = value
            if changes and before is not None:
                stored = value.copy()
                stored[tuple(slice(size) for size in before.shape)] -= before[tuple(slice(s) for s in value.shape)]
            if changes:
                self.snapshots[name] = value
            self._put(f"{layout.WEIGHTS}/{name}", stored[None].astype(np.float32))
            whole = int(not changes or before is None)
            self._put(f"{layout.INDEX}/weights/{name}", np.array([[self.samples, self.clock, whole]]))
        self.mark("weights", task=task, value=float(len(values)), text="")

    def write(self) -> None:
        """Write everything that waits, and commit it."""
        for name, parts in self.waiting.items():
            self.file.append(name, parts[0] if len(parts) == 1 else joined(parts))
        self.waiting, self.bytes = {}, 0
        self.file.commit()

    def _put(self, name: str, rows: NDArray[Any]) -> None:
        self.waiting.setdefault(name, []).append(rows)
        self.ends[name] = self.ends.get(name, 0) + len(rows)
        self.bytes += rows.nbytes

    def _create(self, wanted: dict[str, Any], nodes: dict[str, int]) -> None:
        """Create datasets; what waits is written before, as the file is opened anew."""
        if any(not self.file.has(name) for name in wanted):
            self.write()
            self.file.create(wanted, nodes=nodes)

    def _declare(self, new: dict[tuple[str, str], Piece]) -> None:
        """Decide where new channels go, and create their datasets in one lot."""
        wanted: dict[str, Any] = {}
        nodes = {}
        for (population, variable), piece in new.items():
            name, kind = self._place(population, variable, piece)
            self.kept[population, variable] = name
            there = self.file.file[name].attrs["neurons"] if self.file.has(name) else piece.neurons
            self.sizes[population, variable] = int(there)
            nodes[population] = int(np.prod(piece.units))
            wanted |= kind
            wanted[f"{layout.INDEX}/{population}/{variable}"] = ((2,), np.int64, {"neurons": piece.neurons})
        self._create(wanted, nodes)

    def _place(self, population: str, variable: str, piece: Piece) -> tuple[str, dict[str, Any]]:
        """Return a channel's dataset and what has to be created for it."""
        raster, events = f"{layout.RASTER}/{population}", f"{layout.SPIKES}/{population}/timestamps"
        attributes: dict[str, Any] = {"units_shape": list(piece.units), "neurons": piece.neurons}
        attributes["neuron_ids"] = json.dumps([*range(piece.neurons)] if piece.ids is None else list(piece.ids))
        if not piece.packed:
            name = f"{layout.TRACES}/{population}/{variable}"
            grows = {"grows": True} if variable == "lateral" else {}
            attributes |= {
                "units": layout.UNITS.get(variable, "dimensionless") if piece.ours else "dimensionless",
                **grows,
            }
            return name, {name: ((piece.neurons,), self.selection.precision, attributes)}
        if self.file.has(raster) or (not self.file.has(events) and self._dense(piece)):
            attributes["compression"] = None if self.selection.compression == "none" else self.selection.compression
            return raster, {raster: ((-(-piece.neurons // 8),), np.uint8, attributes)}
        attributes["units"] = "ms"
        node = f"{layout.SPIKES}/{population}"
        return events, {
            events: ((), np.float64, attributes),
            f"{node}/node_ids": ((), np.uint64, {}),
            f"{node}/sample_ids": ((), np.uint32, {}),
        }

    def _dense(self, piece: Piece) -> bool:
        """Whether spikes are better kept as bits."""
        if self.selection.spikes != "auto":
            return self.selection.spikes == "raster"
        bits = piece.fetch()
        values = bits.shape[0] * bits.shape[1] * piece.neurons
        return int(np.bitwise_count(bits).sum()) >= EVENTS_BELOW * values

    def _add_piece(self, channel: tuple[str, str], piece: Piece, starts: NDArray[np.int64]) -> None:
        """Take one variable of one population."""
        name, (population, variable) = self.kept[channel], channel
        if name is None:
            return
        size = self.sizes[channel]
        if variable != "lateral" and size != piece.neurons:
            self.kept[channel] = None
            self.complaints.append(
                f"{population} has {piece.neurons} neurons now and had {size}: its {variable} are no longer recorded"
            )
            return
        values = piece.fetch()
        batch, steps = values.shape[:2]
        places = np.arange(batch, dtype=np.int64)
        first = self.ends.get(name, 0)
        if name.startswith(f"{layout.SPIKES}/"):
            counts = self._add_events(name.removesuffix("/timestamps"), values, piece, starts)
            firsts = first + np.concatenate([[0], np.cumsum(counts)[:-1]])
        else:
            self._put(name, self._stored(channel, values.reshape(batch * steps, -1), piece))
            firsts = first + places * steps
        self._put(f"{layout.INDEX}/{population}/{variable}", np.stack([self.samples + places, firsts], axis=1))

    def _stored(self, channel: tuple[str, str], values: NDArray[Any], piece: Piece) -> NDArray[Any]:
        """Return rows as they are stored; those beyond a half-precision number's range are said to be."""
        if piece.packed:
            return values.astype(np.uint8, copy=False)
        with np.errstate(over="ignore"):
            stored = values.astype(self.selection.precision, copy=False)
        if stored.dtype != values.dtype and (np.isinf(stored) & np.isfinite(values)).any():
            population, variable = channel
            self._complain(
                f"{population} has {variable} of up to {np.abs(values[np.isfinite(values)]).max():.3g}, beyond "
                f"{stored.dtype}'s range of ±{np.finfo(stored.dtype).max:.0f}, which are recorded as infinite: record "
                "with precision='float32'",
                about=(population, variable),
            )
        return stored

    def _fitted(self, name: str, values: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Return a column as it is stored; numbers that it cannot hold are unknown."""
        limits = np.iinfo(dtype)
        bad = (values < limits.min) | (values > limits.max)
        if bad.any():
            self._complain(
                f"{name} must be a whole number between {limits.min} and {limits.max}; got {values[bad][0]}, which is "
                f"recorded as unknown, {UNKNOWN}: number them from 0",
                about=name,
            )
        return np.where(bad, UNKNOWN, values).astype(dtype)

    def _complain(self, text: str, *, about: object) -> None:
        """Have a warning given, once."""
        if about not in self.complained:
            self.complained.add(about)
            self.complaints.append(text)

    def _add_events(
        self, node: str, bits: NDArray[np.uint8], piece: Piece, starts: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Take spikes as events; return their number by sample."""
        raster = np.unpackbits(bits, axis=-1, count=piece.neurons)
        sample, step, place = np.nonzero(raster)
        ids = place if piece.ids is None else np.asarray(piece.ids)[place]
        self._put(f"{node}/timestamps", (starts[sample] + step) * self.dt_ms)
        self._put(f"{node}/node_ids", ids.astype(np.uint64))
        self._put(f"{node}/sample_ids", (self.samples + sample).astype(np.uint32))
        return np.bincount(sample, minlength=len(bits))


def joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return rows behind one another; where they differ in size, the smaller are filled up with NaN."""
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    tail = np.max([part.shape[1:] for part in parts], axis=0)
    whole = np.full((sum(map(len, parts)), *tail), np.nan, parts[0].dtype)
    first = 0
    for part in parts:
        whole[(slice(first, first + len(part)), *(slice(size) for size in part.shape[1:]))] = part
        first += len(part)
    return whole
