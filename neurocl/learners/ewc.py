"""Consolidation by elastic weights, or NAI-style by active units, as a mechanism of the gradient learner."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.learners.gradient_learner import Step
from neurocl.memory import lots
from neurocl.networks import Network
from neurocl.plasticity import FisherKind, OnlineEWC, activation_importance, fisher_diagonal
from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Task

ImportanceKind = Literal[FisherKind, "activation"]
AT_ONCE = 512  # samples whose activity is computed together


class EWC:
    """A loss term that holds important weights, and a look back at a task's data at its end.

    Args:
        network: The network that learns.
        consolidation: Penalty, importance and anchor.
        kind: Of the Fisher information; or ``"activation"``: NAI-style, units of hidden layers by their mean activity,
            see :func:`~neurocl.plasticity.activation_importance`. The head is then not held.
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
        self.kind = check_name("kind of importance", kind, get_args(ImportanceKind))
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
        if self.kind == "activation":
            importance = activation_importance(self.network, self._activity(inputs))
            self.consolidation.consolidate(self.network, importance)
            return
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

    def _activity(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the rectified activity of hidden units by the name of their synapse, over samples, time and places."""
        if not isinstance(self.network, Network):
            raise BadInput(f"importance by activation needs a Network; got {type(self.network).__name__}")
        names, totals = {module: name for name, module in self.network.named_modules()}, dict[str, Tensor]()
        for some in inputs.split(AT_ONCE, dim=1 if self.sequence else 0):
            for layer in self.network.activity(some.to(self.device)):
                if layer.name != "head":
                    post, name = (
                        layer.post.relu().flatten(3) if layer.post.ndim > 3 else layer.post.relu(),
                        names[layer.synapse],
                    )
                    own = post.sum((0, 1, *range(3, post.ndim)), dtype=torch.float64)
                    totals[name] = totals.get(name, torch.zeros_like(own)) + own
        return totals

    def state_dict(self) -> dict[str, Any]:
        """Return importance and anchor."""
        return self.consolidation.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.consolidation.load_state_dict(state)

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of importance and anchor, 0)."""
        return self.consolidation.bytes, 0
