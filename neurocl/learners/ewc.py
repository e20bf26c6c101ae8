"""Elastic weight consolidation as a mechanism of the gradient learner."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.learners.gradient_learner import Step
from neurocl.memory import lots
from neurocl.plasticity import FISHER_KINDS, OnlineEWC, fisher_diagonal
from neurocl.primitives.checks import check_count, check_name, check_number
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Task


class EWC:
    """A loss term that holds important weights, and a look back at a task's data at its end.

    Args:
        network: The network that learns.
        consolidation: Penalty, importance and anchor.
        kind: Of the Fisher information.
        samples: Training samples of the task that it is taken over, drawn evenly; 0 means all.
        seed: Decides which samples, and the classes of the ``"sampled"`` kind.
        device: Where the network computes.
        sequence: Whether inputs have time as first axis.
        pull: Step size of :meth:`pull_back`; the penalty's gradient then meets no gate and no history of an optimiser.
    """

    def __init__(
        self,
        network: nn.Module,
        consolidation: OnlineEWC,
        *,
        kind: str = "exact",
        samples: int = 0,
        seed: int = 0,
        device: str | torch.device = "cpu",
        sequence: bool = False,
        pull: float = 0.0,
    ) -> None:
        self.network = network
        self.consolidation = consolidation
        self.kind = check_name("kind of Fisher information", kind, FISHER_KINDS)
        self.samples = check_count("samples", samples, at_least=0)
        self.seed = seed
        self.device = torch.device(device)
        self.sequence = sequence
        self.pull = check_number("pull", pull, at_least=0)

    def penalty(self, step: Step) -> Float[Tensor, ""]:
        """Return the penalty at the present weights."""
        return self.consolidation.penalty(step.network)

    def pull_back(self, step: Step) -> None:
        """Pull important weights towards their anchors, after a step; in place of :meth:`penalty`, not beside it."""
        self.consolidation.pull(step.network, step_size=self.pull)

    def consolidate(self, task: Task) -> None:
        """Measure what mattered in the task, and anchor the weights; to be called at its end."""
        batches = list(task.batches(1024, -1))
        inputs = torch.cat([batch.inputs for batch in batches], dim=1 if self.sequence else 0)
        labels = torch.cat([batch.labels for batch in batches])
        if 0 < self.samples < len(labels):
            ids = torch.cat([batch.sample_ids for batch in batches])
            kept = lots(ids, self.seed, "fisher", task.index).argsort(stable=True)[: self.samples].sort().values
            inputs, labels = inputs.index_select(1 if self.sequence else 0, kept), labels[kept]
        importance = fisher_diagonal(
            self.network,
            inputs.to(self.device),
            classes=task.seen_classes if task.task_id is None else task.classes,
            kind=self.kind,
            labels=labels,
            generator=generator(self.seed, "fisher", task.index),
            task_id=task.task_id,
            sequence=self.sequence,
        )
        self.consolidation.consolidate(self.network, importance)

    def state_dict(self) -> dict[str, Any]:
        """Return importance and anchor."""
        return self.consolidation.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.consolidation.load_state_dict(state)

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of importance and anchor, 0)."""
        return self.consolidation.bytes, 0
