"""Sparse connections that are rewired, and units that are ranked, recruited and frozen: what SHARP and NISPA rest on.

Every unit (neuron or channel) has a rank: 0 idle, 1 training, higher for each task since. Rewiring keeps one invariant,
which makes freezing sound: **a unit that is not idle depends on units that are not idle alone**. What a frozen unit
answers can then change only through its own weights, and those are held bit for bit.

Masks, ranks and what is held change together or not at all, so that the class stays whole.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn, optim

from neurocl.plasticity.held_units import HeldUnits
from neurocl.plasticity.rewiring import (
    NEW_WEIGHTS,
    NewWeights,
    Rewired,
    from_idle_to_others,
    like_present,
    outlets,
    packed,
    room_in,
    unpacked,
)
from neurocl.plasticity.unit_capacity import CapacityLimits
from neurocl.plasticity.unit_checks import check_units
from neurocl.plasticity.unit_layers import INPUTS, Afferents, total_activity, unit_layers
from neurocl.plasticity.unit_ranks import FIXED, NEVER, checked_ranks
from neurocl.plasticity.unit_selection import most_active
from neurocl.plasticity.unit_soundness import by_execution, check_sound, check_still
from neurocl.plasticity.unit_state import check_state, weight_totals
from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.primitives.seeding import generator


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
        network: Any module whose linear layers and convolutions make a chain, with nothing between them that carries
            units to units: no norm across units, no residual path; :meth:`check` looks for both.
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
        check_units(network, self.layers)
        self.density = check_number("density", density, above=0, at_most=1)
        self.seed = check_count("seed", seed, at_least=0)
        fixed = check_count("fixed_layers", fixed_layers, at_least=0)
        if fixed > len(self.layers):
            raise BadInput(f"fixed_layers must be at most the number of layers, {len(self.layers)}; got {fixed}")
        self.frozen_from = checked_ranks(frozen_from, [layer.name for layer in self.layers], fixed=fixed)
        self._fixed, self._checked = fixed, 0
        self.ranks = [
            torch.full((layer.units,), FIXED if at < fixed else 0, dtype=torch.int16)
            for at, layer in enumerate(self.layers)
        ]
        self.masks: dict[str, Tensor] = {}
        self._draws = 0
        self._limits = CapacityLimits()
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
        self._limits.tell_sparse(self.masks, self.density)
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
        """Return each unit's activity on ``inputs`` as it enters the next layer; see :func:`total_activity`.

        The first time, and the first time after units of a layer have frozen, :meth:`check` looks at the network as
        well: gates may have opened since.
        """
        if self._checked < self._looks():
            self.check(inputs)
        return total_activity(self.network, self.layers, inputs)

    def check(self, inputs: Tensor) -> None:
        """Refuse the network if freezing its units cannot be sound; find what belongs to units as it runs.

        A few runs on copies, with ``inputs`` as :meth:`activity` takes them. Call it, or :meth:`activity`, before
        anything freezes: modules tell by the order in which they run to which layer they belong.

        Raises:
            BadInput: If modules that learn belong to no unit, layers run in another order, units change with others
                that they have no connection from, or with a pass in training mode once they are held; the message names
                the module or layer.
        """
        self.layers = by_execution(self.network, self.layers, inputs)
        check_sound(self.network, self.layers, inputs, fixed=self._fixed)
        check_still(self.network, self.layers, inputs)
        self.held.follow(self.layers)
        self._hold()
        self._checked = self._looks()

    # --- what changes

    def select(self, activity: Sequence[Tensor | None], share: float) -> list[str]:
        """Let the units that carry ``share`` of a layer's activity train, and the others of rank 0 and 1 be idle.

        The totals include all units; ranks of 2 and more stay. A silent layer keeps its ranks; if all its units are
        idle, all of them train, or nothing could ever wake them. Layers that earlier tasks have left no unit to choose
        from are named by a :class:`CapacityExhausted` warning, once a task.

        Args:
            activity: ``[units]`` for each layer; ``None`` leaves a layer as it is, such as a head.
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
        self._limits.tell_full([name for name, one in zip(self._full(), activity, strict=True) if one is not None])
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
        places = [check_count("units", unit, at_least=0) for unit in units]
        if places and max(places) >= len(self.ranks[layer]):
            raise BadInput(
                f"units must be places among the {len(self.ranks[layer])} units of layer {self.layers[layer].name!r}, "
                f"from 0; got {max(places)}: name others, or make the layer larger"
            )
        for unit in places:
            self.ranks[layer][unit] = max(1, int(self.ranks[layer][unit]))
        self._hold()

    def demote_unfed(self) -> list[int]:
        """Let units that train but hear nothing of units that are not idle be idle; return how many by layer.

        From the first layer on, so that what loses its last input this way goes too. What such a unit would keep for
        the task is its bias alone.

        Source:
            Gurbuz & Dovrolis 2022, NISPA, as its experimental code applies it.
        """
        demoted = []
        for place, layer in enumerate(self.layers):
            one, ranks = layer.afferents[0], self.ranks[place]
            heard = self.masks[one.name]
            if one.source != INPUTS:
                heard = heard & one.of_sources(self.ranks[one.source] > 0)
            unfed = (ranks == 1) & ~heard.any(1)
            self.ranks[place] = torch.where(unfed, torch.zeros_like(ranks), ranks)
            demoted.append(int(unfed.sum()))
        self._hold()
        return demoted

    def rewire(self, *, new_weights: NewWeights = "zero", keep_outlets: bool = False) -> list[Rewired]:
        """Take connections from idle units to others away, and grow as many into idle units, from any source.

        Where idle units have no room for all, all of it is filled and the density falls, with a
        :class:`CapacityExhausted` warning the first time this happens to a layer. Layers ahead of the last in which
        earlier tasks have left no unit are named as by :meth:`select`.

        Args:
            new_weights: What new connections weigh: ``"zero"`` (SHARP), or ``"normal"`` (NISPA), drawn with mean and
                standard deviation of the layer's present weights.
            keep_outlets: Whether idle units left without any outgoing connection are the first to get one, to an idle
                unit of the next layer (NISPA).

        Raises:
            BadInput: For an unknown way to weigh; nothing has changed then.
        """
        check_name("way to weigh new connections", new_weights, NEW_WEIGHTS)
        self._limits.tell_full(self._full()[:-1])
        done = []
        for place, layer in enumerate(self.layers):
            for one in layer.afferents:
                idle = self.ranks[place] == 0
                done.append(self._rewire(one, idle, new_weights, keep_outlets and one.source != place))
        self._hold()
        self._limits.tell_short(done)
        return done

    def promote(self) -> None:
        """End a task: every unit that is not idle rises by one rank, and those that reach theirs freeze."""
        self.ranks = [torch.where(ranks > 0, (ranks + 1).clamp(max=NEVER - 1), ranks) for ranks in self.ranks]
        self._limits.task_ended()
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
        """Return masks, a bit a connection, and ranks; and what tells whether network and arguments fit them."""
        return {
            "masks": {name: packed(mask) for name, mask in self.masks.items()},
            "ranks": [ranks.clone() for ranks in self.ranks],
            "draws": self._draws,
            "spread": dict(self._spread),
            "weights": weight_totals(self.layers),
            **self._settings(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        The order matters, as the class masks and scales weights when it is made: build it with the arguments it had,
        then load the network's own state, saved at the same moment, then this one.

        Raises:
            BadInput: If arguments or weights are others, or the state is damaged; nothing has changed then.
        """
        check_state(state, self.layers, self._settings())
        shapes = {name: one.connections for name, one in self.afferents()}
        self.masks = {name: unpacked(state["masks"][name], shape) for name, shape in shapes.items()}
        self.ranks = [ranks.clone() for ranks in state["ranks"]]
        self._draws = state["draws"]
        self._spread = {name: state.get("spread", self._spread)[name] for name in shapes}
        self._hold()

    def _settings(self) -> dict[str, Any]:
        """Return the arguments without which a state means something else."""
        return {"frozen_from": list(self.frozen_from), "fixed_layers": self._fixed}

    def _rewire(self, one: Afferents, idle: Tensor, new_weights: NewWeights, keep_outlets: bool) -> Rewired:
        """Drop and grow connections of one set of weights."""
        mask, weight = self.masks[one.name], one.module.weight
        sources = None if one.source == INPUTS else self.ranks[one.source] == 0
        lost = torch.zeros_like(mask)
        if sources is not None:
            lost = from_idle_to_others(mask, one.of_sources(sources), idle)
        dropped, kept = int(lost.sum()), mask & ~lost
        self._draws += 1
        draws = generator(self.seed, "growth", one.name, self._draws)
        mask = kept.clone()
        if sources is not None and keep_outlets:
            mask.view(-1)[outlets(mask, sources, idle, draws=draws)[:dropped]] = True
        left = dropped - int((mask & ~kept).sum())
        room = room_in(mask, idle)
        mask.view(-1)[room[torch.randperm(len(room), generator=draws)[:left]]] = True
        new = mask & ~kept
        self.masks[one.name] = mask
        with torch.no_grad():
            weight.mul_(one.spread(~lost).to(weight))
            if new_weights == "normal":
                drawn = like_present(weight, kept, otherwise=self._spread[one.name], draws=draws)
                weight.copy_(torch.where(one.spread(new).to(weight.device), drawn, weight))
        grown = int(new.sum())
        return Rewired(layer=one.name, dropped=dropped, grown=grown, short=dropped - grown)

    def _full(self) -> list[str | None]:
        """Return names of layers whose units all belong to earlier tasks, where they freeze at all; else ``None``."""
        spent = [bool((ranks > 1).all()) for ranks in self.ranks]
        freezing = [at >= self._fixed and rank < NEVER for at, rank in enumerate(self.frozen_from)]
        return [layer.name if a and b else None for layer, a, b in zip(self.layers, spent, freezing, strict=True)]

    def _looks(self) -> int:
        """Return how often the network is looked at: before any but fixed layers freeze, and as each of them does."""
        return 1 + sum(bool(self.frozen(place).any()) for place in range(self._fixed, len(self.layers)))

    def _hold(self) -> None:
        """Tell what is held of what may learn."""
        frozen = [self.frozen(place) for place in range(len(self.layers))]
        self.held.hold(frozen, self.masks)
