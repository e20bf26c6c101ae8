"""Do saved histories fit the parameters of an optimiser, and which belongs to which?"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from neurocl.plasticity.finite_gradients import named
from neurocl.primitives.checks import BadInput


def matched(
    own: list[dict[str, Any]], state_dict: dict[str, Any], options: Iterable[str]
) -> tuple[list[dict[str, Any]], list[tuple[Tensor, dict[str, Any]]]]:
    """Return the saved groups in the order of ``own``, and every parameter that has a state with it.

    Raises:
        BadInput: If the state is not CLASSP's: its groups lack some of ``options``, or a history or a mask does not fit
            its parameter or holds what no history can.
    """
    for place, group in enumerate(state_dict["param_groups"]):
        if missing := sorted(set(options) - set(group)):
            raise BadInput(f"group {place} of the state lacks {', '.join(missing)}: it is no state of CLASSP")
    saved = in_order_of(own, state_dict["param_groups"])
    numbers = [number for group in saved for number in group["params"]]
    parameters = [pair for place, group in enumerate(own) for pair in named(group, place)]
    found = []
    for (name, parameter), number in zip(parameters, numbers, strict=False):  # torch refuses other numbers of them
        if not (state := state_dict["state"].get(number)):
            continue
        if not {"history", "step"} <= set(state):
            raise BadInput(f"the state of {name} holds {sorted(state)}, and no history: it is no state of CLASSP")
        if state["history"].shape != parameter.shape:
            raise BadInput(
                f"the history of {name} must be of its shape, {list(parameter.shape)}; the state holds "
                f"{list(state['history'].shape)}: were the parameters in another order? Name them"
            )
        if not bool((state["history"] >= 0).all()):
            raise BadInput(
                f"the history of {name} must be at least 0 everywhere; the state holds others: it is damaged"
            )
        frozen = state.get("frozen")
        if frozen is not None and (frozen.shape != parameter.shape or frozen.dtype != torch.bool):
            raise BadInput(
                f"the mask of {name} must be boolean and of its shape, {list(parameter.shape)}; the state holds "
                f"{frozen.dtype} of {list(frozen.shape)}: were the parameters in another order? Name them"
            )
        found.append((parameter, state))
    return saved, found


def in_order_of(own: list[dict[str, Any]], saved: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return saved groups with their parameters in the order of ours, where both name the same ones."""
    ordered = []
    for ours, theirs in zip(own, saved, strict=False):
        names, numbers = (
            ours.get("param_names"),
            dict(zip(theirs.get("param_names", ()), theirs["params"], strict=False)),
        )
        if names and names != list(numbers) and set(names) == set(numbers):
            theirs = theirs | {"params": [numbers[name] for name in names], "param_names": list(names)}
        ordered.append(theirs)
    return ordered + saved[len(own) :]
