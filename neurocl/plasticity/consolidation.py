"""Consolidation: what was important stays near where it was, by a quadratic penalty."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.primitives.checks import check_number


class OnlineEWC:
    r"""Elastic weight consolidation with one running importance and one anchor.

    Penalty :math:`\frac\lambda2 \sum_j F_j (\theta_j - \theta^*_j)^2`. After each task
    :math:`F \leftarrow \gamma F + F_t` and :math:`\theta^*` becomes the present weights. Rows that a head gains later,
    and parameters that appear later, have no importance until the next consolidation.

    Args:
        strength: :math:`\lambda`; larger holds old weights faster and hampers new learning.
        gamma: Share of the old importance that is kept at a new task; 1 forgets nothing.

    Source:
        Kirkpatrick et al. 2017 (EWC); Schwarz et al. 2018 (online EWC). Differs from the second: importance is summed
        as it is, not normalised.
    """

    def __init__(self, *, strength: float, gamma: float = 1.0) -> None:
        self.strength = check_number("strength", strength, at_least=0)
        self.gamma = check_number("gamma", gamma, at_least=0, at_most=1)
        self._importance: dict[str, Tensor] = {}
        self._anchor: dict[str, Tensor] = {}

    @property
    def importance(self) -> dict[str, Tensor]:
        """Importance F by parameter name; a copy."""
        return {name: value.clone() for name, value in self._importance.items()}

    @property
    def bytes(self) -> int:
        """Bytes of importance and anchor."""
        stored = [*self._importance.values(), *self._anchor.values()]
        return sum(value.numel() * value.element_size() for value in stored)

    def penalty(self, network: nn.Module) -> Float[Tensor, ""]:
        """Return the penalty at the present weights; 0 before the first consolidation."""
        total = next(network.parameters()).new_zeros(())
        if not self._anchor or not self.strength:
            return total
        for name, parameter in network.named_parameters():
            if name in self._anchor:
                anchor = self._anchor[name]
                old = parameter[: len(anchor)] if anchor.ndim else parameter
                total = total + (self._importance[name] * (old - anchor).square()).sum()
        return 0.5 * self.strength * total

    @torch.no_grad()
    def pull(self, network: nn.Module, *, step_size: float) -> None:
        r"""Take one implicit step down the penalty: :math:`\theta \leftarrow (\theta + c F \theta^*) / (1 + c F)`.

        c is ``step_size`` times the strength. Stable for every c, and apart from the optimiser, whose thresholds,
        histories and moments never see the penalty, and whose masks (:meth:`CLASSP.freeze`) do not bind it. What binds
        the updates of an optimiser, lateral circuits and guards of units, must come after the pull: let it be a hook of
        the step, ``optimiser.register_step_post_hook(lambda *_: ewc.pull(network, step_size=0.01))``, and call
        ``circuits.protect(optimiser)`` or ``plasticity.guard(optimiser)`` then.

        Args:
            network: Changed in place.
            step_size: Usually the learning rate of the loss.

        Raises:
            BadInput: If ``step_size`` is negative.

        Source:
            Parikh & Boyd 2014, Proximal algorithms, for the step; decoupled as in AdamW (Loshchilov & Hutter 2019).
        """
        c = check_number("step_size", step_size, at_least=0) * self.strength
        if not self._anchor or not c:
            return
        for name, parameter in network.named_parameters():
            if name in self._anchor:
                anchor, hold = self._anchor[name], c * self._importance[name]
                old = parameter[: len(anchor)] if anchor.ndim else parameter
                old.add_((anchor - old) * (hold / (1 + hold)))

    def consolidate(self, network: nn.Module, importance: Mapping[str, Tensor]) -> None:
        """Add the importance of the task just learnt, and anchor the present weights."""
        present = dict(network.named_parameters())
        for name, new in importance.items():
            old = self._importance.get(name)
            total = new.detach().clone()
            if old is not None:
                (total[: len(old)] if old.ndim else total).add_(old, alpha=self.gamma)
            self._importance[name] = total
            self._anchor[name] = present[name].detach().clone()

    def state_dict(self) -> dict[str, Any]:
        """Return importance and anchor."""
        return {"importance": dict(self._importance), "anchor": dict(self._anchor)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._importance = {name: value.clone() for name, value in state["importance"].items()}
        self._anchor = {name: value.clone() for name, value in state["anchor"].items()}
