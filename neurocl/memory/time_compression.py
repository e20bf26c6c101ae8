"""Replay faster than life: spikes of several steps brought into one."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_count, check_name

Merge = Literal["any", "thinned"]


def compressed_in_time(
    raster: Float[Tensor, "time ..."], factor: int, *, merge: str = "any", generator: torch.Generator | None = None
) -> Float[Tensor, "shorter ..."]:
    r"""Return a raster that runs ``factor`` times as fast, :math:`\lceil T / factor \rceil` steps long.

    Args:
        raster: Spikes, 0 and 1.
        factor: Steps brought into one; 1 changes nothing.
        merge: ``"any"``: a unit fires where it fired in any of the steps, so that activity a step grows denser;
            ``"thinned"``: with probability :math:`k / factor` where it fired k times, so that rates a step stay.
        generator: Draws the spikes of ``"thinned"``.

    Raises:
        BadInput: If values are neither 0 nor 1, there is no step, or ``factor`` is no whole number above 0.

    Source:
        Nadasdy et al. 1999 and Lee & Wilson 2002 for replay of waking sequences in sleep, compressed in time.
    """
    check_name("merge", merge, get_args(Merge))
    factor = check_count("factor", factor)
    if not raster.ndim or not len(raster):
        raise BadInput(f"raster must have time as first axis and at least one step; got {list(raster.shape)}")
    if not bool(((raster == 0) | (raster == 1)).all()):
        raise BadInput("raster must hold spikes, 0 and 1, to be compressed in time; compress counts by scaling them")
    bins = [part.sum(0) for part in raster.split(factor)]
    if merge == "any":
        return torch.stack([(count > 0).to(raster.dtype) for count in bins])
    shares = torch.stack(bins) / factor
    drawn = torch.rand(shares.shape, generator=generator).to(shares.device)
    return (drawn < shares).to(raster.dtype)
