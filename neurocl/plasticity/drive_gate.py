r"""Which synapses a drive is strong enough to change: the induction threshold of long-term plasticity.

A drive is what asks a weight to change: minus its gradient, an eligibility trace times a learning signal, pairs of
spikes. It is positive where it asks for potentiation, negative where it asks for depression. Accumulate it over the
window of a sample or a batch before it meets a gate: at single time steps drives are smaller and noisier.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.primitives.checks import check_name, check_number

GateKind = Literal["absolute", "relative", "quantile", "winners"]
GATES: tuple[str, ...] = get_args(GateKind)
SHARES = ("quantile", "winners")  # gates whose threshold is a share of synapses


@dataclass(frozen=True, kw_only=True)
class DriveGate:
    r"""Lets a drive d pass where :math:`|d|` lies above a cut c, which the kind of gate makes of the threshold.

    ``"absolute"``: :math:`c = \sqrt\theta`, that is :math:`d^2 > \theta`, the printed rule; it has the unit of the
    squared drive. ``"relative"``: :math:`c = \theta \sqrt{\langle d^2 \rangle}` over the tensor. ``"quantile"``: the
    share :math:`\theta` of the tensor's synapses with the strongest drive passes. ``"winners"``: the same share of each
    post-synaptic neuron's synapses (a row of the tensor), at least one; local to the neuron. The last three do not
    depend on the scale of the drive. A drive of exactly zero never passes; of drives as strong as the weakest winner
    all pass.

    Args:
        kind: As above.
        threshold: :math:`\theta`; larger lets less pass for the first two kinds, and more for the two shares.
        threshold_depression: The same for negative drives; ``None``: as for positive ones.

    Raises:
        BadInput: For an unknown kind, a negative or non-finite threshold, or a share outside (0, 1).

    Source:
        Ludwig 2024, arXiv:2405.09637, for the absolute kind. Differs: the others; two signs.
    """

    kind: str = "relative"
    threshold: float = 0.1
    threshold_depression: float | None = None

    def __post_init__(self) -> None:
        check_name("gate", self.kind, GATES)
        for name in ("threshold", "threshold_depression"):
            value = getattr(self, name)
            if value is None and name == "threshold_depression":
                continue
            if self.kind in SHARES:
                check_number(f"{name} of a {self.kind} gate, a share of synapses,", value, above=0, below=1)
            else:
                check_number(name, value, at_least=0)

    @property
    def symmetric(self) -> bool:
        """Whether potentiation and depression have one threshold."""
        return self.threshold_depression in {None, self.threshold}

    @property
    def selects(self) -> bool:
        """Whether cuts hang on all drives of a tensor in order, and not on their size alone."""
        return self.kind in SHARES

    @property
    def by_row(self) -> bool:
        """Whether cuts differ between the rows of a tensor."""
        return self.kind == "winners"

    def cuts(
        self, drive: Float[Tensor, "*synapse"], norm: float | None = None
    ) -> tuple[Float[Tensor, "*row"], Float[Tensor, "*row"]]:
        """Return what the size of a drive has to exceed, for potentiation and for depression: numbers, or one a row.

        Args:
            drive: First axis the post-synaptic neuron.
            norm: Euclidean norm of the drive, if it is known; spares a pass.
        """
        thresholds = [self.threshold] if self.symmetric else [self.threshold, self.threshold_depression or 0.0]
        found = self._cuts(drive, thresholds, norm)
        return found[0], found[-1]

    def cut(self, drive: Tensor, norm: float | None = None) -> float:
        """Return what the size of a drive has to exceed, of a gate that is symmetric and does not select."""
        if self.kind == "absolute":
            return math.sqrt(self.threshold)
        scale = root_mean_square(drive, norm) if drive.numel() else 0.0
        return min(self.threshold * scale, torch.finfo(drive.dtype).max)

    def passed(self, drive: Float[Tensor, "*synapse"]) -> Float[Tensor, "*synapse"]:
        """Return the drive, 0 where it does not pass.

        Args:
            drive: First axis the post-synaptic neuron, as in linear layers and convolutions (not transposed ones).
        """
        plus, minus = self.cuts(drive)
        if self.symmetric and not plus.ndim and drive.device.type == "cpu":
            return torch.hardshrink(drive, float(plus))  # one pass
        return torch.where((drive > plus) | (drive < -minus), drive, 0.0)

    def _cuts(self, drive: Tensor, thresholds: list[float], norm: float | None) -> list[Tensor]:
        if self.kind == "absolute":
            return [drive.new_full((), math.sqrt(threshold)) for threshold in thresholds]
        if not drive.numel() or (self.by_row and drive.ndim < 2):  # every neuron's only synapse is its winner
            return [drive.new_zeros(())]
        if self.kind == "relative":
            scale, most = root_mean_square(drive, norm), torch.finfo(drive.dtype).max
            return [drive.new_full((), min(threshold * scale, most)) for threshold in thresholds]
        if self.by_row:
            rows = [len(drive), *[1] * (drive.ndim - 1)]
            return [cut.reshape(rows) for cut in below_strongest(drive.flatten(1), thresholds)]
        return [cut[0] for cut in below_strongest(drive.reshape(1, -1), thresholds)]


def root_mean_square(drive: Float[Tensor, "*synapse"], norm: float | None = None) -> float:
    """Return the root of the mean square, of large and small numbers too."""
    norm = float(torch.linalg.vector_norm(drive)) if norm is None else norm
    if not 1e-15 < norm < 1e18:  # squares leave the range of float32
        norm = float(torch.linalg.vector_norm(drive, dtype=torch.float64))
    if not 1e-150 < norm < 1e150 and (largest := float(drive.abs().max())):  # and here of float64
        norm = largest * float(torch.linalg.vector_norm(drive.double() / largest))
    return norm / math.sqrt(drive.numel())


def below_strongest(drive: Float[Tensor, "row synapse"], shares: Sequence[float]) -> list[Float[Tensor, " row"]]:
    """Return, for each share, the largest number below the strongest so many (rounded up) of each row; at least 0."""
    length, size = drive.shape[1], drive.detach().abs()
    size = size.float() if size.dtype == torch.bfloat16 else size  # which numpy does not know
    left_out = [length - max(1, math.ceil(share * length * (1 - 1e-12) - 1e-9)) for share in shares]
    if size.is_cpu and not torch.compiler.is_compiling():  # numpy's selection is twice as fast, on rows nine times
        values, weakest = size.numpy(), []
        for place in left_out:  # one after the other: numpy is several times slower on both at once
            values.partition(place, axis=1)
            weakest.append(size[:, place].clone())
    else:
        weakest = [size.kthvalue(place + 1, dim=1).values for place in left_out]
    return [torch.nextafter(each.to(drive.dtype), each.new_zeros((), dtype=drive.dtype)) for each in weakest]
