"""Are the gradients of parameter groups such that a step can be made? If not, whose are not?"""

import math
from typing import Any

import torch
from torch import Tensor

from neurocl.primitives.checks import BadInput


def named(group: dict[str, Any], place: int) -> list[tuple[str, Tensor]]:
    """Return a group's parameters, each with what errors call it."""
    names = group.get("param_names") or [
        f"parameter {index} of group {place}, shape {list(parameter.shape)}"
        for index, parameter in enumerate(group["params"])
    ]
    return list(zip(names, group["params"], strict=True))


def check_gradients(groups: list[dict[str, Any]]) -> dict[Tensor, float]:
    """Refuse gradients that are sparse or not finite, by name; return the norm of each parameter's gradient.

    A norm is finite only if every value is, and takes one pass; it may overflow, hence the second look. On a GPU one
    wait for the device fetches them all.
    """
    there = [
        (name, parameter, parameter.grad)
        for place, group in enumerate(groups)
        for name, parameter in named(group, place)
        if parameter.grad is not None
    ]
    for name, _, gradient in there:
        if gradient.layout != torch.strided:
            raise BadInput(
                f"the gradient of {name} is sparse, and saturation needs every entry: use sparse=False in its embedding"
            )
    by_device: dict[torch.device, dict[Tensor, Tensor]] = {}
    for _, parameter, gradient in there:
        kept = torch.float32 if gradient.dtype.itemsize < 4 else None
        by_device.setdefault(gradient.device, {})[parameter] = torch.linalg.vector_norm(gradient, dtype=kept)
    norms: dict[Tensor, float] = {}
    for some in by_device.values():
        norms |= zip(some, torch.stack([norm.double() for norm in some.values()]).tolist(), strict=True)
    for name, parameter, gradient in there:
        bad = 0 if math.isfinite(norms[parameter]) else int((~torch.isfinite(gradient)).sum())
        if bad:
            raise BadInput(
                f"the gradient of {name} must be finite; {bad} of {gradient.numel()} values are NaN or infinite. No "
                "weight has changed: lower the learning rate, clip the gradients, or look at the batch"
            )
    return norms
