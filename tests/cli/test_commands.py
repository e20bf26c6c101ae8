"""Do the commands do what they say, and is every mistake of the user's one clear line and exit code 2?"""

import errno
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from neurocl.cli.entry import exit_code
from neurocl.primitives import files
from neurocl.run import plots
from neurocl.run.job import Job, open_stream
from neurocl.run.shelf import known_models

SOFTMAX = str(Path(__file__).parents[1] / "run" / "linear_softmax.py")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder, without drawing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plots, "save_run", lambda folder, runs: None)
    monkeypatch.setattr(plots, "save_comparison", lambda folder, groups, *, title: None)


@pytest.fixture
def call(capsys):
    """Run a command line and return exit code, stdout and stderr."""

    def run(*words):
        code = exit_code(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def everything_below(folder=Path()):
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_run_prints_its_row_and_writes_its_folder(call):
    code, out, err = call("run", SOFTMAX, "--seeds", "0-1", "--workers", "1", "--set", "epochs=2")
    assert code == 0
    assert "split-digits, class-incremental, 5 tasks, mean ± SD over seeds 0-1" in out
    assert "linear_softmax+epochs=2" in out
    assert "1/2  linear_softmax.py seed 0:" in err
    place = Path("results/split-digits/class-incremental/linear_softmax-spiking+epochs=2")
    assert f"results and plots: {place}" in err
    assert (place / "seed-1" / "results.json").is_file()
    assert (place / "comparison.md").is_file()
    assert "\x1b" not in out + err


def test_quiet_prints_the_table_only(call):
    code, out, err = call("run", f"{SOFTMAX}:rate", "--out", "here", "--quiet")
    assert (code, err) == (0, "")
    assert len(out.strip().splitlines()) == 5
    assert Path("here/linear_softmax-rate/seed-0/results.json").is_file()


def test_resume_leaves_a_finished_run_alone(call):
    call("run", SOFTMAX, "--quiet")
    results = next(Path("results").rglob("results.json"))
    written = results.stat().st_mtime_ns
    assert call("run", SOFTMAX, "--quiet", "--resume")[0] == 0
    assert results.stat().st_mtime_ns == written


def test_settings_of_the_stream_reach_it(call):
    code, out, _ = call("run", SOFTMAX, "--set", "stream.classes_per_task=5", "--setting", "domain-incremental")
    assert code == 0
    assert "split-digits+classes_per_task=5, domain-incremental, 2 tasks, seed 0" in out
    config = json.loads(next(Path("results").rglob("config.json")).read_text())
    assert config["stream_options"] == {"classes_per_task": "5"}


def test_settings_are_chosen_on_held_out_samples_in_a_folder_of_their_own(call):
    code, shown, _ = call("run", SOFTMAX, "--validation", "0.25", "--set", "stream.tasks=5")
    assert code == 0
    assert "judged on held-out training samples" in shown
    (run,) = Path("results/split-digits+tasks=5+validation=0.25+judged_on=validation").rglob("results.json")
    assert json.loads(run.read_text())["judged_on"] == "validation"
    assert "judged on held-out training samples" in call("show", str(run.parent))[1]
    options = json.loads((run.parent / "config.json").read_text())["stream_options"]
    assert options == {"tasks": "5", "validation": "0.25", "judged_on": "validation"}


def test_your_own_arrays_run_from_a_file(call):
    save_arrays(Path("mine.npz"))
    code, out, _ = call("run", SOFTMAX, "mine.npz", "--quiet")
    assert code == 0
    assert "mine, class-incremental, 2 tasks, seed 0" in out


def test_show_prints_a_run_a_folder_and_a_model(call):
    call("run", SOFTMAX, "--seeds", "0,2", "--workers", "1", "--quiet", "--out", "here")
    code, out, _ = call("show", "here/linear_softmax-spiking/seed-2")
    assert code == 0
    for needed in ("seed 2", "average_accuracy", "train_seconds", "config.learning_rate", "accuracy in %"):
        assert needed in out
    code, out, _ = call("show", "here")
    assert code == 0
    assert "seeds 0, 2" in out
    assert Path("here/comparison.json").is_file()
    code, out, _ = call("show", "finetune")
    assert code == 0
    assert "coding: Coding" in out
    assert "Fine-tuning" in out


def test_list_shows_models_and_streams(call):
    code, out, _ = call("list")
    assert code == 0
    assert set(known_models()) <= set(out.split())
    code, out, _ = call("list", "streams")
    assert code == 0
    assert {"split-digits", "permuted-mnist", "FILE.npz"} <= set(out.split())


def test_copy_makes_a_model_of_your_own_that_runs(call):
    assert call("copy", "finetune", "mine.py")[0] == 0
    assert Path("mine.py").read_text() == known_models()["finetune"].read_text()
    code, out, _ = call("run", "mine.py:rate", "--set", "epochs=1", "--set", "hidden=20", "--quiet")
    assert code == 0
    assert "mine+epochs=1+hidden=20" in out
    Path("folder").mkdir()
    assert call("copy", "finetune", "folder")[0] == 0
    assert Path("folder/finetune.py").is_file()


def test_help_and_version_are_there(call):
    assert call("--version") == (0, "neurocl 0.1.0\n", "")
    for words in ([], ["--help"], ["run", "--help"], ["compare", "-h"], ["show", "--help"], ["copy", "--help"]):
        code, out, err = call(*words)
        assert (code, err) == (0, "")
        assert "neurocl" in out
        assert "\x1b" not in out


def test_bench_measures_every_combination_asked_for_and_saves_the_rounds(call, monkeypatch):
    asked = []

    def measured(**settings):
        asked.append((settings["input"], settings["mode"], settings["activity"], settings["rounds"]))
        settings.pop("progress")("measuring")
        return [{**settings, "library": "norse", "note": "not installed"}]

    monkeypatch.setattr("neurocl.cli.benching.run_bench", measured)
    code, out, _ = call("bench", "--activity", "0.01,0.05", "--input", "raster", "--rounds", "3", "--out", "b.json")
    assert code == 0
    assert asked == [("raster", "train", [0.01, 0.05], 3), ("raster", "infer", [0.01, 0.05], 3)]
    assert out.count("norse: not installed") == 2
    saved = json.loads(Path("b.json").read_text())
    assert len(saved["rows"]) == 2
    assert saved["hardware"]["threads"] == 1


def save_arrays(path, **changes):
    """Two easy tasks of two classes as the four arrays of a stream."""
    labels = np.repeat(np.arange(4), 10)
    x = np.eye(4, dtype=np.float32)[labels]
    arrays = {"x_train": x, "y_train": labels, "x_test": x, "y_test": labels, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def bad_arrays():
    """Files of arrays that cannot be used, by what is wrong with them."""
    labels = np.repeat(np.arange(4), 10)
    nan, infinite = np.eye(4, dtype=np.float32)[labels], np.eye(4, dtype=np.float32)[labels]
    nan[3, 1], infinite[0, 0] = np.nan, np.inf
    save_arrays(Path("nan.npz"), x_train=nan)
    save_arrays(Path("infinite.npz"), x_test=infinite)
    save_arrays(Path("one_class.npz"), y_train=np.zeros(40, int), y_test=np.zeros(40, int))
    save_arrays(Path("no_test.npz"), x_test=np.zeros((0, 4), np.float32), y_test=np.zeros(0, int))
    save_arrays(Path("no_test_of_one.npz"), y_test=np.repeat(np.arange(2), 20))
    save_arrays(Path("missing_array.npz"), y_test=None)
    save_arrays(Path("lengths.npz"), y_train=labels[:-1])
    Path("broken.npz").write_bytes(b"PK not a zip file")
    Path("syntax.py").write_text("def (")
    Path("bytes.py").write_bytes(b"x = '\xff'")


MISTAKES = {
    "unknown model": (["run", "finetun"], "no model named 'finetun'; did you mean 'finetune'"),
    "unknown coding": (["run", "finetune:rat"], "no coding named 'rat'; did you mean 'rate'"),
    "missing model file": (["run", "mine.py"], "no model file mine.py"),
    "unknown stream": (["run", SOFTMAX, "split-digit"], "no stream named 'split-digit'; did you mean 'split-digits'"),
    "unknown setting": (["run", SOFTMAX, "--setting", "class"], "no setting named 'class'"),
    "unknown command": (["rum"], "No such command 'rum'"),
    "unknown option": (["run", SOFTMAX, "--sed", "1"], "No such option"),
    "missing argument": (["run"], "Missing argument"),
    "bad seeds": (["run", SOFTMAX, "--seeds", "a"], "--seeds takes whole numbers"),
    "seeds twice": (["run", SOFTMAX, "--seeds", "1,1"], "--seeds takes each seed once"),
    "too many seeds": (["run", SOFTMAX, "--seeds", "5,0-99999999999"], "--seeds takes at most 10000 seeds"),
    "endless seed": (["run", SOFTMAX, "--seeds", "9" * 5000], "--seeds takes whole numbers"),
    "bad workers": (["run", SOFTMAX, "--workers", "0"], "--workers"),
    "unknown device": (["run", SOFTMAX, "--device", "tpu0"], "--device must be auto, cpu or cuda"),
    "unknown processor": (["run", SOFTMAX, "--device", "cpu:3"], "--device must be auto, cpu or cuda"),
    "out is empty": (["run", SOFTMAX, "--out", ""], "--out must name a folder; got an empty name"),
    "numbers that spoil some models": (
        ["compare", "split-digits", "--seeds", "0", "--set", "learning_rate=-1"],
        "learning_rate must be",
    ),
    "no angles": (["run", SOFTMAX, "rotated-digits", "--set", "stream.angles="], "leave angles out"),
    "show what is no Python": (["show", "syntax.py"], "cannot use syntax.py: line 1: invalid syntax"),
    "show what is no text": (["show", "bytes.py"], "cannot use bytes.py: "),
    "run what is no Python": (["run", "syntax.py"], "cannot use syntax.py: line 1: invalid syntax"),
    "no name=value": (["run", SOFTMAX, "--set", "epochs"], "--set takes name=value"),
    "unknown number": (
        ["run", SOFTMAX, "--set", "epoch=1"],
        "no setting of linear_softmax named 'epoch'; did you mean",
    ),
    "number of another type": (["run", SOFTMAX, "--set", "epochs=x"], "epochs must be a whole number"),
    "number out of range": (
        ["run", SOFTMAX, "--set", "learning_rate=-1"],
        "learning_rate must be a finite number greater",
    ),
    "finetune out of range": (["run", "finetune", "--set", "learning_rate=-1"], "learning_rate"),
    "unknown option of the stream": (["run", SOFTMAX, "--set", "stream.clases_per_task=2"], "did you mean"),
    "option of the stream out of range": (["run", SOFTMAX, "--set", "stream.classes_per_task=0"], "classes_per_task"),
    "task id hidden": (["run", SOFTMAX, "--set", "needs_task_id=yes"], "use --setting task-incremental"),
    "diverges": (["run", SOFTMAX, "--set", "learning_rate=1e30"], "so learning diverged"),
    "missing data file": (["run", SOFTMAX, "nothing.npz"], "nothing.npz"),
    "data of another kind": (["run", SOFTMAX, "data.csv"], "data.csv"),
    "corrupted data file": (["run", SOFTMAX, "broken.npz"], "broken.npz"),
    "array missing in data": (["run", SOFTMAX, "missing_array.npz"], "y_test"),
    "lengths differ in data": (["run", SOFTMAX, "lengths.npz"], "y_train"),
    "NaN in data": (["run", SOFTMAX, "nan.npz"], "1 of 160 values are NaN or infinite"),
    "infinity in data": (["run", SOFTMAX, "infinite.npz"], "1 of 160 values are NaN or infinite"),
    "one class": (["run", SOFTMAX, "one_class.npz"], "class"),
    "no test data": (["run", SOFTMAX, "no_test.npz"], "test"),
    "an empty task": (["run", SOFTMAX, "no_test_of_one.npz"], "has no test samples"),
    "compare with an unknown model": (["compare", "split-digits", "finetun"], "did you mean 'finetune'"),
    "show nothing": (["show", "nowhere"], "no model named 'nowhere'"),
    "show an empty folder": (["show", "empty"], "empty holds no finished run"),
    "show a trace that is not there": (["show", "traces.h5"], "there is no file traces.h5"),
    "validation of nothing": (
        ["run", SOFTMAX, "--validation", "0"],
        "hold a share of each class's training samples out",
    ),
    "validation twice": (["run", SOFTMAX, "--validation", "0.1", "--set", "stream.validation=0.2"], "given twice"),
    "list nonsense": (["list", "modles"], "did you mean 'models'"),
    "copy nothing": (["copy", "nowhere", "mine.py"], "no model or experiment named 'nowhere'"),
    "copy over a file": (["copy", "finetune", "taken.py"], "taken.py exists already"),
    "copy into nowhere": (["copy", "finetune", "no/such/folder/mine.py"], "No such file or directory"),
    "bench at no activity": (["bench", "--activity", "x"], "--activity takes numbers"),
    "bench of nothing": (["bench", "--input", "foo"], "no input named 'foo'"),
    "bench at too much": (["bench", "--activity", "2", "-q"], "activity must be a finite number greater than 0"),
    "out is a file": (["run", SOFTMAX, "--out", "taken.py"], "cannot write taken.py"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_with_exit_code_2_and_leaves_nothing_behind(call, mistake):
    words, expected = MISTAKES[mistake]
    bad_arrays()
    Path("empty").mkdir()
    Path("taken.py").write_text("mine")
    before = everything_below()
    code, out, err = call(*words, *(["--quiet"] if words[0] in {"run", "compare"} else []))
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("neurocl: ")
    assert expected in err
    assert everything_below() == before
    assert Path("taken.py").read_text() == "mine"


def test_a_folder_without_permission_is_one_clear_line(call, monkeypatch):
    def refuse(self, *arguments, **named):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, out, err = call("run", SOFTMAX)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "Permission denied; choose another place with --out" in err
    assert not everything_below()


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(call, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    code, out, err = call("run", SOFTMAX, "--quiet")
    assert (code, out) == (2, "")
    assert "No space left on device" in err
    assert len(err.splitlines()) == 1
    assert not everything_below()


def test_a_damaged_checkpoint_is_one_clear_line(call, monkeypatch):
    call("run", SOFTMAX, "--quiet")
    (checkpoint,) = Path("results").rglob("task-*.safetensors")
    checkpoint.write_bytes(b"damaged")
    next(Path("results").rglob("results.json")).unlink()
    code, _, err = call("run", SOFTMAX, "--resume", "--quiet")
    assert code == 2
    assert "task-4.safetensors is damaged or missing" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_a_run_whose_files_lack_something_is_one_clear_line(call, name):
    call("run", SOFTMAX, "--quiet", "--out", "here", "--seeds", "0-1", "--workers", "1")
    Path("here/linear_softmax-spiking/seed-1", name).write_text("{}")
    for shown in ("here", "here/linear_softmax-spiking/seed-1"):
        code, _, err = call("show", shown)
        assert code == 2
        assert f"{name} is damaged (it lacks" in err
        assert len(err.splitlines()) == 1


def test_a_file_of_arrays_written_anew_is_read_anew(tmp_path):
    save_arrays(tmp_path / "mine.npz")
    job = Job(model="", stream=str(tmp_path / "mine.npz"))
    first = open_stream(job)
    assert open_stream(job) is first
    save_arrays(tmp_path / "mine.npz", x_train=2 * np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), 10)])
    assert open_stream(job).digest != first.digest


def test_an_error_of_the_program_keeps_its_traceback_and_has_exit_code_1(call, tmp_path):
    broken = Path(SOFTMAX).read_text().replace("self.steps += 1", "self.steps += 1 / 0")
    Path("broken.py").write_text(broken)
    code, _, err = call("run", "broken.py", "--quiet")
    assert code == 1
    assert "Traceback" in err
    assert "ZeroDivisionError" in err


def test_ctrl_c_says_how_to_go_on(call, monkeypatch):
    def interrupt(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("neurocl.run.job.run", interrupt)
    code, _, err = call("run", SOFTMAX)
    assert code == 130
    assert "--resume" in err
    assert not list(Path().rglob("*.json"))


def test_output_that_cannot_show_a_sign_replaces_it(monkeypatch, tmp_path):
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert exit_code(["run", SOFTMAX, "--seeds", "0,1", "--workers", "1", "--quiet"]) == 0
    assert "mean ? SD" in (tmp_path / "out").read_text()
