"""Which layers of a network get lateral circuits, and which cannot have them."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from neurocl.plasticity.lateral_layers import LayerCircuits
from neurocl.plasticity.lateral_reports import naming
from neurocl.plasticity.lateral_rows import check_weight
from neurocl.plasticity.lateral_rules import LateralRule, check_rule
from neurocl.primitives.checks import BadInput, check_count, check_name

ByTask = int | Sequence[int]
Rows = ByTask | Mapping[str, ByTask] | str  # the only string is "explained-variance"
# layers of other libraries whose forward is their own, but multiplies by ``weight`` as torch's does
KNOWN = {"neurocl": {"Linear", "Conv2d"}, "spikingjelly": {"Linear", "Conv2d"}}


def choose_layers(network: nn.Module, wanted: Sequence[str] | None) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers to attach to by name, all of them fit for it.

    Raises:
        BadInput: If there is none, or one of them is not fit.
    """
    if not isinstance(network, nn.Module):
        raise BadInput(f"network must be a torch module; got {network!r}")
    if wanted is not None and (isinstance(wanted, str) or not isinstance(wanted, Sequence)):
        raise BadInput(f"layers must be a list of names, or None for all that learn; got {wanted!r}")
    if wanted is not None and not list(wanted):
        raise BadInput("layers must name one layer at least, or be None for all that learn; got none")
    present = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    if wanted is None:
        chosen = {
            name: module
            for name, module in present.items()
            if module.weight.requires_grad or "weight" not in module._parameters
        }
    else:
        chosen = {}
        for pattern in wanted:
            matching = [name for name in present if isinstance(pattern, str) and fnmatchcase(name, pattern)]
            for name in matching or [check_name("linear or convolutional layer", pattern, present)]:
                chosen[name] = present[name]
    if not chosen:
        raise BadInput(
            f"the network must have an nn.Linear or nn.Conv2d that learns; {type(network).__name__} has none"
        )
    for name, layer in chosen.items():
        check_layer(name, layer, network)
    return chosen


def check_layer(name: str, layer: nn.Linear | nn.Conv2d, network: nn.Module) -> None:
    """Refuse a layer on which circuits cannot work."""
    weight = layer.weight
    if isinstance(weight, nn.UninitializedParameter):
        raise BadInput(f"layer {name!r} must know its inputs; run the network once, so that lazy layers do")
    check_weight(name, layer)
    if not weight.requires_grad:
        raise BadInput(f"layer {name!r} must learn; its weight does not require a gradient: leave it out")
    if not multiplies_plainly(layer):
        raise BadInput(
            f"layer {name!r} is a {type(layer).__name__}, whose forward is not that of nn.Linear or nn.Conv2d: what it "
            "multiplies by its weight is not known; name the layers to attach to, without it"
        )
    users = [
        other
        for other, parameter in network.named_parameters(remove_duplicate=False)
        if parameter is weight or (weight.numel() and parameter.data_ptr() == weight.data_ptr())
    ]
    if len(users) > 1:
        raise BadInput(
            f"layer {name!r} must have its weight to itself; it is shared by {', '.join(users)}: leave it out"
        )
    if any(isinstance(hook, LayerCircuits) for hook in layer._forward_hooks.values()):
        raise BadInput(f"layer {name!r} has lateral circuits already: detach these first, or leave the layer out")


def multiplies_plainly(layer: nn.Linear | nn.Conv2d) -> bool:
    """Whether a call of the layer multiplies its input by its weight, as torch's own layers do."""
    kind = type(layer)
    if kind.__name__ == "NonDynamicallyQuantizableLinear":  # of nn.MultiheadAttention, which never calls it
        return False
    if kind.forward in (nn.Linear.forward, nn.Conv2d.forward):
        return True
    return kind.__name__ in KNOWN.get(kind.__module__.partition(".")[0], ())


def inputs_of(layer: nn.Linear | nn.Conv2d) -> int:
    """Return the number of presynaptic values of one neuron of the layer."""
    return layer.weight.shape[1:].numel()


def check_rows(rows: Rows, layers: Mapping[str, nn.Linear | nn.Conv2d]) -> None:
    """Refuse numbers of rows that cannot be, or names that are not there."""
    if isinstance(rows, str):
        check_name("way to choose rows", rows, ["explained-variance"])
        return
    if not isinstance(rows, int | Sequence | Mapping) or isinstance(rows, bool):
        raise BadInput(
            "rows must be a number, one for each task, a mapping from layers to these, or 'explained-variance'; "
            f"got {rows!r}"
        )
    if isinstance(rows, Mapping):
        for name in rows:
            check_name("layer", name, layers)
        missing = sorted(set(layers) - set(rows))
        if missing:
            raise BadInput(f"rows must name every layer with circuits; missing: {', '.join(missing)}")
    for name, layer in layers.items():
        own = rows[name] if isinstance(rows, Mapping) else rows
        if isinstance(own, str):
            raise BadInput(
                f"layer {name!r}: rows by layer must be numbers, or one for each task; got {own!r}: "
                "rows='explained-variance' chooses for all layers"
            )
        given = list(own) if isinstance(own, Sequence) else [own]
        if not given:
            raise BadInput(f"layer {name!r}: rows must hold one number at least; got none")
        for number in given:
            check_count(f"rows of layer {name!r}", number, at_least=0)
        if max(given) > inputs_of(layer):  # together they may, where rows that turn out not to be needed are dropped
            raise BadInput(f"layer {name!r}: rows must not exceed its {inputs_of(layer)} inputs; got {max(given)}")


def check_rules(
    rules: Mapping[str, LateralRule] | None, layers: Mapping[str, nn.Linear | nn.Conv2d]
) -> Mapping[str, LateralRule]:
    """Return rules by layer; refuse names that are not there, and what is no rule."""
    if rules is None:
        return {}
    if not isinstance(rules, Mapping):
        raise BadInput(f"rules must be a mapping from layers to rules; got {rules!r}")
    for name, rule in rules.items():
        check_name("layer", name, layers)
        with naming(name):
            check_rule(rule)
    return rules
