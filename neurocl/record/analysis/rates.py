"""How much neurons fire: counts, rates, their spread over trials and over neurons."""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.networks.population import sparseness
from neurocl.primitives.checks import BadInput, check_number
from neurocl.record.analysis.arrays import read_activity, read_numbers, read_raster, steps_in, to_numpy


def spike_counts(raster: ArrayLike, *, bin_ms: float, dt_ms: float) -> Int64[ndarray, "sample bin neuron"]:
    """Return the number of spikes of each neuron in successive bins of each sample.

    Args:
        raster: Spikes (0 or 1) [sample, time, neuron].
        bin_ms: Length of a bin; wider bins see slower covariation.
        dt_ms: Length of one step.

    Raises:
        BadInput: If the bin is no whole number of steps, or the sample no whole number of bins.
    """
    spikes, width = read_raster(raster), steps_in("bin_ms", bin_ms, dt_ms)
    samples, steps, neurons = spikes.shape
    if steps % width:
        raise BadInput(
            f"bin_ms must divide the sample into whole bins; got bins of {width} steps in {steps}: "
            f"give raster[:, :{steps // width * width}], or another bin_ms"
        )
    return spikes.reshape(samples, steps // width, width, neurons).sum(axis=2, dtype=np.int64)


def firing_rates(raster: ArrayLike, *, dt_ms: float) -> Float64[ndarray, " neuron"]:
    """Return the mean firing rate of each neuron over all samples and steps, in hertz."""
    return firing_rates_by_sample(raster, dt_ms=dt_ms).mean(axis=0)


def firing_rates_by_sample(raster: ArrayLike, *, dt_ms: float) -> Float64[ndarray, "sample neuron"]:
    """Return the firing rate of each neuron in each sample, in hertz."""
    dt_ms = check_number("dt_ms", dt_ms, above=0)
    spikes = read_raster(raster)
    return spikes.sum(axis=1, dtype=np.int64) * (1000.0 / (dt_ms * spikes.shape[1]))


def population_rate(raster: ArrayLike, *, dt_ms: float) -> Float64[ndarray, "sample time"]:
    """Return the firing rate of the average neuron at each step of each sample, in hertz."""
    dt_ms = check_number("dt_ms", dt_ms, above=0)
    spikes = read_raster(raster)
    return spikes.sum(axis=2, dtype=np.int64) * (1000.0 / (dt_ms * spikes.shape[2]))


def smoothed_rate(rate: ArrayLike, *, width_ms: float, dt_ms: float) -> Float64[ndarray, "sample time"]:
    """Return rates [sample, time] under a Gaussian along time; each sample keeps its mean, its ends are mirrored.

    Args:
        rate: Such as :func:`population_rate` gives.
        width_ms: Standard deviation of the Gaussian; wider is smoother.
        dt_ms: Length of one step.
    """
    from scipy.ndimage import gaussian_filter1d

    values = read_numbers("rate", rate, axes=("sample", "time"))
    width = check_number("width_ms", width_ms, above=0) / check_number("dt_ms", dt_ms, above=0)
    return gaussian_filter1d(values, width, axis=1, mode="reflect")


def fraction_silent(raster: ArrayLike) -> float:
    """Return the share of neurons that never fire in any sample."""
    return float((~read_raster(raster).any(axis=(0, 1))).mean())


def fano_factor(counts: ArrayLike) -> Float64[ndarray, "..."]:
    r"""Return :math:`F = \mathrm{Var}[n] / \langle n \rangle` of spike counts over samples: 1 for a Poisson process.

    Samples must be repeats of one condition: over different stimuli it measures the tuning too.

    Args:
        counts: Spike counts [sample, ...], at least two samples.

    Returns:
        One value for each of the other axes; NaN where nothing fires.

    Raises:
        BadInput: With one sample, or negative counts.

    Source:
        Fano 1947. Differs: the variance divides by n, as Elephant's does; times n / (n - 1) it is unbiased.
    """
    array = to_numpy("counts", counts)
    values = read_numbers("counts", array, axes=["sample", *(f"axis {i}" for i in range(1, max(1, array.ndim)))])
    if len(values) < 2 or values.min() < 0:
        raise BadInput(
            f"counts must be [sample, ...] of at least 2 samples, none negative; got {len(values)} samples, "
            f"the least count {values.min():g}"
        )
    mean = values.mean(axis=0)
    return np.divide(values.var(axis=0), mean, out=np.full(mean.shape, np.nan), where=mean > 0)


def population_sparseness(rates: ArrayLike) -> float:
    """Return how few neurons share the activity of a sample: 0 if all fire alike, 1 if one fires alone.

    The mean over samples of :func:`neurocl.networks.sparseness`; silent samples are left out.

    Args:
        rates: Rates or counts [sample, neuron], none negative.
    """
    return sparseness(torch.from_numpy(read_activity("rates", rates).copy()))


def lifetime_sparseness(rates: ArrayLike) -> float:
    """Return how few samples a neuron answers: 0 if it fires alike in all, 1 if in a single one.

    The mean over neurons of :func:`neurocl.networks.sparseness`; silent neurons are left out.

    Args:
        rates: Rates or counts [sample, neuron], none negative.
    """
    return sparseness(torch.from_numpy(read_activity("rates", rates).T.copy()))
