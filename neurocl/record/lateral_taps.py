"""Taps on lateral circuits: what the lateral neurons of a layer answer to what reaches it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from neurocl.plasticity.lateral_layers import LayerCircuits
from neurocl.plasticity.lateral_rows import rows_of
from neurocl.record.taps import CUT, Sight, Tell, uncompiled


def circuits_of(network: nn.Module) -> Iterator[tuple[str, LayerCircuits]]:
    """Yield the circuits of a network, with the names of their layers."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            for hook in module._forward_hooks.values():
                if isinstance(hook, LayerCircuits):
                    yield uncompiled(name), hook


def tap_circuits(circuits: LayerCircuits, tell: Tell) -> Callable[[], None]:
    """Watch the layer of circuits, and tell what their frozen rows answer; return what ends it.

    ``[row]`` of a linear layer, ``[row, height, width]`` of a convolution: its lateral neurons answer at every place.
    Nothing is told while there are no frozen rows, that is in the first task. Their number grows with the tasks. Of
    grouped convolutions the first rows of all groups come first, then the second ones and so on, so that each keeps its
    place whatever grows; where a group has fewer rows than others, NaN stands for them.
    """
    layer = circuits.layer
    axes = 1 if isinstance(layer, nn.Linear) else 3  # of a sample

    @torch.compiler.disable(reason=CUT)
    @torch.no_grad()
    def hook(_: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Tensor) -> None:
        x, steps = (inputs[0] if inputs else options["input"]).detach(), options.get("steps")
        if steps is not None and not circuits.linear:  # those that spike answer every step, not the average
            x = steps.rows().detach().unflatten(0, (len(steps.shares), -1))
        if not any(len(circuit.old) for circuit in circuits.circuits) or x.ndim not in (axes + 1, axes + 2):
            return
        with torch.autocast(x.device.type, enabled=False):
            rows = rows_of(layer, x.to(layer.weight.dtype))
            answers = [
                circuit.neurons.respond(part @ circuit.old.T, circuit.old)
                for circuit, part in zip(circuits.circuits, rows, strict=True)
            ]
        places = output.shape[-2:] if axes == 3 else ()
        answer = side_by_side(answers).unflatten(0, (*x.shape[:-axes], *places))
        if places:
            answer = answer.movedim(-1, -3)
        told: dict[str, Any] = {"spiking": False, "ours": True, "fresh": None, "others": nothing, "name": "lateral"}
        tell(Sight(output=answer, timed=x.ndim == axes + 2, **told))

    hook.keeps_values = True  # see LayerCircuits
    return layer.register_forward_hook(hook, with_kwargs=True).remove


def side_by_side(answers: list[Tensor]) -> Tensor:
    """Return the answers ``[sample, row]`` of groups as ``[sample, row * group]``, row by row."""
    if len(answers) == 1:
        return answers[0]
    most = max(answer.shape[1] for answer in answers)
    filled = [nn.functional.pad(answer, (0, most - answer.shape[1]), value=torch.nan) for answer in answers]
    return torch.stack(filled, 2).flatten(1)


def nothing(_: Tensor | None) -> dict[str, Tensor]:
    """Return the variables that lateral neurons have beside their answers: none."""
    return {}
