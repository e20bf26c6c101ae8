"""Experience replay: every step learns from a batch of stored samples beside the current one."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.learners.cross_entropy import cross_entropy
from neurocl.learners.gradient_learner import Step, batch_loss
from neurocl.memory import RawReplay
from neurocl.primitives.annotation import annotated
from neurocl.primitives.checks import check_count, check_name
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Task

Weighting = Literal["sum", "by-task"]
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)


class Replay:
    r"""Two loss terms, on the current batch and on a batch from memory, and two ways to fill the memory.

    With ``weighting="sum"`` both losses count fully. With ``"by-task"`` they count :math:`1/t` and :math:`1 - 1/t` in
    task t, so that every task so far weighs the same. Stored samples enter as they were; a network that encodes by
    chance encodes them anew. All classes seen compete in their loss, or the task's own where the setting names tasks.

    Args:
        memory: The store.
        batch_size: Stored samples a step; fewer while the memory holds fewer.
        weighting: See above.
        seed: Decides what is drawn.
        device: Where the network computes.

    Source:
        Chaudhry et al. 2019 (ER) for ``"sum"``; van de Ven et al. 2022 for ``"by-task"``.
    """

    def __init__(
        self,
        memory: RawReplay,
        *,
        batch_size: int,
        weighting: str = "sum",
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.memory = memory
        self.batch_size = check_count("batch_size", batch_size)
        self.weighting = check_name("weighting", weighting, WEIGHTINGS)
        self.seed = seed
        self.device = torch.device(device)

    def current(self, step: Step) -> Float[Tensor, ""]:
        """Return the loss of the current batch, times its weight."""
        share = 1.0 / step.tasks_begun if self.weighting == "by-task" and len(self.memory) else 1.0
        return share * batch_loss(step)

    def replayed(self, step: Step) -> Float[Tensor, ""]:
        """Return the loss of a batch from memory, times its weight; 0 while the memory is empty."""
        if not len(self.memory):
            return torch.zeros((), device=self.device)
        drawn = self.memory.draw(self.batch_size, generator(self.seed, "replay", step.number))
        inputs, labels = drawn.inputs.to(self.device), drawn.labels.to(self.device)
        share = 1.0 - 1.0 / step.tasks_begun if self.weighting == "by-task" else 1.0
        if drawn.task_ids is None:
            with annotated(phase="replay", labels=labels, task=None, sample_ids=None):
                scores = step.network(inputs)
            return share * cross_entropy(scores, labels, classes=step.seen)
        loss = torch.zeros((), device=self.device)
        for task_id in drawn.task_ids.unique().tolist():
            rows = (drawn.task_ids == task_id).nonzero().squeeze(1).to(self.device)
            own = inputs.index_select(1 if self.memory.sequence else 0, rows)
            with annotated(phase="replay", labels=labels[rows], task=task_id, sample_ids=None):
                scores = step.network(own, task_id)
            loss = loss + cross_entropy(scores, labels[rows]) * (len(rows) / len(labels))
        return share * loss

    def store(self, step: Step) -> None:
        """Offer the current batch to the memory; to be called after every step."""
        self.memory.add(step.batch, task=step.tasks_begun - 1)

    def store_task(self, task: Task) -> None:
        """Offer the samples of the task to the memory; to be called at its end."""
        for batch in task.batches(1024, -1):
            self.memory.add(batch, task=task.index)

    def state_dict(self) -> dict[str, Any]:
        """Return the memory's state; draws depend on the step number alone."""
        return self.memory.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.memory.load_state_dict(state)

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, bytes of the stored samples)."""
        return 0, self.memory.bytes
