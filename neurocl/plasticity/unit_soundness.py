"""What shows only when a network runs: which layer a module belongs to, whether units hear others or move unseen.

All is found on copies; the network, its states and torch's random numbers stay as they are.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurocl.plasticity.held_units import HeldUnits
from neurocl.plasticity.unit_checks import check_front
from neurocl.plasticity.unit_layers import Synapse, UnitLayer, around_chain, own_tensors, watch_units
from neurocl.primitives.checks import BadInput
from neurocl.primitives.modes import evaluating
from neurocl.primitives.seeding import generator

ROUNDING = 1e-3  # of the largest activity: a product by events sums in another order than one by all units
FEW = 1e-3  # share of activities: rounding may move a spike, now and then
TINY = 1e-2  # of a gate: so far closed that what it lets through could be taken for rounding
BEHIND = -2  # place of modules that run behind a head: they belong to no layer of the chain


def copied(network: nn.Module) -> nn.Module:
    """Return a copy without what was recorded for gradients: states left by an earlier run would not let it through."""
    memo: dict[int, object] = {}

    def note(value: object, depth: int = 0) -> None:
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
        elif isinstance(value, Mapping) and depth < 4:
            for one in value.values():
                note(one, depth + 1)
        elif isinstance(value, list | tuple) and depth < 4:
            for one in value:
                note(one, depth + 1)

    for module in network.modules():
        note(vars(module))
    return copy.deepcopy(network, memo)


def by_execution(network: nn.Module, layers: Sequence[UnitLayer], inputs: Tensor) -> list[UnitLayer]:
    """Return the layers with what belongs to them by the order in which modules run, however they were registered.

    Modules that do not run on ``inputs`` stay where they were registered.

    Raises:
        BadInput: If layers run in another order, a module that learns runs ahead of the first layer, one with a row for
            each unit runs behind several layers, or a buffer may be a state or a statistic.
    """
    twin = copied(network)
    start = {name: buffer.clone() for name, buffer in buffers(twin).items()}
    holding = {name for name, _ in around_chain(network, {layer.afferents[0].module for layer in layers})}
    names = {module: name for name, module in twin.named_modules()}
    forward = {layer.name: place for place, layer in enumerate(layers)}
    weights = {one.name for layer in layers for one in layer.afferents}
    order: list[str] = []
    at: list[int | None] = [None]
    homes: dict[str, list[int | None]] = {}

    def before(module: nn.Module, _: tuple[object, ...]) -> None:
        name = names[module]
        if name in forward:
            at[0] = forward[name]
            order.extend([name] if name not in order else [])
        elif isinstance(module, Synapse) and name not in weights and at[0] in (len(layers) - 1, BEHIND):
            at[0] = BEHIND
        elif name not in weights and any(True for _ in own_tensors(module)):
            found = homes.setdefault(name, [])
            found.extend([at[0]] if at[0] not in found else [])

    for module in twin.modules():
        module.register_forward_pre_hook(before)
    with evaluating(twin), torch.no_grad(), torch.random.fork_rng():
        twin(inputs)
    expected = [name for name in forward if name in order]
    if order != expected:
        raise BadInput(
            f"layers must be given in the order in which they run, {', '.join(order)}; got {', '.join(expected)}: "
            "name them in that order with layers=[...]"
        )
    modules = dict(network.named_modules())
    check_front([(name, modules[name]) for name, found in homes.items() if None in found], layers[0].name)
    # what was registered ahead of the first layer and runs behind one belongs to that one
    around = {name for name, _ in layers[0].around if name in holding or name not in homes}
    around |= {name for name, found in homes.items() if None in found}
    taken = set(homes) | around
    belongings = [[pair for pair in layer.belongings if pair[0] not in taken] for layer in layers]
    for name, found in homes.items():
        places = [] if name in around else [place for place in found if place is not None and place != BEHIND]
        for place in places:
            belongings[place].append((name, modules[name]))
            rows = [t for _, t in own_tensors(modules[name]) if t.ndim and t.shape[0] == layers[place].units > 1]
            if len(places) > 1 and rows:
                raise BadInput(
                    f"module {name!r} must run behind one layer alone, as it has a row for each unit; it runs behind "
                    f"{' and '.join(layers[one].name for one in places)}: give each layer one of its own"
                )
    serving = tuple((name, modules[name]) for name in modules if name in around)
    states = states_of_runs(twin, start)
    found_out = [
        replace(layer, belongings=tuple(own), around=serving, states=states)
        for layer, own in zip(layers, belongings, strict=True)
    ]
    check_statistics(twin, start, found_out)
    return found_out


def buffers(network: nn.Module) -> dict[str, Tensor]:
    """Return buffers by the name of their module and their own; those of the network itself begin with a dot."""
    modules = network.named_modules(remove_duplicate=False)
    return {f"{name}.{part}": one for name, module in modules for part, one in module.named_buffers(recurse=False)}


def states_of_runs(network: nn.Module, start: Mapping[str, Tensor]) -> frozenset[str]:
    """Return buffers in which a run, in evaluation mode, left a state: of another shape, or moved and not saved."""
    saved, now = network.state_dict(), buffers(network)
    return frozenset(
        name
        for name, old in start.items()
        if name not in now
        or old.shape != now[name].shape
        or (name.removeprefix(".") not in saved and not torch.equal(old, now[name].to(old)))
    )


def check_statistics(network: nn.Module, start: Mapping[str, Tensor], layers: Sequence[UnitLayer]) -> None:
    """Refuse saved buffers of no unit that move in evaluation too: to hold a state would change what units answer."""
    now, names = buffers(network), {module: name for name, module in network.named_modules()}
    twins = dict(network.named_modules(remove_duplicate=False))
    for layer in layers:
        own = [*((one.name, one.module) for one in layer.afferents), *layer.belongings, *layer.around]
        known = {module: names[twins[name]] for name, module in own}
        for part, module, by_unit in layer.statistics():
            name = f"{known[module]}.{part}"
            if not by_unit and not bool(torch.isclose(start[name], now[name], rtol=0, atol=0, equal_nan=True).all()):
                raise BadInput(
                    f"buffer {name.removeprefix('.')!r} must keep its value in evaluation mode, or be a state of the "
                    "run; it moves, and whether to hold it cannot be told: register a state with persistent=False, and "
                    "move a statistic only while self.training"
                )


def check_sound(network: nn.Module, layers: Sequence[UnitLayer], inputs: Tensor, *, fixed: int = 0) -> None:
    """Refuse a network in which units answer otherwise when others change that they have no connection from.

    On a copy what is 0 is moved, so that gates that start closed are open, and a random half of each layer's units
    loses its connections to the other half; then everything that belongs to it is changed. What the other half answers
    must stay.

    Raises:
        BadInput: If it does not; the message names the first layer.
    """
    draws = generator(0, "soundness")
    twin = copied(network)
    own = in_copy(layers, twin)
    changing = [
        torch.randperm(layer.units, generator=draws) < (0 if at < fixed else layer.units // 2)
        for at, layer in enumerate(own)
    ]
    with torch.no_grad():
        for place, layer in enumerate(own):
            unclose(layer, draws)
            for one in layer.afferents:
                if one.source >= 0:
                    cut = ~changing[place][:, None] & one.of_sources(changing[one.source])
                    one.module.weight.mul_(one.spread(~cut).to(one.module.weight))
        other = copied(twin)
        others = dict(other.named_modules(remove_duplicate=False))
        for place, layer in enumerate(own):
            change(layer, changing[place], others, draws)
    first = seen(twin, own, inputs)
    second = seen(other, in_copy(own, other), inputs)
    for place, layer in enumerate(layers):
        kept = ~changing[place]
        pairs = [(a[..., kept], b[..., kept]) for a, b in zip(first[place], second[place], strict=True)]
        if not all(bool(torch.isfinite(b).all()) for b in second[place]):
            continue  # what was changed at random has diverged: nothing can be told
        apart = sum(int(((a - b).abs() > ROUNDING * float(a.abs().max())).sum()) for a, b in pairs if a.numel())
        if apart > FEW * sum(a.numel() for a, _ in pairs):
            raise BadInput(
                f"units of layer {layer.name!r} must hear others through the chain's weights alone; what they pass on "
                "changes with units that they have no connection from: look for a sum with an earlier layer (a "
                "residual path), a norm or a competition across units, and take it out, or name only the layers before "
                "it with layers=[...]"
            )


def check_still(network: nn.Module, layers: Sequence[UnitLayer], inputs: Tensor) -> None:
    """Refuse a network in which a pass in training mode moves what units answer though all of them are held.

    Networks whose runs are not alike even in evaluation, as states go on into the next one, are let through, and those
    that cannot be trained on the inputs alone.

    Raises:
        BadInput: If it does; the message names the first layer.
    """
    twin = copied(network)
    own = in_copy(layers, twin)
    held = HeldUnits(own)
    held.hold(
        [torch.ones(layer.units, dtype=torch.bool) for layer in own],
        {one.name: torch.ones(one.connections, dtype=torch.bool) for layer in own for one in layer.afferents},
    )
    other = copied(network)
    runs = [seen(other, in_copy(layers, other), inputs) for _ in range(3)]
    if not all(alike(a, b) for again in runs[1:] for a, b in zip(runs[0], again, strict=True)):
        return
    before = seen(twin, own, inputs)
    twin.train()
    with torch.enable_grad(), torch.random.fork_rng():
        try:
            twin(inputs)
        except Exception:  # too few samples to normalise, targets that are missing, whatever else it asks for
            return
    for layer, a, b in zip(layers, before, seen(twin, own, inputs), strict=True):
        if not alike(a, b):
            raise BadInput(
                f"units of layer {layer.name!r} must answer in evaluation as they did once they are frozen; a pass in "
                "training mode moves them though all parameters and buffers are held: look for a tensor that is no "
                "buffer, or one of whole numbers, and register it with register_buffer, in floating point"
            )


def alike(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Return whether all are equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def in_copy(layers: Sequence[UnitLayer], network: nn.Module) -> list[UnitLayer]:
    """Return the same layers in a copy of the network."""
    modules = dict(network.named_modules(remove_duplicate=False))
    return [
        replace(
            layer,
            afferents=tuple(replace(one, module=synapse(one.name, modules)) for one in layer.afferents),
            belongings=tuple((name, modules[name]) for name, _ in layer.belongings),
            around=tuple((name, modules[name]) for name, _ in layer.around),
        )
        for layer in layers
    ]


def synapse(name: str, modules: Mapping[str, nn.Module]) -> Synapse:
    """Return a linear layer or convolution of a copy."""
    module = modules[name]
    if not isinstance(module, Synapse):
        raise BadInput(f"layer {name!r} must be copied as it is; its copy is a {type(module).__name__}")
    return module


def unclose(layer: UnitLayer, draws: torch.Generator) -> None:
    """Move whatever is 0, or tiny as a whole: a gate that starts there hides what it will let through later."""
    for one in layer.afferents:
        if not one.module.weight.any():
            drawn = torch.randn(one.module.weight.shape, generator=draws) / max(1, one.connections[1]) ** 0.5
            one.module.weight.copy_(drawn)
    parameters = [tensor for _, tensor in [*layer.rows(), *layer.shared()] if isinstance(tensor, nn.Parameter)]
    kept = [module.get_buffer(part) for part, module, _ in layer.statistics()]
    for tensor in [*parameters, *kept]:
        if tensor.is_floating_point():
            tiny = bool(tensor.numel()) and float(tensor.abs().max()) < TINY
            tensor.add_(0.5 if tiny else 0.5 * (tensor == 0))


def change(layer: UnitLayer, units: Tensor, modules: Mapping[str, nn.Module], draws: torch.Generator) -> None:
    """Give ``units`` of a layer other weights, and shrink whatever else is theirs: it stays positive, and a factor."""
    for one in layer.afferents:
        weight = synapse(one.name, modules).weight
        spread = float(weight.std(correction=0)) or 1.0
        weight[units] = (spread * (torch.randn(weight.shape, generator=draws) + 0.5)).to(weight)[units]
    for name, tensor in layer.rows():
        module, _, part = name.rpartition(".")
        found: Tensor = getattr(modules[module], part)
        if tensor.is_floating_point():
            shrunk = found * (0.8 + 0.2 * torch.rand(found.shape, generator=draws).to(found)) + 0.1 * (found == 0)
            found[units] = shrunk.to(found)[units]


def seen(network: nn.Module, layers: Sequence[UnitLayer], inputs: Tensor) -> list[list[Tensor]]:
    """Return all that leaves each layer, with the same random numbers every time."""
    kept: list[list[Tensor]] = [[] for _ in layers]
    with evaluating(network), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        watch_units(network, layers, inputs, lambda place, rows: kept[place].append(rows.float().cpu().clone()))
    return kept
