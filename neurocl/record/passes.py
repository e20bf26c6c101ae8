"""From single calls to passes: so many samples, so many steps, seen in every population on the way.

A pass ends where the block or the call around it ends; where somebody says that other samples come now; and where a
population that was seen starts from rest again, or with another number of samples or steps.

Longer than others: the states of one pass, from its first call to its last, are to be seen together.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurocl.primitives.annotation import PHASES, Annotation, annotation
from neurocl.primitives.checks import BadInput
from neurocl.record.bits import fetching, packed, unpacked
from neurocl.record.columns import columns_of, compared
from neurocl.record.passage import Open, Passage, Piece
from neurocl.record.selection import OUTPUTS, Selection
from neurocl.record.taps import Sight, chosen

HELD_BYTES = 1 << 26  # of outputs of which nobody looked yet whether they are spikes; then the host waits to hear
LAYERS_THAT_SHARE = 5  # as many layers that share a module are told by their states, which are held so long


class Passes:
    """Puts sights together, and hands whole passes on.

    Args:
        selection: What is recorded.
        emit: Called with every :class:`Passage`.

    Attributes:
        graded: Populations whose spikes turned out not to be 0 or 1: they are outputs from then on.
        entered: Blocks and calls of networks so far.
        has: The variables that populations showed.
    """

    def __init__(self, selection: Selection, emit: Callable[[Passage], object]) -> None:
        self.selection, self.emit = selection, emit
        self.stack: list[object] = []  # blocks and networks under way, which hold the pass open
        self.counts = dict.fromkeys((*PHASES, None), 0)
        self.now: Open | None = None
        self.told: set[str] = set()
        self.graded: set[str] = set()
        self.entered = 0
        self.has: dict[str, set[str]] = {}
        self._chosen: dict[tuple[Any, ...], Any] = {}  # which neurons, on which device: they are sent there once

    def enter(self, owner: object) -> None:
        """Begin a block, whose owner is its annotation, or a network's call, that is one pass.

        A network that is under way already was interrupted, of whose end torch says nothing.
        """
        place = self._place(owner)
        self.stack[place:] = [each for each in self.stack[place:] if isinstance(each, Annotation)]
        if not self.stack:
            self.close()
        self.stack.append(owner)
        self.entered += 1

    def leave(self, owner: object) -> None:
        """End the block or the call, and calls that were interrupted in it; nothing if it never began."""
        place = self._place(owner)
        if place < len(self.stack):
            del self.stack[place:]
            if not self.stack:
                self.close()

    def _place(self, owner: object) -> int:
        """Return where a block or network lies on the stack, its size where it does not."""
        return next((place for place, each in enumerate(self.stack) if each is owner), len(self.stack))

    @property
    def numbers(self) -> list[int]:
        """How many passes there were in each phase, and without one."""
        return [*self.counts.values()]

    @numbers.setter
    def numbers(self, numbers: list[int]) -> None:
        self.counts = dict(zip(self.counts, numbers, strict=True))

    def see(self, population: str, sight: Sight) -> None:
        """Take a call of a population."""
        known = annotation()
        self.has.setdefault(population, set())
        if known.phase is not None and known.phase not in self.selection.phases:
            return
        sight = in_time(sight, self._batch(known))
        batch = sight.output.shape[1 if sight.timed else 0]
        if not batch:
            return
        if self.now is not None and self._other(population, sight, batch, known):
            self.close()
        if self.now is None:
            self.now = self._opened(known)
        now = self.now
        if now.number < 0:  # one of those that are left out
            now.batch, now.steps[population] = batch, now.steps.get(population, 0) + 1
            return
        if now.batch is None:
            now.batch, now.kept = batch, self._kept(known, batch)
            if self._place(known) < len(self.stack):  # said of this pass by name, not of whatever comes
                self.told |= compared(known, batch, self.told)
        self._take(now, population, sight)

    def close(self) -> None:
        """Hand on the pass under way, if there is one."""
        now, self.now = self.now, None
        if now is None or now.number < 0 or not now.parts or (now.kept is not None and not len(now.kept)):
            return
        self._look(now)
        channels = self._settled(now)
        if not channels:
            return
        steps = max(sum(len(part) for part in parts) for parts in channels.values())
        pieces = {}
        for (population, variable), parts in channels.items():
            whole = parts[0] if len(parts) == 1 else torch.cat(parts)
            bits = whole.dtype == torch.uint8
            size = int(np.prod(now.units[population]))
            ids = self.selection.ids(population, variable, size)
            pieces[population, variable] = Piece(
                fetch=fetching(whole.transpose(0, 1)),
                neurons=size if ids is None else len(ids),
                units=now.units[population],
                ids=None if ids is None else tuple(ids.tolist()),
                packed=bits,
                nbytes=whole.numel() * whole.element_size(),
                ours=population not in now.foreign,
            )
        self.emit(
            Passage(
                time_steps=steps,
                columns=columns_of(now.annotation, now.batch or 0, now.kept, now.number),
                pieces=pieces,
            )
        )

    def _look(self, now: Open) -> None:
        """Find out which of what seemed spikes were: the one moment at which the host waits for the device."""
        by_device: dict[torch.device, list[str]] = {}
        for population, bits in now.bits.items():
            by_device.setdefault(bits[0].device, []).append(population)
        for populations in by_device.values():
            whole = torch.stack([torch.stack(now.bits[population]).all() for population in populations]).tolist()
            now.graded.update(population for population, good in zip(populations, whole, strict=True) if not good)
        found = now.graded & now.bits.keys()
        self.graded |= found
        for population in found:
            self.has[population] = (self.has[population] - {"spikes"}) | {"output"}
        now.bits, now.held = {}, 0

    def _pack(self, now: Open) -> None:
        """Look before a pass is over, and pack the spikes that were held as outputs too."""
        populations = [*now.bits]
        self._look(now)
        for population in populations:
            parts = now.parts.get((population, "output"), [])
            if population not in now.graded:
                parts[:] = [part if part.dtype == torch.uint8 else packed(part) for part in parts]

    def _settled(self, now: Open) -> dict[tuple[str, str], list[Tensor]]:
        """Return the parts of a pass as what they turned out to be: no bits where one of its spikes was graded."""
        settled = {}
        for (population, variable), parts in now.parts.items():
            graded = population in now.graded
            if graded and variable == "output":
                ids = self.selection.ids(population, variable, size := int(np.prod(now.units[population])))
                size = size if ids is None else len(ids)
                parts = [unpacked(part, size) if part.dtype == torch.uint8 else part for part in parts]
            elif variable == ("spikes" if graded else "output"):
                continue
            settled[population, variable] = parts
        return settled

    def _other(self, population: str, sight: Sight, batch: int, known: Annotation) -> bool:
        """Whether a call belongs to another pass than the one under way."""
        now = self.now
        assert now is not None  # noqa: S101  # the caller asked
        if known is not now.annotation or (now.batch is not None and batch != now.batch):
            return True
        if population not in now.steps:
            return False
        if sight.fresh is None:
            return sight.timed or not self.stack
        return sight.fresh

    def _batch(self, known: Annotation) -> int | None:
        """Return how many samples a call is to show, as far as that is known."""
        if self.now is not None and self.now.annotation is known and self.now.batch is not None:
            return self.now.batch
        return len(known.labels) if known.labels is not None and known.labels.ndim else None

    def _opened(self, known: Annotation) -> Open:
        number = self.counts[known.phase]
        self.counts[known.phase] += 1
        left_out = known.phase in ("training", "replay") and number % self.selection.every
        return Open(annotation=known, number=-1 if left_out else number)

    def _kept(self, known: Annotation, batch: int) -> Tensor | None:
        """Return the places of the samples to be kept; ``None`` means all."""
        ids = known.sample_ids
        if known.phase != "evaluation" or self.selection.every_sample == 1 or ids is None or ids.shape != (batch,):
            return None
        return (ids.cpu() % self.selection.every_sample == 0).nonzero().squeeze(1)

    def _take(self, now: Open, population: str, sight: Sight) -> None:
        """Keep what is wanted of a call."""
        output, wanted, device = sight.sequence, self.selection.variables, sight.output.device
        units = tuple(output.shape[2:]) or (1,)
        check_alone(now, population, sight, units)
        now.steps[population] = now.steps.get(population, 0) + len(output)
        size = int(np.prod(units))
        if not sight.ours:
            now.foreign.add(population)
        spiking = sight.spiking and population not in self.graded
        sent = "output" if sight.spiking and not spiking else sight.variable
        self.has[population].add(sent)
        if sent == "output":
            now.graded.add(population)
        # what seem spikes of another library may turn out graded, of which nobody waits to hear: both are held
        undecided = spiking and sight.bits is not None
        for name in ("spikes", "output") if undecided else (sent,):
            if name not in wanted:
                continue
            values = self._rows(chosen(output, 2, self._ids(population, name, size, device)), now)
            part = packed(values) if spiking and name == "spikes" else values.float().clone()
            now.parts.setdefault((population, name), []).append(part)
            if undecided:
                now.held += part.numel() * part.element_size()
        if undecided and sight.bits is not None and {"spikes", "output"} & set(wanted):
            now.bits.setdefault(population, []).append(sight.bits)
            if now.held > HELD_BYTES:
                self._pack(now)
        others = [variable for variable in wanted if variable not in OUTPUTS]
        if not others:
            return
        union, places = self._places(population, tuple(others), size, device)
        found = sight.others(union)
        self.has[population].update(found)
        for variable in others:
            if variable in found:
                values, those = found[variable], places[variable]
                if those is not None:
                    values = values.index_select(2, those.to(values.device))
                now.parts.setdefault((population, variable), []).append(self._rows(values, now).float().clone())

    def _ids(self, population: str, variable: str, size: int, device: torch.device) -> Tensor | None:
        """Return which neurons are recorded, on a device."""
        key = (population, variable, size, device)
        if key not in self._chosen:
            ids = self.selection.ids(population, variable, size)
            self._chosen[key] = None if ids is None else ids.to(device)
        return self._chosen[key]

    def _places(
        self, population: str, variables: tuple[str, ...], size: int, device: torch.device
    ) -> tuple[Tensor | None, dict[str, Tensor | None]]:
        """Return the neurons of which any variable is recorded, and the places of each variable's among them."""
        key = (population, variables, size, device)
        if key not in self._chosen:
            own = {variable: self.selection.ids(population, variable, size) for variable in variables}
            ids = [each for each in own.values() if each is not None]
            union = torch.cat(ids).unique() if len(ids) == len(own) else None
            places = {
                variable: None if those is None else (those if union is None else torch.searchsorted(union, those))
                for variable, those in own.items()
            }
            sent = {name: None if each is None else each.to(device) for name, each in places.items()}
            self._chosen[key] = None if union is None else union.to(device), sent
        return self._chosen[key]

    def _rows(self, values: Tensor, now: Open) -> Tensor:
        """Return ``[T, B, n]`` with the samples that are kept."""
        return values if now.kept is None else values.index_select(1, now.kept.to(values.device))


def in_time(sight: Sight, batch: int | None) -> Sight:
    """Return a sight of lateral answers with time steps of its own, where a layer took all of them as so many rows."""
    rows = len(sight.output)
    if sight.variable != "lateral" or sight.timed or not batch or rows == batch or rows % batch:
        return sight
    return replace(sight, output=sight.output.unflatten(0, (-1, batch)), timed=True)


def check_alone(now: Open, population: str, sight: Sight, units: tuple[int, ...]) -> None:
    """Refuse a module that several layers share: their steps would alternate as if they were one layer's."""
    before = now.units.setdefault(population, units)
    states = now.states.setdefault(population, [])
    what = ""
    if sight.variable != "lateral" and before != units:
        what = f"neurons of shape {before} and of {units} in one pass"
    elif sight.given is not None and any(same(sight.given, each) for each in states[:-1]):
        what = "" if same(sight.given, states[-1]) else "two states in turn in one pass"
    if what:
        raise BadInput(
            f"populations must be modules of one layer each; {population} shows {what}: give each layer a module of "
            "its own, or name others with populations=[...]"
        )
    if sight.returned is not None:
        now.states[population] = [*states, sight.returned][-LAYERS_THAT_SHARE:]


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same memory."""
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape
