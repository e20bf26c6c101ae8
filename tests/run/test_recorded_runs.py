"""A recorded run: one trace file in its folder, which a resumed run goes on with as if it had never stopped."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from neurocl import record
from neurocl.cli.app import app
from neurocl.cli.entry import exit_code
from neurocl.primitives.checks import BadInput
from neurocl.record import overview
from neurocl.run import loop
from neurocl.run.job import Job, execute
from neurocl.run.recording import selection_from

SMALL = (("train_per_class", "20"), ("test_per_class", "8"))
JOB = Job(
    model="replay",
    stream="split-digits",
    settings=(("hidden", "16"), ("epochs", "2"), ("batch_size", "16")),
    options=SMALL,
    record=(("every", "1"),),
)


def job(folder, **changes):
    return replace(JOB, out=str(folder), **changes)


def whole_of(path):
    with record.open(path) as traces:
        columns = {name: values.tolist() for name, values in traces.samples.items()}
        markers = [marker[:4] for marker in traces.markers]
        rasters = {name: traces[name].raster() for name in traces}
        weights = {name: traces.snapshots(name)[1] for name in traces.weights}
    return columns, markers, rasters, weights


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return execute(job(tmp_path_factory.mktemp("recorded"))) / "traces.h5"


def test_a_run_records_training_replay_and_evaluation_with_their_tasks(recorded):
    with record.open(recorded) as traces:
        assert traces.run["metadata"]["model"] == "replay"
        columns = traces.samples
        assert len(traces.select(phase="training", task=0)) == 2 * 40
        assert set(columns["label"][traces.select(phase="training", stage=1)]) == {2, 3}
        replayed = traces.select(phase="replay", stage=2)
        assert len(replayed) > 0
        assert set(columns["label"][replayed]) <= {0, 1, 2, 3, 4, 5}
        for stage in range(5):
            for task in range(5):
                assert len(traces.select(phase="evaluation", stage=stage, task=task)) == (16 if task <= stage else 0)
        kinds = [marker.kind for marker in traces.markers]
        assert kinds.count("task-begins") == kinds.count("task-ends") == kinds.count("checkpoint") == 5
        accuracy = overview.accuracy_of(traces)
        assert np.isfinite(accuracy[np.tril_indices(5)]).all()
        history = overview.history_of(traces, "layers.0")
        assert [len(row) for row in history] == [1, 2, 3, 4, 5]
        assert history[4][0].shape == (16, 16)


def test_recording_changes_nothing_that_is_learnt(recorded, tmp_path):
    import json

    plain = json.loads((execute(job(tmp_path, record=None)) / "results.json").read_text())
    beside = json.loads((recorded.parent / "results.json").read_text())
    assert plain["accuracy"] == beside["accuracy"]
    assert not list(tmp_path.rglob("traces.h5"))


def test_an_interrupted_run_goes_on_in_the_same_file(recorded, tmp_path, monkeypatch):
    mine = job(tmp_path, resume=True)
    evaluate, calls = loop.evaluate, []

    def interrupted(*args, **options):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*args, **options)

    monkeypatch.setattr(loop, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(mine)
    monkeypatch.undo()
    path = next(tmp_path.rglob("traces.h5"))
    with record.open(path) as traces:
        assert traces.samples["stage"].max() == 2  # the third task had been learnt, and is learnt again
    execute(mine)
    (columns, markers, rasters, weights), wanted = whole_of(path), whole_of(recorded)
    assert columns == wanted[0]
    assert markers == wanted[1]
    for name, raster in rasters.items():
        assert (raster == wanted[2][name]).all()
    for name, values in weights.items():
        assert np.array_equal(values, wanted[3][name], equal_nan=True)


def test_a_finished_run_keeps_its_traces_until_the_next_one_has_finished(tmp_path, monkeypatch):
    mine = job(tmp_path)
    path = execute(mine) / "traces.h5"
    before = whole_of(path)[0]

    def fails(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "evaluate", fails)
    with pytest.raises(KeyboardInterrupt):
        execute(mine)
    monkeypatch.undo()
    assert whole_of(path)[0] == before
    execute(mine)
    assert whole_of(path)[0] == before
    assert [each.name for each in path.parent.glob("*traces*")] == ["traces.h5"]
    execute(replace(mine, record=None))
    assert not path.exists()  # of another run


def test_a_run_that_comes_to_nothing_leaves_no_traces(tmp_path, monkeypatch):
    def fails(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "evaluate", fails)
    with pytest.raises(KeyboardInterrupt):
        execute(job(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["finetune:rate", "joint", "ridge", "hlop", "sharp:rate"])
@pytest.mark.filterwarnings("ignore::neurocl.plasticity.CapacityExhausted")
def test_every_kind_of_model_can_be_recorded(model, tmp_path):
    name, _, coding = model.partition(":")
    small = {"hidden": "16", "epochs": "1"}
    kinds = {"finetune": small, "joint": small, "ridge": {"features": "20"}, "hlop": small}
    kinds["sharp"] = {"hidden": "40,40", "phases": "2", "phase_epochs": "1"}
    settings = tuple(kinds[name].items())
    mine = job(tmp_path, model=name, coding=coding or None, settings=settings, record=(("phases", "evaluation"),))
    with record.open(execute(mine) / "traces.h5") as traces:
        assert len(traces.select(phase="evaluation")) > 0
        assert traces.populations
        assert overview.table_of(traces)


def test_what_to_record_is_read_from_text():
    chosen = selection_from(
        {"variables": "spikes, voltage", "neurons": "1,5", "every": "3", "phases": "replay", "precision": "float16"}
    )
    assert chosen.variables == ("spikes", "voltage")
    assert list(chosen.neurons) == [1, 5]
    assert (chosen.every, chosen.phases, chosen.precision) == (3, ("replay",), "float16")
    assert selection_from({"neurons": "8"}).neurons == 8
    for wrong, message in (
        ({"variabels": "spikes"}, "no setting of the recorder named 'variabels'; did you mean 'variables'"),
        ({"every": "often"}, r"record\.every takes whole numbers; got 'often'"),
        ({"every": "1,2"}, r"record\.every takes one whole number"),
        ({"phases": ""}, "phases must be"),
        ({"neurons": ""}, r"record\.neurons takes whole numbers"),
    ):
        with pytest.raises(BadInput, match=message):
            selection_from(wrong)


def test_the_command_line_records_and_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "run finetune --out out --record --set record.variables=spikes,voltage --set record.neurons=3 -q"
    small = " --set hidden=16 --set epochs=1 --set stream.train_per_class=12 --set stream.test_per_class=6"
    done = CliRunner().invoke(app, (words + small).split())
    assert done.exit_code == 0, done.output
    path = next(tmp_path.rglob("traces.h5"))
    shown = CliRunner().invoke(app, ["show", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "finetune (spiking) on split-digits" in shown.output
    assert "evaluation" in shown.output
    figures = {figure.stem for figure in (path.parent / "traces_plots").glob("*.png")}
    kinds = ("raster", "rates", "rate_over_recording", "voltage", "drift", "angles", "captured")
    assert {f"{kind}_layers.0" for kind in kinds} | {"weight_drift"} <= figures


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run finetune --set record.every=2", "needs --record"),
        ("run finetune --record --set record.colour=2", "no setting of the recorder named 'colour'"),
        ("run finetune --record --set record.", "--set takes name=value"),
        ("run finetune --record --set record.populations=nowhere", "no population named 'nowhere'"),
        ("show none.h5", "there is no file none.h5"),
    ],
)
def test_mistakes_are_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code(words.split()) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
