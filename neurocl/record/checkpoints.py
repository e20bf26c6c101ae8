"""How long every dataset of a trace file was at a checkpoint, for a resumed run to go on behind it."""

from typing import Any

from neurocl.primitives.checks import BadInput
from neurocl.record import layout
from neurocl.record.trace_file import TraceFile


def lengths_at(file: TraceFile, number: int | None) -> dict[str, int]:
    """Return the lengths that every dataset had at a checkpoint."""
    if number is None:
        return {}
    marks = {name: file.file[f"{layout.MARKS}/{name}"][...] for name in layout.MARKERS}
    rows = [
        row
        for row, (kind, task) in enumerate(zip(marks["kind"], marks["task"], strict=True))
        if kind == b"checkpoint" and task == number
    ]
    if not rows:
        raise BadInput(f"{file.path} has no checkpoint {number}: it was recorded by another run")
    row, lengths = rows[-1], {}
    sample, step = int(marks["sample"][row]), int(marks["step"][row])
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
