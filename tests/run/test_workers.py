"""Do runs in other processes give the same results, and does one that dies or fails harm no other?"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from neurocl.run.job import execute
from neurocl.run.results import TIMES
from neurocl.run.workers import Reporter, Worker, environment_variables, run_here, run_in_workers, run_jobs


class Notes:
    """Notes what it is told."""

    def __init__(self):
        self.begun, self.shares, self.ended = [], {}, {}

    def job_begins(self, index):
        self.begun.append(index)

    def job_advances(self, index, share, text):
        self.shares.setdefault(index, []).append(share)

    def job_ends(self, index, outcome):
        self.ended[index] = outcome.kind


def measured(folder):
    results = json.loads((folder / "results.json").read_text())
    return {**results, "cost": {key: value for key, value in results["cost"].items() if key not in TIMES}}


def test_a_process_that_dies_and_a_run_that_is_refused_harm_no_other(job, tmp_path):
    jobs = [
        replace(job, settings=(("kill_at_task", "1"),)),  # in the worker, which takes the process with it
        replace(job, settings=(("learning_rate", "1e30"),)),
        replace(job, seed=1),
        replace(job, seed=2, stream="nonsense"),
    ]
    notes = Notes()
    outcomes = run_in_workers(jobs, notes, workers=2)
    assert [outcome.kind for outcome in outcomes] == ["failed", "refused", "done", "refused"]
    assert outcomes[0].reason == "its process was ended by SIGKILL; often for lack of memory"
    assert "diverged" in outcomes[1].reason
    assert "no stream named 'nonsense'" in outcomes[3].reason
    assert notes.begun == [0, 1, 2, 3]
    assert notes.ended == {0: "failed", 1: "refused", 2: "done", 3: "refused"}
    assert measured(outcomes[2].folder) == measured(execute(replace(job, seed=1, out=str(tmp_path / "here"))))


@pytest.mark.parametrize(
    ("cores", "jobs", "asked", "found"),
    [
        (4, 3, {}, (3, 1)),
        (8, 3, {}, (3, 2)),
        (2, 5, {}, (2, 1)),
        (4, 5, {"workers": 2}, (2, 2)),
        (4, 1, {}, "here"),
        (1, 3, {}, "here"),
    ],
)
def test_runs_share_the_cores_and_a_single_one_runs_here(job, monkeypatch, cores, jobs, asked, found):
    monkeypatch.setattr("neurocl.run.workers.usable_cores", lambda: cores)
    seen = []
    monkeypatch.setattr("neurocl.run.workers.run_here", lambda jobs, watcher: seen.append("here") or [])
    monkeypatch.setattr(
        "neurocl.run.workers.run_in_workers",
        lambda jobs, watcher, *, workers, threads: seen.append((workers, threads)) or [],
    )
    run_jobs([job] * jobs, Notes(), **asked)
    assert seen == [found]


def test_an_error_of_the_program_is_reported_with_its_traceback(job, monkeypatch):
    monkeypatch.setattr("neurocl.run.job.run", lambda *arguments, **named: 1 / 0)
    notes = Notes()
    (outcome,) = run_here([job], notes)
    assert (outcome.kind, outcome.reason) == ("failed", "ZeroDivisionError: division by zero")
    assert "Traceback" in outcome.details
    assert notes.ended == {0: "failed"}


def test_progress_is_told_as_a_share_that_grows_to_one(monkeypatch):
    monkeypatch.setattr("neurocl.run.workers.REPORT_EVERY_S", 0.0)
    told = []
    reporter = Reporter(lambda share, text: told.append((share, text)))
    for task in range(2):
        reporter.task_begins(task, 2, 4)
        for _ in range(4):
            reporter.batch_done({})
        reporter.task_ends(task, [0.5] * (task + 1) + [None] * (1 - task))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[:3] == [0.0, 0.125, 0.25]
    assert told[-1] == (1.0, "50.0 % on 2 of 2 tasks")


def test_processes_keep_freed_memory_unless_the_user_wants_otherwise(job, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "12345")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    if not Path("/proc/self/environ").exists():
        pytest.skip("this system does not show the environment of a process")
    worker = Worker(1)
    worker.give(0, job)  # so that it has left fork behind
    while not worker.connection.poll(30):
        pass
    given = Path(f"/proc/{worker.process.pid}/environ").read_text().split("\0")
    worker.process.kill()
    assert "MALLOC_TRIM_THRESHOLD_=12345" in given
    assert "MALLOC_MMAP_THRESHOLD_=33554432" in given
    assert "MALLOC_MMAP_THRESHOLD_" not in os.environ


def test_the_environment_is_as_before_after_a_block():
    before = dict(os.environ)
    with environment_variables({"NEUROCL_NEW": "1", "PATH": "elsewhere"}):
        assert os.environ["NEUROCL_NEW"] == "1"
    assert dict(os.environ) == before
