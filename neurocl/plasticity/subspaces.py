"""Orthonormal rows, and what lies outside their span."""

import torch
from jaxtyping import Float
from torch import Tensor

NOTHING_NEW = 1e-3  # of a row's length: what is left of it then is mostly rounding in float32


def complement(rows: Float[Tensor, "row pre"], basis: Float[Tensor, "basis pre"]) -> Float[Tensor, "row pre"]:
    """Return ``rows`` without their share in the span of the orthonormal rows of ``basis``."""
    return torch.addmm(rows, rows @ basis.T, basis, alpha=-1) if len(basis) else rows


def orthonormal_rows(rows: Float[Tensor, "row pre"], *, drop: bool = False) -> Float[Tensor, "kept pre"]:
    """Return rows that are orthonormal and span what ``rows`` span.

    Each keeps the direction that is its own after those before it. Signs are kept: rows that are orthonormal already
    come back as they are, to rounding.

    Args:
        rows: At most as many as they are long.
        drop: Whether rows that add less than a thousandth of their length, or are zero, are left out.
    """
    if not len(rows):
        return rows
    length = rows.double().norm(dim=1)
    q, r = torch.linalg.qr(rows.double().T)
    own = r.diagonal()
    q = q * torch.where(own < 0, -1.0, 1.0)
    if drop:
        q = q[:, own.abs() > NOTHING_NEW * length.clamp_min(torch.finfo(rows.dtype).tiny)]
    return q.T.to(rows)
