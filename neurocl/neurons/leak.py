"""How fast a variable leaks, and how hard a current drives it: per-step factors out of times in ms."""

from typing import Literal, get_args

import torch
from torch import Tensor

from neurocl.kernels.lif_passes import Charge
from neurocl.primitives.checks import BadInput, check_name, check_number
from neurocl.primitives.time_constants import decay_factor, euler_factor

Integration = Literal["exact", "euler"]
Gain = float | Literal["leak"]

# Norse's default in 1/s, a tensor as there: its product with dt is rounded to float32
NORSE_TAU_MEM_INV = torch.tensor(100.0)


def keep_of(tau_ms: float, *, dt_ms: float, integration: Integration = "exact", name: str = "tau_membrane_ms") -> float:
    """Return the share that is left after one step, by the exact decay or by a forward-Euler step.

    Raises:
        BadInput: If a time is not positive and finite, or so far from the step that nothing, or everything, is left.
    """
    check_name("integration", integration, get_args(Integration))
    check_number(name, tau_ms, above=0)
    check_number("dt_ms", dt_ms, above=0)
    if integration == "euler" and tau_ms <= dt_ms:
        raise BadInput(f"{name} must be greater than dt_ms={dt_ms:g} for integration='euler'; got {tau_ms:g}")
    keep = (decay_factor if integration == "exact" else euler_factor)(dt_ms=dt_ms, tau_ms=tau_ms)
    if not 0 < keep < 1:
        raise BadInput(f"{name} must be within reach of dt_ms={dt_ms:g}; got {tau_ms:g}, which keeps {keep:g} a step")
    return keep


def check_keep(keep: float, *, name: str = "keep") -> float:
    """Return ``keep`` if it lies strictly between 0 and 1."""
    return check_number(name, keep, above=0, below=1)


def gain_of(gain: Gain, *, keep: float, charge: Charge = "scaled") -> float:
    """Return the factor on the current; ``"leak"`` is 1 - ``keep``, and the only one that some charges have.

    Raises:
        BadInput: If the gain is not a positive finite number, or not the charge's own.
    """
    if isinstance(gain, str):
        check_name("gain", gain, ("leak",))
    value = 1.0 - keep if isinstance(gain, str) else check_number("gain", gain, above=0)
    wanted = {"leak": 1.0, "scaled": value}.get(charge, 1.0 - keep)
    if abs(value - wanted) > 1e-6:
        way_out = "gain=1" if charge == "leak" else "gain='leak'"
        raise BadInput(f"gain must be {wanted:g} for charge={charge!r}; got {value:g}: give {way_out}")
    return value


def norse_rate(tau_inv: float | Tensor, dt: float, name: str) -> float:
    """Return Norse's ``dt * tau_inv``, rounded to float32 where the parameter is a tensor, as there."""
    check_number("dt", dt, above=0)
    rate = float(dt * tau_inv)
    if not 0 < rate < 1:
        raise BadInput(f"dt * {name} must lie strictly between 0 and 1; got {rate:g}: both are in seconds")
    return rate
