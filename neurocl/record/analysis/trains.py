"""Spike times out of rasters, one train for each neuron and sample: no train runs from one sample into the next."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput, check_number
from neurocl.record.analysis.arrays import read_raster


class SpikeTrains(NamedTuple):
    """Every spike once, ordered by sample, then neuron, then time.

    Attributes:
        times_ms: From the start of the sample.
        neuron_ids: Place on the raster's last axis.
        sample_ids: Place on the raster's first axis.
    """

    times_ms: Float64[ndarray, " spike"]
    neuron_ids: Int64[ndarray, " spike"]
    sample_ids: Int64[ndarray, " spike"]


def spike_trains(raster: ArrayLike, *, dt_ms: float) -> SpikeTrains:
    """Return the times, neurons and samples of all spikes.

    Args:
        raster: Spikes (0 or 1) [sample, time, neuron].
        dt_ms: Length of one step; the spike of step k is at k times this.
    """
    dt_ms = check_number("dt_ms", dt_ms, above=0)
    sample, neuron, step = np.nonzero(read_raster(raster).swapaxes(1, 2))
    return SpikeTrains(step * dt_ms, neuron.astype(np.int64), sample.astype(np.int64))


def trains_of_neuron(raster: ArrayLike, neuron: int, *, dt_ms: float) -> list[Float64[ndarray, " spike"]]:
    """Return the spike times of one neuron in milliseconds, a train for each sample; silent samples give empty ones.

    Raises:
        BadInput: If there is no such neuron.
    """
    spikes, dt_ms = read_raster(raster), check_number("dt_ms", dt_ms, above=0)
    check_place("neuron", neuron, spikes.shape[2])
    return [np.flatnonzero(train) * dt_ms for train in spikes[:, :, neuron]]


def trains_of_sample(raster: ArrayLike, sample: int, *, dt_ms: float) -> list[Float64[ndarray, " spike"]]:
    """Return the spike times in one sample in milliseconds, a train for each neuron; silent ones give empty trains.

    Raises:
        BadInput: If there is no such sample.
    """
    spikes, dt_ms = read_raster(raster), check_number("dt_ms", dt_ms, above=0)
    check_place("sample", sample, len(spikes))
    return [np.flatnonzero(train) * dt_ms for train in spikes[sample].T]


def check_place(what: str, place: int, size: int) -> None:
    """Refuse a place that an axis of this size does not have."""
    if not isinstance(place, int | np.integer) or not 0 <= place < size:
        raise BadInput(f"{what} must be a whole number from 0 to {size - 1}; got {place!r}")
