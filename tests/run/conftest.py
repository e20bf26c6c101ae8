"""A small model, a small stream and a job for tests of the run."""

from pathlib import Path

import numpy as np
import pytest

from neurocl.run import plots
from neurocl.run.job import Job
from neurocl.run.shelf import load_model
from neurocl.streams import split

SOFTMAX = Path(__file__).with_name("linear_softmax.py")


@pytest.fixture(autouse=True)
def quick_plots(request, monkeypatch):
    """Leave the drawing out, which takes longer than all the rest, except where a test asks for ``drawn``."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(plots, "save_run", lambda folder, runs: None)
        monkeypatch.setattr(plots, "save_comparison", lambda folder, groups, *, title: None)


@pytest.fixture
def drawn():
    """Ask for real plots."""


@pytest.fixture
def job(tmp_path) -> Job:
    """Softmax regression on the digits, into a temporary folder."""
    return Job(model=str(SOFTMAX), stream="split-digits", out=str(tmp_path / "runs"))


@pytest.fixture
def stream():
    """Three tasks of two well separated classes each, by setting."""

    def make(setting="class-incremental", seed=0):
        draw = np.random.default_rng(0)
        labels = np.repeat(np.arange(6), 40)
        x = (4 * np.eye(6)[labels] + draw.normal(0, 0.3, (240, 6))).astype(np.float32)
        return split(x[::2], labels[::2], x[1::2], labels[1::2], setting=setting, seed=seed, normalise=(0, 4))

    return make


@pytest.fixture
def softmax():
    """Build softmax regression for a stream, with settings of its Config."""
    model = load_model(str(SOFTMAX))

    def make(stream, seed=0, **settings):
        return model.build(model.config(**settings), stream.shape, seed)

    return make
