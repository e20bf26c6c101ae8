"""Units of a network: the neurons or channels of each layer, what feeds them, and what belongs to each of them.

Layers are taken in order, as a chain: the units of one layer are the sources of the next. A convolution has one unit a
channel; a linear layer behind a convolution has a block of columns for each channel. Weights of a layer onto itself
(modules named ``lateral`` or ``recurrent``) count as its own second afferents.
"""

import math
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.modes import evaluating

INPUTS = -1  # source of the first layer
ONTO_ITSELF = ("lateral", "recurrent")
Synapse = nn.Linear | nn.Conv2d


@dataclass(frozen=True, kw_only=True)
class Afferents:
    """Weights ``[post, pre, ...]`` into the units of a layer.

    Attributes:
        name: Name of the module in the network.
        module: The module.
        source: Place of the layer whose units send; :data:`INPUTS` for the network's input.
        block: Columns that each source unit sends through; more than 1 behind convolutions and for images.
    """

    name: str
    module: Synapse
    source: int
    block: int

    @property
    def connections(self) -> tuple[int, int]:
        """Return rows and columns of a mask: one entry a weight, or a kernel for convolutions."""
        return self.module.weight.shape[0], self.module.weight.shape[1]

    @property
    def weights_each(self) -> int:
        """Return the weights of one entry: 1, or the size of a kernel."""
        return math.prod(self.module.weight.shape[2:])

    def of_sources(self, units: Tensor) -> Tensor:
        """Return ``[pre]``: for every column what ``units`` says of the unit that it comes from."""
        return units.repeat_interleave(self.block)

    def spread(self, mask: Tensor) -> Tensor:
        """Return a mask ``[post, pre]`` with trailing axes that let it multiply the weights."""
        return mask.view(*mask.shape, *[1] * (self.module.weight.ndim - 2))


@dataclass(frozen=True, kw_only=True)
class UnitLayer:
    """The units of one layer.

    Attributes:
        name: Name of the layer's first synapse.
        units: Their number.
        afferents: Weights into them, the feed-forward ones first.
        belongings: Modules between this synapse and the next, by name: neurons, normalisation.
        around: Modules that hold layers of the chain or lie ahead of it, the same for all layers: they serve all units.
        states: Names of buffers that one run hands to the next step, such as membranes: nothing is held of them.
    """

    name: str
    units: int
    afferents: tuple[Afferents, ...]
    belongings: tuple[tuple[str, nn.Module], ...] = field(default=())
    around: tuple[tuple[str, nn.Module], ...] = field(default=())
    states: frozenset[str] = frozenset()

    def rows(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor but weights that has a row for each unit: biases, thresholds, gains, statistics."""
        for name, module in self._own():
            for part, tensor in own_tensors(module):
                weights = part == "weight" and isinstance(module, Synapse)
                if not weights and self._by_unit(tensor) and f"{name}.{part}" not in self.states:
                    yield f"{name}.{part}", tensor

    def shared(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield parameters that all units share, such as a threshold of the whole layer."""
        for name, module in self.belongings:
            for part, tensor in own_tensors(module):
                if isinstance(tensor, nn.Parameter) and not self._by_unit(tensor):
                    yield f"{name}.{part}", tensor

    def statistics(self) -> Iterator[tuple[str, nn.Module, bool]]:
        """Yield the buffers that what units answer may depend on: name, module, and whether it has a row for each unit.

        Others in floating point count for all units together: statistics of features behind a flattened convolution, of
        steps of time, of the whole layer; and those of modules around the chain. A counter is none of them.
        """
        for own, modules in ((True, self._own()), (False, self.around)):
            for name, module in modules:
                for part, buffer in module.named_buffers(recurse=False):
                    by_unit = own and self._by_unit(buffer)
                    counts = by_unit or buffer.is_floating_point() or buffer.is_complex()
                    if counts and f"{name}.{part}" not in self.states:
                        yield part, module, by_unit

    def _own(self) -> list[tuple[str, nn.Module]]:
        return [*((one.name, one.module) for one in self.afferents), *self.belongings]

    def _by_unit(self, tensor: Tensor) -> bool:
        return tensor.ndim > 0 and tensor.shape[0] == self.units


def own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers of the module itself."""
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def not_saved(network: nn.Module) -> frozenset[str]:
    """Return names of buffers that are not saved with the network: without a run, these are taken for states."""
    return frozenset(
        f"{name}.{part}"
        for name, module in network.named_modules(remove_duplicate=False)
        for part in module._non_persistent_buffers_set
    )


def around_chain(network: nn.Module, chain: Collection[nn.Module]) -> list[tuple[str, nn.Module]]:
    """Return modules that hold layers of the chain, the network itself among them."""
    every = network.named_modules()
    return [pair for pair in every if pair[1] not in chain and any(part in chain for part in pair[1].modules())]


def unit_layers(network: nn.Module, names: Sequence[str] | None = None) -> list[UnitLayer]:
    """Return the chain of layers with weights, in order.

    Args:
        network: Any module whose ``nn.Linear`` and ``nn.Conv2d`` follow one another in the order they were registered.
        names: Those of them that make the chain, in order; ``None`` means all that hold weights.

    Raises:
        BadInput: If a name is unknown or comes twice, a layer is none of the two, has groups, shares its weights with
            another, or does not fit behind the one before it; or if one between two of the chain is left out.
    """
    every = {name: module for name, module in network.named_modules(remove_duplicate=False) if name}
    found = {name: module for name, module in every.items() if isinstance(module, Synapse) and module.weight.numel()}
    for name in names or ():
        check_name("layer", name, every)
        if name not in found:
            raise BadInput(f"layer {name!r} must be an nn.Linear or nn.Conv2d; got {type(every[name]).__name__}")
    if twice := [name for place, name in enumerate(names or ()) if name in (names or ())[:place]]:
        raise BadInput(f"layers must name each layer once; got {twice[0]!r} twice: leave one of them out")
    forward = [name for name in (names or found) if name.rpartition(".")[2] not in ONTO_ITSELF]
    if not forward:
        raise BadInput("network must hold an nn.Linear or nn.Conv2d whose units can be told apart; found none")
    check_shared({name: found[name] for name in found})
    layers: list[UnitLayer] = []
    order = list(every)
    holding = around_chain(network, {found[name] for name in forward})
    ahead = [(name, every[name]) for name in order[: order.index(forward[0])] if not isinstance(every[name], Synapse)]
    around = list({module: (name, module) for name, module in [*holding, *ahead]}.values())
    states = not_saved(network)
    for place, name in enumerate(forward):
        start = order.index(name) + 1
        end = order.index(forward[place + 1]) if place + 1 < len(forward) else len(order)
        between = [(other, every[other]) for other in order[start : max(start, end)]]
        if place + 1 < len(forward):
            check_complete([other for other, _ in between if other in found], name, forward[place + 1])
        else:
            between = between[: behind_chain([other for other, _ in between], found)]
        own = [other for other, _ in between if other in found and other.rpartition(".")[2] in ONTO_ITSELF]
        afferents = [feed_forward(name, found[name], layers)]
        afferents += [onto_itself(other, found[other], place, found[name].weight.shape[0]) for other in own]
        inner = {module for _, module in around}
        belongings = [(o, module) for o, module in between if not isinstance(module, Synapse) and module not in inner]
        layers.append(
            UnitLayer(
                name=name,
                units=found[name].weight.shape[0],
                afferents=tuple(afferents),
                belongings=tuple(belongings),
                around=tuple(around),
                states=states,
            )
        )
    return layers


def behind_chain(names: Sequence[str], found: Container[str]) -> int:
    """Return the place of the first weights that are no part of the chain: a head, and what follows belongs to it."""
    heads = (at for at, name in enumerate(names) if name in found and name.rpartition(".")[2] not in ONTO_ITSELF)
    return next(heads, len(names))


def check_complete(between: Sequence[str], name: str, behind: str) -> None:
    """Refuse a chain that leaves out a layer between two of its own: it would go on learning under frozen units."""
    if left := [other for other in between if other.rpartition(".")[2] not in ONTO_ITSELF]:
        raise BadInput(
            f"layers must name every layer of the chain; {left[0]!r} lies between {name!r} and {behind!r}: name it too"
        )


def feed_forward(name: str, module: Synapse, before: Sequence[UnitLayer]) -> Afferents:
    """Return the weights from the layer before, if they fit behind it."""
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        raise BadInput(
            f"layer {name!r} must have groups=1, so that every unit may see every source; got {module.groups}"
        )
    columns = module.weight.shape[1]
    if not before:
        return Afferents(name=name, module=module, source=INPUTS, block=1)
    units = before[-1].units
    if columns % units:
        raise BadInput(
            f"layer {name!r} must take a multiple of the {units} units of {before[-1].name!r} before it; its weights "
            f"have {columns} columns: name the layers of one chain in order with layers=[...]"
        )
    return Afferents(name=name, module=module, source=len(before) - 1, block=columns // units)


def onto_itself(name: str, module: Synapse, place: int, units: int) -> Afferents:
    """Return the weights of a layer onto itself."""
    if not isinstance(module, nn.Linear) or module.weight.shape != (units, units):
        raise BadInput(
            f"layer {name!r} must have weights [{units}, {units}] from its units to themselves; "
            f"got {list(module.weight.shape)}"
        )
    return Afferents(name=name, module=module, source=place, block=1)


def check_shared(found: dict[str, Synapse]) -> None:
    """Refuse weights that two layers share: their units could not be frozen apart."""
    owners: dict[int, str] = {}
    for name, module in found.items():
        owner = owners.setdefault(module.weight.data_ptr(), name)
        if owner != name:
            raise BadInput(f"layer {name!r} must have weights of its own; it shares them with {owner!r}")


def total_activity(network: nn.Module, layers: Sequence[UnitLayer], inputs: Tensor) -> list[Tensor]:
    """Return the activity of each unit on ``inputs``, ``[units]`` for every layer, over samples, time and places.

    Activity is what enters the next layer, whether that is one of ``layers`` or a head behind them, and for the last
    layer of a network what the network returns; in evaluation mode.
    """
    totals = [torch.zeros(layer.units, dtype=torch.float64) for layer in layers]

    def add(place: int, rows: Tensor) -> None:
        totals[place] += rows.abs().flatten(0, -2).sum(0, dtype=torch.float64).cpu()

    with evaluating(network), torch.no_grad():
        watch_units(network, layers, inputs, add)
    return totals


def watch_units(
    network: nn.Module, layers: Sequence[UnitLayer], inputs: Tensor, see: Callable[[int, Tensor], None]
) -> None:
    """Run a network and show ``see`` what leaves every layer, as place of the layer and ``[..., unit]``.

    Raises:
        BadInput: If what leaves the last layer has not its units.
    """
    places: dict[nn.Module, int] = {layer.afferents[0].module: place for place, layer in enumerate(layers)}
    onto_itself = {one.module for layer in layers for one in layer.afferents[1:]}
    latest: list[int | None] = [None]  # place of the layer that ran last; none after a head
    headed: list[bool] = []

    def show(place: int, values: Tensor, trailing: int) -> None:
        units, axis = layers[place].units, values.ndim - 1 - trailing
        if axis < 0 or values.shape[axis] % units:
            raise BadInput(
                f"layers must end where their units can be seen; what leaves {layers[place].name!r} has shape "
                f"{list(values.shape)} in place of {units} units: name the layers up to the network's output or a head"
            )
        see(place, values.detach().unflatten(axis, (units, values.shape[axis] // units)).movedim(axis, -1))

    def before(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        place, trailing = places.get(module), 2 if isinstance(module, nn.Conv2d) else 0
        if place is None and latest[0] == len(layers) - 1:
            headed.append(True)
            show(len(layers) - 1, given[0], trailing)
        elif place:
            show(place - 1, given[0], trailing)
        latest[0] = place

    watched = [module for module in network.modules() if isinstance(module, Synapse) and module not in onto_itself]
    hooks = [module.register_forward_pre_hook(before) for module in watched]
    try:
        output = network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not headed:
        output = output[0] if isinstance(output, tuple) else output
        maps = isinstance(layers[-1].afferents[0].module, nn.Conv2d) and output.ndim >= 4  # and not flattened since
        show(len(layers) - 1, output, 2 if maps else 0)
