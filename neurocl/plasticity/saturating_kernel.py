"""The step of the CLASSP rule as one Triton kernel: weights, history and gradient pass a GPU's memory once.

Triton is imported here alone, and this file only where a fused step on a GPU is asked for; CUDA builds of torch bring
it. With ``TRITON_INTERPRET=1`` set before the import the same kernel runs on tensors of the CPU, slowly, for tests.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neurocl.plasticity.drive_gate import DriveGate
from neurocl.plasticity.saturating_step import Saturation, limits

BLOCK = 1024  # synapses a program


def step_in_one_kernel(
    weight: Tensor,
    history: Tensor,
    gradient: Tensor,
    *,
    gate: DriveGate,
    step_size: float,
    climb: bool,
    saturation: Saturation,
    plain: bool,
    norm: float | None = None,
) -> None:
    """As :func:`neurocl.plasticity.saturating_step.step_in_chunks`, for contiguous tensors with a history of float32.

    Selecting gates choose their cuts before, by torch; the kernel reads one a tensor, or one a row.
    """
    above, below = (
        torch.as_tensor(cut, dtype=torch.float32, device=gradient.device).contiguous()
        for cut in limits(gradient.to(history.dtype), gate, climb=climb, norm=norm)
    )
    if not weight.numel():
        return
    compiled_for: dict[str, Any] = {
        "POWER": int(saturation.power) if saturation.power in {1, 2} else 0,
        "ALL": saturation.history == "all",
        "PLAIN": plain,
        "BY_ROW": above.numel() > 1,
        "BLOCK": BLOCK,
    }
    saturate[(triton.cdiv(weight.numel(), BLOCK),)](
        weight,
        history,
        gradient,
        above,
        below,
        weight.numel(),
        weight.numel() // above.numel(),
        step_size if climb else -step_size,
        saturation.floor(history.dtype),
        saturation.power,
        saturation.keep if saturation.history == "decaying" else 1.0,
        **compiled_for,
    )


@triton.jit(do_not_specialize=["step", "floor", "power", "keep"])
def saturate(
    weight,
    history,
    gradient,
    above,
    below,
    size,
    row,
    step,
    floor,
    power,
    keep,
    POWER: tl.constexpr,  # noqa: N803  1 or 2; 0: any other, by logarithm
    ALL: tl.constexpr,  # noqa: N803  whether drives that do not pass fill the history too
    PLAIN: tl.constexpr,  # noqa: N803
    BY_ROW: tl.constexpr,  # noqa: N803  whether cuts differ between rows: finding a row takes a long division
    BLOCK: tl.constexpr,  # noqa: N803
):
    """Gate, history and weight of one block of synapses; where cuts differ, ``row`` of them share one."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    drive = tl.load(gradient + at, mask=inside, other=0).to(tl.float32)
    own = at // row if BY_ROW else at * 0
    up, down = tl.load(above + own, mask=inside, other=0), tl.load(below + own, mask=inside, other=0)
    passed = tl.where((drive > up) | (drive < -down), drive, 0.0)
    counted = tl.abs(drive) if ALL else tl.abs(passed)
    grown = tl.load(history + at, mask=inside, other=0) * keep
    if POWER == 2:
        grown += counted * counted
    elif POWER == 1:
        grown += counted
    else:
        grown += tl.where(counted > 0, tl.exp2(tl.log2(tl.where(counted > 0, counted, 1.0)) * power), 0.0)
    tl.store(history + at, grown, mask=inside)
    scale = grown + floor
    if POWER == 2:
        scale = tl.sqrt(scale)
    elif POWER == 0:
        scale = tl.exp2(tl.log2(scale) / power)
    change = step * passed if PLAIN else step * (passed / scale)
    moved = tl.load(weight + at, mask=inside, other=0).to(tl.float32) + change
    tl.store(weight + at, moved.to(weight.dtype.element_ty), mask=inside)
