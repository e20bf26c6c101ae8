"""The options of a parameter group of CLASSP: are they in range, and what gate and saturation do they make?"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from neurocl.plasticity.drive_gate import DriveGate
from neurocl.plasticity.saturating_step import Saturation
from neurocl.primitives.checks import BadInput, check_count, check_number

OWN_TYPES = (torch.float32, torch.float64)  # computed in as they are; halves in float32
OF_GATE = {"kind": "gate", "threshold": "threshold", "threshold_depression": "threshold_depression"}
OF_SATURATION = ("power", "epsilon", "history", "keep")
checked_gate, checked_saturation = lru_cache(256)(DriveGate), lru_cache(256)(Saturation)  # once, not at every step


def check_options(group: dict[str, Any]) -> None:
    """Refuse options out of range; they may change between steps."""
    check_number("lr", as_number(group["lr"]), at_least=0)
    check_count("plain_steps", group["plain_steps"], at_least=0)
    if not isinstance(group["maximize"], bool):
        raise BadInput(f"maximize must be True or False; got {group['maximize']!r}")
    try:
        gate_of(group), saturation_of(group)
    except TypeError:  # what cannot be hashed is in no cache
        DriveGate(**gate_options(group)), Saturation(**saturation_options(group))


def kept_type(parameter: Tensor) -> torch.dtype:
    """Return the type that is computed in, and histories kept in: sums of halves would stall."""
    return parameter.dtype if parameter.dtype in OWN_TYPES else torch.float32


def as_number(rate: Any) -> Any:
    """Return a learning rate that came as a tensor of one number as that number; anything else as it is."""
    return float(rate) if isinstance(rate, Tensor) and rate.numel() == 1 else rate


def gate_options(group: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a group that make its gate, by the gate's names."""
    return {name: group[of] for name, of in OF_GATE.items()}


def saturation_options(group: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a group that make its saturation."""
    return {name: group[name] for name in OF_SATURATION}


def gate_of(group: dict[str, Any]) -> DriveGate:
    """Return the gate of a parameter group."""
    return checked_gate(**gate_options(group))


def saturation_of(group: dict[str, Any]) -> Saturation:
    """Return the saturation of a parameter group."""
    return checked_saturation(**saturation_options(group))
