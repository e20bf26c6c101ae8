"""A closed-form readout on features that go on learning, but no longer move for old inputs; replay-free."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from neurocl.learners.features import SeenClasses
from neurocl.learners.footprint import copied, measured, tensor_bytes
from neurocl.learners.gradient_learner import GradientLearner
from neurocl.learners.learner import Abilities, Cost
from neurocl.memory import RecursiveRidge
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import Batch, Task


class ProtectedReadout:
    """A gradient learner shapes the features; recursive ridge regression on them tells all classes seen apart.

    At the end of a task its samples pass once more, and their features enter the statistics of the readout. These stay
    valid as far as later tasks leave the features of old inputs alone: that is what lateral circuits are for.

    Args:
        inner: Learns the features; its own head is used in training only.
        features: ``inputs -> [B, F]``, in evaluation mode and without gradient; a constant feature is added here.
        strength: Ridge strength, or ``"auto"``: chosen on held-out training samples.
        held_out: Share of samples held out for the choice.
        seed: Decides which samples.
        name: What error messages call the learner.

    Raises:
        BadInput: If ``inner`` rehearses: it would move features whose statistics were summed up before.
    """

    def __init__(
        self,
        inner: GradientLearner,
        features: Callable[[Tensor], Float[Tensor, "batch feature"]],
        *,
        strength: float | Literal["auto"] = "auto",
        held_out: float = 0.1,
        seed: int = 0,
        name: str = "protected readout",
    ) -> None:
        if inner.abilities.replays:
            raise BadInput(
                f"{name}: the learner inside must not rehearse (memory_size=0) in the class-incremental setting, whose "
                "readout keeps statistics of features that rehearsal would move; use the replay model there"
            )
        self.inner = inner
        self.name = name
        self.schedule = inner.schedule
        self.loss_mask = inner.loss_mask
        self.abilities = Abilities(needs_boundaries=True)
        self.ridge: RecursiveRidge | None = None
        self._features = features
        self._classes = SeenClasses()
        self._options: dict[str, Any] = {"strength": strength, "held_out": held_out, "seed": seed}
        RecursiveRidge(1, **self._options)  # refuses what cannot be before anything is learnt

    def begin_task(self, task: Task) -> None:
        """Make room for the task's classes."""
        self.inner.begin_task(task)
        self._classes.add(task)

    def observe(self, batch: Batch) -> dict[str, float]:
        """Shape the features by one step."""
        return self.inner.observe(batch)

    def end_task(self, task: Task) -> None:
        """Protect the features, let the task's samples pass once more, and solve for the weights."""
        self.inner.end_task(task)
        for batch in task.batches(1024, -1):
            rows = self.features(batch.inputs.to(self.inner.device))
            if self.ridge is None:
                self.ridge = RecursiveRidge(rows.shape[1], device=self.inner.device, **self._options)
            self.ridge.update(rows, batch.labels.to(self.inner.device), sample_ids=batch.sample_ids)
        if self.ridge is not None:
            self.ridge.solve()

    def features(self, inputs: Tensor) -> Float[Tensor, "batch feature"]:
        """Return what the readout reads: the network's features and a constant 1."""
        with torch.no_grad():
            return functional.pad(self._features(inputs), (0, 1), value=1.0)

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return the linear readout of the features; all classes seen are equal until a task was learnt."""
        self._classes.check_begun(self.name)
        if self.ridge is None:
            scores = inputs.new_zeros(inputs.shape[0], self._classes.seen[-1] + 1)
        else:
            scores = self.ridge.scores(self.features(inputs))
        return self._classes.place(scores, task_id, name=self.name)

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes, the readout's weights as float32; with ``probe`` measure operations and firing rates too."""
        inner = self.inner.cost()
        weights = 0 if self.ridge is None else len(self.ridge.counts) * self.ridge.features
        return Cost(
            parameter_bytes=inner.parameter_bytes - tensor_bytes(self._training_head()) + 4 * weights,
            auxiliary_bytes=inner.auxiliary_bytes
            + tensor_bytes(self._training_head())
            + (0 if self.ridge is None else self.ridge.bytes),
            memory_bytes=inner.memory_bytes,
            **measured(self.inner.network, probe),
        )

    def diagnostics(self) -> dict[str, Any]:
        """Return what the inner learner's mechanisms have to say of the last task."""
        return self.inner.diagnostics()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that outlives a task."""
        return copied(
            {
                "inner": self.inner.state_dict(),
                "ridge": None if self.ridge is None else self.ridge.state_dict(),
                "classes": self._classes.state_dict(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.inner.load_state_dict(state["inner"])
        self._classes.load_state_dict(state["classes"])
        if state["ridge"] is not None:
            self.ridge = RecursiveRidge(state["ridge"]["gram"].shape[-1], device=self.inner.device, **self._options)
            self.ridge.load_state_dict(state["ridge"])

    def _training_head(self) -> dict[str, Any]:
        """Return the numbers of the head that only training uses."""
        head = getattr(self.inner.network, "head", None)
        return {} if head is None else dict(head.state_dict())
