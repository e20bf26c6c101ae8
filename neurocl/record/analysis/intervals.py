"""How regular spikes are: interspike intervals and their variation.

One train gives one number, and too few spikes are an error. Functions ``..._by_neuron`` take a raster and give one
number a neuron, NaN where a neuron has too few; their intervals never bridge two samples. A sample cuts intervals off
that are longer than itself: in samples of few steps every measure comes out more regular than the neuron is.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput
from neurocl.record.analysis.arrays import NoValue, read_numbers, read_raster, read_train
from neurocl.record.analysis.trains import spike_trains


class Intervals(NamedTuple):
    """Every interval between two successive spikes of a neuron within a sample, ordered by sample, neuron, time.

    Attributes:
        intervals_ms: Their lengths.
        neuron_ids: Whose they are.
        sample_ids: In which sample.
    """

    intervals_ms: Float64[ndarray, " interval"]
    neuron_ids: Int64[ndarray, " interval"]
    sample_ids: Int64[ndarray, " interval"]


def interspike_intervals(times_ms: ArrayLike) -> Float64[ndarray, " interval"]:
    """Return the times between successive spikes of one train; none where there are fewer than two spikes.

    Raises:
        BadInput: If the times are not in order.
    """
    return np.diff(read_train("times_ms", times_ms))


def intervals_by_neuron(raster: ArrayLike, *, dt_ms: float) -> Intervals:
    """Return the interspike intervals of every neuron within each sample of a raster [sample, time, neuron]."""
    trains = spike_trains(raster, dt_ms=dt_ms)
    same = of_one_train(trains.neuron_ids, trains.sample_ids)
    return Intervals(np.diff(trains.times_ms)[same], trains.neuron_ids[1:][same], trains.sample_ids[1:][same])


def coefficient_of_variation(intervals: ArrayLike) -> float:
    r"""Return :math:`\mathrm{CV} = \sigma / \mu` of intervals: 0 for a clock, 1 for a Poisson process.

    A drift of the rate raises it; :func:`cv2` and :func:`local_variation` hardly notice one.

    Raises:
        BadInput: With fewer than 2 intervals, or any that is not above 0.

    Source:
        Softky & Koch 1993. Differs: none; the standard deviation divides by n, as SciPy's and Elephant's do.
    """
    values = checked(intervals)
    return float(values.std() / values.mean())


def cv2(intervals: ArrayLike) -> float:
    r"""Return the mean of :math:`2 |I_{i+1} - I_i| / (I_{i+1} + I_i)` over neighbouring intervals of one train.

    0 for a clock, 1 for a Poisson process, whatever slow changes of its rate.

    Raises:
        BadInput: With fewer than 2 intervals, or any that is not above 0.

    Source:
        Holt, Softky, Koch & Douglas 1996, equation 4.
    """
    return float(2 * contrasts(checked(intervals)).mean())


def local_variation(intervals: ArrayLike) -> float:
    r"""Return :math:`\mathrm{LV} = \frac{3}{n - 1} \sum_i \left(\frac{I_i - I_{i+1}}{I_i + I_{i+1}}\right)^2`.

    0 for a clock, 1 for a Poisson process, :math:`3 / (2 k + 1)` for gamma intervals of shape k.

    Raises:
        BadInput: With fewer than 2 intervals, or any that is not above 0.

    Source:
        Shinomoto, Shima & Tanji 2003.
    """
    return float(3 * np.square(contrasts(checked(intervals))).mean())


def coefficient_of_variation_by_neuron(raster: ArrayLike, *, dt_ms: float) -> Float64[ndarray, " neuron"]:
    """Return :func:`coefficient_of_variation` of each neuron over its intervals in all samples; NaN below 2 of them."""
    spikes = read_raster(raster)
    found, neurons = intervals_by_neuron(spikes, dt_ms=dt_ms), spikes.shape[2]
    mean = mean_by_neuron(found.intervals_ms, found.neuron_ids, neurons)
    from_mean = found.intervals_ms - mean[found.neuron_ids]
    variation = np.sqrt(mean_by_neuron(np.square(from_mean), found.neuron_ids, neurons)) / mean
    return np.where(np.bincount(found.neuron_ids, minlength=neurons) < 2, np.nan, variation)


def cv2_by_neuron(raster: ArrayLike, *, dt_ms: float) -> Float64[ndarray, " neuron"]:
    """Return :func:`cv2` of each neuron over neighbouring intervals in all samples; NaN where there are none."""
    spikes = read_raster(raster)
    return 2 * mean_by_neuron(*neighbours_by_neuron(spikes, dt_ms), spikes.shape[2])


def local_variation_by_neuron(raster: ArrayLike, *, dt_ms: float) -> Float64[ndarray, " neuron"]:
    """Return :func:`local_variation` of each neuron over neighbouring intervals in all samples; NaN for none."""
    spikes = read_raster(raster)
    values, neuron_ids = neighbours_by_neuron(spikes, dt_ms)
    return 3 * mean_by_neuron(np.square(values), neuron_ids, spikes.shape[2])


def neighbours_by_neuron(raster: ArrayLike, dt_ms: float) -> tuple[Float64[ndarray, " pair"], Int64[ndarray, " pair"]]:
    """Contrasts of neighbouring intervals within one train, and the neurons they belong to."""
    found = intervals_by_neuron(raster, dt_ms=dt_ms)
    same = of_one_train(found.neuron_ids, found.sample_ids)
    return contrasts(found.intervals_ms)[same], found.neuron_ids[1:][same]


def contrasts(intervals: Float64[ndarray, " interval"]) -> Float64[ndarray, " pair"]:
    """Difference of neighbouring intervals over their sum, without the sign."""
    return np.abs(np.diff(intervals)) / (intervals[1:] + intervals[:-1])


def of_one_train(neuron_ids: Int64[ndarray, " entry"], sample_ids: Int64[ndarray, " entry"]) -> Bool[ndarray, " pair"]:
    """Whether an entry and the one before it belong to the same neuron and sample."""
    return (np.diff(neuron_ids) == 0) & (np.diff(sample_ids) == 0)


def mean_by_neuron(
    values: Float64[ndarray, " entry"], neuron_ids: Int64[ndarray, " entry"], neurons: int
) -> Float64[ndarray, " neuron"]:
    """Mean of the values that belong to each neuron, NaN where there are none."""
    count = np.bincount(neuron_ids, minlength=neurons)
    total = np.bincount(neuron_ids, weights=values, minlength=neurons)
    return np.divide(total, count, out=np.full(neurons, np.nan), where=count > 0)


def checked(intervals: ArrayLike) -> Float64[ndarray, " interval"]:
    """Return intervals of one train, if there are two and all are above 0."""
    values = read_numbers("intervals", intervals, axes=("interval",), empty=("interval",))
    if len(values) < 2:
        raise NoValue(f"variation needs at least 2 intervals, which is 3 spikes of one train; got {len(values)}")
    if values.min() <= 0:
        raise BadInput(f"intervals must be above 0; got {values.min():g}: a neuron spikes once at a time")
    return values
