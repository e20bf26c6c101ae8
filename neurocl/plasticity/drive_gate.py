r"""Which synapses a drive is strong enough to change: the induction threshold of long-term plasticity.

A drive is what asks a weight to change: minus its gradient, an eligibility trace times a learning signal, pairs of
spikes. It is positive where it asks for potentiation, negative where it asks for depression. Accumulate it over the
window of a sample or a batch before it meets a gate: at single time steps drives are smaller and noisier.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
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
            if (value := getattr(self, name)) is None:
                continue
            if self.kind in SHARES:
                check_number(f"{name} of a {self.kind} gate, a share of synapses,", value, above=0, below=1)
            else:
                check_number(name, value, at_least=0)

    @property
    def symmetric(self) -> bool:
        """Whether potentiation and depression have one threshold."""
        return self.threshold_depression in {None, self.threshold}

    def cuts(self, drive: Float[Tensor, "*synapse"]) -> tuple[Float[Tensor, "*row"], Float[Tensor, "*row"]]:
        """Return what the size of a drive has to exceed, for potentiation and for depression: numbers, or one a row."""
        plus = self._cut(drive, self.threshold)
        return plus, plus if self.symmetric else self._cut(drive, self.threshold_depression or 0.0)

    def passed(self, drive: Float[Tensor, "*synapse"]) -> Float[Tensor, "*synapse"]:
        """Return the drive, 0 where it does not pass.

        Args:
            drive: First axis the post-synaptic neuron.
        """
        plus, minus = self.cuts(drive)
        if self.symmetric and not plus.ndim and drive.device.type == "cpu":
            return torch.hardshrink(drive, float(plus))  # one pass
        return torch.where((drive > plus) | (drive < -minus), drive, 0.0)

    def _cut(self, drive: Tensor, threshold: float) -> Tensor:
        if self.kind == "absolute" or not drive.numel():
            return drive.new_tensor(math.sqrt(threshold) if self.kind == "absolute" else 0.0)
        if self.kind == "relative":
            return threshold * root_mean_square(drive)
        if self.kind == "quantile":
            return below_strongest(drive.reshape(1, -1), threshold)[0]
        rows = drive.flatten(1) if drive.ndim > 1 else drive.reshape(-1, 1)
        return below_strongest(rows, threshold).reshape([len(drive), *[1] * (drive.ndim - 1)] if drive.ndim else [])


def root_mean_square(drive: Float[Tensor, "*synapse"]) -> Float[Tensor, ""]:
    """Return the root of the mean square, of large and small numbers too."""
    norm = torch.linalg.vector_norm(drive)
    if not 1e-15 < float(norm) < 1e18:  # squares leave the range of float32
        norm = torch.linalg.vector_norm(drive, dtype=torch.float64)
    return (norm / math.sqrt(drive.numel())).to(drive.dtype)


def below_strongest(drive: Float[Tensor, "row synapse"], share: float) -> Float[Tensor, " row"]:
    """Return the largest number below the strongest ``share`` (rounded up) of each row's drives; at least 0."""
    left_out = drive.shape[1] - math.ceil(share * drive.shape[1] - 1e-9)
    size = drive.abs()
    if size.device.type == "cpu":  # numpy's selection is twice as fast as torch's, on rows six times
        weakest = torch.from_numpy(np.partition(size.detach().numpy(), left_out, axis=1)[:, left_out].copy())
    else:
        weakest = size.kthvalue(left_out + 1, dim=1).values
    return torch.nextafter(weakest, torch.zeros_like(weakest))
