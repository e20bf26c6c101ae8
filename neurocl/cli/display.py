"""What the user sees: progress on stderr while runs go on, tables on stdout."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from neurocl.primitives.files import read_json
from neurocl.run.compare import COST, QUALITY, Column, Comparison
from neurocl.run.job import Job
from neurocl.run.workers import JobsWatcher, Outcome

EDGELESS = 200  # columns of text, where there is no terminal to say how many


class Silent:
    """Shows nothing."""

    def job_begins(self, index: int) -> None:
        """Say nothing."""

    def job_advances(self, index: int, share: float, text: str) -> None:
        """Say nothing."""

    def job_ends(self, index: int, outcome: Outcome) -> None:
        """Say nothing."""


class Lines(Silent):
    """One plain line for each finished run, for logs and pipes."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.jobs = jobs
        self.console = console
        self.ended = 0

    def job_ends(self, index: int, outcome: Outcome) -> None:
        """Print how it went."""
        self.ended += 1
        count = f"{self.ended:{len(str(len(self.jobs)))}}/{len(self.jobs)}"
        self.console.print(f"{count}  {name_of(self.jobs[index])}: {ending(outcome)}", markup=False)


class Bars(Silent):
    """A bar for each run that is going on, and one for all."""

    def __init__(self, jobs: Sequence[Job], progress: Progress) -> None:
        self.jobs = jobs
        self.progress = progress
        self.bars: dict[int, TaskID] = {}
        self.total = progress.add_task("all runs", total=float(len(jobs)), text="") if len(jobs) > 1 else None
        self.shares = [0.0] * len(jobs)

    def job_begins(self, index: int) -> None:
        """Add a bar."""
        self.bars[index] = self.progress.add_task(name_of(self.jobs[index]), total=1.0, text="")

    def job_advances(self, index: int, share: float, text: str) -> None:
        """Move the bar on."""
        self.progress.update(self.bars[index], completed=share, text=text)
        self.move_total(index, share)

    def job_ends(self, index: int, outcome: Outcome) -> None:
        """Turn the bar into a line of text above the others."""
        self.progress.remove_task(self.bars.pop(index))
        self.progress.console.print(f"{name_of(self.jobs[index])}: {ending(outcome)}", markup=False, highlight=False)
        self.move_total(index, 1.0)

    def move_total(self, index: int, share: float) -> None:
        """Move the bar of all runs on."""
        self.shares[index] = share
        if self.total is not None:
            self.progress.update(self.total, completed=sum(self.shares))


@contextmanager
def watching(jobs: Sequence[Job], *, quiet: bool) -> Iterator[JobsWatcher]:
    """Show the progress of ``jobs``: bars on a terminal, lines elsewhere, nothing if ``quiet``."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if quiet:
        yield Silent()
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=console) as progress:
            yield Bars(jobs, progress)
    else:
        yield Lines(jobs, console)


def name_of(job: Job) -> str:
    """Model, coding and seed of a run."""
    coding = f":{job.coding}" if job.coding else ""
    return f"{Path(job.model).name}{coding} seed {job.seed}"


def ending(outcome: Outcome) -> str:
    """How a run ended, in a few words."""
    if outcome.folder is None:
        return "no result"
    accuracy = 100 * read_json(outcome.folder / "results.json")["average_accuracy"]
    return f"{accuracy:.1f} % in {outcome.seconds:.1f} s"


def print_comparison(comparison: Comparison, *, brief: bool = False) -> None:
    """Print the table: in one piece where there is room, otherwise accuracy, bytes and operations apart."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=EDGELESS, highlight=False)  # a pipe or file has no edge
    console.print(comparison.title, style="bold", markup=False, soft_wrap=True)
    for table in tables_that_fit(comparison, console.width):
        console.print(table)
        console.print()
    if not brief:
        for note in comparison.notes:
            console.print(f"- {note}", markup=False, style="dim", soft_wrap=True)


def tables_that_fit(comparison: Comparison, width: int) -> list[Table]:
    """The columns in as few tables as fit into ``width``."""
    ruler = Console(width=EDGELESS)
    layouts = ([(*QUALITY, *COST)], [QUALITY, COST], [QUALITY, COST[:3], COST[3:]])
    tables: list[Table] = []
    for columns in layouts:
        tables = [table_of(comparison, part) for part in columns]
        if all(ruler.measure(table).maximum <= width for table in tables):
            break
    return tables


def table_of(comparison: Comparison, columns: Sequence[Column]) -> Table:
    """The rows of a comparison with these columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    table.add_column("coding", no_wrap=True)
    for column in columns:
        table.add_column(column.header, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(row.model, row.coding, *(row.cell(column) for column in columns))
    return table
