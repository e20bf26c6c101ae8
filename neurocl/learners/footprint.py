"""What a learner takes up and what a prediction costs: bytes of tensors, operations of a network."""

from collections.abc import Mapping
from typing import Any, TypedDict

from torch import Tensor, nn

from neurocl.networks import FeatureMap, Network, count_operations


class Measured(TypedDict, total=False):
    """The part of :class:`neurocl.learners.learner.Cost` that needs a probe."""

    synaptic_operations_per_sample: float
    multiply_accumulates_per_sample: float
    mean_firing_rate: float


def tensor_bytes(tree: object) -> int:
    """Return the bytes of all tensors in nested dicts, lists and tuples."""
    if isinstance(tree, Tensor):
        return tree.numel() * tree.element_size()
    if isinstance(tree, Mapping):
        return sum(tensor_bytes(item) for item in tree.values())
    if isinstance(tree, list | tuple):
        return sum(tensor_bytes(item) for item in tree)
    return 0


def copied(tree: Any) -> Any:
    """Return nested dicts, lists and tuples with a copy of every tensor, so that later learning does not change it."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, Mapping):
        return {key: copied(item) for key, item in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(copied(item) for item in tree)
    return tree


def measured(
    network: object,
    probe: Tensor | None,
    *,
    readout_products: int = 0,
    present: Mapping[nn.Module, Tensor] | None = None,
) -> Measured:
    """Return operations and firing rate of one prediction per sample of ``probe``.

    Args:
        network: One of our networks or feature maps; of others nothing is measured.
        probe: Inputs of some samples; without it nothing is measured.
        readout_products: Products of a readout that is not part of the network.
        present: Masks of the connections there are, by synapse; without one all are.
    """
    if probe is None or not isinstance(network, Network | FeatureMap):
        return {}
    counted = (
        count_operations(network, probe, present=present) if isinstance(network, Network) else network.operations(probe)
    )
    return {
        "synaptic_operations_per_sample": counted.synaptic_operations,
        "multiply_accumulates_per_sample": counted.multiply_accumulates + readout_products,
        "mean_firing_rate": counted.mean_firing_rate,
    }
