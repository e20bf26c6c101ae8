"""What is in a trace file is what the network did, whatever network it is."""

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from neurocl import record
from neurocl.networks import CNN, MLP, Recurrent
from neurocl.neurons import LIF, AdaptiveLIF, CurrentLIF, Izhikevich, ParametricLIF
from neurocl.plasticity import attach_lateral
from neurocl.primitives.annotation import annotated
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import TaskShape
from neurocl.record import writer

STATIC = TaskShape(input_shape=(12,), num_classes=3, num_tasks=1)
TIMED = TaskShape(input_shape=(12,), num_classes=3, num_tasks=1, time_steps=6)
IMAGES = TaskShape(input_shape=(1, 12, 12), num_classes=3, num_tasks=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "traces.h5"


def mlp(shape=STATIC, **options):
    return MLP(shape, hidden=(20, 10), **options)


def inputs(shape=STATIC, batch=5, seed=0):
    time = () if shape.time_steps is None else (shape.time_steps,)
    return torch.rand(*time, batch, *shape.input_shape, generator=torch.Generator().manual_seed(seed)) * 3


def posts(network, x):
    return [seen.post.flatten(2).transpose(0, 1) for seen in network.activity(x) if seen.name != "head"]


@pytest.mark.parametrize("storage", ["raster", "events", "auto"])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (mlp, STATIC),
        (lambda shape: mlp(shape), TIMED),
        (lambda shape: mlp(shape, training="dsr"), STATIC),
        (lambda shape: CNN(shape, channels=(3, 4)), IMAGES),
        (lambda shape: mlp(shape, coding="rate"), STATIC),
    ],
    ids=["static", "timed", "dsr", "cnn", "rate"],
)
def test_every_output_of_every_population_comes_back_to_the_bit(make, shape, storage, path):
    network, x = make(shape), inputs(shape)
    with record.Recorder(path, network, spikes=storage):
        network(x)
    wanted = posts(network, x)
    with record.open(path) as traces:
        assert len(traces) == 5
        assert len(traces.populations) == len(wanted)
        for name, post in zip(traces, wanted, strict=True):
            population = traces[name]
            got = torch.from_numpy(population.read(population.output).astype(np.float32))
            assert torch.equal(got, post)
            assert population.size == post.shape[2]
            if population.output == "spikes":
                assert float(got.mean()) > 0.01  # not a comparison of silence


def test_a_recurrent_network_and_online_learning_are_seen_step_by_step(path):
    shape = TIMED
    recurrent, x = Recurrent(shape, hidden=(8,)), inputs(shape)
    with record.Recorder(path, recurrent):
        recurrent(x)
    with record.open(path) as traces:
        assert traces["layers.0"].raster().shape == (5, 6, 8)
    online = mlp(shape, training="ottt", head="single")
    with record.Recorder(path.with_name("online.h5"), online):
        for _ in range(2):
            for _share, scores in online.scores_over_time(x):
                scores.sum().backward()
    with record.open(path.with_name("online.h5")) as traces:
        raster = traces["layers.0"].raster()
        assert raster.shape == (10, 6, 20)
        assert (raster[:5] == raster[5:]).all()


@pytest.mark.parametrize("neuron", [LIF, AdaptiveLIF, CurrentLIF, ParametricLIF, Izhikevich])
@pytest.mark.parametrize("kernel", ["auto", "reference"])
def test_states_are_those_of_a_step_by_step_simulation(neuron, kernel, path):
    cell = neuron(kernel=kernel)
    current = torch.rand(7, 3, 6, generator=torch.Generator().manual_seed(1)) * (20 if neuron is Izhikevich else 2)
    others = {AdaptiveLIF: "adaptation", CurrentLIF: "synaptic_current", Izhikevich: "recovery"}
    wanted = ("spikes", "voltage", "current", *([others[neuron]] if neuron in others else []))
    choice = {"variables": wanted, "neurons": [1, 4], "populations": ["network"]}
    with record.Recorder(path, cell, **choice) as recorder, recorder.samples():
        cell(current)
    state, voltages = None, []
    for now in current:
        _, state = cell.step(now, state)
        voltages.append(state if isinstance(state, torch.Tensor) else state.v)
    with record.open(path) as traces:
        population = traces["network"]
        voltage = torch.stack(voltages).detach().transpose(0, 1)[..., [1, 4]]
        torch.testing.assert_close(population.torch("voltage"), voltage, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(population.torch("current"), current.transpose(0, 1)[..., [1, 4]])
        assert population.ids("voltage").tolist() == [1, 4]
        assert set(population.variables) == set(wanted)


def test_membranes_of_networks_trained_by_rates_have_the_current_that_is_meant(path):
    network, x = mlp(training="dsr"), inputs()
    with record.Recorder(path, network, variables=("spikes", "voltage")) as recorder:
        with recorder.samples():
            network(x)  # under gradients: spikes carry an amplitude that the current is not yet multiplied by
        with torch.no_grad(), recorder.samples():
            network(x)
    with record.open(path) as traces:
        voltage = traces["layers.1"].read("voltage")
        assert np.allclose(voltage[:5], voltage[5:], atol=1e-5)
        assert voltage.std() > 0.01


def test_labels_tasks_and_phases_stand_beside_every_sample(path):
    network = mlp()
    with record.Recorder(path, network) as recorder:
        recorder.mark("task-begins", task=4)
        with annotated(phase="training", task=4, stage=4, labels=torch.tensor([2, 0]), sample_ids=torch.tensor([7, 9])):
            network(inputs(batch=2))
        with recorder.samples(labels=torch.tensor([1, 1, 2]), phase="evaluation", task=torch.tensor([0, 0, 1])):
            network(inputs(batch=3))
        network(inputs(batch=1))
        recorder.mark("accuracy", task=0, value=0.5, text="after task 4")
    with record.open(path) as traces:
        columns = traces.samples
        assert columns["label"].tolist() == [2, 0, 1, 1, 2, -1]
        assert columns["task"].tolist() == [4, 4, 0, 0, 1, -1]
        assert columns["stage"].tolist() == [4, 4, -1, -1, -1, -1]
        assert columns["phase"].tolist() == [0, 0, 1, 1, 1, -1]
        assert columns["sample_id"].tolist() == [7, 9, -1, -1, -1, -1]
        assert columns["start_step"].tolist() == [16 * sample for sample in range(6)]
        assert traces.select(phase="evaluation", label=1).tolist() == [2, 3]
        assert traces.select(task=[0, 4], samples=slice(1, 4)).tolist() == [1, 2, 3]
        kinds = [(marker.kind, marker.sample, marker.step) for marker in traces.markers]
        assert kinds == [("task-begins", 0, 0), ("accuracy", 6, 96)]
        assert traces["layers.0"].raster(label=2, time_ms=(4, 9)).shape == (2, 5, 20)


def test_spikes_come_as_times_and_ids_or_as_a_raster_whatever_the_storage(tmp_path):
    network, x = mlp(), inputs()
    for storage in ("raster", "events"):
        with record.Recorder(tmp_path / storage, network, spikes=storage, dt_ms=0.5) as recorder:
            with recorder.samples(labels=torch.arange(5)):
                network(x)
            network(x[:2])
    with record.open(tmp_path / "raster") as dense, record.open(tmp_path / "events") as sparse:
        for which in ({}, {"label": 3}, {"samples": [0, 6]}, {"label": 77}, {"time_ms": (1.0, 3.0)}):
            one, two = (traces["layers.1"].spikes(**which) for traces in (dense, sparse))
            for left, right in zip(one, two, strict=True):
                assert (left == right).all()
            raster = dense["layers.1"].raster(**which)
            assert (raster == sparse["layers.1"].raster(**which)).all()
            assert len(one.ids) == raster.sum()
        assert dense["layers.1"].stored_as("spikes") == "raster"
        assert sparse["layers.1"].stored_as("spikes") == "events"
        assert (dense["layers.1"].mean() == sparse["layers.1"].mean()).all()
        assert np.allclose(dense["layers.1"].mean(), dense["layers.1"].raster().mean(1))


def test_auto_takes_events_where_spikes_are_rare(path):
    busy, quiet = LIF(), LIF()
    network = nn.ModuleDict({"busy": busy, "quiet": quiet})
    with record.Recorder(path, network) as recorder, recorder.samples():
        busy(torch.full((20, 1, 300), 3.0))
        quiet(torch.zeros(20, 1, 300).index_fill(2, torch.tensor([5]), 1.1))
    with record.open(path) as traces:
        assert traces["busy"].stored_as("spikes") == "raster"
        assert traces["quiet"].stored_as("spikes") == "events"
        assert set(traces["quiet"].spikes().ids.tolist()) == {5}


def test_a_silent_network_is_recorded_as_silent(path):
    neurons = LIF()
    with record.Recorder(path, neurons):
        neurons(torch.zeros(4, 1, 9))
    with record.open(path) as traces:
        assert traces["network"].raster().shape == (1, 4, 9)
        assert not traces["network"].raster().any()
        assert len(traces["network"].spikes().ids) == 0


def test_only_the_phases_passes_and_samples_asked_for_are_kept(path):
    network = mlp()
    with record.Recorder(path, network, phases=("training", "evaluation"), every=3, every_sample=2):
        for _ in range(7):
            with annotated(phase="training"):
                network(inputs(batch=2))
            with annotated(phase="consolidation"):
                network(inputs(batch=2))
        for _ in range(2):
            with annotated(phase="evaluation", sample_ids=torch.tensor([3, 4, 5, 6])):
                network(inputs(batch=4))
        with annotated(phase="evaluation", sample_ids=torch.tensor([1, 3])):
            network(inputs(batch=2))  # none of them is wanted
    with record.open(path) as traces:
        assert len(traces.select(phase="training")) == 2 * 3
        assert traces.samples["passage"][traces.select(phase="training")].tolist() == [0, 0, 3, 3, 6, 6]
        assert traces.samples["sample_id"][traces.select(phase="evaluation")].tolist() == [4, 6, 4, 6]
        assert len(traces) == 10
        raster = traces["layers.0"].raster(phase="evaluation")
        wanted = posts(network, inputs(batch=4))[0].numpy().astype(bool)
        assert (raster[:2] == wanted[[1, 3]]).all()


def test_chosen_populations_and_neurons_alone_are_in_the_file(path):
    network, x = mlp(), inputs()
    choice = {
        "populations": ["*.1"],
        "variables": ("spikes", "voltage"),
        "neurons": {"spikes": [0, 3, 9], "voltage": 2},
    }
    for storage in ("raster", "events"):
        with record.Recorder(path.with_suffix(f".{storage}"), network, spikes=storage, **choice):
            network(x)
        with record.open(path.with_suffix(f".{storage}")) as traces:
            assert traces.populations == ["layers.1"]
            population = traces["layers.1"]
            assert population.ids("spikes").tolist() == [0, 3, 9]
            assert population.ids("voltage").tolist() == [0, 9]
            assert (population.raster() == posts(network, x)[1][..., [0, 3, 9]].numpy().astype(bool)).all()
            assert set(population.spikes().ids.tolist()) <= {0, 3, 9}


def test_half_precision_halves_the_bytes_and_rounds(path):
    network, x = mlp(), inputs()
    for precision in ("float32", "float16"):
        with record.Recorder(path.with_name(precision), network, variables=("voltage",), precision=precision):
            network(x)
    with record.open(path.with_name("float32")) as one, record.open(path.with_name("float16")) as two:
        exact, rounded = one["layers.0"].read("voltage"), two["layers.0"].read("voltage")
        assert rounded.dtype == np.float16
        assert np.allclose(exact, rounded, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["values", "changes"])
def test_snapshots_of_weights_come_back_whole_from_values_and_from_changes(kind, path):
    network = mlp()
    weights = []
    with record.Recorder(path, network, weights=kind) as recorder:
        for step in range(3):
            network(inputs())
            with torch.no_grad():
                network.layers[0].synapse.weight.add_(0.5 * step)
            weights.append(network.layers[0].synapse.weight.detach().clone())
            recorder.snapshot(task=step)
    with record.open(path) as traces:
        steps, values = traces.snapshots("layers.0.synapse.weight")
        torch.testing.assert_close(torch.from_numpy(values), torch.stack(weights))
        assert steps.tolist() == [80, 160, 240]


def test_one_step_one_sample_one_neuron(path):
    neuron = LIF()
    with record.Recorder(path, neuron, variables=("spikes", "voltage")):
        neuron(torch.full((1, 1, 1), 2.0))
    with record.open(path) as traces:
        assert traces["network"].raster().tolist() == [[[True]]]
        assert traces["network"].read("voltage").shape == (1, 1, 1)


def test_a_population_whose_size_changes_is_left_out_with_a_warning_and_the_rest_goes_on(path):
    network = nn.ModuleDict({"a": LIF(), "b": LIF()})

    def play():
        with record.Recorder(path, network) as recorder:
            for size in (4, 4, 6, 4):
                with recorder.samples():
                    network["a"](torch.ones(3, 2, size))
                    network["b"](torch.ones(3, 2, 5))

    with pytest.warns(RuntimeWarning, match="a has 6 neurons now and had 4"):
        play()
    with record.open(path) as traces:
        assert len(traces["a"].recorded("spikes")) == 4
        assert len(traces["b"].recorded("spikes")) == 8


def test_samples_of_different_lengths_are_read_apart(path):
    neuron = LIF()
    with record.Recorder(path, neuron) as recorder:
        for steps in (3, 5):
            with recorder.samples(labels=torch.tensor([steps])):
                neuron(torch.ones(steps, 1, 4))
    with record.open(path) as traces:
        assert traces["network"].raster(label=5).shape == (1, 5, 4)
        with pytest.raises(BadInput, match=r"one length.*\[3, 5\]"):
            traces["network"].raster()
        assert traces["network"].raster(time_ms=(0, 3)).shape == (2, 3, 4)


def test_a_copied_network_is_not_recorded_and_a_closed_recorder_lets_go(path):
    from copy import deepcopy

    network = mlp()
    recorder = record.Recorder(path, network)
    copy = deepcopy(network)
    copy.layers[0].neuron(torch.ones(2, 3, 20))
    network(inputs())
    recorder.close()
    network(inputs())
    recorder.close()
    with record.open(path) as traces:
        assert len(traces) == 5
    with pytest.raises(BadInput, match="is closed"), recorder.samples():
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": ()}, "variables must be"),
        ({"populations": ["layers.7"]}, "no population named 'layers.7'"),
        ({"populations": ["hidden*"]}, "populations must name some of the network's; it has layers.0, layers.1"),
        ({"neurons": -1, "variables": ("voltage",)}, "neurons must be a whole number of at least 1"),
        ({"neurons": True}, "neurons must be"),
        ({"phases": ["sleep"]}, "no phase named 'sleep'"),
        ({"every": 0}, "every must be a whole number"),
        ({"spikes": "bits"}, "no spikes named 'bits'"),
        ({"precision": "float64"}, "no precision named 'float64'"),
        ({"compression": "zip"}, "no compression named 'zip'"),
        ({"dt_ms": 0}, "dt_ms must be"),
        ({"dt_ms": float("nan")}, "dt_ms must be"),
        ({"block_bytes": 0}, "block_bytes must be"),
        ({"colour": 1}, "no argument of Recorder named 'colour'"),
        ({"selection": record.Selection(), "every": 2}, "give selection or every, not both"),
    ],
)
def test_bad_choices_are_one_clear_error_and_leave_no_lock(options, message, path):
    with pytest.raises(BadInput, match=message):
        record.Recorder(path, mlp(), **options)
    record.Recorder(path.with_name("other.h5"), mlp()).close()
    path.unlink(missing_ok=True)
    record.Recorder(path, mlp()).close()


def test_neurons_that_are_not_there_are_named_when_the_network_runs(path):
    network = mlp()
    with (
        pytest.raises(BadInput, match=r"neurons must lie between 0 and 9 in layers\.1"),
        record.Recorder(path, network, neurons=[3, 15], variables=("voltage",)),
    ):
        network(inputs())
    network(inputs())  # the network is as it was


def test_a_network_without_neurons_says_what_to_do(path):
    with pytest.raises(BadInput, match="no neurons that are known"):
        record.Recorder(path, nn.Linear(2, 3))


def test_unknown_things_in_a_file_are_named_with_close_matches(path):
    with record.Recorder(path, mlp()) as recorder:
        recorder.attach(LIF())
    network = mlp()
    with record.Recorder(path.with_name("b.h5"), network):
        network(inputs())
    with record.open(path.with_name("b.h5")) as traces:
        for ask, message in (
            (lambda: traces["layer.0"], "no population named 'layer.0'; did you mean"),
            (lambda: traces["layers.0"].read("volt"), "no variable of layers.0 named 'volt'"),
            (lambda: traces.select(phase="train"), "no phase named 'train'; did you mean 'training'"),
            (lambda: traces.select(samples=[99]), "samples must lie between 0 and 4; got 99"),
            (lambda: traces["layers.0"].raster(time_ms=(5, 2)), "time_ms must be"),
            (lambda: traces.snapshots("w"), "no recorded parameter named 'w'"),
        ):
            with pytest.raises(BadInput, match=message):
                ask()
    with record.open(path) as empty:
        assert len(empty) == 0
        assert empty.populations == []


@pytest.mark.parametrize("training", ["dsr", "surrogate"])
def test_answers_of_lateral_circuits_are_recorded_as_their_rows_grow(training, path):
    network = mlp(training=training, head="single")
    circuits = attach_lateral(network, rows=3)
    for rows in (3, 6):
        circuits.begin_task()
        for seed in range(4):
            network(inputs(seed=seed)).square().sum().backward()
        circuits.end_task()
        recorder = record.Recorder(path, network, variables=("spikes", "lateral"), resume=path.exists())
        with recorder, recorder.samples(labels=torch.full((5,), rows)), torch.no_grad():
            network.eval()(inputs())
        network.train()
        with record.open(path) as traces:
            answers = traces["layers.1.synapse"].read("lateral", label=rows)
            assert answers.shape[2] == rows
            layer = network.layers[1].synapse
            old = next(each for each in layer._forward_hooks.values() if hasattr(each, "circuits")).circuits[0].old
            spikes = traces["layers.0"].torch("spikes", label=rows).float()
            torch.testing.assert_close(torch.from_numpy(answers), spikes @ old.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", ["rates", "steps"])
def test_lateral_neurons_of_convolutions_answer_at_every_place(how, path):
    training = {"rates": "dsr", "steps": "surrogate"}[how]
    network = CNN(IMAGES, channels=(3, 4), training=training)
    circuits = attach_lateral(network, rows=4)
    seen = {}
    for rows in (4, 8):
        circuits.begin_task()
        for seed in range(4):
            network(inputs(IMAGES, seed=seed)).square().sum().backward()
        circuits.end_task()
        layer = network.layers[1].synapse
        stop = layer.register_forward_pre_hook(lambda _, given: seen.update(x=given[0].detach()))
        recorder = record.Recorder(path, network, variables=("spikes", "lateral"), resume=path.exists())
        with recorder, recorder.samples(labels=torch.full((5,), rows)), torch.no_grad():
            network.eval()(inputs(IMAGES))
        network.train()
        stop.remove()
        with record.open(path) as traces:
            population = traces["layers.1.synapse"]
            height, width = population.shape[1:]
            assert population.shape[0] == rows
            answers = torch.from_numpy(population.read("lateral", label=rows))  # [sample, time, neuron]
        (circuit,) = next(each for each in layer._forward_hooks.values() if hasattr(each, "circuits")).circuits
        filters = circuit.old.view(rows, *layer.weight.shape[1:])
        wanted = nn.functional.conv2d(seen["x"].flatten(0, -4), filters, stride=layer.stride, padding=layer.padding)
        wanted = wanted.unflatten(0, (-1, 5)).transpose(0, 1).flatten(2)
        assert wanted.shape[2] == rows * height * width
        assert float(wanted.abs().mean()) > 1e-3  # not a comparison of silence
        torch.testing.assert_close(answers, wanted, rtol=1e-4, atol=1e-5)


def test_a_resumed_recorder_leaves_out_the_passes_that_an_uninterrupted_one_leaves_out(path):
    neuron, x = LIF(), inputs(TIMED)

    def go(recorder, numbers):
        for number in numbers:
            with recorder.samples(labels=torch.full((5,), number), phase="training"):
                neuron(x)
            recorder.trained()

    choices = {"every": 3, "weights": "values", "every_weights": 4}
    module = nn.Sequential(neuron, nn.Linear(12, 2))
    whole, parted = path, path.with_name("parted.h5")
    with record.Recorder(whole, module, **choices) as recorder:
        go(recorder, range(5))
        recorder.checkpoint(0)
        go(recorder, range(5, 12))
    with record.Recorder(parted, module, **choices) as recorder:
        go(recorder, range(5))
        recorder.checkpoint(0)
        go(recorder, (77, 78, 79))  # forgotten
    with record.Recorder(parted, module, **choices, resume=True) as recorder:
        recorder.rewind(0)
        go(recorder, range(5, 12))
    with record.open(whole) as one, record.open(parted) as other:
        assert one.samples["label"][::5].tolist() == [0, 3, 6, 9]
        for name, column in one.samples.items():
            assert column.tolist() == other.samples[name].tolist()
        assert one.markers[:1] == other.markers[:1]
        for name in one.weights:
            assert one.snapshots(name)[0].tolist() == other.snapshots(name)[0].tolist()
    with record.Recorder(parted, module, **choices, resume=True) as recorder:  # without a checkpoint, as well as can be
        go(recorder, range(20, 24))
    with record.open(parted) as traces:
        assert traces.samples["passage"][::5].tolist() == [0, 3, 6, 9, 12]


def test_patterns_that_are_replayed_behind_a_cut_are_in_the_file_with_what_they_drive(path):
    network, x = mlp(), inputs()
    activity = network.activity_at("layers.0", x)
    with (
        record.Recorder(path, network, variables=("spikes", "voltage")),
        annotated(phase="replay", labels=torch.arange(5)),
    ):
        network.forward_from("layers.0", activity)
    with record.open(path) as traces:
        replayed = traces["layers.0"].raster(phase="replay")
        assert (replayed == activity.transpose(0, 1).numpy().astype(bool)).all()
        assert traces["layers.1"].raster(label=2).shape == (1, 16, 10)
        assert len(traces) == 5
        assert traces["layers.1"].variables == ["spikes", "voltage"]


def test_a_recorder_that_is_refused_leaves_everything_as_it_was(path):
    network = mlp()
    with pytest.raises(BadInput, match="populations must name some"):
        record.Recorder(path, network, populations="hidden*")
    assert not list(path.parent.iterdir())
    assert not writer.RUNNING
    with record.Recorder(path, network):
        network(inputs())
    before = path.read_bytes()
    with pytest.raises(BadInput, match="populations must name some"):
        record.Recorder(path, nn.Linear(2, 2), resume=True)
    assert not writer.RUNNING
    with record.open(path) as traces:
        assert len(traces) == 5
    with h5py.File(path) as file:
        assert file.attrs["__type__"] == "NIRGraphData"  # the views of other readers, as before
    assert abs(len(path.read_bytes()) - len(before)) < 10_000
