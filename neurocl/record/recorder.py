"""The recorder: activity, weights and markers of any network, streamed to one HDF5 file while it runs.

Longer than others: one public class, whose every method checks and explains.
"""

import contextlib
import importlib.metadata
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neurocl.primitives import files
from neurocl.primitives.annotation import PHASES, annotated, annotation
from neurocl.primitives.checks import BadInput, as_float, check_count, check_name, check_number
from neurocl.record import layout
from neurocl.record.asked import Asked
from neurocl.record.bits import fetching
from neurocl.record.blocks import Blocks
from neurocl.record.checkpoints import counts_as_text, counts_at, counts_so_far, lengths_at
from neurocl.record.columns import Numbers, row_of, whole
from neurocl.record.lateral_taps import circuits_of, tap_circuits
from neurocl.record.passage import Passage
from neurocl.record.passes import Passes
from neurocl.record.selection import Selection, chosen_selection, plain_metadata
from neurocl.record.taps import CUT, check_populations, check_variables, populations_of, tap, uncompiled
from neurocl.record.trace_file import TraceFile
from neurocl.record.writer import Writer


class Recorder:
    """Streams what a network does to an HDF5 file, in the background, in bounded memory.

    ::

        with Recorder("traces.h5", network) as recorder:
            for x, y in batches:
                with recorder.samples(labels=y):   # needed where a loop outside the network goes through time
                    ...

    Works on neurons of neurocl, snnTorch, Norse and SpikingJelly inside any module, and on any other module that
    ``populations`` names. What is one pass of so many samples over so many steps: the block :meth:`samples`, or one
    call of the network. Compiled networks are recorded too: their graphs are cut where something is watched, so that
    ``fullgraph=True`` is refused; networks of other libraries that were called before, compiled, are not seen.

    Args:
        path: The file; ``with`` closes it. A killed process loses the block in the making and the passes that wait for
            the writer, at most 8 MB of activity or a single pass. Open it with :func:`neurocl.record.open`, also while
            it is being written.
        network: Whose neurons are recorded; more by :meth:`attach`.
        dt_ms: Length of a step.
        resume: Go on with the file that is there, with the same selection.
        block_bytes: What is written and committed at a time.
        block_seconds: Time after which a smaller block is.
        metadata: Plain JSON values to keep in the file.
        selection: What to record, see :class:`Selection`, whose arguments may stand here one by one.

    Raises:
        BadInput: If the file cannot be written, is there already, is in use or is somebody else's, or metadata are no
            JSON values; later from any method if writing failed in the background: on a full disk what was committed
            before stays readable.

    Warns:
        RuntimeWarning: When it is closed, of what was asked for and is not in the file, as names that match nothing.
    """

    def __init__(
        self,
        path: str | Path,
        network: nn.Module | None = None,
        *,
        dt_ms: float = 1.0,
        resume: bool = False,
        block_bytes: int = 1 << 22,
        block_seconds: float = 1.0,
        metadata: Mapping[str, Any] | None = None,
        selection: Selection | None = None,
        **choices: Any,
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self.dt_ms = check_number("dt_ms", dt_ms, above=0)
        check_count("block_bytes", block_bytes)
        check_number("block_seconds", block_seconds, above=0)
        self.selection = chosen_selection(selection, choices)
        self._stops: list[Callable[[], object]] = []
        self._networks: list[nn.Module] = []
        self._names: list[str] = []  # of the populations of all networks
        self._process = os.getpid()
        self._passes = Passes(self.selection, self._emit)
        self._trained = 0
        self._asked = Asked(self.selection)
        self._interrupted = False  # by an error in the block of ``with``, beside which nothing else counts
        self._closed = self._finished = False  # an interrupted close is one without the other
        run = {"dt_ms": self.dt_ms, "selection": self.selection.described(), "metadata": plain_metadata(metadata)}
        run["versions"] = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "h5py")}
        self._file = TraceFile(self.path, run, resume=resume)
        try:
            self._passes.numbers = counts_so_far(self._file)
            blocks = Blocks(self._file, self.selection, self.dt_ms)
            self._writer = Writer(blocks, block_bytes=block_bytes, block_seconds=float(block_seconds))
            self._writer.at_exit = weakref.WeakMethod(self.close)
            if network is not None:
                self.attach(network)
        except BaseException:  # as if it had never been asked for
            self._detach()
            with contextlib.suppress(AttributeError):  # there was none yet
                self._writer.end()
            with contextlib.suppress(BadInput):
                if not self._file.new:
                    self._file.close()
            self._file.abandon()
            if self._file.new:
                files.remove(self._file.path)
            raise

    def attach(self, network: nn.Module) -> None:
        """Record a network's neurons too.

        Raises:
            BadInput: If it has none of the populations asked for, the known ones are named; or one whose name a
                network attached before has too, or that no dataset can have; or if no neurons have such a variable.
        """
        self._check_open()
        if not isinstance(network, nn.Module):
            raise BadInput(f"network must be a torch module; got {type(network).__name__}")
        found = populations_of(network)
        modules = {uncompiled(name): module for name, module in network.named_modules()}
        wanted = {name: module for name, module in found.items() if self.selection.wants(name)}
        wanted |= {name: modules[name] for name in self.selection.named if name in modules and name not in found}
        unknown = [name for name in self.selection.named if name not in wanted]
        if unknown:
            check_name("population", unknown[0], [*found, *modules])
        if not wanted:
            known = f"it has {', '.join(found)}" if found else "it has no neurons that are known"
            raise BadInput(
                f"populations must name some of the network's; {known}: name modules as named_modules() does"
            )
        check_variables(self.selection.variables, wanted.values())
        circuits = dict(circuits_of(network)) if "lateral" in self.selection.variables else {}
        names = [*wanted, *circuits]
        check_populations(names, self._names)
        self._names += names
        self._asked.note(network, wanted, circuits)
        for name, module in wanted.items():
            self._stops.append(tap(module, self._seeing(name), states=self.selection.states))
        for name, tapped in circuits.items():
            self._stops.append(tap_circuits(tapped, self._seeing(name)))
        self._stops += [
            network.register_forward_pre_hook(self._enter).remove,
            network.register_forward_hook(self._leave, always_call=True).remove,
        ]
        self._networks.append(network)

    @contextmanager
    def samples(self, labels: Numbers = None, sample_ids: Numbers = None, **known: Any) -> Iterator[None]:
        """Record what the block does as one pass of a batch of samples, however many calls that takes.

        Args:
            labels: ``[B]``.
            sample_ids: ``[B]``, each sample's own number.
            known: ``phase``, ``task``, ``stage``, as in :class:`~neurocl.primitives.annotation.Annotation`.

        Raises:
            BadInput: If recording failed, or what is said of the samples is no row of numbers. That it is not one for
                each sample turns out later, which is a warning.
        """
        self._check_open()
        labels, sample_ids = row_of("labels", labels), row_of("sample_ids", sample_ids)
        for name in ("task", "stage"):
            value = known.get(name)
            if value is not None:
                row = name == "task" and not isinstance(value, Integral)
                known[name] = row_of(name, value) if row else whole(name, value, column=name)
        if known.get("phase") is not None:
            check_name("phase", known["phase"], PHASES)
        with annotated(labels=labels, sample_ids=sample_ids, **known):
            block = annotation()
            self._passes.enter(block)
            try:
                yield
            finally:
                self._passes.leave(block)

    def mark(self, kind: str = "note", *, task: int = -1, value: float = float("nan"), text: str = "") -> None:
        """Write down that something happened now.

        Args:
            kind: ``"task-begins"``, ``"task-ends"``, ``"accuracy"``, ``"weights"``, ``"checkpoint"`` or ``"note"``.
            task: Of which task.
            value: A number, as of an accuracy.
            text: Up to 64 bytes.

        Raises:
            BadInput: If the task is no whole number of 64 bits, the value no number, or the text none.
        """
        check_name("kind of marker", kind, layout.MARKER_KINDS)
        task = whole("task", task)
        if not isinstance(value, Real) or not isinstance(text, str):
            raise BadInput(f"value must be a number, and text a text; got {value!r} and {text!r}")
        value = as_float(value)
        self._passes.close()
        blocks = self._writer.blocks
        self._put(lambda: blocks.mark(kind, task=task, value=value, text=text))

    def snapshot(self, *, task: int = -1) -> None:
        """Write the weights of the networks now, where the selection has weights."""
        task = whole("task", task)
        fetches = {
            uncompiled(name): fetching(parameter.detach().to(torch.float32, copy=True))
            for network in self._networks
            for name, parameter in network.named_parameters()
            if self.selection.wants_weights(uncompiled(name))
        }
        if fetches:
            self._passes.close()
            blocks = self._writer.blocks
            size = sum(
                4 * parameter.numel()
                for network in self._networks
                for name, parameter in network.named_parameters()
                if uncompiled(name) in fetches
            )
            self._put(lambda: blocks.snapshot({name: fetch() for name, fetch in fetches.items()}, task=task), size=size)

    def trained(self, *, task: int = -1) -> None:
        """Say that a training step was made: weights follow where ``every_weights`` asks for them."""
        self._trained += 1
        if self.selection.every_weights and self._trained % self.selection.every_weights == 0:
            self.snapshot(task=task)

    def checkpoint(self, number: int) -> None:
        """Write everything to the disk, under a number that :meth:`rewind` goes back to."""
        self._passes.close()
        self.mark("checkpoint", task=number, text=counts_as_text(self._passes.numbers, self._trained))
        self.flush()
        if self._here:
            self._file.sync()

    def rewind(self, number: int | None) -> None:
        """Forget what was recorded behind a checkpoint: what follows is recorded anew. ``None`` forgets everything.

        Raises:
            BadInput: If there is no such checkpoint in the file.
        """
        self.flush()
        if not self._here:
            return
        lengths = lengths_at(self._file, number)
        self._passes.numbers, self._trained = counts_at(self._file, number)
        self._file.truncate(lengths)
        self._writer.blocks = Blocks(self._file, self.selection, self.dt_ms)

    def flush(self) -> None:
        """Wait until everything recorded so far is in the file; nothing in a process that inherited the recorder."""
        self._check_open()
        if self._here:
            self._passes.close()
            self._writer.wait()

    def close(self) -> None:
        """End recording; the file is then an ordinary one, with the views of other readers. Twice is as good as once.

        Where it is interrupted, a second call does the rest.

        Raises:
            BadInput: If writing failed; what was committed before stays readable.
        """
        if self._finished or not self._here:
            return
        self._closed = True
        with contextlib.suppress(BadInput):  # the writer's error, which comes below
            self._passes.close()
        self._detach()
        self._writer.end()
        try:
            self._writer.check()
            self._file.close()
        except BaseException:
            self._file.abandon()
            self._finished = True
            raise
        self._finished = True
        if not self._interrupted:
            self._asked.warn(self._passes)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        self._interrupted = error is not None
        try:
            self.close()
        except BadInput:
            if error is None:  # otherwise the first one counts
                raise

    def __deepcopy__(self, memo: dict[int, Any]) -> "Recorder":
        return self  # a copied network is not recorded; hooks in it must not carry a second writer

    def _seeing(self, name: str) -> Callable[[Any], None]:
        def tell(sight: Any) -> None:
            if not self._closed and self._here:
                self._passes.see(name, sight)

        return tell

    @torch.compiler.disable(reason=CUT)
    def _enter(self, network: nn.Module, *_: Any) -> None:
        if not self._closed and self._here:
            self._passes.enter(network)

    @torch.compiler.disable(reason=CUT)
    def _leave(self, network: nn.Module, *_: Any) -> None:
        if not self._closed and self._here:
            self._passes.leave(network)

    def _emit(self, passage: Passage) -> None:
        self._put(lambda: self._writer.blocks.add(passage), size=passage.nbytes)

    def _put(self, work: Callable[[], object], *, size: int = 0) -> None:
        if self._here:
            self._writer.put(work, size=size)

    @property
    def _here(self) -> bool:
        """Whether this is the process of the writer, not one that was forked from it."""
        return os.getpid() == self._process

    def _check_open(self) -> None:
        if self._closed:
            raise BadInput(f"the recorder of {self.path} is closed: make a new one with resume=True to go on")

    def detach(self) -> None:
        """Record none of the networks attached so far any longer; the file stays open."""
        self._passes.close()
        self._detach()

    def _detach(self) -> None:
        for stop in self._stops:
            stop()
        self._stops, self._networks, self._names = [], [], []
        self._passes.graded.clear()
        self._passes.stack = [each for each in self._passes.stack if not isinstance(each, nn.Module)]
