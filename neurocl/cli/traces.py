"""``neurocl show traces.h5``: what was recorded, in tables, and the figures beside the file."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from neurocl.primitives import files
from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput

EDGELESS = 10_000  # columns of a page that never wraps
NAME_BYTES = 180  # of a file; most systems take 255, of which a digest and a name on the way need some


def print_traces(path: Path, populations: Sequence[str] | None = None) -> None:
    """Print the tables of a trace file; save its figures to a folder beside it.

    A figure that cannot be drawn is one line with the reason, and the others are drawn.

    Args:
        path: The file.
        populations: To draw; without them the last few.

    Raises:
        BadInput: If it cannot be read, has no such population, figures cannot be written, or none can be drawn.
    """
    from neurocl.record import drawings, overview, plots
    from neurocl.record import open as open_traces

    console = Console(highlight=False, soft_wrap=True)
    refused: list[str] = []
    with open_traces(path) as traces:
        drawn = drawings.drawn_populations(traces, populations)
        console.print(title_of(traces.run["metadata"], path), style="bold", markup=False)
        size = path.stat().st_size
        clock = int(traces.samples["time_steps"].sum()) * traces.dt_ms / 1000
        console.print(
            f"{len(traces)} samples, {clock:,.1f} s of {traces.dt_ms:g} ms steps, {size / 1e6:,.1f} MB", markup=False
        )
        console.print(phase_table(traces.samples))
        print_populations(console, overview.table_of(traces))
        folder = path.with_name(f"{path.stem}_plots")
        files.make_folder(folder)
        count = 0
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("drawing", total=None)
            for name, draw in drawings.drawings_of(traces, drawn):
                progress.update(task, description=f"drawing {escape(plots.shortened(name, 60))}")
                try:
                    figure = draw()
                except (ValueError, LookupError, MemoryError) as problem:
                    refused.append(f"not drawn: {name}: {problem or type(problem).__name__}")
                    continue
                plots.save(figure, folder / file_name(name))
                count += 1
        if populations is None and len(drawn) < len(traces.populations):
            words = f"{', '.join(drawn) or 'none'}, of {len(traces.populations)} populations"
            console.print(f"drawn: {words}; others with --population NAME", markup=False)
    for line in refused:
        console.print(" ".join(line.split()), markup=False)
    if refused and not count:
        raise BadInput(f"none of the {len(refused)} figures of {path} can be drawn, for the reasons above")
    console.print(f"{count} plots: {folder}", markup=False)
    console.print(f"in Python: traces = neurocl.record.open({str(path)!r})", markup=False)


def file_name(figure: str) -> str:
    """Return the name of a figure's file: that of the figure, or what every file system takes of it and a digest."""
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", figure).encode(errors="replace")
    kept = plain[:NAME_BYTES].decode(errors="ignore")
    return f"{kept}.png" if kept == figure else f"{kept}-{hashlib.sha256(figure.encode()).hexdigest()[:8]}.png"


def title_of(metadata: dict[str, object], path: Path) -> str:
    """Return what a recording is of."""
    if not {"model", "stream", "setting", "seed"} <= metadata.keys():
        return path.name
    words = [f"{metadata[name]}" for name in ("model", "coding", "stream", "setting", "seed")]
    return "{} ({}) on {}, {}, seed {}".format(*words)


def phase_table(samples: dict[str, np.ndarray]) -> Table:
    """Count samples by phase and by the task that was being learnt."""
    table = Table(box=None, pad_edge=False, padding=(0, 2), title="samples by phase", title_justify="left")
    stages = sorted({int(stage) for stage in np.unique(samples["stage"])})
    shown = stages if len(stages) <= 12 else [*stages[:11], stages[-1]]
    table.add_column("phase")
    for stage in shown:
        table.add_column("before" if stage < 0 else f"task {stage + 1}", justify="right")
    table.add_column("all", justify="right")
    for number, phase in [*enumerate(PHASES), (-1, "not said")]:
        chosen = samples["phase"] == number
        if chosen.any():
            counts = [int((chosen & (samples["stage"] == stage)).sum()) for stage in shown]
            table.add_row(phase, *(str(count or "") for count in counts), str(int(chosen.sum())))
    return table


def print_populations(console: Console, rows: list) -> None:
    """Describe populations, one a line with its name whole; what was recorded apart where a terminal has no room."""
    edgeless = Console(width=EDGELESS)
    whole = population_table(rows, MEASURED | RECORDED)
    if not console.is_terminal or edgeless.measure(whole).maximum <= console.width:
        Console(width=EDGELESS, highlight=False).print(whole)  # a pipe or file has no edge
        return
    console.print(population_table(rows, MEASURED), soft_wrap=False)
    console.print(population_table(rows, RECORDED, title="recorded"), soft_wrap=False)


def population_table(rows: list, columns: dict[str, Callable[[Any], str]], title: str = "populations") -> Table:
    """Return a line for each population, with these columns; only its name is ever folded."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), title=title, title_justify="left")
    table.add_column("population", overflow="fold")
    for name in columns:
        text = name == "recorded"
        table.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    for row in rows:
        table.add_row(escape(row.name), *(escape(cell(row)) for cell in columns.values()))
    return table


def mean_of(row: Any) -> str:
    """Return the mean output with its unit."""
    if row.rate is None:
        return ""
    return f"{row.rate:.1f} Hz" if "spikes" in row.stored else f"{row.rate:.3g}"


MEASURED: dict[str, Callable[[Any], str]] = {
    "neurons": lambda row: str(row.neurons),
    "samples": lambda row: str(row.samples),
    "mean": mean_of,
    "silent": lambda row: "" if row.silent is None else f"{100 * row.silent:.1f} %",
    "interval CV": lambda row: "" if row.variation is None else f"{row.variation:.2f}",
}
RECORDED: dict[str, Callable[[Any], str]] = {
    "recorded": lambda row: ", ".join(f"{name} ({kind})" for name, kind in row.stored.items())
}
