"""``neurocl export``: a trace file in a format of the field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from neurocl.primitives.checks import BadInput, check_name

FORMATS = ("sonata", "nir", "nwb")
ENDINGS = {".nwb": "nwb", ".nir.h5": "nir", ".sonata.h5": "sonata"}


def export(text: str, destination: str, *, to: str | None, quiet: bool = False, **chosen: Any) -> None:
    """Write a trace file's activity to a new file of another format, and say what is in it.

    Raises:
        BadInput: If there is no trace file, nothing of it is chosen, or the destination cannot be had.
    """
    import neurocl.record
    from neurocl.record import exports

    path, place = Path(text).expanduser(), Path(destination).expanduser()
    path = path / "traces.h5" if path.is_dir() else path
    write: Callable[..., object] = getattr(exports, f"to_{format_of(place, to)}")
    said = Console(stderr=True, highlight=False, quiet=quiet, soft_wrap=True)
    with neurocl.record.open(path) as traces, said.status("reading") as status:
        write(traces, place, progress=lambda word: status.update(escape(word)), **chosen)
        known = {name: value for name, value in chosen.items() if name in {"task", "phase"}}
        samples = len(traces.select(**known))
    said.print(f"{place}: {samples} samples, {decimal(place.stat().st_size)}", markup=False)


def format_of(place: Path, to: str | None) -> str:
    """Return the format asked for, or that of the destination's ending.

    Raises:
        BadInput: If neither says it.
    """
    if to is not None:
        return check_name("format", to, FORMATS)
    for ending, name in ENDINGS.items():
        if place.name.endswith(ending):
            return name
    raise BadInput(
        f"DEST must end in {' or '.join(ENDINGS)}, or --to must name its format: {', '.join(FORMATS)}; got {place.name}"
    )
