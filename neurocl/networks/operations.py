"""What one prediction costs: spikes times fan-out, and products with analogue values."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurocl.networks.network import Network
from neurocl.networks.signal import LayerActivity

BESIDE = (".lateral", ".shortcut")  # synapses of neurons that another synapse stands for already


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Operations for one sample, averaged over the inputs they were counted on.

    Attributes:
        synaptic_operations: Spikes times the number of neurons each one reaches; one accumulation each.
        multiply_accumulates: Products with analogue values, zeros included, padding too.
        mean_firing_rate: Spikes per hidden neuron and step; for rate units the share of units above zero.
    """

    synaptic_operations: float
    multiply_accumulates: float
    mean_firing_rate: float


def count_operations(
    network: Network, inputs: Tensor, *, present: Mapping[nn.Module, Tensor] | None = None
) -> Operations:
    """Count what ``network`` does for ``inputs`` (``[B, ...]`` or ``[T, B, ...]``), per sample.

    ``present`` holds masks ``[post, pre]`` of the connections there are, by synapse; without one all are.

    Counted are synapses: biases, neurons, normalisation (it folds into the weights) and pooling are not. A constant
    input is multiplied once. Every spike costs its fan-out wherever it goes, the head included, even where the machine
    at hand sums the spikes first; behind average pooling each spike counts on its own.
    """
    layers, masks = network.activity(inputs), present or {}
    rows = layers[0].pre.shape[1]
    events = sum(_synaptic_operations(layer, masks.get(layer.synapse)) for layer in layers)
    products = sum(_multiply_accumulates(layer, masks.get(layer.synapse)) for layer in layers)
    outputs = [layer.post for layer in layers if layer.name != "head" and not layer.name.endswith(BESIDE)]
    active = sum(int((post > 0).sum()) for post in outputs)
    neurons = sum(post.numel() for post in outputs)
    return Operations(
        synaptic_operations=events / rows,
        multiply_accumulates=products / rows,
        mean_firing_rate=active / neurons if neurons else 0.0,
    )


def _synaptic_operations(layer: LayerActivity, mask: Tensor | None) -> float:
    """Return spikes times fan-out; 0 where the input is analogue."""
    if layer.pre_spikes_per_unit is None:
        return 0.0
    spikes_at = layer.pre.sum((0, 1), dtype=torch.float64) * layer.pre_spikes_per_unit
    return float((spikes_at * _fan_out(layer.synapse, spikes_at, mask)).sum())


def _multiply_accumulates(layer: LayerActivity, mask: Tensor | None) -> float:
    """Return the number of products with analogue values; 0 where the input is spikes."""
    if layer.pre_spikes_per_unit is not None:
        return 0.0
    steps, rows = layer.pre.shape[:2]
    weights = layer.synapse.weight
    count = weights.numel() if mask is None else int(mask.sum()) * weights[0, 0].numel()
    if isinstance(layer.synapse, nn.Linear):
        return float(steps * rows * count)
    with torch.no_grad():
        height, width = layer.synapse(layer.pre[0, :1]).shape[-2:]
    return float(steps * rows * count * height * width)


def _fan_out(synapse: nn.Linear | nn.Conv2d, spikes_at: Tensor, mask: Tensor | None) -> Tensor | int:
    """Return how many neurons each presynaptic place reaches; at an image's rim fewer than inside."""
    if isinstance(synapse, nn.Linear):
        return synapse.out_features if mask is None else mask.sum(0).to(spikes_at.device)
    weight = torch.ones_like(synapse.weight, dtype=spikes_at.dtype)
    if mask is not None:
        weight = weight * mask.to(weight.device)[:, :, None, None]
    blank = torch.zeros_like(spikes_at).unsqueeze(0).requires_grad_()
    with torch.enable_grad():
        padding = synapse.padding if isinstance(synapse.padding, str) else tuple(synapse.padding)
        reached = functional.conv2d(blank, weight, None, synapse.stride, padding, synapse.dilation, synapse.groups)
        (fan_out,) = torch.autograd.grad(reached.sum(), blank)
    return fan_out.squeeze(0)
