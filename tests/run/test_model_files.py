"""Is every mistake in a model file one clear line, and are numbers that the model chose written down?"""

from dataclasses import replace
from pathlib import Path

import pytest

from neurocl.primitives.checks import BadInput
from neurocl.run import shelf
from neurocl.run.job import execute, prepare
from neurocl.run.results import read_run

SOFTMAX = Path(__file__).with_name("linear_softmax.py").read_text()
CODING = '    coding: Coding = "spiking"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import sys\nsys.exit(3)", "SystemExit in line 2: 3"),
        (SOFTMAX.replace(CODING, f"{CODING}    depth: int\n"), "needs a default.*depth"),
        (b"x = '\xff'", "utf-8"),
        (
            SOFTMAX.replace("return Softmax(config, task_shape, seed)", "Softmax(config, task_shape, seed)"),
            "got NoneType",
        ),
    ],
    ids=["exits", "no default", "no UTF-8", "builds nothing"],
)
def test_a_model_file_that_cannot_be_used_is_one_clear_line(job, tmp_path, text, reason):
    path = tmp_path / "mine.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput, match=f"cannot use .*mine.py: .*{reason}"):
        prepare(replace(job, model=str(path)))


def test_the_line_of_a_mistake_is_named_by_a_relative_path_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("x = 1\n\nraise ValueError('no')")
    with pytest.raises(BadInput, match=r"cannot use mine.py: ValueError in line 3: no"):
        shelf.load_model("mine.py")


def test_a_file_may_state_its_encoding(tmp_path):
    (tmp_path / "mine.py").write_bytes('# coding: latin-1\n"""Schön."""\n'.encode("latin-1"))
    assert shelf.summary_of(tmp_path / "mine.py") == "Schön."


def test_numbers_that_a_model_chose_for_the_stream_are_written_down(job):
    config, _ = read_run(execute(replace(job, model="patch_ridge", coding="rate")))
    assert config["chosen"] == {"filters": 128, "patch": 4}
    assert config["config"]["filters"] == config["config"]["patch"] == "auto"


def test_explicit_numbers_are_taken_or_refused_but_never_clipped(job):
    own = replace(job, model="patch_ridge", settings=(("filters", "200"), ("patch", "5")))
    prepared = prepare(own)
    assert prepared.folder.description["chosen"] == {"filters": 200, "patch": 5}
    with pytest.raises(BadInput, match=r"at least patch \+ regions - 1 = 9 each way; got 8 x 8: make patch smaller"):
        prepare(replace(own, settings=(("patch", "7"),)))


@pytest.mark.parametrize(("name", "value"), [("strength", "-1"), ("held_out", "1.5")])
@pytest.mark.parametrize("model", ["ridge", "patch_ridge"])
def test_a_ridge_readout_refuses_its_numbers_before_the_run_begins(job, model, name, value):
    with pytest.raises(BadInput, match=f"{name} must be a finite number"):
        prepare(replace(job, model=model, settings=((name, value),)))


@pytest.mark.parametrize(
    ("model", "name", "value", "expected"),
    [
        ("finetune", "hidden", "", "hidden must hold at least one number"),
        ("finetune", "hidden", str(10**20), r"hidden\[0\] must be a whole number of at most 9223372036854775807"),
        ("finetune", "hidden", str(10**18), "more memory than there is"),
        ("finetune", "surrogate_alpha", "1e300", r"alpha must be a finite number at least 1e-09 and at most 1e\+09"),
        ("finetune", "surrogate_alpha", "1e30", r"alpha must be a finite number at least 1e-09 and at most 1e\+09"),
        (
            "finetune",
            "threshold",
            "1e300",
            "threshold must be a finite number greater than 0 and within float32's range",
        ),
        ("ncm", "time_steps", str(10**20), "time_steps must be a whole number of at most"),
    ],
)
def test_numbers_no_machine_can_compute_with_are_one_clear_line(job, model, name, value, expected):
    with pytest.raises(BadInput, match=expected):
        prepare(replace(job, model=model, settings=((name, value),)))


def test_memory_that_runs_out_while_learning_is_one_clear_line_and_leaves_nothing(job, tmp_path):
    path = tmp_path / "mine.py"
    learn = "x = batch.inputs.flatten(1)\n"
    for greed in ("torch.zeros(10**15)", "[0] * 10**18"):
        path.write_text(SOFTMAX.replace(learn, f"{learn}        {greed}\n"))
        with pytest.raises(BadInput, match=r"needs more memory than there is \(.+\): make layers"):
            execute(replace(job, model=str(path)))
    assert not Path(job.out).exists()
    path.write_text(SOFTMAX.replace(learn, f"{learn}        torch.zeros(2) @ torch.zeros(3)\n"))
    with pytest.raises(RuntimeError, match="size"):
        execute(replace(job, model=str(path)))
