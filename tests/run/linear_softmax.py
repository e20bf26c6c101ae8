"""Softmax regression by gradient descent with momentum: a small whole model for tests of the run."""

import os
import signal
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from neurocl.learners.learner import Abilities, Cost, Schedule
from neurocl.primitives.checks import check_number
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Batch, Coding, Task, TaskShape


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of softmax regression."""

    coding: Coding = "spiking"
    learning_rate: float = 0.1  # large enough that one pass over the digits shows
    batch_size: int = 32
    epochs: int = 1
    noise: float = 0.01  # deviation of noise on the inputs; draws from a generator that has to survive a restart
    needs_task_id: bool = False
    kill_at_task: int | None = None  # SIGKILLs its own process at the first batch of this task
    widths: tuple[int, ...] = ()  # of nothing; only to be set

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        check_number("learning_rate", self.learning_rate, above=0)


class Softmax:
    """Learns columns for the classes it has seen."""

    loss_mask = "seen"

    def __init__(self, config: Config, shape: TaskShape, seed: int) -> None:
        self.config = config
        self.abilities = Abilities(needs_task_id_test=config.needs_task_id)
        self.schedule = Schedule(batch_size=config.batch_size, epochs=config.epochs)
        self.weight = torch.zeros(shape.features, 0)
        self.momentum = torch.zeros(shape.features, 0)
        self.noise = generator(seed, "noise")
        self.steps = 0

    def begin_task(self, task: Task) -> None:
        """Grow."""
        grown = max(task.seen_classes) + 1 - self.weight.shape[1]
        self.weight = torch.cat([self.weight, torch.zeros(len(self.weight), grown)], dim=1)
        self.momentum = torch.cat([self.momentum, torch.zeros(len(self.momentum), grown)], dim=1)
        self.task = task.index

    def observe(self, batch: Batch) -> dict[str, float]:
        """Make a step."""
        if self.config.kill_at_task == self.task:
            os.kill(os.getpid(), signal.SIGKILL)
        x = batch.inputs.flatten(1)
        x = x + self.config.noise * torch.randn(x.shape, generator=self.noise)
        p = (x @ self.weight).softmax(dim=1)
        loss = -p.gather(1, batch.labels[:, None]).log().mean()
        error = p - torch.nn.functional.one_hot(batch.labels, p.shape[1])
        self.momentum = 0.9 * self.momentum + x.T @ error / len(x)
        self.weight = self.weight - self.config.learning_rate * self.momentum
        self.steps += 1
        return {"batch": float(loss)}

    def end_task(self, task: Task) -> None:
        """Nothing."""

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Tensor:
        """Scores."""
        return inputs.flatten(1) @ self.weight

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Bytes, and products where a probe is given."""
        products = None if probe is None else float(self.weight.numel())
        return Cost(parameter_bytes=self.weight.numel() * 4, multiply_accumulates_per_sample=products)

    def state_dict(self) -> dict[str, Any]:
        """All there is."""
        tensors = {"weight": self.weight, "momentum": self.momentum, "noise": self.noise.get_state()}
        return {**tensors, "steps": self.steps, "config": asdict(self.config)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self.weight, self.momentum, self.steps = state["weight"], state["momentum"], state["steps"]
        self.noise.set_state(state["noise"])


def build(config: Config, task_shape: TaskShape, seed: int, device: str = "cpu") -> Softmax:
    """Build the model."""
    return Softmax(config, task_shape, seed)
