"""Dark experience replay: stored samples return with their labels, and with what the network once answered to them."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neurocl.learners.cross_entropy import masked
from neurocl.learners.gradient_learner import Step
from neurocl.learners.replay import Replay
from neurocl.memory.raw_replay import Replayed
from neurocl.networks import evaluating
from neurocl.primitives.annotation import annotated
from neurocl.primitives.checks import check_count, check_number
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Task


class DarkReplay:
    r"""Two loss terms on two batches from memory, beside the loss of the current batch.

    :math:`\alpha \, \lVert z(x') - z' \rVert^2 / n + \beta \, CE(z(x''), y'')`: logits z are held near those stored
    with x', by their mean square, and x'' is learnt again by its label. Only logits are compared, and stored, whose
    classes had been seen when the sample was stored; n counts them. Columns that the head grew later, or had without
    meaning, are free.

    Args:
        replay: Draws x'' and y'', and owns the memory; its ``current`` is the loss of the current batch.
        network: The network that learns.
        alpha: Weight of the logits; larger holds answers more firmly.
        beta: Weight of the labels; 0 with the published DER.
        batch_size: Samples x' a step.

    Source:
        Buzzega et al. 2020, Dark experience for general continual learning, NeurIPS (DER++). Differs: which samples
        stay is decided by lots, see :class:`~neurocl.memory.RawReplay`; a stored sample that comes again, in a later
        pass, takes the logits of that pass, where a reservoir offers each pass the same chance; published logits
        include those of classes to come.
    """

    def __init__(self, replay: Replay, network: nn.Module, *, alpha: float, beta: float, batch_size: int) -> None:
        self.replay, self.memory, self.network = replay, replay.memory, network
        self.alpha = check_number("alpha", alpha, at_least=0)
        self.beta = check_number("beta", beta, at_least=0)
        self.batch_size = check_count("batch_size", batch_size)
        self.logits = torch.empty(0, 0)  # [stored sample, label], -inf where a class was not seen, or not asked for
        self._ids = torch.empty(0, dtype=torch.int64)  # whose they are

    def distilled(self, step: Step) -> Float[Tensor, ""]:
        """Return the loss of the logits, times its weight; 0 while the memory is empty."""
        device = self.replay.device
        if not len(self.memory):
            return torch.zeros((), device=device)
        draws = generator(self.replay.seed, "dark replay", step.number)
        places = torch.randperm(len(self.memory), generator=draws)[: self.batch_size]
        answers = self._answers(step.network, self.memory.take(places))
        stored = self.logits[places].to(device)
        known = torch.isfinite(stored)
        now = answers[:, : stored.shape[1]][known]
        return self.alpha * (now - stored[known]).square().mean()

    def labelled(self, step: Step) -> Float[Tensor, ""]:
        """Return the loss of the labels, times its weight; 0 while the memory is empty."""
        return self.beta * self.replay.replayed(step)

    def store(self, step: Step) -> None:
        """Offer the current batch, and its logits before the step, to the memory; to be called after every step."""
        self.replay.store(step)
        self._keep(step.batch.sample_ids.cpu(), masked(step.scores.detach(), step.seen))

    def store_task(self, task: Task) -> None:
        """Offer the samples of the task, and the logits at its end, to the memory."""
        self.replay.store_task(task)
        for batch in task.batches(1024, -1):
            with torch.no_grad(), evaluating(self.network):
                scores = self.network(batch.inputs.to(self.replay.device), batch.task_id)
            self._keep(batch.sample_ids.cpu(), masked(scores, task.seen_classes))

    def state_dict(self) -> dict[str, Any]:
        """Return samples and logits; draws depend on the step number alone."""
        return {"replay": self.replay.state_dict(), "logits": self.logits, "ids": self._ids}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.replay.load_state_dict(state["replay"])
        self.logits, self._ids = state["logits"].clone(), state["ids"].clone()

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, bytes of the stored samples and of their logits, four each)."""
        return 0, self.memory.bytes + 4 * int(torch.isfinite(self.logits).sum())

    def _keep(self, ids: Int64[Tensor, " sample"], logits: Float[Tensor, "sample label"]) -> None:
        """Take the logits of those samples that are stored, and let go of those that are no longer."""
        stored, logits = self.memory.sample_ids, logits.cpu()
        kept = torch.full((len(stored), max(logits.shape[1], self.logits.shape[1])), -math.inf)
        for known, own in ((self._ids, self.logits), (ids, logits)):
            rows, places = matched(stored, known)
            kept[rows] = -math.inf
            kept[rows, : own.shape[1]] = own[places]
        self.logits, self._ids = kept, stored

    def _answers(self, network: nn.Module, drawn: Replayed) -> Float[Tensor, "sample label"]:
        """Return the present scores of stored samples, each asked under its task where the setting names tasks."""
        inputs = drawn.inputs.to(self.replay.device)
        if drawn.task_ids is None:
            with annotated(phase="replay", labels=drawn.labels, task=None, sample_ids=None):
                return network(inputs)
        parts, order = [], []
        for task_id in drawn.task_ids.unique().tolist():
            rows = (drawn.task_ids == task_id).nonzero().squeeze(1).to(inputs.device)
            own = inputs.index_select(1 if self.memory.sequence else 0, rows)
            with annotated(phase="replay", labels=drawn.labels[rows.cpu()], task=task_id, sample_ids=None):
                parts.append(network(own, task_id))
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]


def matched(
    wanted: Int64[Tensor, " wanted"], known: Int64[Tensor, " known"]
) -> tuple[Int64[Tensor, " both"], Int64[Tensor, " both"]]:
    """Return where the ids that both have stand, in ``wanted`` and in ``known``."""
    if not len(known):
        return known, known
    order = known.argsort()
    places = order[torch.searchsorted(known[order], wanted).clamp(max=len(known) - 1)]
    rows = (known[places] == wanted).nonzero().squeeze(1)
    return rows, places[rows]
