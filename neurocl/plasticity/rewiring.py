"""Which connections go and which come when units change their roles, and what new ones weigh.

Masks are ``[post, pre]``, an entry a weight or a kernel. Places are those of the flattened mask.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neurocl.primitives.checks import BadInput

NewWeights = Literal["zero", "normal"]
NEW_WEIGHTS: tuple[str, ...] = get_args(NewWeights)


@dataclass(frozen=True, kw_only=True)
class Rewired:
    """What one rewiring did to one layer.

    Attributes:
        layer: Its name.
        dropped: Connections taken away (kernels, for convolutions).
        grown: Connections added.
        short: Connections that could not be added for want of an idle unit with room.
    """

    layer: str
    dropped: int
    grown: int
    short: int


class CapacityExhausted(UserWarning):
    """A layer has no idle units left, so that its density falls and later tasks share what is there."""


def from_idle_to_others(
    mask: Bool[Tensor, "post pre"], idle_columns: Bool[Tensor, " pre"], idle: Bool[Tensor, " post"]
) -> Bool[Tensor, "post pre"]:
    """Return the connections that lead from idle units to units that are not."""
    return mask & idle_columns & ~idle[:, None]


def outlets(
    mask: Bool[Tensor, "post pre"],
    idle_sources: Bool[Tensor, " source"],
    idle: Bool[Tensor, " post"],
    *,
    draws: torch.Generator,
) -> Int64[Tensor, " place"]:
    """Return a place for one connection to a random idle unit from each idle source that has none at all.

    In random order, so that the first of them are a fair choice; none where no unit is idle.

    Args:
        mask: Connections there are.
        idle_sources: By unit; each owns as many columns as divide evenly.
        idle: Which of the units behind are idle.
        draws: Source of the choice.

    Source:
        Gurbuz & Dovrolis 2022, NISPA. Differs: behind a convolution the column within a channel's block is drawn too.
    """
    pre = mask.shape[1]
    block = pre // len(idle_sources)
    closed = ~mask.any(0).view(-1, block).any(1)
    sources = (idle_sources & closed).nonzero().squeeze(1)
    targets = idle.nonzero().squeeze(1)
    if not len(targets) or not len(sources):
        return torch.empty(0, dtype=torch.int64)
    sources = sources[torch.randperm(len(sources), generator=draws)]
    columns = sources * block + torch.randint(block, (len(sources),), generator=draws)
    rows = targets[torch.randint(len(targets), (len(sources),), generator=draws)]
    return rows * pre + columns


def room_in(mask: Bool[Tensor, "post pre"], idle: Bool[Tensor, " post"]) -> Int64[Tensor, " place"]:
    """Return the places of absent connections into idle units, from any source."""
    return (~mask & idle[:, None]).flatten().nonzero().squeeze(1)


def like_present(
    weight: Float[Tensor, "post pre ..."],
    mask: Bool[Tensor, "post pre"],
    *,
    otherwise: float,
    draws: torch.Generator,
) -> Float[Tensor, "post pre ..."]:
    r"""Return weights drawn from :math:`\mathcal N(m, s^2)`, mean and deviation those of the present weights.

    Args:
        weight: All weights, 0 where absent.
        mask: Which connections are present.
        otherwise: Standard deviation where fewer than two weights are present; the mean is 0 then.
        draws: Source of the weights.
    """
    present = weight.detach()[mask.to(weight.device)].double()
    enough = present.numel() > 1
    mean, spread = (float(present.mean()), float(present.std(correction=0))) if enough else (0.0, otherwise)
    return (mean + spread * torch.randn(weight.shape, generator=draws)).to(weight)


def packed(mask: Tensor) -> Tensor:
    """Return a mask as bytes, a bit an entry."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1)))


def unpacked(bits: Tensor, shape: tuple[int, int]) -> Tensor:
    """Undo :func:`packed`."""
    size = shape[0] * shape[1]
    if bits.numel() != (size + 7) // 8:
        raise BadInput(f"state must hold {(size + 7) // 8} bytes for a mask of {list(shape)}; got {bits.numel()}")
    return torch.from_numpy(np.unpackbits(bits.cpu().numpy(), count=size).astype(bool).reshape(shape))
