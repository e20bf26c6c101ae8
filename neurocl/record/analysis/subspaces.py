"""Which directions activity takes up, and how those of two tasks lie to each other.

A basis has orthonormal rows [direction, neuron], the strongest first, as the rows of a lateral circuit. Angles are in
radians. Two random subspaces of k and l out of n directions overlap by max(k, l) / n: compare with that.
"""

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.plasticity.subspaces import orthonormal_rows
from neurocl.primitives.checks import BadInput, check_number
from neurocl.record.analysis.arrays import NoValue, read_activity, read_numbers

ROUNDING = 1e-14  # of the largest energy, times the number of neurons: directions below are rounding


def activity_subspace(activity: ArrayLike, *, share: float = 0.99) -> Float64[ndarray, "direction neuron"]:
    r"""Return the fewest directions that hold a share of the energy :math:`\sum \|x\|^2` of activity.

    Eigenvectors of the second moment :math:`\langle x x^\top \rangle`, the mean not taken out: a weight change
    orthogonal to them leaves every response alone, which is what lateral circuits protect.

    Args:
        activity: Rates, counts or currents [sample, neuron].
        share: Of the energy, above 0 up to 1; more keeps more directions.

    Returns:
        No direction at all where everything is silent.

    Source:
        Saha, Garg & Roy 2021, Gradient projection memory, for the criterion. Differs: one threshold for all layers.
    """
    rows = read_activity("activity", activity)
    return leading_directions(rows, check_number("share", share, above=0, at_most=1))


def centred_activity_subspace(activity: ArrayLike, *, share: float = 0.99) -> Float64[ndarray, "direction neuron"]:
    """Return the fewest directions that hold a share of the variance around the mean: principal components.

    Args:
        activity: Rates, counts or currents [sample, neuron].
        share: Of the variance, above 0 up to 1; more keeps more directions.

    Returns:
        No direction at all where nothing varies.
    """
    rows = read_activity("activity", activity)
    centred = rows - rows.mean(axis=0)
    centred[np.abs(centred) < ROUNDING * np.abs(rows).max()] = 0
    return leading_directions(centred, check_number("share", share, above=0, at_most=1))


def principal_angles(first: ArrayLike, second: ArrayLike) -> Float64[ndarray, " angle"]:
    r"""Return the angles between two subspaces, the smallest first: 0 for shared directions, :math:`\pi / 2` for new.

    As many as the smaller one has directions.

    Args:
        first: Rows [direction, neuron] that span a subspace, orthonormal or not.
        second: Those of the other.

    Raises:
        BadInput: If one is of no direction, or they are not of the same neurons.

    Source:
        Björck & Golub 1973; Knyazev & Argentati 2002 for small angles. Differs from SciPy: in ascending order, and
        right to rounding where small and large angles meet, where SciPy's are to about 1e-8.
    """
    wide, narrow = sorted(both_bases(first, second), key=len, reverse=True)
    shared = narrow @ wide.T
    cosines = np.minimum(np.linalg.svd(shared, compute_uv=False), 1)
    sines = np.minimum(np.linalg.svd(narrow - shared @ wide, compute_uv=False)[::-1], 1)
    # each where it is steep: the cosine of a small angle is 1 to rounding, the sine of a large one
    return np.where(np.square(cosines) > 0.5, np.arcsin(sines), np.arccos(cosines))


def subspace_overlap(first: ArrayLike, second: ArrayLike) -> float:
    """Return the mean squared cosine of the principal angles: 1 where one subspace lies in the other, 0 if orthogonal.

    Args:
        first: Rows [direction, neuron] that span a subspace, orthonormal or not.
        second: Those of the other.

    Raises:
        BadInput: If one is of no direction, or they are not of the same neurons.
    """
    a, b = both_bases(first, second)
    return float(np.square(a @ b.T).sum() / min(len(a), len(b)))


def captured_share(activity: ArrayLike, basis: ArrayLike) -> float:
    r"""Return the share of the energy of activity that lies in a subspace, :math:`\|X A^\top\|^2 / \|X\|^2`.

    Not symmetric: activity of task B may lie in the span of task A and not the other way round.

    Args:
        activity: Rates, counts or currents [sample, neuron].
        basis: Rows [direction, neuron] that span a subspace; without any, the share is 0.

    Raises:
        BadInput: If activity is silent, or of other neurons than the basis.
    """
    rows, directions = read_activity("activity", activity), read_basis("basis", basis)
    check_neurons(rows, directions)
    energy = np.square(rows).sum()
    if energy == 0:
        raise NoValue("activity must not be silent: no share of nothing can be captured")
    return min(1.0, float(np.square(rows @ directions.T).sum() / energy))


def alignment_index(activity: ArrayLike, basis: ArrayLike) -> float:
    """Return the energy of activity in a subspace, relative to the best subspace with as many directions.

    Args:
        activity: Rates, counts or currents [sample, neuron].
        basis: Rows [direction, neuron] that span a subspace.

    Raises:
        BadInput: If activity is silent, of other neurons than the basis, or the basis has no direction.

    Source:
        Elsayed, Lara, Kaufman, Churchland & Cunningham 2016. Differs: energy, not variance; for their index take the
        mean out of activity first.
    """
    rows, directions = read_activity("activity", activity), read_basis("basis", basis)
    if not len(directions):
        raise NoValue("basis must have at least one direction; got none: the activity it comes from is silent")
    captured = captured_share(rows, directions)
    energies = np.square(np.linalg.svd(rows, compute_uv=False))
    return min(1.0, float(captured * energies.sum() / energies[: len(directions)].sum()))


def leading_directions(rows: Float64[ndarray, "sample neuron"], share: float) -> Float64[ndarray, "direction neuron"]:
    """Leading eigenvectors of the second moment that hold at least this share of the energy."""
    largest = np.abs(rows).max()
    if largest == 0:
        return np.empty((0, rows.shape[1]))
    rows = rows / largest  # squares of huge and of tiny values stay numbers
    if len(rows) >= rows.shape[1]:
        energies, vectors = np.linalg.eigh(rows.T @ rows)
        energies, vectors = energies[::-1], vectors.T[::-1]
    else:
        _, lengths, vectors = np.linalg.svd(rows, full_matrices=False)
        energies = np.square(lengths)
    energies = np.where(energies > ROUNDING * rows.shape[1] * energies[0], energies, 0)
    held = np.cumsum(energies) / energies.sum()
    # all of the energy are all directions that have some, whatever the sum's last digit
    needed = int(np.searchsorted(held, share * (1 - 1e-12))) + 1 if share < 1 else np.count_nonzero(energies)
    return vectors[:needed].copy()


def read_basis(name: str, rows: ArrayLike) -> Float64[ndarray, "direction neuron"]:
    """Return orthonormal rows with the span of ``rows``."""
    values = read_numbers(name, rows, axes=("direction", "neuron"), empty=("direction",))
    if len(values) > values.shape[1]:
        raise BadInput(f"{name} must have at most as many directions as neurons; got shape {list(values.shape)}")
    return orthonormal_rows(torch.from_numpy(values.copy()), drop=True).numpy()


def both_bases(first: ArrayLike, second: ArrayLike) -> tuple[ndarray, ndarray]:
    """Return two bases of the same neurons, neither empty."""
    a, b = read_basis("first", first), read_basis("second", second)
    check_neurons(a, b)
    if not (len(a) and len(b)):
        raise NoValue("both subspaces must have at least one direction; the activity that one comes from is silent")
    return a, b


def check_neurons(first: ndarray, second: ndarray) -> None:
    """Refuse two matrices of different numbers of neurons."""
    if first.shape[1] != second.shape[1]:
        raise BadInput(f"both must be of the same neurons; got {first.shape[1]} and {second.shape[1]}")
