"""Joint training: everything seen so far, at once, from the beginning. The upper bound of a table, not a competitor."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import count
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from neurocl.learners.footprint import copied
from neurocl.learners.gradient_learner import GradientLearner, check_batch
from neurocl.learners.learner import Abilities, Cost, Schedule
from neurocl.memory import RawReplay
from neurocl.primitives.checks import check_name
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Batch, Task

When = Literal["each", "last"]


class Joint:
    """Stores all samples and, at the end of a task, trains a new learner on all of them in mixed order.

    Args:
        make_learner: Makes a learner from its first weights; called at every training.
        schedule: Of that training; ``iterations`` count for each task seen so far.
        num_tasks: Length of the stream, for ``when="last"``.
        when: Train at the end of ``"each"`` task, or of the ``"last"`` one only; until then answers are guesses.
        seed: Decides the order of samples.
        device: Where the learner computes.
        sequence: Whether inputs have time as first axis.
    """

    def __init__(
        self,
        make_learner: Callable[[], GradientLearner],
        schedule: Schedule,
        *,
        num_tasks: int,
        when: str = "each",
        seed: int = 0,
        device: str | torch.device = "cpu",
        sequence: bool = False,
    ) -> None:
        self.make_learner = make_learner
        self.training = schedule
        self.schedule = Schedule(batch_size=1024)
        self.abilities = Abilities(replays=True)
        self.num_tasks = num_tasks
        self.when = check_name("when", when, get_args(When))
        self.seed = seed
        self.device = torch.device(device)
        self.memory = RawReplay("everything", sequence=sequence)
        self.learner = make_learner()
        self._tasks: list[Task] = []

    def begin_task(self, task: Task) -> None:
        """Make room for the task's classes."""
        self._tasks.append(replace(task, batches=nothing))
        self.learner.begin_task(task)

    def observe(self, batch: Batch) -> dict[str, float]:
        """Store the batch."""
        check_batch(batch, self.learner.seen)
        self.memory.add(batch, task=self._tasks[-1].index)
        return {}

    def end_task(self, task: Task) -> None:
        """Train a new learner on everything stored."""
        if self.when == "last" and len(self._tasks) < self.num_tasks:
            return
        self.learner = self.make_learner()
        for begun in self._tasks:
            self.learner.begin_task(begun)
        for batch in self._batches():
            self.learner.observe(batch)
        self.learner.end_task(self._tasks[-1])

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return the scores of the learner trained last."""
        return self.learner.predict(inputs, task_id)

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes, all samples among them; with ``probe`` measure operations and firing rates too."""
        return replace(self.learner.cost(probe), memory_bytes=self.memory.bytes)

    def diagnostics(self) -> dict[str, Any]:
        """Return what the learner trained last has to say."""
        return self.learner.diagnostics()

    def state_dict(self) -> dict[str, Any]:
        """Return the samples, the learner trained last, and what is known of the tasks."""
        kept = [field.name for field in fields(Task) if field.name != "batches"]
        tasks = [{name: getattr(task, name) for name in kept} for task in self._tasks]
        return {
            "memory": copied(self.memory.state_dict()),
            "learner": self.learner.state_dict(),
            "tasks": tasks,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.memory.load_state_dict(state["memory"])
        self.learner.load_state_dict(state["learner"])
        self._tasks = [Task(batches=nothing, **task) for task in state["tasks"]]

    def _batches(self) -> Iterator[Batch]:
        """Yield batches over all samples in mixed order; a batch holds one task where the setting names tasks."""
        size = self.training.batch_size
        wanted = self.training.iterations * len(self._tasks)
        given = 0
        for epoch in count() if wanted else range(self.training.epochs):
            for places, task_id in self._mixed(size, epoch):
                drawn = self.memory.take(places)
                yield Batch(
                    inputs=drawn.inputs.to(self.device),
                    labels=drawn.labels.to(self.device),
                    sample_ids=self.memory.sample_ids[places],
                    task_id=task_id,
                )
                given += 1
                if given == wanted:
                    return

    def _mixed(self, size: int, epoch: int) -> list[tuple[Tensor, int | None]]:
        """Return the places and the task of every batch of one pass."""
        draws = generator(self.seed, "joint", len(self._tasks), epoch)
        order = torch.randperm(len(self.memory), generator=draws)
        tasks = self.memory.task_ids
        if tasks is None:
            return [(places, None) for places in order.split(size)]
        own = [(part, task) for task in tasks.unique().tolist() for part in order[tasks[order] == task].split(size)]
        return [own[place] for place in torch.randperm(len(own), generator=draws).tolist()]


def nothing(batch_size: int, epoch: int) -> Iterator[Batch]:
    """Stand in for the data of a task that is over."""
    return iter(())
