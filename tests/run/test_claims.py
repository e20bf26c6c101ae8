"""Whose is a run's folder: does a finished run outlive what goes wrong later, and does one process keep others out?"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from neurocl.learners import Diverged
from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.run import checkpoint, plots
from neurocl.run.job import execute, prepare
from neurocl.run.results import read_run
from neurocl.run.shelf import load_model

SOFTMAX = Path(__file__).with_name("linear_softmax.py")


@pytest.fixture
def mine(job, tmp_path):
    """A job on a model file that can be edited."""
    path = tmp_path / "mine.py"
    path.write_text(SOFTMAX.read_text())
    return replace(job, model=str(path))


def edit(job, old="learning_rate: float = 0.1", new="learning_rate: float = 0.05"):
    text = Path(job.model).read_text()
    assert old in text
    Path(job.model).write_text(text.replace(old, new))


def interrupt_after(monkeypatch, tasks):
    """Let Ctrl-C come when so many tasks have been learnt and saved."""
    save = checkpoint.save

    def stop(folder, task, **content):
        if task < tasks:
            save(folder, task, **content)
        if task + 1 >= tasks:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", stop)


def outputs(folder):
    """What a finished run is made of, checkpoints apart."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("tasks", [0, 2])
@pytest.mark.parametrize("edited", [False, True])
def test_ctrl_c_on_a_rerun_leaves_the_finished_run_as_it_was(mine, monkeypatch, drawn, tasks, edited):
    folder = execute(mine)
    before = outputs(folder)
    assert {"config.json", "results.json", "accuracy.csv", *plots.OF_A_RUN} <= set(before)
    if edited:
        edit(mine)
    interrupt_after(monkeypatch, tasks)
    with pytest.raises(KeyboardInterrupt):
        execute(mine)
    monkeypatch.undo()
    assert outputs(folder) == before
    if not edited:
        assert execute(replace(mine, resume=True)) == folder
        assert outputs(folder) == before
    assert execute(mine) == folder


def test_an_edited_model_file_replaces_its_run_and_may_be_gone_on_with(mine, monkeypatch, tmp_path):
    folder = execute(mine)
    edit(mine)
    with pytest.raises(BadInput, match=r"before it was edited\): leave --resume out to run it anew, or .*--out"):
        execute(replace(mine, resume=True))
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        execute(mine)
    monkeypatch.undo()
    begun = []

    class Nobody:
        def task_begins(self, task, tasks, batches):
            begun.append(task)

        def task_learnt(self, task):
            pass

        def batch_done(self, losses):
            pass

        def task_ends(self, task, accuracy):
            pass

    assert execute(replace(mine, resume=True), Nobody()) == folder
    assert begun == [2, 3, 4]
    config, results = read_run(folder)
    assert config["model_digest"] == load_model(mine.model).digest
    _, fresh = read_run(execute(replace(mine, out=str(tmp_path / "fresh"))))
    assert results["accuracy"] == fresh["accuracy"]


def test_a_rerun_of_an_unfinished_run_begins_anew_whether_edited_or_not(mine, monkeypatch):
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        execute(mine)
    edit(mine)
    interrupt_after(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        execute(mine)
    assert not outputs(prepare(mine).folder.path)
    monkeypatch.undo()
    assert (execute(mine) / "results.json").is_file()


DIVERGING = 'return {"batch": float(loss) if self.task < 2 else float("nan")}'


def test_a_run_that_diverges_in_a_later_task_leaves_nothing_but_what_was_finished_before(mine):
    edit(mine, 'return {"batch": float(loss)}', DIVERGING)
    with pytest.raises(Diverged, match="task 2, so learning diverged"):
        execute(mine)
    assert not Path(mine.out).exists()
    edit(mine, DIVERGING, 'return {"batch": float(loss)}')
    folder = execute(mine)
    before = outputs(folder)
    edit(mine, 'return {"batch": float(loss)}', DIVERGING)
    with pytest.raises(Diverged):
        execute(mine)
    assert outputs(folder) == before


def test_two_processes_do_not_share_a_run(job):
    folder = prepare(job).folder.path
    with files.alone(folder):
        for resume in (False, True):
            with pytest.raises(
                BadInput, match=r"seed-0 is in use by another run: wait until that has ended, or .*--out"
            ):
                execute(replace(job, resume=resume))
        assert [path.name for path in folder.iterdir()] == [files.LOCK]
    assert not Path(job.out).exists()
    assert files.LOCK not in outputs(execute(job))


def test_a_lock_whose_owner_removes_it_at_that_moment_is_taken_anew(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    flock, calls = fcntl.flock, []

    def removed_first(descriptor, how):
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / "x" / files.LOCK).unlink()
        flock(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", removed_first)
    with files.alone(tmp_path / "x"):
        assert len(calls) == 2
        with pytest.raises(BadInput, match="in use"), files.alone(tmp_path / "x"):
            pass


def test_without_locks_a_run_goes_its_way(job, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    assert files.LOCK not in outputs(execute(job))


def test_files_on_their_way_are_swept_unless_their_process_is_running(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    gone, others = int(done.stdout), os.getppid()
    for process in (gone, others, os.getpid(), "text", 10**30):
        (tmp_path / f"{files.TEMPORARY}{process}-x.json").touch()
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{files.TEMPORARY}{others}-x.json"]
    assert not files.holds_files(tmp_path)


def test_a_deleted_plot_or_table_of_a_finished_run_comes_back_on_resume(job, drawn):
    folder = execute(job)
    before = outputs(folder)
    for name in ("accuracy_curves.png", "accuracy.csv"):
        (folder / name).unlink()
        execute(replace(job, resume=True))
        assert outputs(folder) == before


@pytest.mark.parametrize("name", ["config.json", "results.json", "checkpoints/task-4.json"])
def test_json_that_lacks_something_is_one_clear_line(job, name):
    folder = execute(job)
    (folder / name).write_text(json.dumps({"format": 1} if "task" in name else {}))
    with pytest.raises(BadInput, match=r"json is damaged \(it lacks .*\): remove it"):
        checkpoint.load(folder / "checkpoints", identity="") if "task" in name else read_run(folder)
    if name == "results.json":
        with pytest.raises(BadInput, match="it lacks"):
            execute(replace(job, resume=True))
