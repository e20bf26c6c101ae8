"""Are the gradients of parameter groups such that a step can be made? If not, whose are not?"""

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


def check_gradients(groups: list[dict[str, Any]]) -> None:
    """Refuse gradients that are sparse or not finite, by name.

    A sum is finite only if every value is, and takes one pass; it may overflow, hence the second look.
    """
    there = [
        (name, parameter.grad)
        for place, group in enumerate(groups)
        for name, parameter in named(group, place)
        if parameter.grad is not None
    ]
    for name, gradient in there:
        if gradient.layout != torch.strided:
            raise BadInput(
                f"the gradient of {name} is sparse, and saturation needs every entry: use sparse=False in its embedding"
            )
    sums = [gradient.sum(dtype=torch.float32 if gradient.dtype != torch.float64 else None) for _, gradient in there]
    by_device: dict[torch.device, list[Tensor]] = {}
    for total in sums:
        by_device.setdefault(total.device, []).append(total.double())
    if all(bool(torch.isfinite(torch.stack(some)).all()) for some in by_device.values()):
        return
    for name, gradient in there:
        bad = int((~torch.isfinite(gradient)).sum())
        if bad:
            raise BadInput(
                f"the gradient of {name} must be finite; {bad} of {gradient.numel()} values are NaN or infinite. No "
                "weight has changed: lower the learning rate, clip the gradients, or look at the batch"
            )
