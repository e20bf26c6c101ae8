"""Time constants in milliseconds and per-step factors: the only place where one becomes the other.

A per-step factor is always called ``keep``: the share of the distance to the drive that is left after one step.
"""

import math

from neurocl.primitives.checks import check_number


def decay_factor(*, dt_ms: float, tau_ms: float) -> float:
    r"""Return ``keep`` of an exact exponential decay, :math:`e^{-dt/\tau}`, for a drive held over the step.

    Args:
        dt_ms: Length of one step, in ms.
        tau_ms: Time constant, in ms; larger forgets more slowly.

    Raises:
        BadInput: If either is not a positive finite number.
    """
    check_number("dt_ms", dt_ms, above=0)
    check_number("tau_ms", tau_ms, above=0)
    return math.exp(-dt_ms / tau_ms)


def euler_factor(*, dt_ms: float, tau_ms: float) -> float:
    r"""Return ``keep`` of a forward-Euler step, :math:`1 - dt/\tau`, as SpikingJelly and Norse use it.

    Raises:
        BadInput: If ``tau_ms`` is smaller than ``dt_ms`` (the step would overshoot).
    """
    check_number("dt_ms", dt_ms, above=0)
    check_number("tau_ms", tau_ms, at_least=dt_ms)
    return 1.0 - dt_ms / tau_ms


def tau_of(keep: float, *, dt_ms: float = 1.0) -> float:
    r"""Return the time constant in ms whose exact decay leaves ``keep`` after ``dt_ms``: :math:`-dt/\ln keep`."""
    check_number("keep", keep, above=0, below=1)
    check_number("dt_ms", dt_ms, above=0)
    return -dt_ms / math.log(keep)
