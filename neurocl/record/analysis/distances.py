"""How far apart spike trains are. Trains are lists of times in milliseconds, in order; empty ones are trains too."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput, check_number
from neurocl.record.analysis.arrays import read_train


def victor_purpura_distance(first_ms: ArrayLike, second_ms: ArrayLike, *, cost_per_ms: float) -> float:
    """Return the least cost of turning one spike train into the other; :func:`victor_purpura_distances` says how."""
    return float(victor_purpura_distances([first_ms, second_ms], cost_per_ms=cost_per_ms)[0, 1])


def victor_purpura_distances(trains: Sequence[ArrayLike], *, cost_per_ms: float) -> Float64[ndarray, "train train"]:
    r"""Return the least cost of turning each spike train into each other.

    A spike is added or removed at a cost of 1 and moved by :math:`\Delta t` at a cost of :math:`q |\Delta t|`. Not
    divided by the number of spikes, the duration or anything else.

    Args:
        trains: Spike times in milliseconds.
        cost_per_ms: q, from 0 (only counts tell) to infinity (only coincidences do); spikes further apart than 2 / q
            have nothing to do with each other.

    Raises:
        BadInput: If times are out of order, or the cost is negative.

    Source:
        Victor & Purpura 1996. Differs: none of a finite cost. At an infinite one it is the limit, where spikes at the
        same time match; Elephant takes them for different, and a train for different from itself.
    """
    times = read_trains(trains)
    cost = check_rate("cost_per_ms", cost_per_ms, at_least=0)
    counts = np.array([len(train) for train in times])
    padded = np.zeros((len(times), counts.max()))  # behind the end of a train, where nothing is read
    for row, train in zip(padded, times, strict=True):
        row[: len(train)] = train
    distances = np.zeros((len(times), len(times)))
    for place, train in enumerate(times[:-1]):
        others = slice(place + 1, None)
        costs = edit_costs(train, padded[others, : counts[others].max()], cost)
        distances[place, others] = costs[np.arange(len(costs)), counts[others]]
    return distances + distances.T


def edit_costs(train: ndarray, others: ndarray, cost: float) -> Float64[ndarray, "other prefix"]:
    """Costs of turning ``train`` into the first 0, 1, 2, ... spikes of each of the others."""
    added = np.arange(others.shape[1] + 1.0)
    costs = np.tile(added, (len(others), 1))
    for spike in train:
        away = np.abs(others - spike)
        # an infinite cost leaves spikes at the same time alone; 0 times infinity is not a number
        moving = np.where(away > 0, math.inf, 0.0) if math.isinf(cost) else cost * away
        step = costs + 1  # this spike removed
        np.minimum(step[:, 1:], costs[:, :-1] + moving, out=step[:, 1:])
        # spikes added after the best place: cost j is the least over k <= j of step k + (j - k)
        costs = np.minimum.accumulate(step - added, axis=1) + added
    return costs


def van_rossum_distance(first_ms: ArrayLike, second_ms: ArrayLike, *, tau_ms: float) -> float:
    """Return the distance between two filtered spike trains; :func:`van_rossum_distances` says how."""
    return float(van_rossum_distances([first_ms, second_ms], tau_ms=tau_ms)[0, 1])


def van_rossum_distances(trains: Sequence[ArrayLike], *, tau_ms: float) -> Float64[ndarray, "train train"]:
    r"""Return the Euclidean distance of spike trains under :math:`e^{-t / \tau}, t \ge 0`, for each two.

    :math:`D^2 = \frac{2}{\tau} \int_0^\infty (f - g)^2 \, dt`: one spike more or less is a distance of 1, two spikes
    far apart one of :math:`\sqrt 2`.

    Args:
        trains: Spike times in milliseconds.
        tau_ms: :math:`\tau`, from near 0 (only coincidences tell) to infinity (only counts do).

    Raises:
        BadInput: If times are out of order, or the time constant is not above 0.

    Source:
        van Rossum 2001, A novel spike distance; the recursion after Houghton & Kreuz 2012. Differs: larger by
        :math:`\sqrt 2`, the normalisation of Elephant. Distances below 1e-6 are rounding.
    """
    times = read_trains(trains)
    tau = check_rate("tau_ms", tau_ms, above=0)
    moments, place = np.unique(np.concatenate(times), return_inverse=True)
    train_of = np.repeat(np.arange(len(times)), [len(train) for train in times])
    order = np.argsort(place, kind="stable")
    firing = np.split(train_of[order], np.searchsorted(place[order], np.arange(1, len(moments))))
    keeps = np.exp(-np.diff(moments, prepend=moments[:1]) / tau)
    overlap, trace = np.zeros((len(times), len(times))), np.zeros(len(times))
    for keep, who in zip(keeps, firing, strict=False):  # without any spike there is one empty group
        trace *= keep  # of each train, what its earlier spikes have left
        trains_here, number = np.unique(who, return_counts=True)
        overlap[trains_here] += number[:, None] * trace
        overlap[np.ix_(trains_here, trains_here)] += 0.5 * np.outer(number, number)  # the other half comes from below
        trace[trains_here] += number
    overlap = overlap + overlap.T
    own = overlap.diagonal()
    return np.sqrt(np.maximum(own[:, None] + own - 2 * overlap, 0))


def read_trains(trains: Sequence[ArrayLike]) -> list[Float64[ndarray, " spike"]]:
    """Return at least one train, each in the order of time."""
    times = [read_train(f"trains[{place}]", train) for place, train in enumerate(trains)]
    if not times:
        raise BadInput("trains must hold at least one spike train; got none")
    return times


def check_rate(name: str, value: object, **bounds: float) -> float:
    """Return a number within bounds that may be infinite."""
    return math.inf if value == math.inf else check_number(name, value, **bounds)
