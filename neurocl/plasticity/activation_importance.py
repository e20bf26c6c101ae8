"""Importance of units by how active they are: what a neuron-activation penalty holds, in the manner of NAI."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neurocl.primitives.checks import BadInput


def activation_importance(network: nn.Module, activity: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Return the importance of every unit's incoming weights and bias, by parameter name.

    :math:`\omega_k = \bar a_k / \frac1K \sum_j \bar a_j`, the mean activity over that of the layer: 1 on
    average in every layer, so that busy early layers are not held harder than late ones. The scale of a layer's
    activity does not matter, so that sums over samples, time and places serve as well as means. A silent unit, and
    all units of a silent layer, are free. Weights get one number a unit, ``[post, 1, ...]``, which
    :class:`~neurocl.plasticity.OnlineEWC` takes as it takes one a weight: half of its ``strength`` is NAI's alpha.

    Args:
        network: Has the modules named in ``activity``, each with a ``weight`` ``[post, ...]`` and perhaps a ``bias``.
        activity: ``[post]`` for each module by name: rectified activity or spikes, not negative.

    Raises:
        BadInput: If activity is negative or not finite, or is not one number for each unit of its module.

    Source:
        A reconstruction in the style of Kim & Lee 2021, Continual learning with neuron activation importance (NAI),
        arXiv:2107.12657, of which neither equations nor code were at hand: that units are held by their mean
        activation, balanced by layer, is from its abstract and from memory; the formula, the sum over tasks and the
        defaults are ours. Not to be quoted as the published method.
    """
    modules, importance = dict(network.named_modules()), {}
    for name, given in activity.items():
        weight = getattr(modules.get(name), "weight", None)
        if not isinstance(weight, Tensor) or given.shape != weight.shape[:1]:
            raise BadInput(f"activity must be one number for each unit of a module with weights; got {name!r}")
        if not bool(torch.isfinite(given).all()) or bool((given < 0).any()):
            raise BadInput(f"activity must be finite and not negative; that of {name!r} is not: rectify it")
        mean = given.double().mean()
        balanced = (given.double() / mean if mean > 0 else torch.zeros_like(given)).to(weight)
        importance[f"{name}.weight"] = balanced.view(-1, *[1] * (weight.ndim - 1)).clone()
        if isinstance(getattr(modules[name], "bias", None), Tensor):
            importance[f"{name}.bias"] = balanced.clone()
    return importance
