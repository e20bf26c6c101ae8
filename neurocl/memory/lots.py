"""Each sample draws one fixed lot: a uniform number that depends on its id and a seed, and on nothing else.

Keeping the samples with the smallest lots is a uniform draw without replacement from all distinct samples shown so
far, whatever their order and however often each is shown; no random state has to be saved. A threshold on the lot
divides samples in fixed shares.
"""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neurocl.primitives.seeding import derive


def lots(sample_ids: Int64[Tensor, " sample"], seed: int, *names: str | int) -> Int64[Tensor, " sample"]:
    """Return a number for every id, uniform over 0 to 2**63 - 1, independent between ids and between ``names``.

    Source:
        Steele et al. 2014, splitmix64's mixing function.
    """
    ids = sample_ids.detach().cpu().numpy().astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic is modulo 2**64 by intention
        mixed = (ids + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(derive(seed, *names))
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return torch.from_numpy((mixed >> np.uint64(1)).astype(np.int64))
