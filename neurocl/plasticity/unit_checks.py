"""Which networks cannot be frozen unit by unit: those in which something else than a synapse carries units to units.

What can be seen in the modules is refused here, without running the network; what shows only in a run, see
``unit_soundness``.
"""

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.modules import batchnorm, conv, instancenorm, rnn
from torch.nn.utils import parametrize

from neurocl.plasticity.unit_layers import Synapse, UnitLayer
from neurocl.primitives.checks import BadInput

MIXING = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
    nn.Softmax,
    nn.Softmax2d,
    nn.Softmin,
    nn.LogSoftmax,
    nn.AdaptiveLogSoftmaxWithLoss,
    nn.GLU,
    nn.ChannelShuffle,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.Bilinear,
    nn.MultiheadAttention,
    nn.Transformer,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    rnn.RNNBase,
    rnn.RNNCellBase,
)
MIXING_ELSEWHERE = ("LinearRecurrentContainer",)  # of SpikingJelly, by name: it is not needed to know it
OWN = "keep to what treats each unit alone (neurons, BatchNorm, pooling), or leave these layers out with layers=[...]"


def check_units(network: nn.Module, layers: Sequence[UnitLayer]) -> None:
    """Refuse networks whose units do not depend on one another through the chain's weights alone.

    Raises:
        BadInput: If a weight of the chain is computed from others; if a module mixes units, keeps a matrix of its own,
            or lets units inhibit one another; or if a module around the chain's layers has parameters itself.
    """
    chain = {one.module: one.name for layer in layers for one in layer.afferents}
    for module, name in chain.items():
        check_own_weight(name, module)
    behind = behind_last(network, layers) | set(fixed_ahead(network, layers[0].name))
    for name, module in network.named_modules():
        if module in chain or name in behind:
            continue
        around = [inner for one, inner in chain.items() if any(one is part for part in module.modules())]
        check_alone(name, module, holds_chain=bool(around))
        if around:
            own = [part for part, one in module.named_parameters(recurse=False) if one.requires_grad]
            if own and module is not network:
                own = [f"{name}.{part}" for part in own]
            if own and not recurrent_only(module, layers):
                raise BadInput(
                    f"parameter {own[0]!r} must belong to a module behind the layer whose units it serves; it lies on "
                    f"one that holds layer {around[0]!r}: give it a module of its own, or set requires_grad=False"
                )


def behind_last(network: nn.Module, layers: Sequence[UnitLayer]) -> set[str]:
    """Return names of modules registered from the first other synapse behind the chain on: heads, free to mix."""
    own = {one.name for layer in layers for one in layer.afferents}
    order = [name for name, _ in network.named_modules(remove_duplicate=False) if name]
    after = order[order.index(layers[-1].name) + 1 :]
    modules = dict(network.named_modules(remove_duplicate=False))
    first = next((at for at, name in enumerate(after) if isinstance(modules[name], Synapse) and name not in own), None)
    return set() if first is None else set(after[first:])


def fixed_ahead(network: nn.Module, first: str) -> Iterator[str]:
    """Yield names of modules registered ahead of the first layer that learn nothing: they may mix the inputs."""
    for name, module in network.named_modules():
        if name == first:
            return
        if not any(True for _ in belong_to_nobody([(name, part) for part in module.modules()])):
            yield name


def recurrent_only(module: nn.Module, layers: Sequence[UnitLayer]) -> bool:
    """Return whether a module holds nothing of the chain but weights of a layer onto itself, as recurrent neurons."""
    forward = {layer.afferents[0].module for layer in layers}
    return not any(part in forward for part in module.modules())


def check_own_weight(name: str, module: Synapse) -> None:
    """Refuse a weight that is computed from others: these would go on learning when its rows are held."""
    weight = module.weight
    if parametrize.is_parametrized(module) or module._parameters.get("weight") is not weight:
        raise BadInput(
            f"layer {name!r} must multiply by a weight of its own; its weight is computed from others (weight or "
            "spectral norm, pruning, another parametrisation), which cannot be held: remove the parametrisation"
        )


def check_alone(name: str, module: nn.Module, *, holds_chain: bool) -> None:
    """Refuse a module that carries units to units by itself."""
    kind = type(module).__name__
    other = isinstance(module, conv._ConvNd) and not isinstance(module, nn.Conv2d)
    if isinstance(module, MIXING) or kind in MIXING_ELSEWHERE or other:
        raise BadInput(f"module {name!r} must treat each unit alone; {kind} carries units to units: {OWN}")
    if getattr(module, "inhibition", False) is True:
        raise BadInput(f"module {name!r} must treat each unit alone; inhibition=True makes units silence others: {OWN}")
    if holds_chain or isinstance(module, Synapse):
        return
    for part, tensor in module.named_parameters(recurse=False):
        if sum(size > 1 for size in tensor.shape) > 1:
            raise BadInput(
                f"module {name!r} must have at most one number a unit; {kind} has a matrix {part!r} of "
                f"{list(tensor.shape)} that is no synapse: use nn.Linear or nn.Conv2d, or for recurrent neurons an "
                f"nn.Linear named 'recurrent', whose connections are masked with the others; or {OWN}"
            )


def belong_to_nobody(modules: Sequence[tuple[str, nn.Module]]) -> Iterator[tuple[str, str]]:
    """Yield modules that change what units hear though they belong to none of them, and why."""
    for name, module in modules:
        learns = [part for part, one in module.named_parameters(recurse=False) if one.requires_grad]
        if learns:
            yield name, f"learns {learns[0]!r}"
        elif isinstance(module, batchnorm._BatchNorm | instancenorm._InstanceNorm) and module.running_mean is not None:
            yield name, "keeps running statistics"


def check_front(modules: Sequence[tuple[str, nn.Module]], first: str) -> None:
    """Refuse what learns ahead of the first layer."""
    for name, why in belong_to_nobody(modules):
        raise BadInput(
            f"module {name!r} must not change: it lies ahead of the first layer {first!r}, so that it belongs to no "
            f"unit, and {why}: put it behind that layer, set requires_grad=False (normalisation: affine=False, "
            "track_running_stats=False), or let it prepare the inputs outside the network"
        )
