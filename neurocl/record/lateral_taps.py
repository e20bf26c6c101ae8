"""Taps on lateral circuits: what the lateral neurons of a layer answer to what reaches it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from neurocl.plasticity.lateral_layers import LayerCircuits
from neurocl.record.taps import Sight, Tell


def circuits_of(network: nn.Module) -> Iterator[tuple[str, LayerCircuits]]:
    """Yield the circuits on the linear layers of a network, with the layers' names."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            for hook in module._forward_hooks.values():
                if isinstance(hook, LayerCircuits):
                    yield name, hook


def tap_circuits(circuits: LayerCircuits, tell: Tell) -> Callable[[], None]:
    """Watch the layer of circuits, and tell what their frozen rows answer; return what ends it.

    Nothing is told while there are no frozen rows, that is in the first task. Their number grows with the tasks.
    """

    @torch.no_grad()
    def hook(_: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], __: Tensor) -> None:
        x = inputs[0] if inputs else options["input"]
        (circuit,) = circuits.circuits  # a linear layer has one
        if not len(circuit.old) or x.ndim not in (2, 3):
            return
        rows = x.detach().flatten(0, -2)
        answer = circuit.neurons.respond(rows @ circuit.old.T, circuit.old).unflatten(0, x.shape[:-1])
        told: dict[str, Any] = {"spiking": False, "ours": True, "fresh": None, "others": nothing, "name": "lateral"}
        tell(Sight(output=answer, timed=x.ndim == 3, **told))

    return circuits.layer.register_forward_hook(hook, with_kwargs=True).remove


def nothing(_: Tensor | None) -> dict[str, Tensor]:
    """Return the variables that lateral neurons have beside their answers: none."""
    return {}
