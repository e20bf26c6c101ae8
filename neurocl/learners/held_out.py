"""A share of a task's training samples that is kept apart, on which learning is judged while the task lasts."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from neurocl.memory.lots import lots
from neurocl.primitives.checks import check_number
from neurocl.primitives.tasks import Batch, Task

AT_ONCE = 1024  # samples read together


class HeldOut:
    """Samples of every class of one task, chosen by lots that hang on their ids: no order or epoch changes the choice.

    Of each class the share is rounded, at least one sample, and never the last. Where no class has two samples nothing
    is kept apart, and learning is judged on what it learns from.

    Args:
        task: Whose training samples are divided; test samples are out of reach here.
        share: Of each class, in (0, 1).
        seed: Of the lots.
        sequence: Whether inputs have time as first axis.

    Attributes:
        ids: Ids of the samples kept apart.
        batches: The samples that judge, in batches.

    Raises:
        BadInput: If ``share`` is out of range.
    """

    def __init__(self, task: Task, *, share: float, seed: int, sequence: bool = False) -> None:
        check_number("validation_share", share, above=0, below=1)
        self.sequence = sequence
        shown = [(batch.sample_ids.cpu(), batch.labels.cpu()) for batch in task.batches(AT_ONCE, -1)]
        ids, labels = torch.cat([own for own, _ in shown]), torch.cat([own for _, own in shown])
        chosen = [torch.empty(0, dtype=torch.int64)]
        for label in labels.unique().tolist():
            own = ids[labels == label]
            own = own[lots(own, seed, "validation").argsort(stable=True)]
            chosen.append(own[: min(max(1, round(share * len(own))), len(own) - 1)])
        self.ids = torch.cat(chosen)
        judging = (batch if not len(self.ids) else self._part(batch, True) for batch in task.batches(AT_ONCE, -1))
        self.batches = [batch for batch in judging if batch is not None]

    def without(self, batch: Batch) -> Batch | None:
        """Return the samples of ``batch`` that may be learnt from; ``None`` where there are none."""
        return self._part(batch, False)

    def accuracy(self, scores_of: Callable[[Tensor], Tensor]) -> float:
        """Return the share of the samples that judge whose own class has the largest of ``scores_of(inputs)``."""
        right = [int((scores_of(own.inputs).argmax(1).cpu() == own.labels.cpu()).sum()) for own in self.batches]
        return sum(right) / sum(len(own) for own in self.batches)

    def _part(self, batch: Batch, kept_apart: bool) -> Batch | None:
        """Return the samples that are, or are not, kept apart."""
        rows = torch.isin(batch.sample_ids.cpu(), self.ids) == kept_apart
        if bool(rows.all()):
            return batch
        if not bool(rows.any()):
            return None
        places = rows.nonzero().squeeze(1)
        return replace(
            batch, inputs=self._rows(batch.inputs, places), labels=batch.labels[places.to(batch.labels.device)],
            sample_ids=batch.sample_ids[places.to(batch.sample_ids.device)],
        )  # fmt: skip

    def _rows(self, inputs: Tensor, places: Tensor) -> Tensor:
        return inputs.index_select(1 if self.sequence else 0, places.to(inputs.device))
