"""First layers of a network, taken over from the state of another one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from neurocl.networks import Network
from neurocl.primitives.checks import BadInput


def take_layers(network: Network, state: Mapping[str, Tensor], *, layers: int) -> None:
    r"""Copy the first ``layers`` layers out of the state of another network, :math:`W_l \leftarrow W_l'`.

    Everything that belongs to a layer is copied: weights, biases, and what normalisation and neurons keep. Later layers
    of the two networks may differ.

    Args:
        network: Whose first layers are replaced, in place.
        state: ``state_dict()`` of the other network, with layers of the same shapes.
        layers: How many, from the input.

    Raises:
        BadInput: If ``layers`` is not between 1 and the network's depth, or a layer has other parts or shapes; nothing
            is changed then.

    Source:
        Gurbuz et al. 2023, arXiv:2305.18563: early convolutions of another dataset, frozen. Differs: what an earlier
        run of the same model has learnt, task by task; theirs are trained on the whole dataset at once.
    """
    if not 1 <= layers <= len(network.layers):
        raise BadInput(f"layers to take must lie between 1 and {len(network.layers)}, the network's; got {layers}")
    own = {name: value for at in range(layers) for name, value in _of_layer(network.state_dict(), at).items()}
    other = {name: value for at in range(layers) for name, value in _of_layer(state, at).items()}
    for name in sorted({*own, *other}):
        shapes = [None if name not in each else list(each[name].shape) for each in (own, other)]
        if shapes[0] != shapes[1]:
            raise BadInput(
                f"the first {layers} layers must be of the same network: {name} is {shapes[0] or 'missing'} here and "
                f"{shapes[1] or 'missing'} there; use the same channels, hidden and coding, or fewer layers"
            )
    values = network.state_dict()
    with torch.no_grad():
        for name, value in other.items():
            values[name].copy_(value)


def _of_layer(state: Mapping[str, Tensor], at: int) -> dict[str, Tensor]:
    """Return the entries of one layer."""
    return {name: value for name, value in state.items() if name.startswith(f"layers.{at}.")}
