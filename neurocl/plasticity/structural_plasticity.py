"""Sparse connections that are rewired, and units that are ranked, recruited and frozen: what SHARP and NISPA rest on.

Every unit (neuron or channel) has a rank: 0 idle, 1 training, higher for each task since. Rewiring keeps one invariant,
which makes freezing sound: **a unit that is not idle depends on units that are not idle alone**. What a frozen unit
answers can then change only through its own weights, and those are held bit for bit.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn, optim

from neurocl.plasticity.held_units import HeldUnits
from neurocl.plasticity.unit_layers import INPUTS, Afferents, total_activity, unit_layers
from neurocl.plasticity.unit_selection import most_active
from neurocl.primitives.checks import BadInput, check_count, check_number
from neurocl.primitives.seeding import generator

FIXED = 100  # rank of units that were frozen before the first task


@dataclass(frozen=True, kw_only=True)
class Rewired:
    """What one rewiring did to one layer.

    Attributes:
        layer: Its name.
        dropped: Connections taken away (kernels, for convolutions).
        grown: Connections added, with weight 0.
        short: Connections that could not be added for want of an idle unit with room.
    """

    layer: str
    dropped: int
    grown: int
    short: int


class CapacityExhausted(UserWarning):
    """A layer has no idle units left, so that its density falls and later tasks share what is there."""


class StructuralPlasticity:
    r"""Masks over connections and ranks of units of any network, with selection, rewiring, promotion and freezing.

    The weights of absent connections are 0 and stay so; nothing is wrapped or replaced. Use it in your own loop::

        plasticity = StructuralPlasticity(network, density=0.4)
        for task in tasks:
            for phase in range(1, 11):
                plasticity.select(plasticity.activity(first_samples), annealed_share(phase, least=0.9))
                plasticity.rewire()
                optimiser = plasticity.guard(torch.optim.Adam(network.parameters()))
                ...  # an epoch or more
            plasticity.promote()
            plasticity.reinitialise()

    Args:
        network: Any module whose linear layers and convolutions make a chain.
        density: Share of connections that are present, in (0, 1]; smaller leaves more room to rewire. Each connection
            of a layer (each kernel of a convolution) is present with this probability at the start.
        layers: Names of the chain's layers, in order; ``None`` means all.
        dense: Names of layers that start with all connections; ``None`` means the first convolution, as published.
        fixed_layers: Number of layers, from the input, that are as good as input: all connections, frozen for good.
        keep_variance: Whether weights that are present are scaled by :math:`1 / \sqrt{density}`, so that neurons get
            currents as large as without a mask; spiking ones would fall silent.
        frozen_from: Rank from which on a unit is frozen, for each layer or for all; 2 means at the end of its task.
            SHARP has 2 below the cut and ``horizon + 2`` above.
        seed: Source of masks, growth and new weights.

    Raises:
        BadInput: On layers that make no chain, or a density or rank out of range.

    Source:
        Gurbuz & Dovrolis 2022, NISPA, ICML; Gurbuz, Moorman & Dovrolis 2023, SHARP, arXiv:2305.18563. Differs: silent
        layers keep their ranks; frozen covers everything that belongs to a unit, and holds whatever the optimiser
        does; weights of idle units are redrawn with the standard deviation they had at the start.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        density: float = 0.4,
        layers: Sequence[str] | None = None,
        dense: Sequence[str] | None = None,
        fixed_layers: int = 0,
        keep_variance: bool = False,
        frozen_from: int | Sequence[int] = 2,
        seed: int = 0,
    ) -> None:
        self.network = network
        self.layers = unit_layers(network, layers)
        self.density = check_number("density", density, above=0, at_most=1)
        self.seed = check_count("seed", seed, at_least=0)
        self.frozen_from = checked_ranks(frozen_from, len(self.layers))
        fixed = check_count("fixed_layers", fixed_layers, at_least=0)
        self.ranks = [
            torch.full((layer.units,), FIXED if at < fixed else 0, dtype=torch.int16)
            for at, layer in enumerate(self.layers)
        ]
        self.masks: dict[str, Tensor] = {}
        self._draws = 0
        self._told: set[str] = set()
        self._spread: dict[str, float] = {}
        names = {name for name, _ in self.afferents()}
        first = self.layers[0].afferents[0]
        whole = [first.name] if dense is None and isinstance(first.module, nn.Conv2d) else [*(dense or ())]
        whole += [one.name for layer in self.layers[:fixed] for one in layer.afferents]
        if unknown := sorted(set(whole) - names):
            raise BadInput(f"dense must name layers among {', '.join(sorted(names))}; got {', '.join(unknown)}")
        for name, one in self.afferents():
            gain = self.density**-0.5 if keep_variance and name not in whole else 1.0
            self._spread[name] = gain * float(one.module.weight.detach().double().std(correction=0))
            drawn = torch.rand(one.connections, generator=generator(self.seed, "connections", name))
            self.masks[name] = (drawn < self.density) | (name in whole)
            with torch.no_grad():
                one.module.weight.mul_(one.spread(self.masks[name]).to(one.module.weight) * gain)
        self.held = HeldUnits(self.layers)
        self._hold()

    # --- what is known

    def afferents(self) -> Iterator[tuple[str, Afferents]]:
        """Yield all weights of the chain, by name."""
        for layer in self.layers:
            for one in layer.afferents:
                yield one.name, one

    def active(self, layer: int = -1) -> Bool[Tensor, " unit"]:
        """Return which units of a layer are not idle."""
        return self.ranks[layer] > 0

    def frozen(self, layer: int = -1) -> Bool[Tensor, " unit"]:
        """Return which units of a layer are frozen."""
        return self.ranks[layer] >= self.frozen_from[layer]

    def present(self) -> dict[str, float]:
        """Return the share of present connections by layer."""
        return {name: float(mask.float().mean()) for name, mask in self.masks.items()}

    def connections(self) -> dict[nn.Module, Bool[Tensor, "post pre"]]:
        """Return the masks by module."""
        return {one.module: self.masks[name] for name, one in self.afferents()}

    def live_weights(self) -> int:
        """Return the number of weights of present connections."""
        return sum(int(self.masks[name].sum()) * one.weights_each for name, one in self.afferents())

    def activity(self, inputs: Tensor) -> list[Tensor]:
        """Return each unit's activity on ``inputs`` as it enters the next layer; see :func:`total_activity`."""
        return total_activity(self.network, self.layers, inputs)

    # --- what changes

    def select(self, activity: Sequence[Tensor | None], share: float) -> list[str]:
        """Let the units that carry ``share`` of a layer's activity train, and the others of rank 0 and 1 be idle.

        The totals include all units; ranks of 2 and more stay. A silent layer keeps its ranks; if all its units are
        idle, all of them train, or nothing could ever wake them.

        Args:
            activity: ``[units]`` for each layer; ``None`` leaves a layer as it is.
            share: In (0, 1]; see :func:`annealed_share`.

        Returns:
            Names of layers that were silent.

        Raises:
            BadInput: If there is not one tensor of the right size for each layer; nothing has changed then.
        """
        sizes = [layer.units for layer in self.layers]
        given = [layer if one is None else len(one) for layer, one in zip(sizes, activity, strict=False)]
        if len(activity) != len(sizes) or given != sizes:
            raise BadInput(f"activity must be one tensor for each layer, of {sizes} units; got {given}")
        chosen = [None if one is None else most_active(one.cpu(), share) for one in activity]
        silent = []
        for place, (layer, units) in enumerate(zip(self.layers, chosen, strict=True)):
            ranks = self.ranks[place]
            if units is not None:
                self.ranks[place] = torch.where(ranks < 2, units.to(ranks.dtype), ranks)
            elif activity[place] is not None:
                silent.append(layer.name)
                if not bool(ranks.any()):
                    self.ranks[place] = torch.ones_like(ranks)
        self._hold()
        return silent

    def recruit(self, units: Sequence[int], *, layer: int = -1) -> None:
        """Let idle ``units`` of a layer train, whatever their activity: rows of a head for the classes that come."""
        for unit in units:
            self.ranks[layer][unit] = max(1, int(self.ranks[layer][unit]))
        self._hold()

    def rewire(self) -> list[Rewired]:
        """Take connections from idle units to others away, and grow as many, with weight 0, into idle units.

        Where idle units have no room for all, all of it is filled and the density falls, with a
        :class:`CapacityExhausted` warning the first time this happens to a layer.
        """
        done = []
        for place, layer in enumerate(self.layers):
            for one in layer.afferents:
                done.append(self._rewire(one, self.ranks[place] == 0))
        self._hold()
        short = [result for result in done if result.short and result.layer not in self._told]
        if short:
            self._told |= {one.layer for one in short}
            warnings.warn(
                f"no room left to grow connections into idle units of {', '.join(one.layer for one in short)} "
                f"({', '.join(str(one.short) for one in short)} connections short): later tasks share the units there "
                "are; use more units in these layers, a smaller least share of activity, or a lower density",
                CapacityExhausted,
                stacklevel=2,
            )
        return done

    def promote(self) -> None:
        """End a task: every unit that is not idle rises by one rank, and those that reach theirs freeze."""
        self.ranks = [torch.where(ranks > 0, ranks + 1, ranks) for ranks in self.ranks]
        self._hold()

    def reinitialise(self, *, all_plastic: bool = False) -> None:
        """Draw idle units' weights anew, biases 0; with ``all_plastic`` those of all units but frozen ones.

        Normal with the standard deviation that the layer had before masking; other belongings of units stay.
        """
        self._draws += 1
        for place, layer in enumerate(self.layers):
            units = ~self.frozen(place) if all_plastic else self.ranks[place] == 0
            for one in layer.afferents:
                weight, bias = one.module.weight, one.module.bias
                draws = generator(self.seed, "weights", one.name, self._draws)
                drawn = torch.randn(weight.shape, generator=draws) * self._spread[one.name]
                drawn *= one.spread(self.masks[one.name])
                with torch.no_grad():
                    weight[units] = drawn[units].to(weight)
                    if bias is not None:
                        bias[units] = 0

    def guard(self, optimiser: optim.Optimizer) -> optim.Optimizer:
        """Make every step of ``optimiser`` leave frozen units and absent connections as they are, and return it.

        Whatever momentum, weight decay or history the optimiser has: values are put back bit for bit after the step.
        """
        return self.held.guard(optimiser)

    # --- state

    def diagnostics(self) -> dict[str, Any]:
        """Return units by rank and density for each layer."""
        return {
            layer.name: {
                "idle": int((ranks == 0).sum()),
                "training": int((ranks == 1).sum()),
                "frozen": int((ranks >= since).sum()),
                "units": layer.units,
                "density": float(self.masks[layer.name].float().mean()),
            }
            for layer, ranks, since in zip(self.layers, self.ranks, self.frozen_from, strict=True)
        }

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of masks and ranks, 0): a bit a connection, two bytes a unit."""
        masks = sum((mask.numel() + 7) // 8 for mask in self.masks.values())
        return masks + 2 * sum(len(ranks) for ranks in self.ranks), 0

    def state_dict(self) -> dict[str, Any]:
        """Return masks, a bit a connection, and ranks."""
        return {
            "masks": {name: packed(mask) for name, mask in self.masks.items()},
            "ranks": [ranks.clone() for ranks in self.ranks],
            "draws": self._draws,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; load the network's own state before."""
        shapes = {name: one.connections for name, one in self.afferents()}
        if set(state["masks"]) != set(shapes):
            raise BadInput(f"state must have masks of {', '.join(shapes)}; got {', '.join(state['masks'])}")
        if [len(ranks) for ranks in state["ranks"]] != [layer.units for layer in self.layers]:
            raise BadInput(f"state must have ranks of {[layer.units for layer in self.layers]} units")
        self.masks = {name: unpacked(state["masks"][name], shape) for name, shape in shapes.items()}
        self.ranks = [ranks.clone() for ranks in state["ranks"]]
        self._draws = state["draws"]
        self._hold()

    def _rewire(self, one: Afferents, idle: Tensor) -> Rewired:
        """Drop and grow connections of one set of weights."""
        mask = self.masks[one.name]
        if one.source != INPUTS:
            from_idle = one.of_sources(self.ranks[one.source] == 0)
            lost = mask & from_idle & ~idle[:, None]
        else:
            lost = torch.zeros_like(mask)
        dropped = int(lost.sum())
        mask = mask & ~lost
        room = (~mask & idle[:, None]).flatten().nonzero().squeeze(1)
        self._draws += 1
        order = torch.randperm(len(room), generator=generator(self.seed, "growth", one.name, self._draws))
        grown = room[order[:dropped]]
        mask.view(-1)[grown] = True
        self.masks[one.name] = mask
        with torch.no_grad():
            one.module.weight.mul_(one.spread(~lost).to(one.module.weight))
        return Rewired(layer=one.name, dropped=dropped, grown=len(grown), short=dropped - len(grown))

    def _hold(self) -> None:
        """Tell what is held of what may learn."""
        frozen = [self.frozen(place) for place in range(len(self.layers))]
        self.held.hold(frozen, self.masks)


def checked_ranks(ranks: int | Sequence[int], layers: int) -> tuple[int, ...]:
    """Return the rank from which on units freeze, for each layer."""
    given = (ranks,) * layers if isinstance(ranks, int) else tuple(ranks)
    if len(given) != layers:
        raise BadInput(f"frozen_from must have one rank for each of {layers} layers; got {len(given)}")
    return tuple(check_count("frozen_from", rank, at_least=2) for rank in given)


def packed(mask: Tensor) -> Tensor:
    """Return a mask as bytes, a bit an entry."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1)))


def unpacked(bits: Tensor, shape: tuple[int, int]) -> Tensor:
    """Undo :func:`packed`."""
    size = shape[0] * shape[1]
    if bits.numel() != (size + 7) // 8:
        raise BadInput(f"state must hold {(size + 7) // 8} bytes for a mask of {list(shape)}; got {bits.numel()}")
    return torch.from_numpy(np.unpackbits(bits.cpu().numpy(), count=size).astype(bool).reshape(shape))
