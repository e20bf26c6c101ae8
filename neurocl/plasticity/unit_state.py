"""Does a saved state of masks and ranks fit the network and the settings that are to go on from it?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neurocl.plasticity.unit_layers import UnitLayer
from neurocl.primitives.checks import BadInput

PARTS = ("masks", "ranks", "draws")
ALIKE = 1e-3  # relative: a network that comes back in another precision is still the same


def weight_totals(layers: Sequence[UnitLayer]) -> dict[str, float]:
    """Return the sum of absolute weights of each layer: tells whether a network is the one that a state belongs to."""
    return {
        one.name: float(one.module.weight.detach().double().abs().sum()) for layer in layers for one in layer.afferents
    }


def check_state(state: Mapping[str, Any], layers: Sequence[UnitLayer], settings: Mapping[str, Any]) -> None:
    """Refuse a state of other layers, other ``settings``, or of weights that the network does not have.

    Settings and weights that a state of an earlier version does not tell are not looked at.

    Raises:
        BadInput: On what does not fit, by name.
    """
    if missing := [part for part in PARTS if part not in state]:
        raise BadInput(f"state must hold {', '.join(PARTS)}; {', '.join(missing)} missing: give a state_dict()")
    names = [one.name for layer in layers for one in layer.afferents]
    if set(state["masks"]) != set(names):
        raise BadInput(f"state must have masks of {', '.join(names)}; got {', '.join(state['masks'])}")
    units = [layer.units for layer in layers]
    if [len(ranks) for ranks in state["ranks"]] != units:
        raise BadInput(f"state must have ranks of {units} units; got {[len(ranks) for ranks in state['ranks']]}")
    for name, value in settings.items():
        if name in state and state[name] != value:
            raise BadInput(
                f"{name} must be what it was when the state was saved, {state[name]}, or frozen units would learn; got "
                f"{value}: build StructuralPlasticity with the same arguments"
            )
    now = weight_totals(layers)
    for name, total in state.get("weights", now).items():
        if not math.isclose(now[name], total, rel_tol=ALIKE):
            raise BadInput(
                f"weights of layer {name!r} must be those the network had when the state was saved, which add up to "
                f"{total:.6g} without signs; got {now[name]:.6g}: build StructuralPlasticity first, as it masks "
                "and scales weights, then load the network's state, then this one"
            )
