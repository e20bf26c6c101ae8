"""Does a comparison take the right runs, and do its tables say what the runs measured?"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from neurocl.primitives.checks import BadInput, UnknownName
from neurocl.run import compare
from neurocl.run.job import Job, execute
from neurocl.run.shelf import known_models

SOFTMAX = str(Path(__file__).with_name("linear_softmax.py"))
TEMPLATE = Job(model="", stream="split-digits")


def pairs(jobs):
    return list(dict.fromkeys((job.model, job.coding) for job in jobs))


def test_without_names_every_shipped_model_runs_in_both_codings_and_with_every_seed():
    jobs, left_out = compare.plan([], TEMPLATE, seeds=[3, 4], settings={})
    assert not left_out
    others = [name for name in known_models() if name not in compare.BAR]
    names = [*others, *(name for name in compare.BAR if name in known_models())]
    assert pairs(jobs) == [(name, coding) for name in names for coding in ("spiking", "rate")]
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert {job.seed for job in jobs if job.model == "finetune"} == {3, 4}
    assert len(jobs) == 4 * len(known_models())


def test_the_ridge_readouts_are_always_there_in_the_codings_asked_for():
    jobs, _ = compare.plan([f"{SOFTMAX}:rate"], TEMPLATE, seeds=[0], settings={})
    bar = [name for name in compare.BAR if name in known_models()]
    assert pairs(jobs) == [(SOFTMAX, "rate"), *((name, "rate") for name in bar)]


def test_settings_go_to_every_model_that_has_them_and_must_be_known_to_one():
    jobs, _ = compare.plan([SOFTMAX, "finetune:rate"], TEMPLATE, seeds=[0], settings={"noise": "0", "epochs": "2"})
    own = {job.model: job.settings for job in jobs}
    assert own[SOFTMAX] == (("noise", "0"), ("epochs", "2"))
    assert own["finetune"] == (("epochs", "2"),)
    with pytest.raises(UnknownName, match="named 'nois'; did you mean 'noise'"):
        compare.plan([SOFTMAX], TEMPLATE, seeds=[0], settings={"nois": "1"})


def test_a_model_that_cannot_run_is_an_error_if_it_was_named_and_a_note_if_it_was_not(tmp_path, monkeypatch):
    needy = tmp_path / "needy.py"
    needy.write_text(Path(SOFTMAX).read_text().replace("needs_task_id: bool = False", "needs_task_id: bool = True"))
    with pytest.raises(BadInput, match="needs to know the task at test"):
        compare.plan([str(needy)], TEMPLATE, seeds=[0], settings={})
    monkeypatch.setattr(compare, "known_models", lambda: {str(needy): needy, SOFTMAX: Path(SOFTMAX)})
    jobs, left_out = compare.plan([], TEMPLATE, seeds=[0], settings={})
    assert pairs(jobs) == [(SOFTMAX, "spiking"), (SOFTMAX, "rate")]
    assert len(left_out) == 1
    assert left_out[0].startswith(f"{needy}:spiking, {needy}:rate: the learner needs to know the task at test")


def test_settings_that_only_keep_a_model_from_running_are_an_error_though_it_was_not_named(monkeypatch):
    monkeypatch.setattr(compare, "known_models", lambda: {SOFTMAX: Path(SOFTMAX), "ncm": known_models()["ncm"]})
    assert len(compare.plan([], TEMPLATE, seeds=[0], settings={"learning_rate": "1"})[0]) == 4
    with pytest.raises(BadInput, match="learning_rate must be a finite number greater than 0; got -1"):
        compare.plan([], TEMPLATE, seeds=[0], settings={"learning_rate": "-1"})


def test_tables_hold_mean_and_deviation_over_seeds(job, tmp_path, drawn):
    jobs = [replace(job, seed=seed, coding=coding) for coding in ("spiking", "rate") for seed in (0, 1)]
    folders = [execute(job) for job in jobs]
    (comparison,) = compare.collect(folders)
    comparison.save(tmp_path / "table")
    names = {path.name for path in (tmp_path / "table").iterdir()}
    tables = {"comparison.md", "comparison.csv", "comparison.json"}
    assert names == {*tables, "comparison_bars.png", "comparison_curves.png"}
    assert comparison.title == "split-digits, class-incremental, 5 tasks, mean ± SD over seeds 0-1"
    first, second = (json.loads((f / "results.json").read_text())["average_accuracy"] for f in folders[:2])
    row = json.loads((tmp_path / "table" / "comparison.json").read_text())["rows"][0]
    assert row["seeds"] == [0, 1]
    assert row["average_accuracy_mean"] == pytest.approx((first + second) / 2)
    assert row["average_accuracy_sd"] == pytest.approx(abs(first - second) / 2**0.5)
    assert row["synaptic_operations_per_sample_mean"] is None
    (line, _) = csv.DictReader((tmp_path / "table" / "comparison.csv").read_text().splitlines())
    assert float(line["average_accuracy_mean"]) == row["average_accuracy_mean"]
    assert line["synaptic_operations_per_sample_mean"] == ""
    text = (tmp_path / "table" / "comparison.md").read_text()
    assert f"| linear_softmax | spiking | {50 * (first + second):.1f} ± " in text
    for needed in ("hardware: ", "softmax over all classes seen so far in linear_softmax", "task-IL"):
        assert needed in text


def test_runs_of_other_streams_and_settings_are_not_put_into_one_table(job):
    folders = [
        execute(replace(job, out=f"{job.out}/{place}", setting=setting))
        for place, setting in enumerate(("class-incremental", "task-incremental"))
    ]
    titles = [comparison.title for comparison in compare.collect(folders)]
    assert titles == [f"split-digits, {s}, 5 tasks, seed 0" for s in ("class-incremental", "task-incremental")]


def test_ranges_are_short():
    assert compare.ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
