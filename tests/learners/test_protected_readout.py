"""Do statistics of old classes stay valid where circuits protect the features, and only there?"""

from itertools import pairwise

import pytest
import torch

from neurocl import streams
from neurocl.learners import ProtectedReadout
from neurocl.run.loop import run, scheduled
from neurocl.run.shelf import load_model
from neurocl.streams import Stream

SMALL = {"hidden": (100, 60), "time_steps": 6, "epochs": 2, "batch_size": 32}


@pytest.fixture(scope="module")
def digits() -> Stream:
    return streams.open("split-digits", seed=0)


def taught(stream: Stream, **settings: object) -> tuple[ProtectedReadout, float]:
    """The learner after all tasks, and how far old activity moved relative to its size."""
    model = load_model("hlop")
    learner = model.build(model.config(**SMALL | settings), stream.shape, 0)
    probe, before = stream.test(0), torch.empty(0)
    for task in stream:
        learner.begin_task(task)
        for batch in scheduled(task, learner.schedule):
            learner.observe(batch)
        learner.end_task(task)
        if task.index == 0:
            before = learner.features(probe.inputs)
    return learner, float((learner.features(probe.inputs) - before).norm() / before.norm())


@pytest.mark.parametrize("coding", ["spiking", "rate"])
def test_old_activity_stays_under_circuits_and_moves_without(digits, coding):
    _, protected = taught(digits, coding=coding)
    _, free = taught(digits, coding=coding, rows="none")
    assert protected < 0.3 * free
    assert free > 0.1, "nothing moved: nothing to protect"


def test_circuits_tell_after_each_task_what_they_hold_and_let_through(digits):
    model = load_model("hlop")
    history = run(model.build(model.config(**SMALL), digits.shape, 0), digits, seed=0)
    assert len(history.diagnostics) == len(digits)
    rows = [[layer["rows"] for layer in task["lateral"]] for task in history.diagnostics]
    assert all(later >= earlier for one, two in pairwise(rows) for earlier, later in zip(one, two, strict=True))
    assert history.diagnostics[0]["lateral"][0]["leak"] is None
    assert all(layer["leak"] < 1e-6 for task in history.diagnostics[1:] for layer in task["lateral"])
    assert all(layer["captured"] > 0.8 for layer in history.diagnostics[0]["lateral"])


def test_the_published_rule_leaks_what_the_repaired_one_does_not(digits):
    model = load_model("hlop")
    fixed = {"rows": "fixed", "rows_first": (8, 20), "rows_later": (8,)}
    leaks = []
    for published in (True, False):
        form = {"deflate": False, "orthonormalise": "never"} if published else {}
        history = run(model.build(model.config(**SMALL, **fixed, **form), digits.shape, 0), digits, seed=0)
        leaks.append(max(layer["leak"] for task in history.diagnostics[1:] for layer in task["lateral"]))
    assert leaks[0] > 1e-5
    assert leaks[1] < 1e-6
