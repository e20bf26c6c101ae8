"""Does each figure of a trace file stand by itself, and say of accuracies, thresholds and names what the file says?"""

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from neurocl import record
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput
from neurocl.record import drawings, overview

pytest.importorskip("matplotlib")


def network(*names):
    """Hidden layers of these names, one after the other."""
    layers = nn.Module()
    for name in names:
        layers.add_module(name, LIF())
    layers.forward = lambda x: [layer(x) for layer in layers.children()]
    return layers


def recorded(path, net, *, stages=2, marks=None, **options):
    """Record evaluations of every task so far after each task, and what ``marks`` adds at the end of a stage."""
    generator = torch.Generator().manual_seed(0)
    with record.Recorder(path, net, **options) as recorder, torch.no_grad():
        for stage in range(stages):
            for task in range(stage + 1):
                of = {"task": task, "stage": stage, "sample_ids": torch.arange(4)}
                with recorder.samples(labels=torch.arange(4), phase="evaluation", **of):
                    net(4 * torch.rand(8, 4, 6, generator=generator))
            if marks is not None:
                marks(recorder, stage)
    return record.open(path)


def outcomes(traces, populations=None):
    """The reason why a figure is not there, or None, by its name."""
    found = {}
    for name, draw in drawings.drawings_of(traces, populations):
        try:
            found[name] = draw() and None
        except BadInput as problem:
            found[name] = str(problem)
    return found


def words(figure):
    """All that stands around the panels."""
    return " | ".join(text.get_text() for text in figure.texts)


def test_a_layer_that_began_at_0_takes_no_other_figure_with_it(tmp_path):
    net = nn.Sequential(nn.Linear(6, 5), LIF(), nn.Linear(5, 3))
    nn.init.zeros_(net[2].weight)
    nn.init.ones_(net[0].weight)
    snapshots = {"weights": "values", "marks": lambda recorder, stage: recorder.snapshot(task=stage)}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = net[:2], net[2]

        def forward(self, x):
            spikes = self.body(x)
            return self.head(spikes[0] if isinstance(spikes, tuple) else spikes)

    with recorded(tmp_path / "t.h5", Net(), variables=["spikes"], **snapshots) as traces:
        found = outcomes(traces)
        assert "all 0" in found.pop("weight_drift of head.weight")
        assert {"weight_drift", "raster_body.1", "drift_body.1", "angles_body.1"} <= found.keys()
        assert set(found.values()) == {None}
        figure = dict(drawings.drawings_of(traces))["weight_drift"]()
        assert figure.texts[-1].get_text() == "without head"


def test_a_membrane_that_is_no_number_leaves_the_other_figures(tmp_path):
    with recorded(tmp_path / "t.h5", net := network("a"), variables=["spikes", "voltage"]) as traces:
        assert set(outcomes(traces).values()) == {None}
    with record.Recorder(tmp_path / "n.h5", net, variables=["spikes", "voltage"]):
        net(torch.full((3, 2, 6), float("nan")))
    with record.open(tmp_path / "n.h5") as traces:
        found = outcomes(traces)
        assert "NaN" in found["voltage_a"]
        assert found["raster_a"] is None


def marks_of(kind):
    """How users mark the accuracies 0.9 - 0.1 * (stage - task), in words, between ends of tasks or in order alone."""

    def marks(recorder, stage):
        if kind == "ends":
            recorder.mark("task-ends", task=stage)
        for task in range(stage + 1):
            text = {"text": f"after task {stage}", "free": "after task switch"}.get(kind, "")
            recorder.mark("accuracy", task=task, value=0.9 - 0.1 * (stage - task), text=text)

    return marks


@pytest.mark.parametrize("kind", ["text", "free", "ends", "order"])
def test_accuracies_are_found_whatever_their_text(kind, tmp_path):
    with recorded(tmp_path / "t.h5", network("a"), stages=3, marks=marks_of(kind)) as traces:
        accuracy = overview.accuracy_of(traces)
        wanted = [[0.9, np.nan, np.nan], [0.8, 0.9, np.nan], [0.7, 0.8, 0.9]]
        np.testing.assert_allclose(accuracy, wanted)
        figure = dict(drawings.figures_of(traces))["drift_a"]
        assert [text.get_text() for text in figure.axes[0].texts] == ["90", "80", "90", "70", "80", "90"]


def test_accuracies_before_any_sample_are_put_in_order(tmp_path):
    with record.Recorder(tmp_path / "t.h5", net := network("a")) as recorder:
        for task, value in ((0, 0.9), (0, 0.8), (1, 0.7), (0, 0.6), (1, 0.5), (2, 0.4)):
            recorder.mark("accuracy", task=task, value=value)
        net(torch.ones(3, 2, 6))
    with record.open(tmp_path / "t.h5") as traces:
        wanted = [[0.9, np.nan, np.nan], [0.8, 0.7, np.nan], [0.6, 0.5, 0.4]]
        np.testing.assert_allclose(overview.accuracy_of(traces), wanted)


def test_accuracies_on_tasks_that_no_one_evaluated_do_not_hide_those_of_the_others(tmp_path):
    def marks(recorder, stage):
        for task in range(5):
            recorder.mark("accuracy", task=task, value=0.5, text=f"after task {stage}")

    with recorded(tmp_path / "t.h5", network("a"), marks=marks) as traces:
        assert len(overview.accuracy_of(traces)) == 5
        figure = dict(drawings.figures_of(traces))["drift_a"]
        assert len(figure.axes[0].texts) == 4


def test_the_last_populations_are_drawn_or_those_named(tmp_path):
    net = network(*"abcdef")
    with recorded(tmp_path / "t.h5", net, stages=1) as traces:
        assert drawings.drawn_populations(traces) == [*"cdef"]
        assert drawings.drawn_populations(traces, ["f", "a", "f"]) == [*"fa"]
        assert {name[-1] for name in outcomes(traces, ["a"])} == {"a"}
        with pytest.raises(BadInput, match="no population named 'g'"):
            drawings.drawn_populations(traces, ["g"])


def test_membranes_alone_are_drawn(tmp_path):
    with recorded(tmp_path / "t.h5", network("a"), variables=["voltage"]) as traces:
        assert outcomes(traces) == {"voltage_a": None}
        figure = dict(drawings.figures_of(traces))["voltage_a"]
        assert "not recorded" in words(figure)


def test_the_threshold_is_drawn_only_where_it_is_the_unit(tmp_path):
    recorded(path := tmp_path / "t.h5", network("a", "b"), variables=["spikes", "voltage"]).close()
    with h5py.File(path, "r+") as file:
        file["neurocl/traces/b/voltage"].attrs["units"] = "dimensionless"
    with record.open(path) as traces:
        assert [drawings.threshold_of(traces, name) for name in "ab"] == [1.0, None]
        figures = dict(drawings.figures_of(traces))
        assert "dashed" in words(figures["voltage_a"])
        assert "dashed" not in words(figures["voltage_b"])
