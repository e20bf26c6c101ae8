"""State of circuits on a network: tensors, numbers and names, whole or refused."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neurocl.plasticity.lateral_circuit import LateralCircuit
from neurocl.plasticity.lateral_layers import LayerCircuits
from neurocl.plasticity.lateral_reports import naming
from neurocl.plasticity.lateral_rows import check_weight
from neurocl.primitives.checks import BadInput

BY_ROW = ("old", "new", "velocity", "recent")  # [row, pre]
BETWEEN = ("inhibition", "moments")  # [new row, new row]


def check_state(state: Mapping[str, Any], layers: Mapping[str, LayerCircuits]) -> None:
    """Refuse a state that circuits on these layers cannot have had.

    Raises:
        BadInput: With the layer, what is wrong and what it must be.
    """
    mapped = isinstance(state, Mapping) and isinstance(state.get("layers", {}), Mapping)
    missing = [key for key in ("tasks_begun", "in_task", "layers") if not mapped or key not in state]
    if missing:
        raise BadInput(f"the state must be what state_dict() returned; missing: {', '.join(missing)}")
    strange = sorted(set(state["layers"]) ^ set(layers))
    if strange:
        raise BadInput(f"the state must be of circuits on the same layers; these differ: {', '.join(strange)}")
    for name, stored in state["layers"].items():
        with naming(name):
            layer, places = layers[name], [str(place) for place in range(len(layers[name].circuits))]
            if (
                not isinstance(stored, Mapping)
                or "updates" not in stored
                or sorted(stored.get("circuits", {})) != sorted(places)
            ):
                raise BadInput(f"the state must hold updates, and {len(places)} circuits")
            check_weight(name, layer.layer)
            before = stored.get("before")
            if before is not None and before.shape != layer.layer.weight.shape:
                raise BadInput(
                    f"the state's weights at the task's begin must be {list(layer.layer.weight.shape)}; "
                    f"got {list(before.shape)}"
                )
            for place, circuit in zip(places, layer.circuits, strict=True):
                check_circuit(stored["circuits"][place], circuit)


def check_circuit(stored: Mapping[str, Any], circuit: LateralCircuit) -> None:
    """Refuse a state that the circuit cannot have had."""
    strange = sorted(set(stored) ^ set(circuit.state_dict()))
    if strange:
        raise BadInput(f"the state must be of a LateralCircuit; these entries differ: {', '.join(strange)}")
    for key in BY_ROW:
        if stored[key].ndim != 2 or stored[key].shape[1] != circuit.inputs:
            raise BadInput(f"the state's {key} rows must have {circuit.inputs} values; got {list(stored[key].shape)}")
    new, rows = len(stored["new"]), len(stored["old"]) + len(stored["new"])
    if rows > circuit.inputs:
        raise BadInput(f"the state must not have more rows than inputs, {circuit.inputs}; got {rows}")
    wanted = {"velocity": (new, circuit.inputs), **dict.fromkeys(BETWEEN, (new, new))}
    wanted |= dict.fromkeys(("energy", "lasting", "rounding"), (2,))
    for key, shape in wanted.items():
        if tuple(stored[key].shape) != shape:
            raise BadInput(f"the state's {key} must be {list(shape)}; got {list(stored[key].shape)}")
    for key, value in stored.items():
        if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
            raise BadInput(f"the state's {key} must be finite: it was saved after learning diverged")


def state_of_layer(layer: LayerCircuits) -> dict[str, Any]:
    """Return a layer's state; the weights that a task began with only within one."""
    return {
        "updates": layer.updates,
        "seen": layer.seen,
        "before": layer.before,
        "leak": layer.leak,
        "by_weight": layer.by_weight,
        "circuits": {str(place): dict(circuit.state_dict()) for place, circuit in enumerate(layer.circuits)},
    }


def load_layer(layer: LayerCircuits, stored: Mapping[str, Any], *, in_task: bool) -> None:
    """Take over a state that was checked; older ones know of updates and circuits alone."""
    layer.hook_parameters()
    for place, circuit in enumerate(layer.circuits):
        circuit.load_state_dict(stored["circuits"][str(place)])
    before = stored.get("before")
    layer.before = None if before is None else before.to(layer.layer.weight, copy=True)
    layer.updates, layer.seen = stored["updates"], stored.get("seen", 0)
    layer.leak, layer.by_weight = stored.get("leak"), stored.get("by_weight", False)
    layer.in_task, layer.collected = in_task, []
    layer.made.forget()
    layer.project_gradients()
