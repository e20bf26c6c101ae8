"""Does a run that was killed at any moment and resumed give the same results, bit for bit apart from times?"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from neurocl.primitives.files import TEMPORARY
from neurocl.run import checkpoint
from neurocl.run.job import execute, prepare
from neurocl.run.results import TIMES

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork and no SIGKILL")


def without_times(path):
    """The text of a results.json with its times struck out: what has to be equal bit for bit."""
    results = json.loads(path.read_text())
    assert set(TIMES) <= set(results["cost"])
    return json.dumps({**results, "cost": {k: v for k, v in results["cost"].items() if k not in TIMES}})


def killed_and_resumed(job, folder, moments, timeout):
    """Kill and resume a job at every moment; return the log, and each run's results without times."""
    words = [sys.executable, str(Path(__file__).with_name("forked_runs.py")), json.dumps(asdict(job)), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, *moments], env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in done.stdout.splitlines()]
    places = ["whole", *map(str, range(len(moments)))]
    results = [without_times(next((folder / place).rglob("results.json"))) for place in places]
    assert not list(folder.rglob(f"{TEMPORARY}*")), "a half-written file was left behind"
    return log, results


@needs_fork
def test_a_run_killed_at_any_moment_and_resumed_gives_the_same_results(job, tmp_path):
    random = [f"{share:.3f}" for share in np.random.default_rng(0).uniform(0.05, 0.95, 4)]
    # the first file is config.json; each checkpoint is two files, tensors and then JSON
    writing = ["fsync:1", "replace:2", "fsync:3", "replace:3", "fsync:6", "replace:7", "replace:11", "replace:14"]
    slow = replace(job, settings=(("epochs", "10"),))
    log, results = killed_and_resumed(slow, tmp_path, [*random, *writing], timeout=120)
    assert all(line["signal"] == 9 for line in log[len(random) :]), log
    assert sum(line["signal"] == 9 for line in log[: len(random)]) >= 2, "hardly any run was caught alive"
    found = {tuple(line["checkpoints"]) for line in log if line["signal"]}
    assert () in found
    assert len(found) >= 4, "runs should have been caught at different tasks"
    assert len(set(results)) == 1


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["finetune", "ewc", "replay", "joint", "ncm", "ridge", "patch_ridge", "foldiak_ridge"]
)
def test_shipped_models_killed_and_resumed_give_the_same_results(job, tmp_path, model):
    moments = [f"{share:.3f}" for share in np.random.default_rng(1).uniform(0.1, 0.9, 3)]
    moments += ["replace:5", "fsync:8"]
    short = (("epochs", "1"),) if model in {"finetune", "ewc", "replay", "joint"} else ()
    for coding in ("spiking", "rate"):
        own = replace(job, model=model, coding=coding, settings=short)
        log, results = killed_and_resumed(own, tmp_path / coding, moments, timeout=600)
        assert sum(line["signal"] == 9 for line in log) >= 3, log
        assert len(set(results)) == 1


def test_going_on_needs_what_the_checkpoint_holds(job, tmp_path, monkeypatch):
    whole = without_times(execute(replace(job, out=str(tmp_path / "whole"))) / "results.json")
    folder = prepare(job).folder

    def stop_after_two(checkpoints, task, **content):
        save(checkpoints, task, **content)
        if task == 1:
            raise KeyboardInterrupt

    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        execute(job)
    monkeypatch.undo()
    tree = folder.checkpoints / "task-1.json"
    assert not folder.finished.exists()
    content = json.loads(tree.read_text())
    momentum = next(item for item in content["learner"]["dict"] if item[0] == "momentum")
    momentum[1] = content["learner"]["dict"][0][1]  # the weights in its place
    tree.write_text(json.dumps(content))
    spoilt = without_times(execute(replace(job, resume=True)) / "results.json")
    assert json.loads(spoilt)["accuracy"][:2] == json.loads(whole)["accuracy"][:2]
    assert spoilt != whole
