"""What activity tells apart: dissimilarities of samples and classes, how alike two codes are, how far one drifts."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput, check_name
from neurocl.record.analysis.arrays import NoValue, read, read_activity, read_labels, read_same, to_numpy

Metric = Literal["correlation", "cosine", "euclidean", "sqeuclidean", "cityblock"]
METRICS: tuple[Metric, ...] = get_args(Metric)  # SciPy's names


class ClassMeans(NamedTuple):
    """Mean activity of each class that occurs.

    Attributes:
        classes: Their labels, in ascending order.
        activity: A row for each.
    """

    classes: Int64[ndarray, " class"]
    activity: Float64[ndarray, "class neuron"]


def class_means(activity: ArrayLike, labels: ArrayLike) -> ClassMeans:
    """Return the mean activity of each class.

    Args:
        activity: Rates, counts or currents [sample, neuron].
        labels: The class of each sample.
    """
    rows = read_activity("activity", activity)
    classes, place, sizes = np.unique(read_labels(labels, samples=len(rows)), return_inverse=True, return_counts=True)
    means = np.zeros((len(classes), rows.shape[1]))
    np.add.at(means, place, rows)
    return ClassMeans(classes, means / sizes[:, None])


def representational_dissimilarity(
    activity: ArrayLike, *, metric: Metric = "correlation"
) -> Float64[ndarray, "sample sample"]:
    """Return how unlike the activity of each two samples is: the representational dissimilarity matrix.

    Args:
        activity: Rates, counts or currents [sample, neuron].
        metric: ``correlation`` is 1 - Pearson's r over neurons, blind to how strong a sample drives all of them.

    Returns:
        Zeros on the diagonal; NaN for pairs where the metric has no value (correlation and cosine of silent samples).

    Source:
        Kriegeskorte, Mur & Bandettini 2008.
    """
    from scipy.spatial.distance import pdist, squareform

    rows = read_activity("activity", activity)
    check_name("metric", metric, METRICS)
    if metric == "correlation":
        rows = rows - rows.mean(axis=1, keepdims=True)
        rows[np.abs(rows) < 1e-14 * np.abs(rows).max(initial=0)] = 0
    with np.errstate(invalid="ignore", divide="ignore"):  # silent rows: NaN, as the docstring says
        return squareform(np.maximum(pdist(rows, "cosine" if metric == "correlation" else metric), 0), checks=False)


def class_dissimilarity(
    activity: ArrayLike, labels: ArrayLike, *, metric: Metric = "correlation"
) -> Float64[ndarray, "class class"]:
    """Return :func:`representational_dissimilarity` of the mean activity of each two classes, in ascending order.

    Args:
        activity: Rates, counts or currents [sample, neuron].
        labels: The class of each sample.
        metric: One of SciPy's distances.
    """
    return representational_dissimilarity(class_means(activity, labels).activity, metric=metric)


def rdm_similarity(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation of two dissimilarity matrices over pairs of different samples.

    1 where both order the pairs alike, about 0 where they have nothing to do with each other. Pairs that either has no
    value for (NaN) are left out.

    Args:
        first: Symmetric [sample, sample].
        second: The same samples in the same order.

    Raises:
        BadInput: If they are not square and of one size, have fewer than 3 pairs with values, or one is constant.

    Source:
        Kriegeskorte, Mur & Bandettini 2008.
    """
    from scipy.stats import spearmanr

    a, b = (np.asarray(read("dissimilarities", m, axes=("sample", "sample")), np.float64) for m in (first, second))
    if a.shape != b.shape or a.shape[0] != a.shape[1]:
        raise BadInput(f"dissimilarities must be square and of one size; got {list(a.shape)} and {list(b.shape)}")
    above = np.triu_indices(len(a), 1)
    pairs = np.stack([a[above], b[above]])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < 3:
        raise NoValue(f"similarity needs at least 3 pairs of samples with values in both; got {pairs.shape[1]}")
    if (pairs.min(axis=1) == pairs.max(axis=1)).any():
        raise NoValue("each matrix must tell some pairs apart; in one, all dissimilarities are equal")
    return float(spearmanr(*pairs).statistic)


def linear_cka(first: ArrayLike, second: ArrayLike) -> float:
    r"""Return :math:`\|Y^\top X\|_F^2 / (\|X^\top X\|_F \|Y^\top Y\|_F)`, the columns of X and Y centred.

    1 where one is the other turned and scaled; neurons may differ, samples must be the same. With more neurons than
    samples it is near 1 for unrelated activity too: compare with shuffled samples.

    Args:
        first: X, activity [sample, neuron].
        second: Y, activity [sample, other neuron].

    Raises:
        BadInput: If they differ in samples, or one never varies.

    Source:
        Kornblith, Norouzi, Lee & Hinton 2019, equation 4 with linear kernels.
    """
    a, b = read_activity("first", first), read_activity("second", second)
    if len(a) != len(b):
        raise BadInput(f"both must be of the same samples; got {len(a)} and {len(b)}")
    a, b = centred("first", a), centred("second", b)
    if len(a) <= min(a.shape[1], b.shape[1]):  # the smaller products, of samples or of neurons
        a, b = a @ a.T, b @ b.T
        return float(min(1.0, (a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b))))
    shared = np.square(b.T @ a).sum()
    return float(min(1.0, shared / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))))


def activity_drift(before: ArrayLike, after: ArrayLike) -> float:
    r"""Return :math:`\|X' - X\|_F / \|X\|_F`: how far the activity of the same samples has moved, relative to itself.

    0 where nothing changed, 1 where it fell silent, :math:`\sqrt 2` where it is as strong and orthogonal.

    Args:
        before: X, activity [sample, neuron].
        after: X', the same samples and neurons later.

    Raises:
        BadInput: If shapes differ, or the activity before is silent.
    """
    first, second = read_same(before, after)
    strength = np.linalg.norm(first)
    if strength == 0:
        raise NoValue("before must not be silent: drift is relative to it")
    return float(np.linalg.norm(second - first) / strength)


def weight_drift(snapshots: ArrayLike) -> Float64[ndarray, " snapshot"]:
    r"""Return :math:`\|W_k - W_0\|_F / \|W_0\|_F` of each snapshot of one layer's weights.

    Args:
        snapshots: Weights [snapshot, ...], the one to compare with first.

    Raises:
        BadInput: If there is no snapshot, weights are not finite, or those of the first are all 0.
    """
    array = np.asarray(to_numpy("snapshots", snapshots), np.float64)
    if array.ndim < 2 or array.size == 0 or not np.isfinite(array).all():
        raise BadInput(f"snapshots must be [snapshot, ...], not empty and finite; got shape {list(array.shape)}")
    flat = array.reshape(len(array), -1)
    strength = np.linalg.norm(flat[0])
    if strength == 0:
        raise NoValue("the first snapshot must not be all 0: drift is relative to it; start from the next one")
    return np.linalg.norm(flat - flat[0], axis=1) / strength


def centred(name: str, rows: Float64[ndarray, "sample neuron"]) -> Float64[ndarray, "sample neuron"]:
    """Return rows around their mean, scaled so that their squares stay numbers."""
    around = rows - rows.mean(axis=0)
    largest = np.abs(around).max()
    if largest <= 1e-14 * np.abs(rows).max():
        raise NoValue(f"{name} must vary over samples; all its rows are equal")
    return around / largest
