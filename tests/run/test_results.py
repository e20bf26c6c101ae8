"""Is a run's folder complete, strict, and safe from other runs, full disks and bad permissions?"""

import csv
import errno
import json
from dataclasses import replace

import pytest

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.run.job import execute, prepare, run_name

KEYS = {"model", "coding", "stream", "setting", "seed", "tasks", "accuracy", "average_accuracy", "forgetting", "cost"}
KEYS |= {"average_incremental_accuracy", "backward_transfer", "forward_transfer", "task_incremental_accuracy"}
COSTS = {"parameter_bytes", "auxiliary_bytes", "memory_bytes", "mean_firing_rate", "train_seconds", "evaluate_seconds"}
COSTS |= {"synaptic_operations_per_sample", "multiply_accumulates_per_sample", "train_samples_per_second", "peak_bytes"}


def strict(path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_a_run_writes_the_agreed_files_and_keys(job, drawn):
    folder = execute(job)
    assert folder.parts[-2:] == ("linear_softmax-spiking", "seed-0")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "config.json",
        "results.json",
        "accuracy.csv",
        "confusion.csv",
        "accuracy_matrix.png",
        "accuracy_curves.png",
        "checkpoints/task-4.json",
        "checkpoints/task-4.safetensors",
    }
    results, config = strict(folder / "results.json"), strict(folder / "config.json")
    assert set(results) >= KEYS
    assert set(results["cost"]) == COSTS
    assert results["cost"]["train_samples_per_second"] > 0
    assert results["cost"]["peak_bytes"] > 1e6
    assert {"config", "versions", "seed", "hardware", "git_commit", "stream_digest"} <= set(config)
    assert {"cpu", "cores", "threads", "memory_bytes", "gpu"} <= set(config["hardware"])
    rows = list(csv.reader((folder / "accuracy.csv").read_text().splitlines()))
    assert rows[0] == ["after_task", "task_0", "task_1", "task_2", "task_3", "task_4"]
    assert [[float(cell) if cell else None for cell in row[1:]] for row in rows[1:]] == results["accuracy"]
    counts = list(csv.DictReader((folder / "confusion.csv").read_text().splitlines()))
    assert sum(int(row["count"]) for row in counts if row["after_task"] == "4") == 450


def test_runs_with_other_settings_lie_side_by_side(job):
    first = execute(job)
    other = execute(replace(job, settings=(("learning_rate", "0.2"),)))
    assert other.parent.name == "linear_softmax-spiking+learning_rate=0.2"
    assert first.parent.parent == other.parent.parent


def test_the_folder_of_another_run_is_never_touched(job):
    folder = execute(job)
    config = strict(folder / "config.json")
    changes = {
        'stream is "other" there': {"model_digest": "other", "stream": "other"},
        "stream_digest": {"stream_digest": "other"},
        "batch_size is null there, 32 here": {"config": {"learning_rate": 1.0}},
        'device is "cuda" there, "cpu" here': {"device": "cuda"},
    }
    for difference, change in changes.items():
        files.write_json(folder / "config.json", {**config, **change})
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        for resume in (False, True):
            with pytest.raises(BadInput, match=f"holds another run .*{difference}") as caught:
                execute(replace(job, resume=resume))
            assert "--out" in str(caught.value)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_with_other_things_in_it_is_not_taken_over(job, tmp_path):
    place = prepare(job).folder.path
    place.mkdir(parents=True)
    (place / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match="holds other files and no run"):
        execute(job)
    assert [path.name for path in place.iterdir()] == ["thesis.tex"]


def test_a_finished_run_is_not_run_again_on_resume_but_is_without(job):
    folder = execute(job)
    written = (folder / "results.json").stat().st_mtime_ns
    assert execute(replace(job, resume=True)) == folder
    assert (folder / "results.json").stat().st_mtime_ns == written
    execute(job)
    assert (folder / "results.json").stat().st_mtime_ns != written


def test_a_file_in_place_of_the_folder_is_one_clear_line(job, tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(BadInput, match=r"cannot write .*: Not a directory; choose another place with --out"):
        execute(job)
    assert (tmp_path / "runs").read_text() == "a file"


def full_after(monkeypatch, writes):
    """Let the disk be full after so many files."""
    left, real = [writes], files.os.fsync

    def fsync(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)


@pytest.mark.parametrize("writes", [0, 1, 2, 7])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing_half_written(job, monkeypatch, tmp_path, writes):
    full_after(monkeypatch, writes)
    with pytest.raises(BadInput, match="No space left on device"):
        execute(job)
    monkeypatch.undo()
    assert not list(tmp_path.rglob(f"{files.TEMPORARY}*"))
    if writes < 3:  # before the first whole checkpoint: config, tensors, JSON
        assert not (tmp_path / "runs").exists()
    else:  # what was whole stays, and the run goes on from it
        resumed = strict(execute(replace(job, resume=True)) / "results.json")
        fresh = strict(execute(replace(job, out=str(tmp_path / "fresh"))) / "results.json")
        assert resumed["accuracy"] == fresh["accuracy"]


def test_a_run_that_diverges_leaves_no_folder(job, tmp_path):
    with pytest.raises(BadInput, match="diverged"):
        execute(replace(job, settings=(("learning_rate", "1e30"),)))
    assert not (tmp_path / "runs").exists()


def test_json_keeps_the_rows_of_a_matrix_on_one_line_and_refuses_nan(tmp_path):
    content = {"rows": [[1.0, None], [0.1, -3e-9]], "words": ["[ a", "b ]", "c\n d"], "none": []}
    files.write_json(tmp_path / "x.json", content)
    assert files.read_json(tmp_path / "x.json") == content
    assert "[1.0, null]" in (tmp_path / "x.json").read_text()
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "y.json", {"x": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_long_names_of_folders_are_cut_and_stay_apart():
    one, other = (run_name("ewc", "rate", (("hidden", "400," * 40), ("strength", last))) for last in ("1", "2"))
    assert max(len(one), len(other)) < 128
    assert one != other
    assert run_name("ewc", "rate", (("a", "x/y z"),)) == "ewc-rate+a=x_y_z"
