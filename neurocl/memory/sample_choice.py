"""Which of the samples shown stay: the first, a random part, those nearest to the mean, or a reservoir."""

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


def first_of_groups(groups: NDArray[np.int64], order: Places, quota: int) -> Places:
    """Return the ``quota`` places of each group that come first in ``order``."""
    by_group = order[np.argsort(groups[order], kind="stable")]
    _, starts, sizes = np.unique(groups[by_group], return_index=True, return_counts=True)
    rank = np.arange(len(by_group)) - np.repeat(starts, sizes)
    return by_group[rank < quota]


def herded(features: NDArray[np.floating], quota: int) -> Places:
    r"""Return ``quota`` rows of ``[sample, feature]`` in the order of herding.

    The k-th row is the one that brings the mean of the first k nearest to the mean of all:
    :math:`\arg\min_x \| k \mu - \sum_{j<k} p_j - x \|`; ties go to the lower place.

    Source:
        Rebuffi et al. 2017, iCaRL: greedy choice. Differs: features are firing rates, not scaled to length 1.
    """
    rows = features.astype(np.float64)
    mean, squares = rows.mean(0), np.square(rows).sum(1)
    wanted, chosen = np.zeros_like(mean), []
    for _ in range(min(quota, len(rows))):
        wanted += mean
        distance = squares - 2 * (rows @ wanted)
        distance[chosen] = np.inf
        best = int(distance.argmin())
        chosen.append(best)
        wanted -= rows[best]
    return np.array(chosen, np.int64)
