"""The recursive ridge readout on fixed features: closed form, no replay, the same weights as all at once."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.learners.features import Features, SeenClasses, feature_bytes, fit_once
from neurocl.learners.footprint import copied, measured
from neurocl.learners.gradient_learner import check_batch
from neurocl.learners.learner import Abilities, Cost, Schedule
from neurocl.memory import RecursiveRidge
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import Batch, Task


class RidgeReadout:
    """A linear readout of fixed features, solved in closed form; see :class:`neurocl.memory.RecursiveRidge`.

    Args:
        features: A fixed feature map, spiking or rate-coded; its constant feature, if any, is its own.
        schedule: Batch size the learner asks for; one pass is all it needs.
        strength: Ridge strength, or ``"auto"``: chosen on held-out training samples.
        held_out: Share of samples held out for the choice.
        by_class: Keep statistics by class, so that :meth:`forget` works.
        seed: Decides which samples are held out.
        name: What error messages call the learner.
        device: Where features are computed and statistics are kept.
        sequence: Whether inputs have time as first axis.
        chosen: Numbers that the model chose for the stream, to be written down with the run.
    """

    def __init__(
        self,
        features: Features,
        schedule: Schedule,
        *,
        strength: float | Literal["auto"] = "auto",
        held_out: float = 0.1,
        by_class: bool = False,
        seed: int = 0,
        name: str = "ridge",
        device: str | torch.device = "cpu",
        sequence: bool = False,
        chosen: Mapping[str, Any] | None = None,
    ) -> None:
        self.features = features
        self.chosen = dict(chosen or {})
        self.schedule = schedule
        self.name = name
        self.abilities = Abilities(closed_form=True)
        self.device = torch.device(device)
        self.sequence = sequence
        self.ridge: RecursiveRidge | None = None
        self._classes = SeenClasses()
        self._make_ridge = partial(
            RecursiveRidge, strength=strength, held_out=held_out, by_class=by_class, seed=seed, device=device
        )
        self._make_ridge(1)  # the first batch tells how many features there are; bad numbers are refused here already

    def begin_task(self, task: Task) -> None:
        """Note the task's classes; the first task also fixes the features."""
        if not self._classes.seen:
            fit_once(self.features, task, device=self.device, sequence=self.sequence)
        self._classes.add(task)

    def observe(self, batch: Batch) -> dict[str, float]:
        """Add the batch to the statistics."""
        check_batch(batch, self._classes.seen)
        with torch.no_grad():
            rows = self.features(batch.inputs)
        if self.ridge is None:
            self.ridge = self._make_ridge(rows.shape[1])
        self.ridge.update(rows, batch.labels, sample_ids=batch.sample_ids)
        return {}

    def end_task(self, task: Task) -> None:
        """Solve for the weights."""
        self._learnt().solve()

    def unlearn(self, batch: Batch) -> None:
        """Take samples out that were observed before: afterwards the learner is as if it had never seen them.

        Source:
            ACU, analytic continual unlearning. Differs: statistics are reduced, not their inverse.
        """
        with torch.no_grad():
            rows = self.features(batch.inputs)
        self._learnt().downdate(rows, batch.labels, sample_ids=batch.sample_ids)

    def forget(self, label: int) -> None:
        """Take out a whole class without its samples; needs ``by_class=True``."""
        self._learnt().forget(label)

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return the linear readout of the features."""
        self._classes.check_begun(self.name)
        with torch.no_grad():
            rows = self.features(inputs)
        if self.ridge is None:  # nothing observed yet: all classes are equal
            scores = rows.new_zeros(len(rows), self._classes.seen[-1] + 1)
        else:
            scores = self.ridge.scores(rows)
        return self._classes.place(scores, task_id, name=self.name)

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes, the weights as float32; with ``probe`` measure operations and firing rates too."""
        ridge = self._learnt()
        weights = len(ridge.counts) * ridge.features
        return Cost(
            parameter_bytes=feature_bytes(self.features) + 4 * weights,
            auxiliary_bytes=ridge.bytes,
            **measured(self.features, probe, readout_products=weights),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return statistics and weights, the features' own state, and the classes."""
        return copied(
            {
                "features": self.features.state_dict(),
                "ridge": None if self.ridge is None else self.ridge.state_dict(),
                "classes": self._classes.state_dict(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.features.load_state_dict(state["features"])
        self._classes.load_state_dict(state["classes"])
        if state["ridge"] is not None:
            self.ridge = self._make_ridge(state["ridge"]["gram"].shape[-1])
            self.ridge.load_state_dict(state["ridge"])

    def _learnt(self) -> RecursiveRidge:
        if self.ridge is None:
            raise BadInput(f"{self.name} has seen no sample yet: call begin_task and observe first")
        return self.ridge
