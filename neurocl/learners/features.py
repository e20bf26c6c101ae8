"""The contract of a fixed feature map, and what learners that read one have in common."""

import math
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.learners.cross_entropy import masked
from neurocl.learners.footprint import tensor_bytes
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import Task


@runtime_checkable
class Features(Protocol):
    """Turns inputs into vectors, ``[B, ...] -> [B, F]``; fixed after :meth:`fit` has seen the first task's inputs.

    A ``torch.nn.Module`` with a method ``fit``.
    """

    def fit(self, inputs: Tensor) -> object:
        """Take what is needed from the first task's inputs; called once, before any feature is read."""
        ...

    def __call__(self, inputs: Tensor) -> Float[Tensor, "batch feature"]:
        """Return one row a sample."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the map's numbers."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Take over what :meth:`state_dict` returned."""
        ...


class SeenClasses:
    """Which labels occurred so far, and in which task where the setting names tasks."""

    def __init__(self) -> None:
        self.seen: tuple[int, ...] = ()
        self._of_task: dict[int, tuple[int, ...]] = {}

    def add(self, task: Task) -> None:
        """Note the classes of a task that begins."""
        self.seen = tuple(sorted({*self.seen, *task.seen_classes}))
        if task.task_id is not None:
            self._of_task[task.task_id] = tuple(sorted({*self._of_task.get(task.task_id, ()), *task.classes}))

    def check_begun(self, name: str) -> None:
        """Refuse to answer before the first task."""
        if not self.seen:
            raise BadInput(f"{name} has seen no class yet: call begin_task before predict")

    def place(self, scores: Tensor, task_id: int | None, *, name: str) -> Float[Tensor, "batch label"]:
        """Return ``scores`` with a column for every label seen; those that are not asked for hold minus infinity.

        Args:
            scores: One column a label, from 0; columns may be missing at the end.
            task_id: Names the task whose classes are asked for; ``None`` asks for all seen.
            name: What error messages call the learner.
        """
        if task_id is not None and task_id not in self._of_task:
            known = ", ".join(map(str, self._of_task)) or "none"
            raise BadInput(f"task_id must name a task that was begun; got {task_id!r}, known: {known}")
        missing = max(0, self.seen[-1] + 1 - scores.shape[1])
        scores = torch.cat([scores, scores.new_full((len(scores), missing), -math.inf)], dim=1)
        return masked(scores, self.seen if task_id is None else self._of_task[task_id])

    def state_dict(self) -> dict[str, Any]:
        """Return the labels."""
        return {"seen": list(self.seen), "of_task": {task: list(labels) for task, labels in self._of_task.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.seen = tuple(state["seen"])
        self._of_task = {task: tuple(labels) for task, labels in state["of_task"].items()}


def fit_once(features: Features, task: Task, *, device: torch.device, sequence: bool) -> None:
    """Let the map see all inputs of the stream's first task; in sequences time is the first axis."""
    inputs = [batch.inputs.to(device) for batch in task.batches(1024, -1)]
    features.fit(torch.cat(inputs, dim=1 if sequence else 0))


def feature_bytes(features: Features) -> int:
    """Return the bytes of the map's numbers."""
    return tensor_bytes(features.state_dict())
