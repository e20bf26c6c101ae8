r"""The step of the CLASSP rule: a gated drive moves a weight the less, the more it was driven before.

One pure function states the rule; two in-place ways of it serve the optimiser: tensor by tensor in chunks that stay in
the cache, so that weights, history and drive pass memory once, and over lists of tensors (``torch._foreach``), which
spares launches on a GPU. All three agree to rounding.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.plasticity.drive_gate import DriveGate
from neurocl.primitives.checks import check_name, check_number

HistoryKind = Literal["gated", "all", "decaying"]
HISTORIES: tuple[str, ...] = get_args(HistoryKind)
CHUNK = 2**17  # synapses at a time and thread: two scratch buffers of 512 kB stay in the cache; see the ledger


@dataclass(frozen=True, kw_only=True)
class Saturation:
    r"""How a history of drives shrinks the steps of a weight.

    Args:
        power: p; 2 is AdaGrad's, 1 saturates faster: under a steady drive the total change grows as the logarithm of
            the number of steps, with 2 as its square root.
        epsilon: :math:`\epsilon`, added to the history in the p-th power of the drive's unit. Where a drive's p-th
            power is small against it, a fresh weight moves in proportion to the drive. 0 stands for the smallest
            number there is.
        history: ``"gated"``: drives that passed the gate count; ``"all"``: every drive counts; ``"decaying"``: as
            gated, and of the old history ``keep`` is left after each step, so that plasticity comes back.
        keep: In (0, 1]; for ``"decaying"`` only.

    Raises:
        BadInput: For a number out of range, or an unknown history.
    """

    power: float = 2.0
    epsilon: float = 1e-10
    history: str = "gated"
    keep: float = 0.999

    def __post_init__(self) -> None:
        check_number("power", self.power, above=0)
        check_number("epsilon", self.epsilon, at_least=0)
        check_name("history", self.history, HISTORIES)
        check_number("keep", self.keep, above=0, at_most=1)

    def floor(self, dtype: torch.dtype) -> float:
        """Return what is added to the history: a weight that nothing ever drove must not divide by zero."""
        return max(self.epsilon, torch.finfo(dtype).tiny)


def saturating_step(
    weight: Float[Tensor, "*synapse"],
    history: Float[Tensor, "*synapse"],
    drive: Float[Tensor, "*synapse"],
    *,
    step_size: float,
    gate: DriveGate,
    saturation: Saturation,
) -> tuple[Float[Tensor, "*synapse"], Float[Tensor, "*synapse"]]:
    r"""Return weights and history after one drive.

    Where the drive passes the gate,

    .. math:: G \leftarrow G + |d|^p, \qquad w \leftarrow w + \alpha\, d\, (\epsilon + G)^{-1/p};

    elsewhere nothing changes. The first step of a fresh weight is about :math:`\alpha` whatever the drive's size.

    Args:
        weight: w.
        history: G, at least 0; in the unit of the drive to the power p.
        drive: d, of one sample window or batch.
        step_size: :math:`\alpha`, in units of the weight: think of 0.001 to 0.03, not of a learning rate of SGD.
        gate: Which drives pass.
        saturation: p, :math:`\epsilon`, and what the history holds.

    Source:
        Ludwig 2024, arXiv:2405.09637, the pseudo-code. Differs: see :class:`neurocl.plasticity.CLASSP`.
    """
    passed = gate.passed(drive)
    counted = drive if saturation.history == "all" else passed
    kept = history * saturation.keep if saturation.history == "decaying" else history
    grown = kept + counted.abs() ** saturation.power
    scale = (grown + saturation.floor(history.dtype)) ** (1 / saturation.power)
    return weight + step_size * passed / scale, grown


def step_in_chunks(
    weight: Tensor,
    history: Tensor,
    gradient: Tensor,
    *,
    cut: float | None,
    passed: Tensor | None,
    step_size: float,
    saturation: Saturation,
    plain: bool,
    chunk: int = CHUNK,
) -> None:
    """Change weights and history in place along minus the gradient, ``chunk`` synapses at a time.

    Args:
        weight: Of any floating-point type.
        history: Of the type that is computed in.
        gradient: Of the weight's type.
        cut: Size that a gradient must exceed; where gates and masks need more than one number, ``passed`` instead.
        passed: The gated gradient.
        step_size: Positive, negative to climb.
        saturation: Of the rule.
        plain: Whether the step is ``step_size`` times the gradient, and the history only grows.
        chunk: Scratch memory is two buffers of this size, a third for weights of half precision.
    """
    tensors = [weight, history, gradient] if passed is None else [weight, history, gradient, passed]
    if all(tensor.is_contiguous() for tensor in tensors):
        size = min(chunk * torch.get_num_threads(), max(1, weight.numel())) if weight.is_cpu else max(1, weight.numel())
        pieces = zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)
    else:  # laid out otherwise, such as channels last: all at once
        pieces = iter([tuple(tensors)])
    scratch: list[Tensor] = []
    for w, grown, g, *rest in pieces:
        if not scratch or scratch[0].shape != g.shape:
            scratch = [torch.empty_like(g, dtype=history.dtype) for _ in range(2 + (g.dtype != history.dtype))]
        a, b = scratch[:2]
        g = g if g.dtype == history.dtype else scratch[2].copy_(g)
        moving = rest[0] if rest else torch.hardshrink(g, cut or 0.0, out=a)
        if saturation.history == "decaying":
            grown.mul_(saturation.keep)
        add_power(grown, g if saturation.history == "all" else moving, saturation.power, b)
        if plain:
            w.add_(moving, alpha=-step_size)
            continue
        w.addcdiv_(
            moving, root_(torch.add(grown, saturation.floor(grown.dtype), out=b), saturation.power), value=-step_size
        )


def add_power(total: Tensor, values: Tensor, power: float, scratch: Tensor) -> None:
    """Add the p-th power of the values' sizes in place."""
    if power == 2:
        total.addcmul_(values, values)
    else:
        torch.abs(values, out=scratch)
        total.add_(scratch if power == 1 else scratch.pow_(power))


def root_(values: Tensor, power: float) -> Tensor:
    """Take the p-th root in place."""
    if power == 1:
        return values
    return values.sqrt_() if power == 2 else values.pow_(1 / power)


def step_over_lists(
    weights: list[Tensor],
    histories: list[Tensor],
    gradients: list[Tensor],
    passed: list[Tensor],
    *,
    step_size: float,
    saturation: Saturation,
    plain: bool,
) -> None:
    """As :func:`step_in_chunks`, over lists of tensors of one type and device; ``passed`` is used up."""
    if saturation.history == "decaying":
        torch._foreach_mul_(histories, saturation.keep)
    counted = gradients if saturation.history == "all" else passed
    power = saturation.power
    if power == 2:
        torch._foreach_addcmul_(histories, counted, counted)
    else:
        sizes = torch._foreach_abs(counted)
        torch._foreach_add_(histories, sizes if power == 1 else torch._foreach_pow(sizes, power))
    if plain:
        torch._foreach_add_(weights, passed, alpha=-step_size)
        return
    scale = torch._foreach_add(histories, saturation.floor(histories[0].dtype))
    if power == 2:
        torch._foreach_sqrt_(scale)
    elif power != 1:
        scale = torch._foreach_pow(scale, 1 / power)
    torch._foreach_addcdiv_(weights, passed, scale, value=-step_size)
