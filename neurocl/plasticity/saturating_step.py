r"""The step of the CLASSP rule: a gated drive moves a weight the less, the more it was driven before.

One pure function states the rule; two in-place ways of it serve the optimiser: tensor by tensor in chunks that stay in
the cache, so that weights, history and drive pass memory once, and over lists of tensors (``torch._foreach``), which
spares launches on a GPU. All three agree to rounding, with powers other than 1, 2 and 3 to about 1e-5.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.plasticity.drive_gate import DriveGate
from neurocl.primitives.checks import check_finite, check_name, check_number

HistoryKind = Literal["gated", "all", "decaying"]
HISTORIES: tuple[str, ...] = get_args(HistoryKind)
CHUNK = 2**18  # synapses at a time and thread: two scratch buffers of 1 MB stay in the cache; see the ledger


@dataclass(frozen=True, kw_only=True)
class Saturation:
    r"""How a history of drives shrinks the steps of a weight.

    Args:
        power: p; 2 is AdaGrad's, 1 saturates faster: under a steady drive the total change grows as the logarithm of
            the number of steps, with 2 as its square root. A drive whose p-th power is beyond the range of its type
            (1.8e19 for 2 in float32, 6.5e4 for 8) saturates its weight for good, and one whose p-th power is below
            it (1e-19; 2e-5) leaves no history: take powers of at most 3 unless drives are near 1.
        epsilon: :math:`\epsilon`, added to the history in the p-th power of the drive's unit. Where a drive's p-th
            power is small against it, a fresh weight moves in proportion to the drive. 0 stands for the smallest
            normal number, or, for powers below 1, for the smallest whose p-th root is one: 2e-4 for 0.1 in float32.
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
        tiny = torch.finfo(dtype).tiny
        return max(self.epsilon, tiny if self.power >= 1 else (4 * tiny) ** self.power)  # nor may its p-th root be zero


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

    Raises:
        BadInput: If the drive is not finite.

    Source:
        Ludwig 2024, arXiv:2405.09637, the pseudo-code. Differs: see :class:`neurocl.plasticity.CLASSP`.
    """
    passed = gate.passed(check_finite("the drive", drive))
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
    gate: DriveGate,
    step_size: float,
    climb: bool,
    saturation: Saturation,
    plain: bool,
    norm: float | None = None,
    chunk: int = CHUNK,
) -> None:
    """Change weights and history in place along minus the gradient, ``chunk`` synapses at a time.

    Args:
        weight: Of any floating-point type.
        history: Of the type that is computed in.
        gradient: Of any floating-point type.
        gate: Which drives pass.
        step_size: Positive.
        climb: Go along the gradient instead: it is the drive itself then.
        saturation: Of the rule.
        plain: Whether the step is ``step_size`` times the gradient, and the history only grows.
        norm: Of the gradient, if known.
        chunk: Scratch memory is two buffers of this size, or of one row where that is longer and the gate chooses by
            row; a third for gradients of another type. A quantile copies the whole gradient to select in.
    """
    by_row = gate.by_row and weight.ndim > 1
    cuts = () if by_row else limits(gradient.to(history.dtype), gate, climb=climb, norm=norm)
    scratch, step = [], step_size if climb else -step_size
    for w, grown, g in pieces(weight, history, gradient, by_row=by_row, chunk=chunk):
        if not scratch or scratch[0].shape != g.shape:
            scratch = [torch.empty_like(g, dtype=history.dtype) for _ in range(2 + (g.dtype != history.dtype))]
        a, b = scratch[:2]
        g = g if g.dtype == history.dtype else scratch[2].copy_(g)
        moving = beyond(g, *(cuts or limits(g, gate, climb=climb)), out=a, spare=b)
        if saturation.history == "decaying":
            grown.mul_(saturation.keep)
        add_power(grown, g if saturation.history == "all" else moving, saturation.power, b)
        if plain:
            w.add_(moving, alpha=step)
            continue
        torch.add(grown, saturation.floor(grown.dtype), out=b)
        if saturation.power == 1:
            w.addcdiv_(moving, b, value=step)
        else:
            w.addcmul_(moving, power_(b, -1 / saturation.power), value=step)


def pieces(*tensors: Tensor, by_row: bool, chunk: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield matching views of tensors of one shape: of so many entries a thread, or whole rows; all of odd layouts."""
    first = tensors[0]
    if not all(tensor.is_contiguous() for tensor in tensors) or not first.is_cpu or not first.numel():
        return iter([tensors])
    size = chunk * torch.get_num_threads()
    if by_row:
        rows = max(1, size * len(first) // first.numel())
        return zip(*(tensor.flatten(1).split(rows) for tensor in tensors), strict=True)
    return zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)


def limits(gradient: Tensor, gate: DriveGate, *, climb: bool, norm: float | None = None) -> tuple[Any, Any]:
    """Return what a gradient must exceed, and what minus a gradient must; plain numbers where reading them is free."""
    plus, minus = gate.cuts(gradient, norm)
    if plus.is_cpu and not plus.ndim:
        plus, minus = float(plus), float(minus)
    return (plus, minus) if climb else (minus, plus)


def gated(gradient: Tensor, gate: DriveGate, *, climb: bool, norm: float | None = None) -> Tensor:
    """Return the gradient in a new tensor, 0 where the drive does not pass."""
    out, spare = torch.empty_like(gradient), torch.empty_like(gradient)
    return beyond(gradient, *limits(gradient, gate, climb=climb, norm=norm), out=out, spare=spare)


def all_gated(gradients: list[Tensor], gate: DriveGate, *, climb: bool, norms: list[float | None]) -> list[Tensor]:
    """Return :func:`gated` of each."""
    if gate.symmetric and not gate.selects and all(gradient.is_cpu for gradient in gradients):
        cuts = [gate.cut(gradient, norm) for gradient, norm in zip(gradients, norms, strict=True)]
        return [torch.hardshrink(gradient, cut) for gradient, cut in zip(gradients, cuts, strict=True)]
    return [gated(gradient, gate, climb=climb, norm=norm) for gradient, norm in zip(gradients, norms, strict=True)]


def beyond(values: Tensor, above: float | Tensor, below: float | Tensor, *, out: Tensor, spare: Tensor) -> Tensor:
    """Return in ``out`` the values greater than ``above`` or less than minus ``below``, and 0 for all others."""
    if isinstance(above, float) and above == below:
        return torch.hardshrink(values, above, out=out)
    # comparisons as 1.0 and 0.0: torch is slow where numbers meet truth values
    if above is below:
        torch.gt(torch.abs(values, out=spare), above, out=out)
    else:
        torch.gt(values, above, out=out)
        out.add_(torch.lt(values, -below, out=spare))
    return out.mul_(values)


def add_power(total: Tensor, values: Tensor, power: float, scratch: Tensor) -> None:
    """Add the p-th power of the values' sizes in place."""
    if power == 2:
        total.addcmul_(values, values)
        return
    torch.abs(values, out=scratch)
    total.add_(scratch if power == 1 else power_(scratch, power))


def power_(values: Tensor, power: float) -> Tensor:
    """Raise values of at least 0 in place; a third of the time of torch's, and a fifth of its precision (1e-5)."""
    if power == 1.5:
        return values.sqrt_().pow_(3)
    return values.pow_(power) if power in {-2, -0.5, 0.5, 2, 3} else values.log2_().mul_(power).exp2_()


def cut_into_lots(parameters: list[Tensor], device: torch.device) -> list[list[Tensor]]:
    """Return lists that are computed at once: on a CPU as many synapses as stay in the cache, or one large tensor."""
    if device.type != "cpu":
        return [parameters]
    lots: list[list[Tensor]] = []
    room = 0
    for parameter in parameters:
        if not lots or room < parameter.numel():
            lots.append([])
            room = CHUNK
        lots[-1].append(parameter)
        room -= parameter.numel()
    return lots


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
    if power == 1:
        torch._foreach_addcdiv_(weights, passed, scale, value=-step_size)
        return
    torch._foreach_pow_(scale, -1 / power)  # one after the other as in chunks, to the last bit where p is 2
    torch._foreach_addcmul_(weights, passed, scale, value=-step_size)
