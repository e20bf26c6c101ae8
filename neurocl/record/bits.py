"""Spikes as bits, eight neurons a byte, and their way from the device to the host."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Fetch = Callable[[], NDArray[Any]]


def packed(values: Tensor) -> Tensor:
    """Return ``[T, B, ceil(N / 8)]`` bytes, one bit a neuron, the first in the highest place, of ``[T, B, N]``."""
    bits = values.to(torch.bool)  # ten times as fast as a comparison
    if bits.device.type == "cpu":
        return torch.from_numpy(np.packbits(bits.numpy(), axis=-1))
    size = bits.shape[-1]
    padded = torch.nn.functional.pad(bits, (0, -size % 8)).unflatten(-1, (-1, 8))
    places = 2 ** torch.arange(7, -1, -1, device=bits.device)  # made there: what is sent there keeps the host waiting
    return (padded * places.to(torch.uint8)).sum(-1, dtype=torch.uint8)


def unpacked(packs: Tensor, size: int) -> Tensor:
    """Return ``[T, B, N]`` zeros and ones of what :func:`packed` made of them."""
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=packs.device)
    return ((packs.unsqueeze(-1) >> places) & 1).flatten(-2)[..., :size].float()


def fetching(values: Tensor) -> Fetch:
    """Begin to copy ``values`` to the host, and return what waits for it."""
    if values.device.type == "cpu":
        array = np.ascontiguousarray(values.numpy())
        return lambda: array
    if values.device.type != "cuda":
        return lambda: np.ascontiguousarray(values.cpu().numpy())
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    pinned.copy_(values, non_blocking=True)
    with torch.cuda.device(values.device):  # an event is of the device that is the present one, which may be another
        copied = torch.cuda.Event()
        copied.record()

    def wait() -> NDArray[Any]:
        copied.synchronize()
        return pinned.numpy()

    return wait
