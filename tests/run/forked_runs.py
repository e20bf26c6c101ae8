"""Run one job again and again in forked processes that are killed; the work of ``test_resume.py``.

A process of its own, so that torch is imported once, in one thread, before anything forks. Usage: ``forked_runs.py JOB
FOLDER MOMENT...``, JOB as JSON, MOMENT either the share of a whole run's time after which it is killed, or ``name:n``:
at the n-th call of ``fsync`` or ``replace``. Every run is gone on with; results: ``FOLDER/<place of the moment>``.
"""

import json
import os
import pathlib
import signal
import sys
import time
from dataclasses import replace

import torch

from neurocl.run import plots
from neurocl.run.job import Job, execute


def die_at(name: str, call: int) -> None:
    """Let this process kill itself at the n-th call of a function that checkpoints are written by."""
    owner = {"fsync": os, "replace": pathlib.Path}[name]
    real, calls = getattr(owner, name), [0]

    def counted(*arguments):
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    setattr(owner, name, counted)


def forked(job: Job, moment: str | None = None) -> int:
    """Execute a job in a fork, kill it at ``moment``, and return the signal that ended it (0: none)."""
    child = os.fork()
    if child == 0:
        if moment and ":" in moment:
            name, call = moment.split(":")
            die_at(name, int(call))
        try:
            execute(job)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    if moment and ":" not in moment:
        time.sleep(float(moment))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"the run at moment {moment} failed")
    return os.WTERMSIG(status)


def main() -> None:
    """Run to the end once, then kill and go on at every moment."""
    job, folder, moments = Job(**json.loads(sys.argv[1])), pathlib.Path(sys.argv[2]), sys.argv[3:]
    job = replace(job, settings=tuple(map(tuple, job.settings)), options=tuple(map(tuple, job.options)))
    torch.set_num_threads(1)
    plots.save_run = lambda folder, runs: None
    execute(replace(job, out=str(folder / "warm")))  # imports and opens what is opened once
    started = time.perf_counter()
    forked(replace(job, out=str(folder / "whole")))
    seconds = time.perf_counter() - started
    ended = []
    for place, moment in enumerate(moments):
        at = moment if ":" in moment else str(float(moment) * seconds)
        out = str(folder / str(place))
        ended.append(forked(replace(job, out=out), at))
        checkpoints = sorted(path.name for path in (folder / str(place)).rglob("task-*.json"))
        finished = bool(list((folder / str(place)).rglob("results.json")))
        forked(replace(job, out=out, resume=True))
        print(json.dumps({"moment": moment, "signal": ended[-1], "checkpoints": checkpoints, "finished": finished}))  # noqa: T201


if __name__ == "__main__":
    main()
