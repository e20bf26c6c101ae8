"""The nearest class mean on fixed features: no gradients, no replay, one mean a class."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.learners.features import Features, SeenClasses, feature_bytes, fit_once
from neurocl.learners.footprint import copied, measured
from neurocl.learners.gradient_learner import check_batch
from neurocl.learners.learner import Abilities, Cost, Schedule
from neurocl.memory import ClassMeans
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import Batch, Task


class NearestMean:
    """Answers with the class whose mean feature vector is nearest; see :class:`neurocl.memory.ClassMeans`.

    Args:
        features: A fixed feature map, spiking or rate-coded.
        schedule: Batch size the learner asks for; one pass is all it uses.
        name: What error messages call the learner.
        device: Where features are computed.
        sequence: Whether inputs have time as first axis.

    Source:
        Mensink et al. 2013. Differs: no metric is learnt.
    """

    def __init__(
        self,
        features: Features,
        schedule: Schedule,
        *,
        name: str = "ncm",
        device: str | torch.device = "cpu",
        sequence: bool = False,
    ) -> None:
        self.features = features
        self.schedule = schedule
        self.name = name
        self.abilities = Abilities(closed_form=True)
        self.device = torch.device(device)
        self.sequence = sequence
        self.means: ClassMeans | None = None
        self._classes = SeenClasses()

    def begin_task(self, task: Task) -> None:
        """Note the task's classes; the first task also fixes the features."""
        if not self._classes.seen:
            fit_once(self.features, task, device=self.device, sequence=self.sequence)
        self._classes.add(task)

    def observe(self, batch: Batch) -> dict[str, float]:
        """Add the batch to its classes' means."""
        check_batch(batch, self._classes.seen)
        with torch.no_grad():
            rows = self.features(batch.inputs)
        if self.means is None:
            self.means = ClassMeans(rows.shape[1])
        self.means.update(rows, batch.labels)
        return {}

    def end_task(self, task: Task) -> None:
        """Do nothing: the means are ready at any time."""

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return minus the squared distance to each class mean."""
        self._classes.check_begun(self.name)
        with torch.no_grad():
            rows = self.features(inputs)
        if self.means is None:  # nothing observed yet: all classes are equally far
            scores = rows.new_zeros(len(rows), self._classes.seen[-1] + 1)
        else:
            scores = self.means.scores(rows)
        return self._classes.place(scores, task_id, name=self.name)

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes, the means as float32 weights; with ``probe`` measure operations and firing rates too."""
        if self.means is None:
            raise BadInput(f"{self.name} has seen no sample yet: its cost is not known")
        means = len(self.means.counts) * self.means.features * 4
        return Cost(
            parameter_bytes=feature_bytes(self.features) + means,
            auxiliary_bytes=self.means.bytes,
            **measured(self.features, probe, readout_products=len(self.means.counts) * self.means.features),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the means, the features' own state, and the classes."""
        return copied(
            {
                "features": self.features.state_dict(),
                "means": None if self.means is None else self.means.state_dict(),
                "classes": self._classes.state_dict(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.features.load_state_dict(state["features"])
        self._classes.load_state_dict(state["classes"])
        if state["means"] is not None:
            self.means = ClassMeans(state["means"]["sums"].shape[1])
            self.means.load_state_dict(state["means"])
