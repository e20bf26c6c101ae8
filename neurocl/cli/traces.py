"""``neurocl show traces.h5``: what was recorded, in tables, and the figures beside the file."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from neurocl.primitives import files
from neurocl.primitives.annotation import PHASES


def print_traces(path: Path) -> None:
    """Print the tables of a trace file; save its figures to a folder beside it.

    Raises:
        BadInput: If it cannot be read, or the figures cannot be written.
    """
    from neurocl.record import open as open_traces
    from neurocl.record import overview, plots

    console = Console(highlight=False, soft_wrap=True)
    with open_traces(path) as traces:
        console.print(title_of(traces.run["metadata"], path), style="bold", markup=False)
        size = path.stat().st_size
        clock = int(traces.samples["time_steps"].sum()) * traces.dt_ms / 1000
        console.print(
            f"{len(traces)} samples, {clock:,.1f} s of {traces.dt_ms:g} ms steps, {size / 1e6:,.1f} MB", markup=False
        )
        console.print(phase_table(traces.samples))
        console.print(population_table(overview.table_of(traces)))
        folder = path.with_name(f"{path.stem}_plots")
        files.make_folder(folder)
        count = 0
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("drawing", total=None)
            for name, figure in overview.figures_of(traces):
                progress.update(task, description=f"drawing {name}")
                plots.save(figure, folder / f"{name}.png")
                count += 1
    console.print(f"{count} plots: {folder}", markup=False)
    console.print(f"in Python: traces = neurocl.record.open({str(path)!r})", markup=False)


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


def population_table(rows: list) -> Table:
    """Describe populations, one a line."""
    table = Table(box=None, pad_edge=False, padding=(0, 2), title="populations", title_justify="left")
    for name in ("population", "neurons", "samples", "mean", "silent", "interval CV", "recorded"):
        table.add_column(name, justify="left" if name in ("population", "recorded") else "right")
    for row in rows:
        spiking = "spikes" in row.stored
        mean = "" if row.rate is None else f"{row.rate:.1f} Hz" if spiking else f"{row.rate:.3g}"
        table.add_row(
            row.name,
            str(row.neurons),
            str(row.samples),
            mean,
            "" if row.silent is None else f"{100 * row.silent:.1f} %",
            "" if row.variation is None else f"{row.variation:.2f}",
            ", ".join(f"{name} ({kind})" for name, kind in row.stored.items()),
        )
    return table
