"""Which weights a task changed: their share, how far tasks change the same ones, and how saturated weights are."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim

from neurocl.learners.optimisers import MakeOptimiser
from neurocl.plasticity import CLASSP
from neurocl.primitives.tasks import Task

DECILES = tuple(place / 10 for place in range(11))


class Updates:
    r"""Compares weights after a task with what they were before it; works with any optimiser.

    A weight counts as updated by a task if its value differs at the end. The overlap of two tasks is the number of
    weights that both updated over the number that either did (Jaccard); for sets drawn at random with shares a and b it
    would be near ``a * b / (a + b - a * b)``. Where an optimiser keeps a ``history`` (CLASSP), saturation is
    :math:`(\epsilon + G)^{1/p}`, by which the next step of a weight is divided, and fresh is a weight with G = 0.

    Args:
        network: The network that learns. Its weights are copied while a task lasts, and one bit a weight and task is
            kept; neither is counted in the learner's bytes, as no prediction and no learning needs them.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._optimiser: optim.Optimizer | None = None
        self._before: dict[str, Tensor] = {}
        self._sets: list[dict[str, Tensor]] = []  # by task and parameter, bits packed by eight
        self._latest: dict[str, Any] = {}

    def watching(self, make: MakeOptimiser) -> MakeOptimiser:
        """Return ``make``, whose optimisers' histories will be reported."""

        def made(parameters: Any) -> optim.Optimizer:
            self._optimiser = make(parameters)
            return self._optimiser

        return made

    @property
    def wanted(self) -> bool:
        """Whether the optimiser made last is CLASSP, whose every run tells what it changed."""
        return isinstance(self._optimiser, CLASSP)

    def begin(self, task: Task) -> None:
        """Remember the weights; to be called when a task begins, after the head has grown."""
        self._before = {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def end(self, task: Task) -> None:
        """Find out which weights the task changed; to be called when it ends."""
        changed = {
            name: (p.detach() != self._before[name]).flatten().cpu().numpy()
            for name, p in self.network.named_parameters()
        }
        self._before = {}
        total = sum(bits.size for bits in changed.values())
        self._latest = {
            "share": sum(int(bits.sum()) for bits in changed.values()) / max(1, total),
            "share_by_parameter": {name: float(bits.mean()) if bits.size else 0.0 for name, bits in changed.items()},
            "overlap": [jaccard(earlier, changed) for earlier in self._sets],
        } | self._saturation()
        self._sets.append({name: torch.from_numpy(np.packbits(bits)) for name, bits in changed.items()})

    def diagnostics(self) -> dict[str, Any]:
        """Return shares, overlaps with all earlier tasks and deciles of the saturation at the end of the last task."""
        return self._latest

    def named(self) -> dict[str, Any]:
        """Return the diagnostics under their name among others; nothing before there are any."""
        return {"updates": self._latest} if self._latest else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sets of all tasks."""
        return {"sets": [dict(of_task) for of_task in self._sets]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._sets = [{name: bits.clone() for name, bits in of_task.items()} for of_task in state["sets"]]

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, 0): a report is no part of the method."""
        return 0, 0

    def _saturation(self) -> dict[str, Any]:
        """Return deciles of the saturation over all weights, and the share that is fresh; nothing without histories."""
        found, fresh = [], 0
        for group in self._optimiser.param_groups if self._optimiser is not None else ():
            for parameter in group["params"]:
                history = self._optimiser.state[parameter].get("history") if self._optimiser else None
                if history is not None:
                    fresh += int((history == 0).sum())
                    found.append(((history + group["epsilon"]) ** (1 / group["power"])).flatten().cpu().numpy())
        if not found:
            return {}
        values = np.concatenate(found).astype(np.float64)
        return {"fresh": fresh / values.size, "saturation_deciles": np.quantile(values, DECILES).tolist()}


def jaccard(earlier: dict[str, Tensor], changed: dict[str, np.ndarray]) -> float:
    """Return the weights in both sets over those in either; rows that a head gained since were in no earlier one."""
    both, either = 0, sum(int(bits.sum()) for bits in changed.values())
    for name, packed in earlier.items():
        then = np.unpackbits(packed.numpy()).astype(bool)[: changed[name].size]  # padded to eighths
        now = changed[name][: then.size]
        both += int((then & now).sum())
        either += int((then & ~now).sum())
    return both / max(1, either)
