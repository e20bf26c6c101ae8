"""Several runs at once in processes of their own: each is told what to run, and tells how far it is.

A run that is refused or fails, and a process that dies, end that one run and no other.
"""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from neurocl.primitives.checks import BadInput
from neurocl.run.environment import ALLOCATOR, usable_cores
from neurocl.run.job import Job, execute

REPORT_EVERY_S = 0.2  # a progress display needs no more
IDLE = -1
WORKERS_ON_GPU = 2  # each takes about half a gigabyte of the GPU before it has done anything
GOODBYE_S = 10.0  # for a process to put its files in order when it is stopped


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        job: What was to be run.
        kind: ``"done"``; ``"refused"``: the user's input cannot be used; ``"failed"``: an error, or the process died.
        folder: Where the results are, if any.
        reason: Why there are none, on one line.
        details: The traceback, if there is one.
        seconds: Wall-clock time.
    """

    job: Job
    kind: Literal["done", "refused", "failed"]
    folder: Path | None = None
    reason: str = ""
    details: str = ""
    seconds: float = 0.0


@runtime_checkable
class JobsWatcher(Protocol):
    """Told how the runs go on; they go by their place in the list of jobs."""

    def job_begins(self, index: int) -> None:
        """A run has begun."""

    def job_advances(self, index: int, share: float, text: str) -> None:
        """A run has done this share of its batches; ``text`` says how well."""

    def job_ends(self, index: int, outcome: Outcome) -> None:
        """A run has ended, one way or another."""


class Reporter:
    """Watches one run's loop and tells its progress as a share of the whole, not too often."""

    def __init__(self, tell: Callable[[float, str], object]) -> None:
        self.tell = tell
        self.task = self.batch = 0
        self.tasks = self.batches = 1
        self.text = ""
        self.told_at = -REPORT_EVERY_S

    def task_begins(self, task: int, tasks: int, batches: int) -> None:
        """Note the task."""
        self.task, self.tasks, self.batches, self.batch = task, tasks, batches, 0
        self.report()

    def batch_done(self, losses: dict[str, float]) -> None:
        """Note a batch."""
        self.batch += 1
        self.report()

    def task_learnt(self, task: int) -> None:
        """Say nothing: evaluation is no share of the whole."""

    def task_ends(self, task: int, accuracy: list[float | None]) -> None:
        """Note the accuracy so far."""
        seen = [value for value in accuracy[: task + 1] if value is not None]
        self.text = f"{100 * sum(seen) / len(seen):.1f} % on {task + 1} of {self.tasks} tasks"
        self.report()

    def report(self) -> None:
        """Tell the share done, unless something was told a moment ago."""
        now = time.monotonic()
        if now - self.told_at >= REPORT_EVERY_S:
            self.told_at = now
            self.tell((self.task + min(1.0, self.batch / self.batches)) / self.tasks, self.text)


def attempt(job: Job, tell: Callable[[float, str], object]) -> Outcome:
    """Run a job and return how it ended; only an interruption, or the loss of those who listen, gets through."""
    started = time.perf_counter()
    try:
        folder = execute(job, Reporter(tell))
    except BadInput as error:
        return Outcome(job=job, kind="refused", reason=str(error))
    except BrokenPipeError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(job=job, kind="failed", reason=reason, details=traceback.format_exc())
    return Outcome(job=job, kind="done", folder=folder, seconds=time.perf_counter() - started)


def run_jobs(jobs: Sequence[Job], watcher: JobsWatcher, *, workers: int | None = None) -> list[Outcome]:
    """Run jobs in as many processes as there are cores (two on a GPU), or ``workers``; a single one runs here.

    The cores are shared out, so that on two cores two processes have one thread each.
    """
    cores = usable_cores()
    on_gpu = any(job.device.startswith("cuda") for job in jobs)
    workers = min(workers or (min(cores, WORKERS_ON_GPU) if on_gpu else cores), len(jobs))
    if workers <= 1:
        return run_here(jobs, watcher)
    return run_in_workers(jobs, watcher, workers=workers, threads=max(1, cores // workers))


def run_here(jobs: Sequence[Job], watcher: JobsWatcher) -> list[Outcome]:
    """Run jobs one after the other in this process."""
    outcomes = []
    for index, job in enumerate(jobs):
        watcher.job_begins(index)
        outcomes.append(attempt(job, lambda share, text, index=index: watcher.job_advances(index, share, text)))
        watcher.job_ends(index, outcomes[-1])
    return outcomes


def run_in_workers(jobs: Sequence[Job], watcher: JobsWatcher, *, workers: int, threads: int = 1) -> list[Outcome]:
    """Run jobs in ``workers`` processes of ``threads`` threads each; outcomes come in the order of ``jobs``.

    Stopped by an exception (Ctrl-C, say), it stops the processes first; they leave no half-written file.
    """
    waiting = deque(enumerate(jobs))
    outcomes: dict[int, Outcome] = {}
    team: list[Worker] = []
    try:
        team += [Worker(threads) for _ in range(min(workers, len(jobs)))]
        while len(outcomes) < len(jobs):
            for worker in team:
                if worker.index == IDLE and waiting:
                    worker.give(*waiting.popleft())
                    watcher.job_begins(worker.index)
            busy = [worker for worker in team if worker.index != IDLE]
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                index, message = worker.index, worker.receive()
                if isinstance(message, tuple):
                    watcher.job_advances(index, *message)
                    continue
                outcomes[index] = message or Outcome(job=jobs[index], kind="failed", reason=worker.cause_of_death())
                watcher.job_ends(index, outcomes[index])
                worker.index = IDLE
                if message is None:
                    team.remove(worker)
                    team += [Worker(threads)] if waiting else []
    finally:
        for worker in team:
            worker.dismiss()
        for worker in team:
            worker.wait()
    return [outcomes[index] for index in range(len(jobs))]


class Worker:
    """A process that runs one job after another."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # forked threads of torch may hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, threads), daemon=True)
        self.index = IDLE
        with environment_variables(ALLOCATOR | os.environ | {"OMP_NUM_THREADS": str(threads)}):
            self.process.start()
        theirs.close()  # so that the pipe breaks when the process dies

    def give(self, index: int, job: Job) -> None:
        """Hand over a job."""
        self.index = index
        try:
            self.connection.send(job)
        except BrokenPipeError:
            return  # it died already, which shows when we listen

    def receive(self) -> tuple[float, str] | Outcome | None:
        """Return what the process says next: its progress or the outcome; ``None`` if it has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def cause_of_death(self) -> str:
        """Say why the process is gone."""
        self.process.join(GOODBYE_S)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; often for lack of memory" if name == "SIGKILL" else ""
            return f"its process was ended by {name}{hint}"
        return f"its process ended with exit code {code}"

    def dismiss(self) -> None:
        """Send an idle process home, stop a busy one."""
        if self.index != IDLE:
            self.process.terminate()
        self.connection.close()

    def wait(self) -> None:
        """Wait until the process is gone, and see to it that it goes."""
        self.process.join(GOODBYE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def work(connection: Connection, threads: int) -> None:
    """What a worker process does: run jobs until nobody sends any more."""
    import logging

    import torch

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its font cache, once on a new machine
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that files are put in order
    torch.set_num_threads(threads)
    try:
        while True:
            connection.send(attempt(connection.recv(), lambda share, text: connection.send((share, text))))
    except (EOFError, BrokenPipeError):
        return  # the parent has no more work, or is gone


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes started inside the block."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
