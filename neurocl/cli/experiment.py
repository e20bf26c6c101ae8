"""What every file in ``experiments/`` ends in: a list of claims, run, and a table of stated beside obtained numbers."""

import statistics
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from neurocl.cli.display import watching
from neurocl.cli.runs import seeds_of
from neurocl.primitives.checks import BadInput
from neurocl.primitives.files import make_folder, read_json, write_json, write_text
from neurocl.run.environment import hardware
from neurocl.run.job import Job, safe
from neurocl.run.workers import run_jobs


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row: a model on a stream, and the number it is held against.

    Attributes:
        label: What the row is called.
        model: Name of the model; ``name:rate`` for rate units.
        stream: Name of the stream.
        stated: The number it is held against, in per cent, as its source gives it; empty where there is none.
        setting: What the learner is told; ``None`` leaves it to the stream.
        settings: Overrides of the model's ``Config``.
        options: Options of the stream.
        key: Which number of ``results.json``.
        record: What is recorded of the activity, as ``--set record.NAME`` takes it; ``None`` records nothing.
    """

    label: str
    model: str
    stream: str
    stated: str = ""
    setting: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    key: str = "average_accuracy"
    record: dict[str, Any] | None = None

    def job(self, seed: int, out: Path) -> Job:
        """The run of one seed."""
        model, _, coding = self.model.partition(":")
        options = "".join(f"+{name}={text(value)}" for name, value in self.options.items())
        return Job(
            model=model,
            coding=coding or None,
            stream=self.stream,
            setting=self.setting,
            settings=tuple((name, text(value)) for name, value in self.settings.items()),
            options=tuple((name, text(value)) for name, value in self.options.items()),
            seed=seed,
            out=str(out / safe(self.stream + options) / (self.setting or "default")),
            resume=True,
            record=None if self.record is None else tuple((name, text(value)) for name, value in self.record.items()),
        )


def text(value: Any) -> str:
    """Write a value as ``--set`` takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for on an experiment's command line.

    Attributes:
        flags: Names of the flags given, without dashes.
        rows: Only rows whose label holds this text, in either case; ``None`` means all.
        seeds: In place of the experiment's own.
    """

    flags: frozenset[str] = frozenset()
    rows: str | None = None
    seeds: tuple[int, ...] | None = None

    @property
    def partial(self) -> bool:
        """Whether the table would not be the experiment's."""
        return self.rows is not None or self.seeds is not None

    def chosen(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the rows asked for; ends the program with all their names where there is none."""
        wanted = (self.rows or "").lower()
        found = [claim for claim in claims if wanted in claim.label.lower()]
        if not found:
            raise SystemExit(f"--rows {self.rows!r} names none of: {'; '.join(claim.label for claim in claims)}")
        return found


def asked(doc: str | None, *flags: str, rows: bool = False) -> Asked:
    """Read the command line of an experiment: ``--help`` prints ``doc``, and what is not known ends the program.

    Args:
        doc: Docstring of the file; it says what flags do.
        flags: Names of flags, without dashes.
        rows: Whether ``--rows`` and ``--seeds`` are taken too, for :func:`tabulate`.
    """
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true", help="see above")
    if rows:
        parser.add_argument("--rows", metavar="TEXT", help="only rows whose label holds TEXT; printed, not saved")
        parser.add_argument("--seeds", type=_seeds, help="0, 0,1,2 or 0-4 in place of the experiment's; likewise")
    given = vars(parser.parse_args())
    chosen = frozenset(flag for flag in flags if given[flag])
    return Asked(flags=chosen, rows=given.get("rows"), seeds=given.get("seeds"))


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(seeds_of(text))
    except BadInput as error:
        raise ArgumentTypeError(str(error)) from error


def tabulate(
    title: str,
    claims: Sequence[Claim],
    *,
    seeds: Sequence[int],
    out: str | Path,
    notes: str = "",
    asked: Asked | None = None,
) -> int:
    """Run every claim with every seed, or go on with what is there, and print and save the table.

    Args:
        title: Stands above the table.
        claims: Rows.
        seeds: Runs of each row.
        out: Folder of the runs and of ``table.md`` and ``table.json``.
        notes: Printed under the table.
        asked: What the command line asks for; a table of a part is printed and not saved, its runs are kept.

    Returns:
        Exit code: 0 if every run came to its end.
    """
    folder, asked = Path(out), asked or Asked()
    claims, seeds = asked.chosen(claims), asked.seeds or seeds
    jobs = [claim.job(seed, folder) for claim in claims for seed in seeds]
    with watching(jobs, quiet=False) as watcher:
        outcomes = run_jobs(jobs, watcher)
    rows = []
    for place, claim in enumerate(claims):
        own = outcomes[place * len(seeds) : (place + 1) * len(seeds)]
        rows.append(row_of(claim, [read_json(o.folder / "results.json") for o in own if o.folder is not None]))
    machine = hardware("cpu")
    named = ", ".join(map(str, seeds))
    runs = f"seed {named}" if len(seeds) == 1 else f"{len(seeds)} seeds ({named}), mean ± SD"
    below = f"{runs}; {machine['cpu']}, {machine['cores']} cores. {notes}"
    if not asked.partial:
        make_folder(folder)
        write_text(folder / "table.md", markdown(title, rows, below))
        write_json(folder / "table.json", {"title": title, "rows": rows, "notes": below})
    console = Console(highlight=False)
    if not console.is_terminal:
        console = without_edge(console)
    console.print(title, style="bold", markup=False)
    console.print(table_of(rows))
    console.print(below.strip(), markup=False, style="dim")
    for outcome in outcomes:
        if outcome.folder is None:
            console.print(f"{outcome.job.model}, seed {outcome.job.seed}: {outcome.reason}", markup=False)
    return 0 if all(outcome.folder is not None for outcome in outcomes) else 1


def save_table(out: str | Path, lines: Sequence[str], rows: Any) -> None:
    """Write the lines of a Markdown table, and what it was made from, for experiments with a table of their own.

    Args:
        out: Folder of ``table.md`` and ``table.json``.
        lines: Of the table.
        rows: Strict JSON.
    """
    folder = Path(out)
    make_folder(folder)
    write_text(folder / "table.md", "\n".join([*lines, ""]))
    write_json(folder / "table.json", {"rows": rows})


def without_edge(console: Console) -> Console:
    """A console for pipes and files, which have no edge."""
    return Console(width=160, highlight=False, file=console.file)


def row_of(claim: Claim, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row as names and values."""
    values = [100 * found[claim.key] for found in results if found[claim.key] is not None]
    transfers = [100 * found["backward_transfer"] for found in results if found["backward_transfer"] is not None]
    rates = [r for found in results if (r := found["cost"]["mean_firing_rate"]) is not None]
    seconds = [found["cost"]["train_seconds"] for found in results]
    return {
        "label": claim.label,
        "model": claim.model,
        "stated": claim.stated,
        "obtained": spread(values),
        "values": values,
        "backward_transfer": spread(transfers) if transfers else "",
        "mean_firing_rate": statistics.fmean(rates) if rates else None,
        "train_seconds": statistics.fmean(seconds) if seconds else None,
    }


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation."""
    if not values:
        return "no result"
    return f"{statistics.fmean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


HEADS = ("", "model", "stated %", "obtained %", "backward transfer", "firing rate", "training s")


def cells_of(row: dict[str, Any]) -> list[str]:
    """A row as texts."""
    rate = "" if row["mean_firing_rate"] is None else f"{row['mean_firing_rate']:.3f}"
    seconds = "" if row["train_seconds"] is None else f"{row['train_seconds']:.0f}"
    return [row["label"], row["model"], row["stated"], row["obtained"], row["backward_transfer"], rate, seconds]


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(HEADS):
        table.add_column(head, justify="left" if place < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*cells_of(row))
    return table


def markdown(title: str, rows: Sequence[dict[str, Any]], below: str) -> str:
    """The rows in Markdown."""
    lines = [f"# {title}", "", f"| {' | '.join(HEADS)} |", f"|{'---|' * 2}{'---:|' * (len(HEADS) - 2)}"]
    lines += [f"| {' | '.join(cells_of(row))} |" for row in rows]
    return "\n".join([*lines, "", below.strip(), ""])
