"""How long every dataset of a trace file was at a checkpoint, for a resumed run to go on behind it."""

from typing import Any

import numpy as np

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput
from neurocl.record import layout
from neurocl.record.columns import UNKNOWN
from neurocl.record.trace_file import TraceFile


def lengths_at(file: TraceFile, number: int | None) -> dict[str, int]:
    """Return the lengths that every dataset had at a checkpoint."""
    if number is None:
        return {}
    row, lengths = row_of_checkpoint(file, number), {}
    sample, step = (int(file.file[f"{layout.MARKS}/{name}"][row]) for name in ("sample", "step"))
    for name in file.lengths:
        if name.startswith(f"{layout.SAMPLES}/"):
            lengths[name] = sample
        elif name.startswith(f"{layout.MARKS}/"):
            lengths[name] = row + 1
        elif name.startswith(f"{layout.INDEX}/"):
            index = file.file[name][...]
            weights = name.startswith(f"{layout.INDEX}/weights/")
            count = int((index[:, 1] <= step).sum() if weights else (index[:, 0] < sample).sum())
            lengths[name] = count
            owner = name.removeprefix(f"{layout.INDEX}/")
            rows_there = index[count, 1] if count < len(index) else None
            lengths |= owned(file, owner, count if weights else rows_there)
    return lengths


def row_of_checkpoint(file: TraceFile, number: int) -> int:
    """Return the last marker of a checkpoint."""
    kinds, tasks = (file.file[f"{layout.MARKS}/{name}"][...] for name in ("kind", "task"))
    rows = np.flatnonzero((kinds == b"checkpoint") & (tasks == number))
    if not len(rows):
        raise BadInput(f"{file.path} has no checkpoint {number}: it was recorded by another run")
    return int(rows[-1])


def counts_as_text(passes: list[int], trained: int) -> str:
    """Return numbers of passes and training steps as the text of a checkpoint's marker."""
    return " ".join(map(str, [*passes, trained]))


def counts_at(file: TraceFile, number: int | None) -> tuple[list[int], int]:
    """Return how many passes there were by phase, and training steps, at a checkpoint; ``None`` is the beginning."""
    written: list[str] = []
    if number is not None:
        text = file.file[f"{layout.MARKS}/text"][row_of_checkpoint(file, number)]
        written = text.decode().split()  # none in files of before
    *passes, trained = [int(word) for word in written] or [0] * (len(PHASES) + 2)
    return passes, trained


def counts_so_far(file: TraceFile) -> list[int]:
    """Return by phase the number behind that of the last pass that is there: those left out behind it are not known."""
    phases, passages = (file.file[f"{layout.SAMPLES}/{name}"][...] for name in ("phase", "passage"))
    return [int(passages[phases == phase].max(initial=-1)) + 1 for phase in (*range(len(PHASES)), UNKNOWN)]


def owned(file: TraceFile, owner: str, rows: Any) -> dict[str, int]:
    """Return the lengths of the datasets that an index speaks of; ``None`` for the rows leaves them whole."""
    population, _, variable = owner.rpartition("/")
    if owner.startswith("weights/"):
        names = [f"{layout.WEIGHTS}/{owner.removeprefix('weights/')}"]
    else:
        node = f"{layout.SPIKES}/{population}"
        names = [f"{layout.TRACES}/{owner}", f"{node}/timestamps", f"{node}/node_ids", f"{node}/sample_ids"]
        names = names[:1] if variable != "spikes" else [f"{layout.RASTER}/{population}", *names[1:]]
    return {name: file.lengths[name] if rows is None else int(rows) for name in names if file.has(name)}
