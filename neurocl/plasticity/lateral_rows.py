"""What a layer's weights are paired with: rows of its input, as a linear or a convolutional layer sees them.

Rows stand as ``[group, row, pre]``: one group for each group of a convolution, a row for each sample, time step and
position.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.utils import parametrize

from neurocl.plasticity.lateral_credit import Made
from neurocl.primitives.checks import BadInput

Synapse = nn.Linear | nn.Conv2d


def check_weight(name: str, layer: Synapse) -> None:
    """Refuse a weight whose changes cannot be projected.

    Raises:
        BadInput: If it has fewer than 32 bits, or is computed from other weights.
    """
    weight = layer.weight
    if not weight.is_floating_point() or torch.finfo(weight.dtype).bits < 32:
        raise BadInput(
            f"layer {name!r} must have floating-point weights of 32 bits at least; got {weight.dtype}: fewer cannot "
            "hold a change that is orthogonal to what is protected; keep float32 weights and use torch.autocast"
        )
    if parametrize.is_parametrized(layer, "weight") or layer._parameters.get("weight") is not weight:
        raise BadInput(
            f"layer {name!r} must multiply by a weight of its own; its weight is computed from others (weight or "
            "spectral norm, pruning, another parametrisation), whose changes cannot be projected: leave it out"
        )


def rows_of(layer: Synapse, x: Float[Tensor, "..."]) -> Float[Tensor, "group row pre"]:
    """Return what each weight's error is paired with."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, layer.in_features)
    return patches_of(layer, x.reshape(-1, *x.shape[-3:]))


def patches_of(layer: nn.Conv2d, x: Float[Tensor, "image channel height width"]) -> Float[Tensor, "group row pre"]:
    """Return the patches that a convolution sees."""
    if isinstance(layer.padding, str):
        before_after = same_sides(layer) if layer.padding == "same" else (0, 0, 0, 0)
    else:
        rows, columns = layer.padding
        before_after = (columns, columns, rows, rows)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(x, before_after, mode=mode) if any(before_after) else x
    patches = functional.unfold(padded, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)
    return patches.unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)


def same_sides(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Return the zeros that ``padding="same"`` adds: left, right, top, bottom."""
    (high, wide), (down, right) = layer.kernel_size, layer.dilation
    rows, columns = down * (high - 1), right * (wide - 1)
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def thinned(
    layer: Synapse, seen: list[Tensor], positions: list[int], *, most_rows: int, turn: int
) -> list[Float[Tensor, "group row pre"]]:
    """Return the rows of all calls; of convolutions' images only as many as are wanted.

    Patches of all would cost memory for nothing. Images are counted through, whatever their size, and every so-many-th
    is taken, another one at every ``turn``.
    """
    if isinstance(layer, nn.Linear):
        return [rows_of(layer, x) for x in seen if x.numel()]
    images = [x.reshape(-1, *x.shape[-3:]) for x in seen]
    total = sum(len(call) * places for call, places in zip(images, positions, strict=True))
    apart, before, taken = max(1, total // most_rows), 0, []
    for call in images:
        taken.append(call[(turn - before) % apart :: apart])
        before += len(call)
    return [rows_of(layer, call) for call in taken if call.numel()]


def weight_gradient(
    layer: Synapse, error: Float[Tensor, "..."], projected: Float[Tensor, "group row pre"]
) -> Float[Tensor, "..."]:
    """Return the weight gradient of ``error`` at the layer's output, paired with ``projected`` rows."""
    if isinstance(layer, nn.Linear):
        rows = error.reshape(1, -1, layer.out_features)
    else:
        channels = error.reshape(-1, *error.shape[-3:]).movedim(1, -1).flatten(0, 2)
        rows = channels.unflatten(1, (layer.groups, -1)).movedim(1, 0)
    # group by group: a batched product of one is several times slower than a plain one
    gradients = [part.T @ pre for part, pre in zip(rows, projected, strict=True)]
    return (torch.cat(gradients) if len(gradients) > 1 else gradients[0]).view_as(layer.weight)


def bias_gradient(layer: Synapse, error: Float[Tensor, "..."]) -> Float[Tensor, " post"]:
    """Return the bias gradient of ``error`` at the layer's output."""
    rows = error if isinstance(layer, nn.Linear) else error.sum((-1, -2))
    return rows.reshape(-1, rows.shape[-1]).sum(0)


def input_gradient(
    layer: Synapse, error: Float[Tensor, "..."], x: Float[Tensor, "..."], backward: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Return the error at the layer's input, sent down through the weights ``backward``."""
    if isinstance(layer, nn.Linear):
        return error @ backward
    with torch.enable_grad():  # the layer's own forward pass knows every kind of padding
        source = x.detach().to(error.dtype).reshape(-1, *x.shape[-3:]).requires_grad_()
        output = layer._conv_forward(source, backward, None)
        (gradient,) = torch.autograd.grad(output, source, error.reshape_as(output))
    return gradient.view_as(x)


class Credited(torch.autograd.Function):
    """The layer's output as it is; its weight gradient pairs the error with other rows than the input's."""

    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        projected: Tensor,
        backward: Tensor | None,
        layer: Synapse,
        made: Made,
    ) -> Tensor:
        """Return the output; keep what the way back needs."""
        ctx.layer, ctx.has_bias, ctx.made = layer, bias is not None, made
        ctx.save_for_backward(x, weight if backward is None else backward, projected)
        return output.clone()

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]  # torch's stub hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Send the error down, and pair it with the projected rows."""
        x, backward, projected = ctx.saved_tensors
        layer, wants = ctx.layer, ctx.needs_input_grad
        with torch.autocast(x.device.type, enabled=False):
            error = grad_outputs[0].to(projected.dtype)
            of_input = input_gradient(layer, error, x, backward.to(error)).to(x.dtype) if wants[1] else None
            of_weight = weight_gradient(layer, error, projected) if wants[2] else None
            of_bias = bias_gradient(layer, error) if ctx.has_bias and wants[3] else None
        if of_weight is not None:
            ctx.made.add(of_weight)
        return None, of_input, of_weight, of_bias, None, None, None, None
