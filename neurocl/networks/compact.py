"""A network without its idle units: smaller products wherever connections are arranged by units.

Where no unit that counts depends on one that is left out (see :class:`neurocl.plasticity.StructuralPlasticity`), the
smaller network answers as the whole one does, to rounding, and learns alike; what it learnt is written back. Under
feedback alignment idle units of the whole network send errors down, which those left out do not.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.networks.layers import Layer
from neurocl.networks.network import Network
from neurocl.networks.synapses import Conv2d
from neurocl.primitives.checks import BadInput


@dataclass(frozen=True, kw_only=True)
class Compact:
    """A smaller copy of a network.

    Attributes:
        network: The copy.
        sizes: For every layer the number of units in the whole network.
        units: For every layer the places, in the whole network, of the units there are.
        sources: For every layer the columns of the whole network's weights there are.
    """

    network: Network
    sizes: tuple[int, ...]
    units: tuple[Tensor, ...]
    sources: tuple[Tensor, ...]

    def write_back(self, network: Network) -> None:
        """Give what was learnt to the whole ``network``."""
        with torch.no_grad():
            for whole, part, rows, columns in self._layers(network):
                for name, tensor in own_tensors(part):
                    target = whole.get_parameter(name) if isinstance(tensor, nn.Parameter) else whole.get_buffer(name)
                    if name in ("synapse.weight", "synapse.feedback_weight"):
                        target[rows[:, None], columns] = tensor
                    elif tensor.shape == target.shape:
                        target.copy_(tensor)
                    else:
                        target[rows] = tensor

    def hidden_features(self, inputs: Tensor, *, last: int = 0, read: str = "spikes") -> Float[Tensor, "batch feature"]:
        """Return what the whole network's ``hidden_features`` returns, 0 for the units left out."""
        found = self.network.features_by_layer(inputs, last=last, read=read)
        first = len(self.sizes) - len(found)
        return torch.cat([self.spread(part, first + at) for at, part in enumerate(found)], dim=1)

    def spread(self, features: Float[Tensor, "batch part"], layer: int) -> Float[Tensor, "batch whole"]:
        """Return features of one layer with those of the units left out, which are 0."""
        units = self.units[layer].to(features.device)
        block = features.shape[1] // len(units)
        whole = features.new_zeros(len(features), self.sizes[layer], block)
        whole[:, units] = features.unflatten(1, (len(units), block))
        return whole.flatten(1)

    def _layers(self, network: Network) -> list[tuple[nn.Module, nn.Module, Tensor, Tensor]]:
        return list(zip(network.layers, self.network.layers, self.units, self.sources, strict=True))


def own_tensors(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters and buffers of a layer by name."""
    return [*layer.named_parameters(), *layer.named_buffers()]


def can_be_compact(network: Network, active: Sequence[Tensor]) -> bool:
    """Tell whether :func:`compact` can leave units out: a chain of plain layers, each with a unit that is active."""
    plain = all(isinstance(layer, Layer) for layer in network.layers)
    return plain and len(active) == len(network.layers) and all(bool(units.any()) for units in active)


def compact(network: Network, active: Sequence[Tensor]) -> Compact:
    """Return a copy of ``network`` with its ``active`` units alone.

    Args:
        network: A chain of :class:`~neurocl.networks.layers.Layer` without a head (``head="none"``).
        active: For every layer ``[unit]``: units to keep, at least one.

    Raises:
        BadInput: If the network is no such chain, or a layer would be empty.
    """
    if not can_be_compact(network, active):
        raise BadInput(
            "active must keep at least one unit of every layer of a chain of plain layers (MLP, CNN); got "
            f"{[int(units.sum()) for units in active]} for {[type(layer).__name__ for layer in network.layers]}"
        )
    small = copy.deepcopy(network)
    small._units = {}  # shapes at cuts are others
    kept: list[Tensor] = []
    columns: list[Tensor] = []
    for place, layer in enumerate(part for part in small.layers if isinstance(part, Layer)):
        device = layer.synapse.weight.device
        rows = active[place].to(device).nonzero().squeeze(1)
        pre = layer.synapse.weight.shape[1]
        if place:
            block = pre // len(active[place - 1])
            sources = (kept[-1][:, None] * block + torch.arange(block, device=device)).flatten()
        else:
            sources = torch.arange(pre, device=device)
        cut_layer(layer, rows, sources)
        kept.append(rows)
        columns.append(sources)
    sizes = tuple(len(units) for units in active)
    return Compact(network=small, sizes=sizes, units=tuple(kept), sources=tuple(columns))


def cut_layer(layer: Layer, rows: Tensor, columns: Tensor) -> None:
    """Leave ``rows`` of a layer's units and ``columns`` of its weights, in place."""
    units = layer.synapse.weight.shape[0]
    for module in layer.modules():
        for name, parameter in [*module.named_parameters(recurse=False)]:
            part = cut_tensor(parameter.detach(), rows, columns, units, weights=module is layer.synapse)
            setattr(module, name, nn.Parameter(part, requires_grad=parameter.requires_grad))
        for name, buffer in [*module.named_buffers(recurse=False)]:
            setattr(module, name, cut_tensor(buffer, rows, columns, units, weights=module is layer.synapse))
    synapse = layer.synapse
    if isinstance(synapse, Conv2d):
        synapse.out_channels, synapse.in_channels = len(rows), len(columns)
    else:
        synapse.out_features, synapse.in_features = len(rows), len(columns)
    if layer.normalise is not None:
        vars(layer.normalise)["num_features"] = len(rows)


def cut_tensor(tensor: Tensor, rows: Tensor, columns: Tensor, units: int, *, weights: bool) -> Tensor:
    """Return the part of a tensor that belongs to ``rows``, and to ``columns`` where it holds weights."""
    if not tensor.ndim or tensor.shape[0] != units:
        return tensor.clone()
    part = tensor[rows]
    return part[:, columns] if weights and tensor.ndim > 1 else part
