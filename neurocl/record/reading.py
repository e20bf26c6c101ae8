"""Reading a trace file: lazily, by population, variable, task, class, phase, sample and time.

Nothing is read before numbers are asked for, and then only the rows in question.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput, check_name
from neurocl.record import layout
from neurocl.record.population import Population
from neurocl.record.steady_file import About, SteadyFile

Numbers = int | Sequence[int] | NDArray[Any] | None


class Marker(NamedTuple):
    """Something that happened, at a step of the clock and before a sample."""

    step: int
    sample: int
    kind: str
    task: int
    value: float
    text: str


class Traces:
    """A trace file, open for reading; also while it is being written, or after its writer was killed.

    Args:
        path: The file.

    Attributes:
        run: What made the file: ``dt_ms``, ``selection``, ``metadata``, ``versions``.
        dt_ms: Length of a step.

    Raises:
        BadInput: If there is no such file, or it is none of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._source = SteadyFile(Path(path).expanduser())
        self.run: dict[str, Any] = self._source.run
        self.dt_ms = float(self.run["dt_ms"])
        self._lengths = self._source.lengths

    def __enter__(self) -> "Traces":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        self._source.close()

    def __len__(self) -> int:
        """Number of samples."""
        return self._lengths[f"{layout.SAMPLES}/label"]

    def __getitem__(self, population: str) -> Population:
        check_name("population", population, self.populations)
        return Population(self, population)

    def __iter__(self) -> Iterator[str]:
        return iter(self.populations)

    @cached_property
    def populations(self) -> list[str]:
        """Names of the populations, in order of appearance."""
        names = [name.split("/")[0] for name in self.names(f"{layout.INDEX}/")]
        return [name for name in dict.fromkeys(names) if name != "weights"]

    @cached_property
    def samples(self) -> dict[str, NDArray[Any]]:
        """What is known of every sample: ``start_step``, ``time_steps``, ``label``, ``task``, ``stage``, ``phase``.

        And ``sample_id`` and ``passage``, the number of the pass within its phase. -1 where nobody said; phases are
        numbered as :data:`PHASES` has them.
        """
        return {name: self.rows(f"{layout.SAMPLES}/{name}") for name in layout.COLUMNS}

    @cached_property
    def markers(self) -> list[Marker]:
        """What happened when, in order."""
        columns = [self.rows(f"{layout.MARKS}/{name}") for name in layout.MARKERS]
        return [
            Marker(int(step), int(sample), kind.decode(), int(task), float(value), text.decode(errors="replace"))
            for step, sample, kind, task, value, text in zip(*columns, strict=True)
        ]

    @property
    def weights(self) -> list[str]:
        """Names of the parameters that snapshots were taken of."""
        return self.names(f"{layout.WEIGHTS}/")

    def snapshots(self, parameter: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the steps of the clock and the weights ``[k, ...]`` of a parameter's snapshots.

        Raises:
            UnknownName: If there are none of that parameter.
        """
        check_name("recorded parameter", parameter, self.weights)
        index = self.rows(f"{layout.INDEX}/weights/{parameter}")
        values = self.rows(f"{layout.WEIGHTS}/{parameter}")
        if self.about(f"{layout.WEIGHTS}/{parameter}").attributes["kind"] == "changes":
            for row in range(1, len(values)):
                if not index[row, 2]:
                    values[row] += np.nan_to_num(values[row - 1])
        return index[:, 1], values

    def select(
        self,
        *,
        task: Numbers = None,
        stage: Numbers = None,
        label: Numbers = None,
        phase: str | None = None,
        sample_id: Numbers = None,
        samples: Numbers | slice = None,
        **unknown: object,
    ) -> NDArray[np.int64]:
        """Return the samples, by their number in the file, of which everything named is true.

        Args:
            task: The task they are from.
            stage: The task that was being learnt, or was learnt last.
            label: Their class.
            phase: ``"training"``, ``"evaluation"``, ``"replay"`` or ``"consolidation"``.
            sample_id: Their own number, constant over passes.
            samples: Numbers in the file, a slice, or a mask over all samples.
            unknown: Nothing; another word is refused.

        Raises:
            BadInput: If these cannot be samples; :class:`UnknownName` for another word.
        """
        for name in unknown:
            check_name("choice of samples", name, ("task", "stage", "label", "phase", "sample_id", "samples"))
        chosen = np.ones(len(self), bool)
        for name, wanted in (("task", task), ("stage", stage), ("label", label), ("sample_id", sample_id)):
            if wanted is not None:
                chosen &= np.isin(self.samples[name], whole_numbers(name, wanted))
        if phase is not None:
            chosen &= self.samples["phase"] == PHASES.index(check_name("phase", phase, PHASES))
        if isinstance(samples, slice):
            inside = np.zeros(len(self), bool)
            inside[samples] = True
            chosen &= inside
        elif samples is not None:
            chosen &= self._inside(samples)
        return chosen.nonzero()[0]

    def _inside(self, samples: Numbers) -> NDArray[np.bool_]:
        """Return which samples are meant, by numbers or by a mask."""
        mask = np.asarray(samples)
        if mask.dtype == bool:
            if mask.shape != (len(self),):
                raise BadInput(
                    f"samples must, as a mask, be one value for each of the {len(self)} in the file; got {mask.shape}"
                )
            return mask
        numbers = whole_numbers("samples", samples)
        bad = numbers[(numbers < 0) | (numbers >= len(self))]
        if len(bad):
            raise BadInput(f"samples must lie between 0 and {len(self) - 1}; got {bad[0]:.0f}")
        return np.isin(np.arange(len(self)), numbers)

    def rows(self, name: str, first: int = 0, last: int | None = None) -> NDArray[Any]:
        """Return the whole rows of a dataset from ``first`` to ``last``."""
        length = self._lengths[name]
        last = length if last is None else min(last, length)
        return self._source.ask(lambda file: file[name][first:last])

    def about(self, name: str) -> About:
        """Return the shape, type and attributes of a dataset."""
        return self._source.about(name)

    def names(self, start: str) -> list[str]:
        """Return the rests of the names of datasets that begin so."""
        return [name.removeprefix(start) for name in self._lengths if name.startswith(start)]

    def length(self, name: str) -> int | None:
        """Return how many rows of a dataset are whole; ``None`` if there is no such dataset."""
        return self._lengths.get(name)


def whole_numbers(name: str, values: Numbers) -> NDArray[Any]:
    """Return one number or several as an array ``[k]``."""
    found = np.atleast_1d(np.asarray(values))
    if found.ndim != 1 or found.dtype.kind not in "iuf" or bool((found != np.rint(found)).any()):
        raise BadInput(f"{name} must be a whole number or several in one row; got {values!r}")
    return found


def open(path: str | Path) -> Traces:  # as h5py.File and numpy.load: read as neurocl.record.open
    """Open a trace file for reading; see :class:`Traces`."""
    return Traces(path)
