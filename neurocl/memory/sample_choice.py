"""Which of the samples shown stay: the first, a random part, those nearest to the mean, or a reservoir."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from neurocl.memory.lots import lots

Places = NDArray[np.int64]
CHOICES = ("first", "random", "herding", "reservoir")


def chosen(
    choose: str,
    groups: NDArray[np.int64],
    ids: NDArray[np.int64],
    *,
    quota: int,
    total: int,
    seed: int,
    rates: Callable[[Places], NDArray[np.floating]],
) -> Places:
    """Return the places of the samples that stay, ascending.

    Args:
        choose: One of ``CHOICES``.
        groups: Class of task of every sample, in order of showing.
        ids: Ids of the samples; those and the seed decide what is left to chance.
        quota: Samples that stay of each group.
        total: Samples that stay in all, for a reservoir.
        seed: Source of chance.
        rates: Gives the features ``[sample, feature]`` of the samples at some places, for herding.
    """
    if choose == "first":
        return np.sort(first_of_groups(groups, np.arange(len(groups)), quota))
    if choose == "herding":
        kept = []
        for group in np.unique(groups):
            members = np.flatnonzero(groups == group)
            members = members[np.argsort(ids[members])]  # so that nothing else decides between equals
            kept.append(members if len(members) <= quota else members[herded(rates(members), quota)])
        return np.sort(np.concatenate(kept))
    order = lots(torch.from_numpy(ids), seed, "activation replay").argsort(stable=True).numpy()
    return np.sort(order[:total] if choose == "reservoir" else first_of_groups(groups, order, quota))


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
