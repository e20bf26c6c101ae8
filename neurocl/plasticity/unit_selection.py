"""Which units a task needs: the fewest that carry a stated share of a layer's activity."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_count, check_number

FIRST_PHASE = 2  # the first two phases share one value in the published code


def annealed_share(phase: int, *, period: int = 30, least: float = 0.0) -> float:
    r"""Return the share of activity that the selected units of a phase carry.

    :math:`\tau_p = \max(\tfrac12 (1 + \cos(\pi t_p / k)),\ least)` with :math:`t_1 = 2` and :math:`t_p = p` after.

    Args:
        phase: Number of the phase within its task, from 1.
        period: Phases until the share would be 0 (the paper's *k*); larger lets units go more slowly.
        least: Smallest share, in [0, 1].

    Source:
        Gurbuz & Dovrolis 2022 (NISPA) and Gurbuz, Moorman & Dovrolis 2023 (SHARP).
    """
    check_number("least", least, at_least=0, at_most=1)
    at = min(max(check_count("phase", phase), FIRST_PHASE), check_count("period", period))
    return max(0.5 * (1 + math.cos(math.pi * at / period)), least)


def most_active(activity: Tensor, share: float) -> Bool[Tensor, " unit"] | None:
    r"""Return the shortest prefix, by falling activity, that carries ``share`` of the total.

    The smallest set S with :math:`\sum_{j \in S} A_j \ge share \sum_j A_j`; equal units go by their order.

    Args:
        activity: ``[unit]``, not negative.
        share: In (0, 1].

    Returns:
        The units selected, or ``None`` where all are silent: there is nothing to select by.

    Raises:
        BadInput: If ``activity`` is negative or not finite, or ``share`` lies outside (0, 1].
    """
    check_number("share", share, above=0, at_most=1)
    if activity.ndim != 1 or not bool(torch.isfinite(activity).all()) or bool((activity < 0).any()):
        raise BadInput(f"activity must be one finite number, at least 0, for each unit; got {activity}")
    totals = activity.to(torch.float64)
    if not float(totals.sum()) > 0:
        return None
    order = totals.argsort(descending=True, stable=True)
    carried = totals[order].cumsum(0)
    needed = int((carried < share * carried[-1] * (1 - 1e-12)).sum()) + 1  # rounding must not ask for silent units
    chosen = torch.zeros(len(activity), dtype=torch.bool, device=activity.device)
    chosen[order[:needed]] = True
    return chosen
