"""Are the gradients of parameter groups such that a step can be made? If not, whose are not?"""

import math
from typing import Any, cast

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
    wait for the device fetches all of one type.
    """
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for group in groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.layout != torch.strided:
                raise BadInput(
                    f"the gradient of {name_of(parameter, groups)} is sparse, and saturation needs every entry: use "
                    "sparse=False in its embedding"
                )
            alike.setdefault((gradient.device, gradient.dtype), []).append(parameter)
    norms: dict[Tensor, float] = {}
    for (_, dtype), some in alike.items():
        gradients = [cast(Tensor, parameter.grad) for parameter in some]
        found = torch._foreach_norm(gradients, dtype=torch.float32 if dtype.itemsize < 4 else dtype)
        norms.update(zip(some, torch.stack(found).tolist(), strict=True))
    for parameter, norm in norms.items():
        if math.isfinite(norm):
            continue
        bad = int((~torch.isfinite(cast(Tensor, parameter.grad))).sum())
        if bad:
            raise BadInput(
                f"the gradient of {name_of(parameter, groups)} must be finite; {bad} of {parameter.numel()} values are "
                "NaN or infinite. No weight has changed: lower the learning rate, clip the gradients, or look at the "
                "batch"
            )
    return norms


def name_of(parameter: Tensor, groups: list[dict[str, Any]]) -> str:
    """Return what errors call a parameter of these groups."""
    everyone = (pair for place, group in enumerate(groups) for pair in named(group, place))
    return next(name for name, own in everyone if own is parameter)
