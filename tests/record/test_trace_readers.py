"""The field's own readers find in a trace file, and in what is exported from it, the numbers that were recorded."""

import json
import shutil
import sys
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
import torch

from neurocl import record
from neurocl.cli.entry import exit_code
from neurocl.networks import CNN, MLP
from neurocl.neurons import LIF
from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import TaskShape
from neurocl.record import layout
from neurocl.record.blocks import Blocks
from neurocl.record.exports import chosen as parts_of_files
from neurocl.record.exports import to_neo, to_nir, to_nwb, to_sonata
from neurocl.record.passage import Passage, Piece
from neurocl.record.trace_file import TraceFile

STATIC = TaskShape(input_shape=(12,), num_classes=3, num_tasks=1)
IMAGES = TaskShape(input_shape=(1, 12, 12), num_classes=3, num_tasks=1)
DT_MS = 0.1  # a tenth is no binary fraction: times that were added up would show
BOTH = ("spikes", "voltage")

libsonata = pytest.importorskip("libsonata")
nir = pytest.importorskip("nir")
pytestmark = pytest.mark.filterwarnings("ignore:The 'copy' argument in Quantity")  # neo's, with quantities 0.16


def play(path, *, network=None, sizes=(5, 4), **options):
    """Record two tasks, each of a pass of training and one of evaluation."""
    network = network or MLP(STATIC, hidden=(20, 10))
    shape = IMAGES.input_shape if isinstance(network, CNN) else STATIC.input_shape
    options = {"variables": BOTH, "dt_ms": DT_MS, **options}
    recorder = record.Recorder(path, network, metadata={"model": "ewc", "class_names": ["ä", "b"]}, **options)
    for task in range(2):
        recorder.mark("task-begins", task=task)
        for size, phase in zip(sizes, ("training", "evaluation"), strict=False):
            labels = torch.arange(size) % 3
            with recorder.samples(labels=labels, sample_ids=labels + 7, task=task, stage=task, phase=phase):
                network(torch.rand(size, *shape) * 3)
    recorder.mark("accuracy", task=0, value=0.5, text="after task 1")
    return recorder


def spiking(path, raster, **options):
    """Record neurons that spike as ``[time, sample, neuron]`` says."""
    neuron = LIF()
    with record.Recorder(path, neuron, variables=BOTH, dt_ms=DT_MS, **options) as recorder, recorder.samples():
        neuron(torch.as_tensor(raster).float() * 50)


def killed(path, **options):
    """What a writer leaves that is killed after a flush."""
    recorder = play(path.with_name("being-written.h5"), spikes="events", **options)
    recorder.flush()
    shutil.copy(recorder.path, path)
    recorder.close()


CASES = {
    "raster": lambda path: play(path, spikes="raster").close(),
    "events": lambda path: play(path, spikes="events").close(),
    "some neurons": lambda path: play(path, neurons={"spikes": [0, 3, 9], "voltage": 2}).close(),
    "half precision": lambda path: play(path, precision="float16").close(),
    "silent": lambda path: spiking(path, np.zeros((4, 2, 6)), spikes="events"),
    "one step of one sample": lambda path: spiking(path, np.ones((1, 1, 3))),
    "killed": killed,
    "conv": lambda path: play(path, network=CNN(IMAGES, channels=(2, 3)), sizes=(2,), spikes="events").close(),
    "gaps": lambda path: play(path, phases=("training", "evaluation"), every=2, every_sample=3).close(),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A trace file of each case, made when it is first asked for."""
    made = {}

    def trace_file(case):
        if case not in made:
            torch.manual_seed(0)
            made[case] = tmp_path_factory.mktemp("traces") / "traces.h5"
            CASES[case](made[case])
        return made[case]

    return trace_file


@pytest.fixture(params=CASES)
def traces(request, recorded):
    with record.open(recorded(request.param)) as opened:
        yield opened


def clock_of(traces, samples):
    """The steps of the clock that samples take, one behind the other."""
    columns = traces.samples
    pairs = zip(columns["start_step"][samples], columns["time_steps"][samples], strict=True)
    return np.concatenate([start + np.arange(steps) for start, steps in pairs])


def rows_of(traces, name, variable, **which):
    """Steps of the clock and a variable's values ``[row, neuron]``."""
    values = traces[name].read(variable, **which)
    steps = clock_of(traces, traces[name].recorded(variable, **which))
    return steps, values.reshape(-1, values.shape[2]).astype(np.float32)


def events_of(traces, name, **which):
    """Steps of the clock and neurons of the spikes."""
    steps, raster = rows_of(traces, name, "spikes", **which)
    row, column = np.nonzero(raster)
    return steps[row], traces[name].ids("spikes")[column]


def check_report(traces, report, name, variable, **which):
    """A report holds the variable, and NaN where it was not recorded."""
    steps, values = rows_of(traces, name, variable, **which)
    frame = report.get()
    assert np.allclose(report.times, ((steps[0]) * DT_MS, (steps[-1] + 1) * DT_MS, DT_MS))
    assert frame.ids[:, 0].tolist() == traces[name].ids(variable).tolist()
    assert frame.data.shape == (steps[-1] + 1 - steps[0], values.shape[1])
    assert (frame.data[steps - steps[0]] == values).all()
    assert np.isnan(np.delete(frame.data, steps - steps[0], axis=0)).all()
    assert (report.time_units, report.data_units) == ("ms", "threshold")


# the trace file itself


def test_libsonata_reads_events_voltages_and_nodes_from_the_trace_file_itself(recorded):
    path = recorded("events")
    reports, spikes, nodes = (
        kind(str(path)) for kind in (libsonata.ElementReportReader, libsonata.SpikeReader, libsonata.NodeStorage)
    )
    with record.open(path) as traces:
        assert set(reports.get_population_names()) == set(spikes.get_population_names()) == set(traces)
        for name in traces:
            check_report(traces, reports[name], name, "voltage")
            steps, ids = events_of(traces, name)
            assert len(steps) > 100
            assert [*spikes[name].get()] == [*zip(ids.tolist(), (steps * DT_MS).tolist(), strict=True)]
            assert spikes[name].sorting == "by_time"
            assert nodes.open_population(name).size == traces[name].size


@pytest.mark.parametrize("name", ["50%", "a%d", "%b%%", "x%s[y] z"])
def test_views_of_a_population_with_percent_signs_hold_its_numbers(name, tmp_path):
    network = torch.nn.Module()
    network.add_module(name, LIF())
    with record.Recorder(path := tmp_path / "t.h5", network, variables=["spikes", "voltage"], spikes="events"):
        network.get_submodule(name)(4 * torch.rand(6, 2, 3))
    with record.open(path) as traces, h5py.File(path) as file:
        shown = file[f"nodes/{name}/observables"]
        assert np.array_equal(shown["voltage/data"][0], traces[name].read("voltage").reshape(12, 3))
        assert shown["spikes/idx"][0].tolist() == file[f"spikes/{name}/node_ids"][...].tolist()
        assert len(traces[name].spikes().ids) == shown["spikes/idx"].shape[1] > 0


@pytest.mark.parametrize("case", ["events", "raster", "conv", "half precision", "silent"])
def test_nir_reads_the_trace_file_itself(case, recorded):
    data = nir.read_data(str(recorded(case)))
    with record.open(recorded(case)) as traces:
        assert set(data.nodes) == set(traces)
        for name in traces:
            found = data.nodes[name].observables
            steps, values = rows_of(traces, name, "voltage")
            assert (found["voltage"].data[0] == values).all()
            assert found["voltage"].dt == DT_MS  # ms throughout: a view cannot be multiplied
            assert ("spikes" in found) == (traces[name].stored_as("spikes") == "events" and case != "silent")
            if "spikes" in found:
                steps, ids = events_of(traces, name)
                assert (found["spikes"].time[0] == steps * DT_MS).all()
                assert (found["spikes"].idx[0] == ids).all()
                assert found["spikes"].n_neurons == traces[name].size
                assert found["spikes"].t_max == pytest.approx(len(values) * DT_MS)


# SONATA


def test_a_sonata_file_holds_all_spikes_reports_and_nodes(traces, tmp_path):
    path = to_sonata(traces, tmp_path / "out.sonata.h5")
    reports, spikes, nodes = (
        kind(str(path)) for kind in (libsonata.ElementReportReader, libsonata.SpikeReader, libsonata.NodeStorage)
    )
    for name in traces:
        steps, ids = events_of(traces, name)
        assert [*spikes[name].get()] == [*zip(ids.tolist(), (steps * DT_MS).tolist(), strict=True)]
        check_report(traces, reports[name], name, "voltage")
        assert nodes.open_population(name).size == traces[name].size
        assert nodes.open_population(name).get_attribute("model_type", 0) == "point_neuron"
    with h5py.File(path) as file:
        assert file["samples/label"][...].tolist() == traces.samples["label"].tolist()
        assert json.loads(file["samples"].attrs["run"]) == traces.run
        dataset = file[f"report/{next(iter(traces))}/data"]
        assert dataset.compression is None


def test_further_variables_are_reports_of_their_own_names(tmp_path):
    play(tmp_path / "traces.h5", variables=("spikes", "voltage", "current"), neurons={"current": [2, 5]}).close()
    with record.open(tmp_path / "traces.h5") as traces:
        path = to_sonata(traces, tmp_path / "out.h5", phase="evaluation", populations=["layers.1"])
        reports = libsonata.ElementReportReader(str(path))
        assert set(reports.get_population_names()) == {"layers.1", "layers.1:current"}
        check_report(traces, reports["layers.1"], "layers.1", "voltage", phase="evaluation")
        steps, values = rows_of(traces, "layers.1", "current", phase="evaluation")
        frame = reports["layers.1:current"].get()
        assert (frame.data[steps - steps[0]] == values).all()
        assert np.isnan(frame.data).any()  # the training between
        assert frame.ids[:, 0].tolist() == [2, 5]


def test_lateral_circuits_that_have_grown_are_read_at_their_last_width(tmp_path):
    file = TraceFile(tmp_path / "traces.h5", {"dt_ms": DT_MS})
    blocks = Blocks(file, record.Selection(), DT_MS)
    for width in (2, 3):
        values = np.full((1, 4, width), width, np.float32)
        piece = Piece(fetch=values.copy, neurons=width, units=(width,), ids=None, packed=False, nbytes=values.nbytes)
        columns = {name: np.zeros(1, int) for name in layout.COLUMNS}
        blocks.add(Passage(columns=columns, time_steps=4, pieces={("fc.1", "lateral"): piece}))
    blocks.write()
    file.close()
    assert libsonata.ElementReportReader(str(to_sonata_of(tmp_path)))["fc.1"].get().data.shape == (8, 3)
    with h5py.File(tmp_path / "traces.h5") as opened:
        assert "report" not in opened  # of neurons that a reader would not find


def to_sonata_of(folder):
    with record.open(folder / "traces.h5") as traces:
        assert traces["fc.1"].ids("lateral").tolist() == [0, 1, 2]
        return to_sonata(traces, folder / "out.h5")


# NIR


def test_nir_data_holds_every_sample_by_itself(traces, tmp_path):
    data = to_nir(traces, tmp_path / "out.nir.h5")
    again = nir.read_data(str(tmp_path / "out.nir.h5"))
    for found in (data, again):
        assert set(found.nodes) == set(traces)
        for name in traces:
            assert set(found.nodes[name].observables) == set(BOTH)
            for variable, seen in found.nodes[name].observables.items():
                wanted = traces[name].read(variable)
                assert seen.data.dtype == (bool if variable == "spikes" else wanted.dtype)
                assert seen.data.shape == wanted.shape
                assert (seen.data == wanted).all()
                assert seen.dt == pytest.approx(DT_MS / 1000)
    with h5py.File(tmp_path / "out.nir.h5") as file:
        group = file[f"nodes/{name}/observables/voltage"]
        assert group["neurons"][...].tolist() == traces[name].ids("voltage").tolist()
        assert group["samples"][...].tolist() == traces[name].recorded("voltage").tolist()
        assert file["samples/task"][...].tolist() == traces.samples["task"].tolist()


def test_nir_data_of_samples_of_different_lengths_is_refused(tmp_path):
    neuron = LIF()
    with record.Recorder(tmp_path / "traces.h5", neuron, variables=BOTH, dt_ms=DT_MS) as recorder:
        for steps in (3, 5):
            with recorder.samples(labels=torch.tensor([steps])):
                neuron(torch.ones(steps, 1, 4))
    with record.open(tmp_path / "traces.h5") as traces:
        with pytest.raises(BadInput, match=r"one length.*\[3, 5\]"):
            to_nir(traces, tmp_path / "out.nir.h5")
        assert not (tmp_path / "out.nir.h5").exists()
        assert to_nir(traces, label=5).nodes["network"].observables["spikes"].shape == (1, 5, 4)
        assert len(to_neo(traces).segments[0].epochs[0]) == 2
        report = libsonata.ElementReportReader(str(to_sonata(traces, tmp_path / "out.h5")))["network"].get().data
        for label, rows in ((3, slice(0, 3)), (5, slice(3, 8))):
            assert (report[rows] == traces["network"].read("voltage", label=label)[0]).all()


# Neo


def check_trains(traces, trains, in_ms=1.0):
    """Spike trains are those of the file, one for each neuron recorded."""
    wanted = [(name, neuron) for name in traces for neuron in traces[name].ids("spikes").tolist()]
    assert [train.name for train in trains] == [f"{name} {neuron}" for name, neuron in wanted]
    for name in traces:
        steps, ids = events_of(traces, name)
        for train, (population, neuron) in zip(trains, wanted, strict=True):
            if population == name:
                assert np.allclose(train.rescale("ms").magnitude, steps[ids == neuron] * DT_MS, rtol=1e-12)


def test_neo_has_trains_signals_epochs_and_events_on_one_clock(traces):
    segment = to_neo(traces).segments[0]
    check_trains(traces, segment.spiketrains)
    samples, tasks, phases = segment.epochs
    assert samples.array_annotations["label"].tolist() == traces.samples["label"].tolist()
    assert np.allclose(samples.times.magnitude, traces.samples["start_step"] * DT_MS)
    assert (tasks.name, phases.name) == ("tasks", "phases")
    assert np.allclose(tasks.durations.magnitude.sum(), samples.durations.magnitude.sum())
    for name in traces:
        signals = [each for each in segment.analogsignals if each.annotations["population"] == name]
        steps, values = rows_of(traces, name, "voltage")
        assert (np.concatenate([each.magnitude for each in signals]) == values).all()
        times = np.concatenate([each.times.rescale("ms").magnitude for each in signals])
        assert np.allclose(times, steps * DT_MS)
        assert signals[0].array_annotations["neuron_id"].tolist() == traces[name].ids("voltage").tolist()
    if "task-begins" in [marker.kind for marker in traces.markers]:
        assert segment.events[0].labels.tolist() == [marker.kind for marker in traces.markers]


def test_neo_epochs_last_as_long_as_a_task_or_a_phase(recorded):
    with record.open(recorded("raster")) as traces:
        _, tasks, phases = to_neo(traces).segments[0].epochs
        steps = int(traces.samples["time_steps"][0])
        assert tasks.labels.tolist() == ["0", "1"]
        assert np.allclose(tasks.durations.magnitude, 9 * steps * DT_MS)
        assert phases.labels.tolist() == ["training", "evaluation"] * 2
        assert np.allclose(phases.times.magnitude, np.array([0, 5, 9, 14]) * steps * DT_MS)
        parts = to_neo(traces, phase="evaluation", variables=["voltage"], populations="layers.0").segments[0]
        assert parts.epochs[2].labels.tolist() == ["evaluation"] * 2  # two, as there is training between
        assert len(parts.analogsignals) == 2
        assert len(parts.spiketrains) == 0


def test_neo_has_a_segment_for_each_sample_where_asked(recorded):
    with record.open(recorded("some neurons")) as traces:
        block = to_neo(traces, segments="samples", task=1, populations=["layers.1"])
        chosen = traces.select(task=1)
        assert [each.annotations["label"] for each in block.segments] == traces.samples["label"][chosen].tolist()
        assert block.segments[0].annotations["phase"] == "training"
        for sample, segment in zip(chosen, block.segments, strict=True):
            found = traces["layers.1"].spikes(samples=int(sample))
            assert [train.annotations["neuron_id"] for train in segment.spiketrains] == [0, 3, 9]
            for train in segment.spiketrains:
                times = found.times_ms[found.ids == train.annotations["neuron_id"]]
                assert np.allclose(train.magnitude, times)
            voltage = traces["layers.1"].read("voltage", samples=int(sample))[0]
            assert (segment.analogsignals[0].magnitude == voltage).all()


# NWB


@pytest.mark.parametrize(
    "traces", ["some neurons", "half precision", "silent", "one step of one sample", "conv", "gaps"], indirect=True
)
def test_an_nwb_file_is_valid_and_holds_what_was_recorded(traces, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    path = to_nwb(traces, tmp_path / "out.nwb", started=when, identifier="mine")
    assert not pynwb.validate(path=str(path))
    with pynwb.NWBHDF5IO(str(path), "r") as opened:
        file = opened.read()
        assert (file.identifier, file.session_start_time) == ("mine", when)
        assert json.loads(file.notes) == traces.run
        units, row = file.units, 0
        for name in traces:
            steps, ids = events_of(traces, name)
            for neuron in traces[name].ids("spikes").tolist():
                assert (units["population"][row], units["neuron"][row]) == (name, neuron)
                assert np.allclose(units["spike_times"][row], steps[ids == neuron] * DT_MS / 1000, rtol=1e-12)
                row += 1
            steps, values = rows_of(traces, name, "voltage")
            series = file.acquisition[f"{name}.voltage"]
            assert (series.data[...] == values).all()
            assert series.unit == "threshold"
            assert np.allclose(series.get_timestamps(), steps * DT_MS / 1000)
            assert series.rate is None or series.rate == pytest.approx(1000 / DT_MS)
            assert json.loads(series.description)["neuron_ids"] == traces[name].ids("voltage").tolist()
        assert len(units) == row
        assert np.allclose(file.trials["start_time"][:], traces.samples["start_step"] * DT_MS / 1000)
        for column in ("label", "task", "stage", "sample_id", "passage"):
            assert file.trials[column][:].tolist() == traces.samples[column].tolist()
        if traces.markers:
            assert file.intervals["markers"]["kind"][:].tolist() == [marker.kind for marker in traces.markers]


def test_neo_and_elephant_work_on_an_nwb_file(recorded, tmp_path):
    pytest.importorskip("pynwb")
    neo_io = pytest.importorskip("neo.io")
    statistics = pytest.importorskip("elephant.statistics")
    with record.open(recorded("raster")) as traces:
        segment = neo_io.NWBIO(str(to_nwb(traces, tmp_path / "out.nwb"))).read_block().segments[0]
        check_trains(traces, segment.spiketrains)
        assert len(segment.analogsignals) == 2
        raster = traces["layers.0"].raster()
        rates = [float(statistics.mean_firing_rate(train).rescale("Hz")) for train in segment.spiketrains[:20]]
        assert np.allclose(rates, raster.mean((0, 1)) * 1000 / DT_MS)
        assert max(rates) > 0
        part = to_nwb(traces, tmp_path / "part.nwb", phase="evaluation", populations=["layers.1"])
        segment = neo_io.NWBIO(str(part)).read_block().segments[0]
        assert len(segment.spiketrains) == 10
        (voltage,) = segment.irregularlysampledsignals  # training lies between
        steps, values = rows_of(traces, "layers.1", "voltage", phase="evaluation")
        assert np.allclose(voltage.times.rescale("ms").magnitude, steps * DT_MS)
        assert (voltage.magnitude == values).all()


def test_what_does_not_fit_into_memory_at_once_is_written_in_pieces(recorded, tmp_path, monkeypatch):
    pynwb = pytest.importorskip("pynwb")
    with record.open(recorded("some neurons")) as traces:
        to_sonata(traces, tmp_path / "whole.h5")
        monkeypatch.setattr(parts_of_files, "VALUES", 50)
        said = []
        to_sonata(traces, tmp_path / "pieces.h5", progress=said.append)
        assert len(said) > 2 * 2 * 2
        with pynwb.NWBHDF5IO(str(to_nwb(traces, tmp_path / "pieces.nwb")), "r") as opened:
            file = opened.read()
            assert (file.acquisition["layers.0.voltage"].data[...] == rows_of(traces, "layers.0", "voltage")[1]).all()
            steps, ids = events_of(traces, "layers.0")
            assert np.allclose(file.units["spike_times"][1], steps[ids == 3] * DT_MS / 1000, rtol=1e-12)
            assert len(file.units["spike_times"][1]) > 10
    with h5py.File(tmp_path / "whole.h5") as one, h5py.File(tmp_path / "pieces.h5") as two:
        for name in ("spikes/layers.1/timestamps", "spikes/layers.1/sample_ids", "report/layers.1/data"):
            assert (one[name][...] == two[name][...]).all()


# what cannot be


@pytest.mark.parametrize("export", [to_sonata, to_nir, to_nwb, lambda traces, path, **which: to_neo(traces, **which)])
@pytest.mark.parametrize(
    ("which", "message"),
    [
        ({"populations": ["layer.0"]}, "no population named 'layer.0'; did you mean 'layers.0'"),
        ({"variables": ["volts"]}, "no recorded variable named 'volts'"),
        (
            {"task": 9},
            r"no samples of .* are chosen, of 18 with task=9: it has phase evaluation, training and task 0, 1",
        ),
        ({"phase": "sleep"}, "no phase named 'sleep'"),
    ],
)
def test_choices_of_nothing_are_one_clear_error_and_leave_no_file(export, which, message, recorded, tmp_path):
    with record.open(recorded("events")) as traces, pytest.raises(BadInput, match=message):
        export(traces, tmp_path / "out.nwb", **which)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("export", [to_sonata, to_nir, to_nwb])
def test_places_that_cannot_be_written_are_one_clear_error(export, recorded, tmp_path):
    (tmp_path / "there.nwb").write_text("mine")
    with record.open(recorded("events")) as traces:
        with pytest.raises(BadInput, match=r"path must name a new file; .* is there"):
            export(traces, tmp_path / "there.nwb")
        with pytest.raises(BadInput, match="path must lie in a folder that exists"):
            export(traces, tmp_path / "nowhere" / "out.nwb")
    assert (tmp_path / "there.nwb").read_text() == "mine"
    assert [*tmp_path.iterdir()] == [tmp_path / "there.nwb"]


def test_a_file_without_spikes_or_without_anything_says_so_where_that_matters(tmp_path):
    play(tmp_path / "voltage.h5", variables=("voltage",)).close()
    with record.open(tmp_path / "voltage.h5") as traces:
        with pytest.raises(BadInput, match="no recorded variable named 'spikes'; known: voltage"):
            to_nir(traces, variables=["spikes"])
        assert set(to_nir(traces).nodes["layers.0"].observables) == {"voltage"}
        to_nwb(traces, tmp_path / "voltage.nwb")
    record.Recorder(tmp_path / "empty.h5", LIF()).close()
    with record.open(tmp_path / "empty.h5") as traces, pytest.raises(BadInput, match=r"no samples .* it is empty"):
        to_sonata(traces, tmp_path / "out.h5")


def test_an_export_that_fails_leaves_nothing_behind(recorded, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neurocl.record.exports.sonata.write_report", full)
    with record.open(recorded("events")) as traces, pytest.raises(BadInput, match="No space left on device"):
        to_sonata(traces, tmp_path / "out.h5")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("export", "name"), [(to_nir, "nir"), (to_nwb, "pynwb")])
def test_a_library_that_is_not_installed_is_named_with_the_way_to_it(export, name, recorded, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with (
        record.open(recorded("events")) as traces,
        pytest.raises(BadInput, match=rf'needs {name}, which is not installed: pip install "neurocl\[record\]"'),
    ):
        export(traces, tmp_path / "out.nwb")


# the command


@pytest.fixture
def call(capsys, recorded, tmp_path, monkeypatch):
    """Run ``neurocl export`` on a trace file and return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = exit_code(["export", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_command_writes_the_format_that_the_ending_or_the_option_says(call, recorded, tmp_path):
    path = recorded("events")
    code, out, err = call(str(path), "a.sonata.h5", "--population", "layers.1", "--task", "1", "--phase", "training")
    assert (code, out) == (0, "")
    assert err.startswith("a.sonata.h5: 5 samples, ")
    assert libsonata.SpikeReader("a.sonata.h5").get_population_names() == ["layers.1"]
    assert call(str(path.parent), "b.nir.h5", "--task", "0", "--task", "1", "--quiet") == (0, "", "")  # a run's folder
    assert nir.read_data("b.nir.h5").nodes["layers.0"].observables["spikes"].shape[0] == 18
    assert call(str(path), "c", "--to", "sonata", "--variable", "voltage")[0] == 0
    with h5py.File("c") as file:
        assert "spikes" not in file
    assert not [*tmp_path.glob(f"{files.TEMPORARY}*")]


def test_mistakes_on_the_command_line_are_one_line(call, recorded, tmp_path):
    path = str(recorded("events"))
    (tmp_path / "there.nwb").touch()
    (tmp_path / "text.h5").write_text("text")
    for words, message in (
        ((path, "out.h5"), "DEST must end in .nwb or .nir.h5 or .sonata.h5, or --to must name its format"),
        ((path, "out.h5", "--to", "matlab"), "no format named 'matlab'"),
        ((path, "out.h5", "--to", "nwb"), "path must end in .nwb"),
        ((path, "there.nwb"), "there.nwb is there: choose another"),
        ((path, "nowhere/out.nwb"), "nowhere does not: make it first"),
        ((path, "out.nwb", "--population", "head"), "no population named 'head'"),
        ((path, "out.nwb", "--task", "5"), "with task=[5]"),
        ((path, "out.nwb", "--task", "one"), "Invalid value for '--task'"),
        (("gone.h5", "out.nwb"), "there is no file gone.h5"),
        (("text.h5", "out.nwb"), "text.h5 cannot be read as HDF5"),
        ((str(tmp_path), "out.nwb"), "there is no file"),
    ):
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert {each.name for each in tmp_path.iterdir()} == {"there.nwb", "text.h5"}
