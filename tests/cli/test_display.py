"""Does the display fit its terminal, and does progress end as it should?"""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from neurocl.cli.display import Bars, Lines, Silent, tables_that_fit
from neurocl.run.compare import COLUMNS, Comparison, Row
from neurocl.run.job import Job
from neurocl.run.workers import JobsWatcher, Outcome

COST = {"parameter_bytes": 1000, "auxiliary_bytes": 0, "memory_bytes": 123456, "train_seconds": 1.5}
COST |= {"synaptic_operations_per_sample": None, "multiply_accumulates_per_sample": 5e6, "mean_firing_rate": 0.05}
RESULTS = {"average_accuracy": 0.5, "average_incremental_accuracy": 0.6, "forgetting": None, "cost": COST}
RESULTS["task_incremental_accuracy"] = 1.0
ROW = Row(model="replay+memory_size=9", coding="spiking", results=[RESULTS, {**RESULTS, "average_accuracy": 0.75}])
COMPARISON = Comparison(title="t", notes=[], rows=[ROW])
JOBS = [Job(model="/a/b/mine.py", coding="rate", stream="s", seed=seed) for seed in range(2)]


def drawn(width):
    console = Console(width=width, file=io.StringIO())
    tables = tables_that_fit(COMPARISON, width)
    for table in tables:
        console.print(table)
    return len(tables), console.file.getvalue()


@pytest.mark.parametrize(("width", "parts"), [(200, 1), (100, 2), (72, 3)])
def test_no_number_is_cut_whatever_the_width(width, parts):
    tables, text = drawn(width)
    assert tables == parts
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for cell in ("62.5 ± 17.7", "replay+memory_size=9", "123.5", "5000.0", "0.050", " - "):
        assert cell in text


def test_every_column_of_the_table_is_shown_whatever_the_width():
    for width in (200, 100, 72):
        tables = tables_that_fit(COMPARISON, width)
        headers = [column.header for table in tables for column in table.columns[2:]]
        assert headers == [column.header for column in COLUMNS]


def test_all_displays_watch_jobs():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    for display in (Silent(), Lines(JOBS, console), Bars(JOBS, Progress(console=console, auto_refresh=False))):
        assert isinstance(display, JobsWatcher)


def test_bars_move_with_the_runs_and_leave_a_line_for_each():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(console=console, auto_refresh=False) as progress:
        bars = Bars(JOBS, progress)
        bars.job_begins(0)
        bars.job_begins(1)
        bars.job_advances(0, 0.5, "90 % on 1 of 2 tasks")
        total = progress.tasks[0]
        assert total.completed == 0.5
        bars.job_ends(0, Outcome(job=JOBS[0], kind="failed", reason="its process died"))
        assert total.completed == 1.0
        assert len(progress.tasks) == 2
    assert "mine.py:rate seed 0: no result" in console.file.getvalue()


def test_lines_count_the_runs():
    console = Console(file=io.StringIO(), width=100)
    lines = Lines(JOBS, console)
    lines.job_ends(1, Outcome(job=JOBS[1], kind="refused", reason="because"))
    assert console.file.getvalue() == "1/2  mine.py:rate seed 1: no result\n"
