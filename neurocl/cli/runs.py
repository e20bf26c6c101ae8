"""``neurocl run`` and ``neurocl compare``: plan the runs, run them, print and save the table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from neurocl.cli.display import name_of, print_comparison, watching
from neurocl.primitives.checks import BadInput
from neurocl.primitives.files import check_writable, remove_empty
from neurocl.run.compare import collect, plan
from neurocl.run.environment import resolve_device
from neurocl.run.job import Job, base_folder, open_stream, prepare
from neurocl.run.settings import split_settings
from neurocl.run.workers import Outcome, run_jobs

FAILED, REFUSED = 1, 2  # exit codes
MOST_SEEDS = 10_000


def template(
    stream: str,
    *,
    setting: str | None,
    device: str,
    out: str | None,
    record: bool,
    settings: Sequence[str] | None,
    resume: bool,
) -> Job:
    """Return what all runs of a command have in common."""
    if out is not None and not out.strip():
        raise BadInput("--out must name a folder; got an empty name: give . for the current folder, or leave it out")
    _, options, recorded = split_settings(settings or ())
    if recorded and not record:
        raise BadInput(f"--set record.{next(iter(recorded))} needs --record: add it, or leave the setting out")
    return Job(
        model="",
        stream=stream,
        setting=setting,
        options=tuple(options.items()),
        device=resolve_device(device),
        out=out,
        resume=resume,
        record=tuple(recorded.items()) if record else None,
    )


def judged_by(settings: Sequence[str] | None, share: float | None) -> list[str]:
    """Return the settings with those of ``--validation SHARE``."""
    held_out = [] if share is None else [f"stream.validation={share!r}", "stream.judged_on=validation"]
    return [*(settings or ()), *held_out]


def run_models(
    models: Sequence[str], job: Job, *, seeds: str, settings: Sequence[str] | None, quiet: bool, workers: int | None
) -> int:
    """Run one model with every seed; print its row and where the results are."""
    own, _, _ = split_settings(settings or ())
    jobs = [
        replace(job, model=model, settings=tuple(own.items()), seed=seed)
        for model in models
        for seed in seeds_of(seeds)
    ]
    first = prepare(jobs[0]).folder.path.parent  # a mistake shows at once, and once, not in every process
    return finish(jobs, [], folder=first, quiet=quiet, workers=workers)


def compare_models(
    models: Sequence[str], job: Job, *, seeds: str, settings: Sequence[str] | None, quiet: bool, workers: int | None
) -> int:
    """Run a comparison; print and save its table."""
    own, _, _ = split_settings(settings or ())
    jobs, left_out = plan(models, job, seeds=seeds_of(seeds), settings=own)
    folder = base_folder(jobs[0], open_stream(jobs[0]))
    return finish(jobs, left_out, folder=folder, quiet=quiet, workers=workers)


def finish(jobs: Sequence[Job], left_out: list[str], *, folder: Path, quiet: bool, workers: int | None) -> int:
    """Run ``jobs``, print their table, save it to ``folder``, say what went wrong, and return the exit code."""
    complaints = Console(stderr=True, soft_wrap=True, highlight=False)
    new = check_writable(folder)
    try:
        with watching(jobs, quiet=quiet) as watcher:
            outcomes = run_jobs(jobs, watcher, workers=workers)
    finally:
        remove_empty(new)
    for comparison in collect([outcome.folder for outcome in outcomes if outcome.folder is not None]):
        comparison = replace(comparison, notes=[*comparison.notes, *(f"left out: {line}" for line in left_out)])
        if len(jobs) > 1:
            comparison.save(folder)
        print_comparison(comparison, brief=quiet)
        if not quiet:
            complaints.print(f"results and plots: {folder}", markup=False)
    for outcome in outcomes:
        if outcome.kind != "done":
            complaints.print(complaint(outcome), markup=False)
    kinds = {outcome.kind for outcome in outcomes}
    return FAILED if "failed" in kinds else REFUSED if "refused" in kinds else 0


def complaint(outcome: Outcome) -> str:
    """Say why a run has no results; an error of the program's, unlike one of the user's, comes with its traceback."""
    return f"{outcome.details}neurocl: {name_of(outcome.job)}: {outcome.reason}"


def seeds_of(text: str) -> list[int]:
    """Read ``0``, ``0,1,2`` or ``0-4``.

    Raises:
        BadInput: If the text is no list of seeds, or of too many.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not all(word.isdecimal() and len(word) < 19 for word in ([first, last] if dash else [first])):
            raise BadInput(f"--seeds takes whole numbers, such as 0 or 0,1,2 or 0-4; got {text!r}")
        span = range(int(first), int(last or first) + 1)
        if len(seeds) + len(span) > MOST_SEEDS:
            raise BadInput(f"--seeds takes at most {MOST_SEEDS} seeds; got {text!r}: give fewer at a time")
        seeds += span
    if not seeds or len(seeds) != len(set(seeds)):
        raise BadInput(f"--seeds takes each seed once, and ranges that go upwards; got {text!r}")
    return seeds
