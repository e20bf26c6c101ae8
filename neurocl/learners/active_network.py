"""The part of a network that a phase trains: idle units take no part, and so no time."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, optim

from neurocl.networks import Network
from neurocl.networks.compact import Compact, can_be_compact, compact
from neurocl.plasticity import HeldUnits, StructuralPlasticity, unit_layers
from neurocl.plasticity.fisher import dense_products
from neurocl.primitives.checks import check_name

SkipIdle = Literal["training", "always", "never"]
WORTHWHILE = 0.04  # share of weights to leave out below which the smaller network's step is no faster


class ActiveNetwork:
    """Trains a network without its idle units, on which no other unit depends, and writes back what was learnt.

    Args:
        network: The whole network, without a head.
        plasticity: Its ranks and masks.
        skip_idle: ``"training"``: only training goes without idle units, so that answers of frozen units stay as they
            are to the last bit; ``"always"``: answers too, whose last bits may change with the number of units;
            ``"never"``. Networks that are no chain of plain layers are trained whole, as are those with hardly an idle
            unit.
    """

    def __init__(self, network: Network, plasticity: StructuralPlasticity, *, skip_idle: str = "training") -> None:
        self.whole, self.plasticity = network, plasticity
        self.skip_idle = check_name("skip_idle", skip_idle, get_args(SkipIdle))
        self._compact: Compact | None = None

    @property
    def network(self) -> Network:
        """Return the network that learns at present."""
        return self.whole if self._compact is None else self._compact.network

    def renew(self) -> None:
        """Take the units that are active now; call :meth:`settle` before they change."""
        self._compact = None
        active = [self.plasticity.active(place) for place in range(len(self.plasticity.layers))]
        if self.skip_idle == "never" or not can_be_compact(self.whole, active):
            return
        if self.skip_idle == "always" or self._left_out(active) >= WORTHWHILE:
            self._compact = None if all(bool(units.all()) for units in active) else compact(self.whole, active)

    def _left_out(self, active: list[Tensor]) -> float:
        """Return the share of weights that belong to idle units, or lead away from them."""
        sizes = [layer.afferents[0].module.weight.numel() for layer in self.plasticity.layers]
        kept = [float(units.float().mean()) for units in active]
        feeding = [1.0, *kept]
        return 1 - sum(n * a * b for n, a, b in zip(sizes, kept, feeding, strict=False)) / sum(sizes)

    def settle(self) -> None:
        """Write back what was learnt; the whole network is then up to date."""
        if self._compact is not None:
            self._compact.write_back(self.whole)

    def rest(self) -> None:
        """Write back, and go on whole until units are taken anew, but for ``skip_idle="always"``."""
        self.settle()
        if self.skip_idle != "always":
            self._compact = None

    def guard(self, optimiser: optim.Optimizer) -> optim.Optimizer:
        """Make steps of ``optimiser`` leave frozen units and absent connections alone; see ``StructuralPlasticity``."""
        small = self._compact
        if small is None:
            return self.plasticity.guard(optimiser)
        held = HeldUnits(unit_layers(small.network))
        frozen, masks = [], {}
        for place, (rows, columns) in enumerate(zip(small.units, small.sources, strict=True)):
            name = self.plasticity.layers[place].afferents[0].name
            masks[name] = self.plasticity.masks[name][rows.cpu()[:, None], columns.cpu()]
            frozen.append(self.plasticity.frozen(place)[rows.cpu()])
        held.hold(frozen, masks)
        return held.guard(optimiser)

    def active(self, features: Float[Tensor, "batch unit"]) -> Float[Tensor, "batch unit"]:
        """Return what :attr:`network` gave, idle units 0 where it has any; nothing is learnt through them."""
        return features if self._compact is not None else features * self.plasticity.active().to(features)

    def at_cut(self, activity: Tensor, layer: int) -> Tensor:
        """Return activity of a layer, ``[T, B, unit, ...]``, as :attr:`network` takes it: without units it has not."""
        return activity if self._compact is None else activity[:, :, self._compact.units[layer].to(activity.device)]

    def hidden_features(self, inputs: Tensor, *, last: int, read: str = "spikes") -> Float[Tensor, "batch feature"]:
        """Return the whole network's hidden features; those of idle units are 0 with ``skip_idle="always"``.

        By dense products: whether events pay depends on the spikes of all units together, and with them the rounding.
        """
        if self._compact is not None and self.skip_idle == "always":
            return self._compact.hidden_features(inputs, last=last, read=read)
        self.settle()
        with torch.no_grad(), dense_products(self.whole):
            return self.whole.hidden_features(inputs, last=last, read=read)
