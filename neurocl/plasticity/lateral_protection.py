"""Projection of what an optimiser changes, for optimisers that leave the direction of the gradient."""

from collections.abc import Mapping

import torch
from torch import Tensor, optim

from neurocl.plasticity.lateral_layers import LayerCircuits
from neurocl.primitives.checks import BadInput

LOUD = 1e-6  # share of energy that leaks: far above rounding


def protect(optimiser: optim.Optimizer, layers: Mapping[str, LayerCircuits], *, always: bool) -> None:
    """Project the change of these layers' weights after each step; see :meth:`LateralCircuits.protect`."""
    if not isinstance(optimiser, optim.Optimizer):
        raise BadInput(f"optimiser must be a torch.optim.Optimizer; got {optimiser!r}")
    before: dict[str, tuple[Tensor, Tensor | None]] = {}

    def must_project() -> bool:
        needed = always or not is_plain(optimiser)
        if needed:
            refuse_spiking(type(optimiser).__name__, layers)
        return needed

    def remember(*_: object) -> None:
        before.clear()
        for name, layer in layers.items() if must_project() else ():
            if layer.projecting:
                bias = layer.layer.bias if layer.freeze_bias else None
                before[name] = (
                    layer.layer.weight.detach().clone(),
                    None if bias is None else bias.detach().clone(),
                )

    @torch.no_grad()
    def project(*_: object) -> None:
        for name, (weight, bias) in before.items():
            layer = layers[name]
            layer.layer.weight.copy_(weight + layer.project(layer.layer.weight - weight))
            if bias is not None and layer.layer.bias is not None:
                layer.layer.bias.copy_(bias)

    must_project()
    optimiser.register_step_pre_hook(remember)
    optimiser.register_step_post_hook(project)


def refuse_spiking(optimiser: str, layers: Mapping[str, LayerCircuits]) -> None:
    """Refuse to project changes by lateral neurons that spike."""
    spiking = next((name for name, layer in layers.items() if not layer.linear), None)
    if spiking is not None:
        raise BadInput(
            f"layer {spiking!r}: lateral neurons that spike cannot project the change that {optimiser} makes: it is "
            "smaller than one spike stands for, and would be rounded to nothing; use SGD without momentum and weight "
            "decay, or linear lateral neurons"
        )


def is_plain(optimiser: optim.Optimizer) -> bool:
    """Whether steps go along the gradient: torch's SGD itself, without momentum and weight decay."""
    return type(optimiser) is optim.SGD and not any(
        group["weight_decay"] or group["momentum"] for group in optimiser.param_groups
    )


def complaint_about(layers: Mapping[str, LayerCircuits]) -> str | None:
    """Return what to say of leaks in the task that ended, where they should be rounding and are not."""
    leaks = {name: layer.leak for name, layer in layers.items() if layer.leak is not None and is_sound(layer)}
    loud = [f"{name!r} ({leak:.2g})" for name, leak in leaks.items() if leak > LOUD]
    if not loud:
        return None
    return (
        f"weights of {', '.join(loud)} moved inside the protected span, by these shares of their change's energy: "
        "something changed them by more than the projected gradient; put the optimiser under protect(), a copied or "
        "unpickled one again, with always=True where gradients are changed element by element"
    )


def is_sound(layer: LayerCircuits) -> bool:
    """Whether no more than rounding can leak where everything is projected, as it was in the last task."""
    return layer.linear and not layer.rested and all(c.orthonormalise != "never" for c in layer.circuits)
