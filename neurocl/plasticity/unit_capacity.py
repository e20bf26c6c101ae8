"""What is said where units or connections run out: which layer, and what to change."""

import warnings
from collections.abc import Mapping, Sequence

from torch import Tensor

from neurocl.plasticity.rewiring import CapacityExhausted, Rewired


class CapacityLimits:
    """Warns of exhausted layers by :class:`CapacityExhausted`, and remembers of which it has."""

    def __init__(self) -> None:
        self._short: set[str] = set()  # layers without room for connections
        self._full: set[str] = set()  # layers without idle units, of this task

    def task_ended(self) -> None:
        """Let full layers be named again in the next task."""
        self._full = set()

    def tell_sparse(self, masks: Mapping[str, Tensor], density: float) -> None:
        """Tell of layers in which most units hear nothing: such a density cannot be kept."""
        for name, mask in masks.items():
            rows, columns = mask.shape
            if columns > 1 and rows > 1 and int(mask.sum()) < rows / 2:
                self._tell(
                    f"density {density:g} leaves layer {name!r} {int(mask.sum())} connections for {rows} units, so "
                    f"that most hear nothing: use at least {1 / columns:.2g}, one connection a unit"
                )

    def tell_full(self, full: Sequence[str | None]) -> None:
        """Tell, once a task, of layers whose units all belong to earlier tasks; ``None`` stands for others."""
        new = [name for name in full if name is not None and name not in self._full]
        if new:
            self._full |= set(new)
            self._tell(
                f"no idle units left in {', '.join(new)}: earlier tasks have taken all of them, so this one learns "
                "there with what is not frozen yet, or not at all; use more units in these layers, or let each task "
                "take fewer: a smaller share of activity (least_share), a larger accuracy_drop where that ends phases"
            )

    def tell_short(self, rewired: Sequence[Rewired]) -> None:
        """Tell, once for ever, of layers where dropped connections could not be grown again."""
        short = [one for one in rewired if one.short and one.layer not in self._short]
        if short:
            self._short |= {one.layer for one in short}
            self._tell(
                f"no room left to grow connections into idle units of {', '.join(one.layer for one in short)} "
                f"({', '.join(str(one.short) for one in short)} connections short): later tasks share the units there "
                "are; use more units in these layers, a smaller least share of activity, or a lower density"
            )

    @staticmethod
    def _tell(message: str) -> None:
        """Warn in the name of whoever called StructuralPlasticity."""
        warnings.warn(message, CapacityExhausted, stacklevel=4)
