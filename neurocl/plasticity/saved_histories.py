"""Do saved histories fit the parameters of an optimiser, and which belongs to which?"""

from typing import Any

from torch import Tensor

from neurocl.plasticity.finite_gradients import named
from neurocl.primitives.checks import BadInput


def matched(
    own: list[dict[str, Any]], state_dict: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[tuple[Tensor, dict[str, Any]]]]:
    """Return the saved groups in the order of ``own``, and every parameter that has a state with it.

    Raises:
        BadInput: If the state is not CLASSP's, or a history has not its parameter's shape.
    """
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
