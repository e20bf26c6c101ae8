"""Times, means and figures of one population, whatever its spikes are stored as."""

import numpy as np
import pytest
import torch

from neurocl import record
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput
from neurocl.record.drawings import figures_of
from neurocl.record.overview import table_of

STORED = ("raster", "events")


def recorded(path, *, lengths=(40, 40, 40), dt_ms=0.1, **options):
    """Record passes of two samples of so many steps."""
    generator, neuron = torch.Generator().manual_seed(0), LIF()
    with record.Recorder(path, neuron, dt_ms=dt_ms, **options) as recorder:
        for number, steps in enumerate(lengths):
            with recorder.samples(labels=torch.tensor([number, number])):
                neuron(4 * torch.rand(steps, 2, 6, generator=generator))
    return record.open(path)


def test_a_time_range_means_the_same_steps_whatever_is_read_and_however_it_is_stored(tmp_path):
    with (
        recorded(tmp_path / "raster", spikes="raster") as dense,
        recorded(tmp_path / "events", spikes="events") as rare,
    ):
        whole = dense["network"].raster()
        for first in range(0, 39, 2):
            span = (first * 0.1, (first + 3) * 0.1)
            wanted = whole[:, first : first + 3]
            for traces in (dense, rare):
                assert (traces["network"].raster(time_ms=span) == wanted).all()
                found = traces["network"].spikes(time_ms=span)
                assert len(found.ids) == wanted.sum() > 0
        for one, two in zip(dense["network"].spikes(), rare["network"].spikes(), strict=True):
            assert (one == two).all()


@pytest.mark.parametrize("stored", STORED)
def test_a_time_range_may_be_open_to_the_end_and_never_runs_backwards(stored, tmp_path):
    with recorded(tmp_path / "t.h5", spikes=stored) as traces:
        population = traces["network"]
        whole = population.raster()
        assert (population.raster(time_ms=(0, float("inf"))) == whole).all()
        assert len(population.spikes(time_ms=(0, float("inf"))).ids) == whole.sum() > 0
        for read in (population.raster, population.spikes):
            for span in ((5, 1), (0, float("nan")), (-1, 2)):
                with pytest.raises(BadInput, match="time_ms must be"):
                    read(time_ms=span)


def test_means_of_samples_of_several_lengths_are_the_same_from_events_as_from_a_raster(tmp_path):
    lengths = (10, 30)
    with (
        recorded(tmp_path / "raster", lengths=lengths, spikes="raster") as dense,
        recorded(tmp_path / "events", lengths=lengths, spikes="events") as rare,
    ):
        assert np.array_equal(dense["network"].mean(), rare["network"].mean())
        assert np.array_equal(dense["network"].mean(label=1), rare["network"].mean(label=1))
        assert rare["network"].mean(label=9).shape == (0, 6)
        assert table_of(rare) == [type(row)(**{**vars(row), "stored": {"spikes": "events"}}) for row in table_of(dense)]
        assert rare["network"].mean().any()


def test_membranes_of_neurons_whose_spikes_were_not_recorded_are_drawn_without_ticks(tmp_path):
    pytest.importorskip("matplotlib")
    chosen = {"spikes": [0, 1], "voltage": [1, 5]}
    with recorded(tmp_path / "t.h5", variables=("spikes", "voltage"), neurons=chosen) as traces:
        assert {"voltage_network", "raster_network"} <= {name for name, _ in figures_of(traces)}


def test_samples_may_be_a_mask_and_nothing_that_is_no_number(tmp_path):
    with recorded(tmp_path / "t.h5", lengths=(10, 10, 10)) as traces:
        mask = traces.samples["label"] == 2
        assert traces.select(samples=mask).tolist() == [4, 5]
        assert traces.select(samples=mask.tolist(), label=2).tolist() == [4, 5]
        assert (traces["network"].raster(samples=mask) == traces["network"].raster(label=2)).all()
        assert traces.select(samples=[]).tolist() == []
        assert traces.select(samples=np.array([1.0])).tolist() == [1]
        for which, message in (
            ({"samples": mask[:3]}, "samples must, as a mask, be one value for each of the 6"),
            ({"samples": np.array([0.5])}, "samples must be a whole number"),
            ({"samples": np.array([-1, 3])}, "samples must lie between 0 and 5; got -1"),
            ({"samples": np.array([1, 6, 2])}, "samples must lie between 0 and 5; got 6"),
            ({"task": np.array("a")}, "task must be a whole number"),
            ({"label": mask}, "label must be a whole number"),
            ({"label": np.array([[1]])}, "label must be a whole number"),
            ({"taks": 1}, "no choice of samples named 'taks'; did you mean 'task'"),
        ):
            with pytest.raises(BadInput, match=message):
                traces["network"].raster(**which)


def test_neurons_may_be_an_array_and_the_one_that_cannot_be_is_named(tmp_path):
    chosen = {"variables": ("spikes", "voltage"), "lengths": (5,)}
    for number, neurons in enumerate((np.arange(3), torch.arange(3), {"voltage": np.arange(3)})):
        with recorded(tmp_path / f"{number}.h5", neurons=neurons, **chosen) as traces:
            assert traces["network"].ids("voltage").tolist() == [0, 1, 2]
            assert traces["network"].raster().shape[2] == 6
    with pytest.raises(BadInput, match="neurons must be numbers from 0; got -1"):
        record.Recorder(tmp_path / "n.h5", LIF(), neurons=[-1, 3])
    with pytest.raises(BadInput, match=r"neurons must lie between 0 and 5 in network, which has 6; got 9"):
        recorded(tmp_path / "m.h5", neurons=[3, 9], **chosen)
