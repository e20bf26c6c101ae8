"""Measures of a population code: how correlated, how sparse."""

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_finite


def mean_absolute_correlation(output: Float[Tensor, "sample neuron"]) -> float:
    """Return the mean absolute Pearson correlation of different neurons over samples; silent ones are left out.

    Raises:
        BadInput: If fewer than two neurons vary.
    """
    rows = checked(output)
    varying = rows[:, rows.std(0, correction=0) > 0]
    if varying.shape[1] < 2:
        raise BadInput(f"correlation needs at least 2 neurons whose output varies; got {varying.shape[1]}")
    coefficients = torch.corrcoef(varying.T).abs()
    size = len(coefficients)
    return float((coefficients.sum() - coefficients.diagonal().sum()) / (size * (size - 1)))


def sparseness(rates: Float[Tensor, "row value"]) -> float:
    r"""Return :math:`(1 - \langle r \rangle^2 / \langle r^2 \rangle) / (1 - 1/n)`, the mean over rows.

    0 where all n values of a row are equal, 1 where one alone is not 0; rows of zeros are left out. Rows of samples
    give population sparseness; transposed, rows of neurons give lifetime sparseness.

    Raises:
        BadInput: If every row is silent, or rates are negative.

    Source:
        Vinje & Gallant 2000, after Rolls & Tovee 1995.
    """
    rows = checked(rates)
    if bool((rows < 0).any()):
        raise BadInput(f"rates must not be negative; the least is {float(rows.min()):g}")
    rows = rows[rows.sum(1) > 0]
    if len(rows) == 0 or rows.shape[1] < 2:
        raise BadInput(f"sparseness needs a row of at least 2 values that is not silent; got {list(rows.shape)}")
    activity = rows.mean(1).square() / rows.square().mean(1)
    return float((1 - activity).mean() / (1 - 1 / rows.shape[1]))


def checked(output: Tensor) -> Tensor:
    """Return ``output`` in double precision, if it is a finite matrix."""
    if output.ndim != 2 or output.numel() == 0:
        raise BadInput(f"outputs must be [sample, neuron], at least one of each; got {list(output.shape)}")
    return check_finite("outputs", output).double()
