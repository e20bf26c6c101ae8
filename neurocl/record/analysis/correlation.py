"""How neurons fire together: correlation of counts, synchrony, correlograms."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput
from neurocl.record.analysis.arrays import NoValue, read_activity, read_counts, read_labels, read_raster, steps_in
from neurocl.record.analysis.representation import class_means
from neurocl.record.analysis.trains import check_place


class Correlogram(NamedTuple):
    """How spikes of one train lie in time to those of another.

    Attributes:
        lags_ms: Time of the target's spike less that of the reference's.
        coincidences: Pairs of spikes at each lag, within samples.
        rates_hz: Rate of the target at each lag from a spike of the reference, over those spikes that have the lag
            within their sample; flat at the target's rate where the two are independent. NaN where there is none.
    """

    lags_ms: Float64[ndarray, " lag"]
    coincidences: Int64[ndarray, " lag"]
    rates_hz: Float64[ndarray, " lag"]


def pairwise_correlation(counts: ArrayLike) -> Float64[ndarray, "neuron neuron"]:
    """Return Pearson's correlation of the counts of each two neurons.

    Over different stimuli this is signal and noise together; :func:`noise_correlation` takes the signal out.

    Args:
        counts: Counts, rates or a raster [..., neuron]; each entry of the leading axes is one observation.

    Returns:
        NaN in rows and columns of neurons that never vary.

    Raises:
        BadInput: With fewer than two observations.
    """
    rows = read_counts(counts, at_least=2)
    centred = rows - rows.mean(axis=0)
    # relative to the size of the counts: what is left of equal ones by rounding does not count as varying
    length = np.linalg.norm(centred, axis=0)
    varies = length > 1e-12 * np.linalg.norm(rows, axis=0)
    unit = np.divide(centred, length, out=np.full_like(centred, np.nan), where=varies)
    values = np.clip(unit.T @ unit, -1, 1)
    np.fill_diagonal(values, np.where(varies, 1.0, np.nan))
    return values


def noise_correlation(counts: ArrayLike, labels: ArrayLike) -> Float64[ndarray, "neuron neuron"]:
    """Return :func:`pairwise_correlation` of what is left of counts when each class's mean response is taken out.

    Args:
        counts: Counts or rates [sample, neuron].
        labels: The class, or the stimulus, of each sample; those with one sample add nothing.

    Source:
        Cohen & Kohn 2011. Differs: residuals are not scaled by class, so classes that vary more weigh more.
    """
    activity = read_activity("counts", counts)
    means = class_means(activity, labels)
    place = np.searchsorted(means.classes, read_labels(labels, samples=len(activity)))
    left = activity - means.activity[place]
    left[np.abs(left) < 1e-12 * np.abs(activity).max(initial=0)] = 0  # rounding of equal responses
    return pairwise_correlation(left)


def synchrony(counts: ArrayLike) -> float:
    r"""Return :math:`\chi = \sqrt{\mathrm{Var}[\langle n \rangle] / \langle \mathrm{Var}[n_i] \rangle}`.

    1 where all neurons fire in step; :math:`1 / \sqrt{N}` for N independent ones.

    Args:
        counts: Counts in bins [..., neuron]; narrow bins ask for precise synchrony.

    Raises:
        BadInput: If no neuron varies.

    Source:
        Golomb & Rinzel 1994; Hansel & Sompolinsky 1992. Differs: of binned spikes instead of voltages.
    """
    rows = read_counts(counts, at_least=2)
    alone = rows.var(axis=0).mean()
    # relative to the size of the counts: what is left of equal ones by rounding does not count as varying
    if np.sqrt(alone) <= 1e-12 * np.abs(rows).max():
        raise NoValue("synchrony needs a neuron whose counts vary; got none: give more samples, or narrower bins")
    return float(np.sqrt(rows.mean(axis=1).var() / alone))


def autocorrelogram(raster: ArrayLike, neuron: int, *, max_lag_ms: float, dt_ms: float) -> Correlogram:
    """Return the correlogram of a neuron with itself; at lag 0 stands its number of spikes, each paired with itself."""
    return cross_correlogram(raster, (neuron, neuron), max_lag_ms=max_lag_ms, dt_ms=dt_ms)


def cross_correlogram(raster: ArrayLike, pair: tuple[int, int], *, max_lag_ms: float, dt_ms: float) -> Correlogram:
    """Return how often neuron ``pair[1]`` (target) spikes at each lag from spikes of ``pair[0]`` (reference).

    Args:
        raster: Spikes (0 or 1) [sample, time, neuron]; no pair of spikes bridges two samples.
        pair: Reference and target.
        max_lag_ms: Largest lag either way; shorter than a sample.
        dt_ms: Length of one step.

    Raises:
        BadInput: If there is no such neuron, or the lag is no whole number of steps within a sample.
    """
    spikes, most = read_raster(raster), steps_in("max_lag_ms", max_lag_ms, dt_ms, at_least=0)
    steps = spikes.shape[1]
    if most >= steps:
        raise BadInput(f"max_lag_ms must be shorter than a sample of {steps * dt_ms:g} ms; got {max_lag_ms:g}")
    for place in pair:
        check_place("a neuron of the pair", place, spikes.shape[2])
    reference, target = (spikes[:, :, place] for place in pair)
    lags = np.arange(-most, most + 1)
    pairs, chances = np.zeros(len(lags), np.int64), np.zeros(len(lags), np.int64)
    for place, lag in enumerate(lags):
        from_spikes = reference[:, max(0, -lag) : steps - max(0, lag)]
        pairs[place] = (from_spikes & target[:, max(0, lag) : steps - max(0, -lag)]).sum()
        chances[place] = from_spikes.sum()
    rates = np.divide(1000.0 * pairs, dt_ms * chances, out=np.full(len(lags), np.nan), where=chances > 0)
    return Correlogram(lags * dt_ms, pairs, rates)
