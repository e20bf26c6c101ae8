"""Rehearsal: once a task is learnt, a few passes over stored samples of all tasks, the last one among them."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from neurocl.learners.cross_entropy import cross_entropy
from neurocl.learners.gradient_learner import Step, moments_of
from neurocl.learners.optimisers import MakeOptimiser, with_names
from neurocl.memory import RawReplay
from neurocl.primitives.annotation import annotated
from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Batch, Task


class Rehearsal:
    """Trains on stored samples at the end of each task from the second on; training of the task itself sees none.

    An optimiser without memory makes ``epochs`` passes. Each of its steps takes a block of samples from every task seen
    and sums the tasks' losses, so that a step grows with the number of tasks. A task that stored fewer samples than the
    largest starts over within the pass. All columns of the head compete, or the task's own where the setting names
    tasks.

    Whatever protects weights in training stands aside: hand over ``resting``, such as that of ``LateralCircuits``, and
    put :meth:`end` behind the mechanism's own end of the task. What circuits know of layers behind the first is the
    activity before the rehearsal.

    Args:
        network: The network that learns.
        memory: The store, empty; ``"per-task-class"`` suits every setting.
        optimiser: Makes an optimiser from parameters.
        epochs: Passes over the store at the end of a task.
        batch_size: Samples of every task in a step.
        resting: Entered around the passes.
        seed: Decides the order of samples.
        device: Where the network computes.

    Source:
        Xiao et al. 2024, Hebbian learning based orthogonal projection, ICLR: its combination with replay. Differs:
        stored are samples drawn by lot, theirs the first in the order of the data; the learning rate is constant; every
        task has an order of its own.
    """

    def __init__(
        self,
        network: nn.Module,
        memory: RawReplay,
        *,
        optimiser: MakeOptimiser,
        epochs: int,
        batch_size: int,
        resting: Callable[[], AbstractContextManager[None]] = nullcontext,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.network = network
        self.memory = memory
        self.epochs = check_count("epochs", epochs)
        self.batch_size = check_count("batch_size", batch_size)
        self.seed = seed
        self.device = torch.device(device)
        self._make_optimiser = optimiser
        self._resting = resting

    def end(self, task: Task) -> None:
        """Store samples of the task, and rehearse if it is not the first; to be called when a task ends."""
        for batch in task.batches(1024, -1):
            self.memory.add(batch, task=task.index)
        tasks = self.memory.tasks.unique().tolist()
        if len(tasks) < 2:
            return
        self.network.train()
        optimiser = with_names(self._make_optimiser(self.network.parameters()), self.network)
        with self._resting():
            for epoch in range(self.epochs):
                for blocks in self.blocks(tasks, epoch):
                    optimiser.zero_grad(set_to_none=True)
                    for number, places in zip(tasks, blocks, strict=True):
                        with annotated(phase="replay", labels=self.memory.labels[places], task=number, sample_ids=None):
                            self._send_back(places, tasks_begun=len(tasks), seen=task.seen_classes)
                    optimiser.step()
            self.network.zero_grad(set_to_none=True)

    def blocks(self, tasks: list[int], epoch: int) -> Iterator[list[Tensor]]:
        """Yield, step by step, the places in the store of every task's block."""
        numbers, orders = self.memory.tasks, []
        for number in tasks:
            own = (numbers == number).nonzero().squeeze(1)
            draws = generator(self.seed, "rehearsal", len(tasks), epoch, number)
            orders.append(own[torch.randperm(len(own), generator=draws)])
        steps = max(math.ceil(len(order) / self.batch_size) for order in orders)
        turns = [order.split(self.batch_size) for order in orders]
        for step in range(steps):
            yield [own[step % len(own)] for own in turns]

    def _send_back(self, places: Tensor, *, tasks_begun: int, seen: tuple[int, ...]) -> None:
        """Add the gradient of one task's block."""
        drawn = self.memory.take(places)
        batch = Batch(
            inputs=drawn.inputs.to(self.device),
            labels=drawn.labels.to(self.device),
            sample_ids=self.memory.sample_ids[places],
            task_id=None if drawn.task_ids is None else int(drawn.task_ids[0]),
        )
        step = Step(
            network=self.network, batch=batch, competing=None, seen=seen, tasks_begun=tasks_begun, number=0
        )  # fmt: skip
        for moment in moments_of(step):  # one, but for networks that learn forward in time
            loss = moment.share * cross_entropy(moment.scores, batch.labels)
            if not math.isfinite(float(loss.detach())):
                raise BadInput(
                    f"rehearsal diverged: loss {float(loss.detach())} at the end of task {tasks_begun - 1}; lower the "
                    "learning rate of its optimiser"
                )
            loss.backward()

    def state_dict(self) -> dict[str, Any]:
        """Return the memory's state; the order of samples depends on the tasks alone."""
        return self.memory.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.memory.load_state_dict(state)

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, bytes of the stored samples)."""
        return 0, self.memory.bytes
