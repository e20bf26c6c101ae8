r"""Spike-timing-dependent plasticity as drives: what pairs and triplets of spikes ask of a synapse over a window.

The drives are those of trace models, all spikes counting. They change nothing themselves: summed over a window, they
meet an induction threshold and a saturation (:func:`neurocl.plasticity.saturating_step`, or CLASSP after
``weight.grad = -drive``).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_finite, check_number
from neurocl.primitives.time_constants import decay_factor


@dataclass(frozen=True, kw_only=True)
class STDP:
    r"""Amplitudes and time constants of pairs and triplets; amplitudes in units of the drive.

    At a post-synaptic spike :math:`\Delta D = r_1 (A_2^+ + A_3^+ o_2)`, at a pre-synaptic one
    :math:`\Delta D = -o_1 (A_2^- + A_3^- r_2)`. Every trace grows by 1 at a spike of its side and decays; the slow
    ones (:math:`r_2, o_2`) are read before the spike of the moment. Spikes of one step count as no pair.

    Args:
        pair_potentiation: :math:`A_2^+`.
        pair_depression: :math:`A_2^-`.
        triplet_potentiation: :math:`A_3^+`; 0 for the pair rule. It is what makes potentiation grow with frequency.
        triplet_depression: :math:`A_3^-`.
        tau_plus_ms: Of :math:`r_1`, in ms: how long a pre-synaptic spike waits for a post-synaptic one.
        tau_minus_ms: Of :math:`o_1`, in ms.
        tau_x_ms: Of :math:`r_2`, in ms.
        tau_y_ms: Of :math:`o_2`, in ms.

    Raises:
        BadInput: For negative amplitudes or time constants that are not positive.

    Source:
        Pfister & Gerstner 2006, Triplets of spikes in a model of spike timing-dependent plasticity, J. Neurosci. 26.
        The defaults are the minimal triplet model of visual cortex, all-to-all (their table 3); a row is one fit, do
        not mix. The table itself was not at hand: all but :math:`\tau_x` agree with two public transcriptions, among
        them the code of Zenke & Gerstner 2014. :math:`\tau_x` matters only where :math:`A_3^- > 0`; 101 ms is
        that of the full model, whose :math:`\tau_y` is 125 ms. Differs: nearest-spike fits are not offered.
    """

    pair_potentiation: float = 0.0
    pair_depression: float = 7.1e-3
    triplet_potentiation: float = 6.5e-3
    triplet_depression: float = 0.0
    tau_plus_ms: float = 16.8
    tau_minus_ms: float = 33.7
    tau_x_ms: float = 101.0
    tau_y_ms: float = 114.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_number(name, value, **({"above": 0} if name.endswith("_ms") else {"at_least": 0}))

    @classmethod
    def pairs(cls, potentiation: float = 0.005, depression: float = 0.00525, tau_ms: float = 20.0) -> "STDP":
        """Return the pair rule with one time constant; depression a little stronger (Song, Miller & Abbott 2000)."""
        return cls(
            pair_potentiation=potentiation, pair_depression=depression, triplet_potentiation=0.0,
            tau_plus_ms=tau_ms, tau_minus_ms=tau_ms,
        )  # fmt: skip

    @classmethod
    def hippocampus(cls) -> "STDP":
        """Return the minimal triplet model of hippocampal cultures, all-to-all: pairs potentiate at any frequency.

        Source:
            Pfister & Gerstner 2006, table 4; read in one public transcription, not in the paper.
        """
        return cls(pair_potentiation=5.3e-3, pair_depression=3.5e-3, triplet_potentiation=8e-3, tau_y_ms=40.0)


def stdp_drive(
    pre: Real[Tensor, "time batch pre"] | Bool[Tensor, "time batch pre"],
    post: Real[Tensor, "time batch post"] | Bool[Tensor, "time batch post"],
    *,
    rule: STDP,
    dt_ms: float = 1.0,
) -> Float[Tensor, "post pre"]:
    """Return the drive of a window of spikes, averaged over the batch; see :class:`STDP` for the equations.

    Args:
        pre: Spikes, 0 or 1, of any type.
        post: Likewise, of the same steps.
        rule: Amplitudes and time constants.
        dt_ms: Length of a step.

    Raises:
        BadInput: If the two sides differ in steps or samples, or there is none, or some are not finite.
    """
    pre, post = (check_finite(name, floating(side)) for name, side in (("pre", pre), ("post", post)))
    if pre.ndim != 3 or post.ndim != 3 or pre.shape[:2] != post.shape[:2] or not pre.shape[0] * pre.shape[1]:
        raise BadInput(
            f"pre and post must be spikes [time, batch, neuron] of the same steps and samples, at least one; got "
            f"{list(pre.shape)} and {list(post.shape)}"
        )
    keep_r1, keep_o1, keep_r2, keep_o2 = (
        decay_factor(dt_ms=dt_ms, tau_ms=tau)
        for tau in (rule.tau_plus_ms, rule.tau_minus_ms, rule.tau_x_ms, rule.tau_y_ms)
    )
    r1, r2, o1, o2 = (torch.zeros_like(side[0]) for side in (pre, pre, post, post))
    drive = pre.new_zeros(post.shape[2], pre.shape[2])
    for x, y in zip(pre, post, strict=True):
        r1, r2, o1, o2 = r1 * keep_r1, r2 * keep_r2, o1 * keep_o1, o2 * keep_o2
        potentiation = y * (rule.pair_potentiation + rule.triplet_potentiation * o2)
        depression = x * (rule.pair_depression + rule.triplet_depression * r2)
        drive += potentiation.T @ r1 - o1.T @ depression
        r1, r2, o1, o2 = r1 + x, r2 + x, o1 + y, o2 + y
    return drive / pre.shape[1]


def floating(spikes: Tensor) -> Tensor:
    """Return spikes as numbers that can be summed with traces."""
    return spikes if spikes.is_floating_point() else spikes.to(torch.get_default_dtype())
