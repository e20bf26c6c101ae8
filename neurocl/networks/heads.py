"""Heads: linear layers whose columns of scores are labels; one that is fixed, one that grows, one a task, or none.

The weights of a label's row are drawn from a generator of their own, so that they do not depend on when the row was
added. A head that grows replaces its parameters (old rows keep their bits): an optimiser made before has to be made
anew, or told.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.networks.propagation import Feedback
from neurocl.networks.synapses import Linear
from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Task


def initial_row(features: int, seed: int, *names: str | int) -> tuple[Tensor, Tensor]:
    """Return weights ``[features]`` and bias ``[]`` of a new row, uniform within 1 / sqrt(features) as in torch."""
    bound = 1.0 / math.sqrt(features)
    drawn = torch.rand(features + 1, generator=generator(seed, "head", *names)).mul_(2 * bound).sub_(bound)
    return drawn[:-1], drawn[-1]


def grow(linear: Linear, rows: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Append rows to ``linear`` in place; the rows that are there keep their bits."""
    if not rows:
        return
    weight, bias = linear.weight, linear.bias
    new_weight = torch.stack([row for row, _ in rows]).to(weight)
    linear.weight = nn.Parameter(torch.cat([weight.detach(), new_weight]), requires_grad=weight.requires_grad)
    if bias is not None:
        new_bias = torch.stack([start for _, start in rows]).to(weight)
        linear.bias = nn.Parameter(torch.cat([bias.detach(), new_bias]), requires_grad=bias.requires_grad)
    linear.out_features = len(linear.weight)


class Head(nn.Module):
    """Contract of a head; it also remembers which labels a task showed, where the setting names tasks.

    Args:
        features: Number of values the head reads.
        num_classes: Size of the label space; heads that grow start without it.
        seed: Source of the weights.
        bias: Whether rows have a bias.
        feedback: How errors go down to the features, see :mod:`neurocl.networks.propagation`.
    """

    tasks: Tensor

    def __init__(
        self, features: int, *, num_classes: int, seed: int, bias: bool = True, feedback: Feedback = "transpose"
    ) -> None:
        super().__init__()
        self.feedback: Feedback = feedback
        self.features = check_count("features", features)
        self.num_classes = check_count("num_classes", num_classes)
        self.seed = check_count("seed", seed, at_least=0)
        self.bias = bias
        self.register_buffer("tasks", torch.empty(0, 2, dtype=torch.int64))  # rows of (task_id, label)
        self._labels_of: dict[int, tuple[int, ...]] = {}
        self.register_load_state_dict_pre_hook(self._grow_before_loading)

    def begin_task(self, task: Task) -> None:
        """Make room for the labels of ``task``, and remember them where the task has a name."""
        self._make_room(task)
        if task.task_id is not None:
            labels = sorted({*self._labels_of.get(task.task_id, ()), *task.classes})
            others = self.tasks[self.tasks[:, 0] != task.task_id]
            new = torch.tensor([[task.task_id, label] for label in labels], dtype=torch.int64).view(-1, 2)
            self.tasks = torch.cat([others, new.to(others.device)])
            self._labels_of.pop(task.task_id, None)  # the task begun last stands last, as in ``tasks``
            self._labels_of[task.task_id] = tuple(labels)

    def labels_of(self, task_id: int) -> tuple[int, ...]:
        """Return the labels of a task that was begun under ``task_id``."""
        if task_id not in self._labels_of:
            known = ", ".join(map(str, self._labels_of)) or "none"
            raise BadInput(f"task_id must name a task that was begun; got {task_id!r}, known: {known}")
        return self._labels_of[task_id]

    def respond(self, values: Tensor, task_id: int | None = None, *, spikes: bool = False, **learning: Any) -> Tensor:
        """Return ``[..., columns]`` products of ``values [..., features]`` with the rows that ``task_id`` needs.

        ``learning`` may hold ``credit`` and ``observed`` rows, and ``steps``, see
        :meth:`neurocl.networks.synapses.Linear.forward`.
        """
        raise NotImplementedError

    def placed(self, scores: Float[Tensor, "batch column"], task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores by label; labels that are not the task's hold minus infinity where ``task_id`` is given."""
        raise NotImplementedError

    def synapse(self) -> Linear:
        """Return the linear layer that learns at present."""
        raise NotImplementedError

    def forward(
        self, features: Float[Tensor, "batch feature"], task_id: int | None = None, **learning: Any
    ) -> Float[Tensor, "batch label"]:
        """Return scores ``[B, labels]``; ``learning`` as for :meth:`respond`."""
        return self.placed(self.respond(features, task_id, **learning), task_id)

    def _make_room(self, task: Task) -> None:
        """Grow, where the head does."""

    def _sizes_from(self, state: dict[str, Any], prefix: str) -> None:
        """Take the sizes of a checkpoint, before its tensors are copied in."""

    def _grow_before_loading(self, _: nn.Module, state_dict: dict[str, Any], prefix: str, *__: Any) -> None:
        """Take the sizes of a checkpoint before ``nn.Module`` copies its tensors in."""
        tasks = state_dict.get(f"{prefix}tasks")
        if tasks is not None:
            self.tasks = torch.empty_like(tasks, device=self.tasks.device)
            self._labels_of = {}
            for task_id, label in tasks.tolist():
                self._labels_of[task_id] = (*self._labels_of.get(task_id, ()), label)
        self._sizes_from(state_dict, prefix)


class SingleHead(Head):
    """One row a label of the whole label space, from the start."""

    def __init__(
        self, features: int, *, num_classes: int, seed: int, bias: bool = True, feedback: Feedback = "transpose"
    ) -> None:
        super().__init__(features, num_classes=num_classes, seed=seed, bias=bias, feedback=feedback)
        self.linear = Linear(features, 0, bias=bias, feedback=feedback)
        self._grow_to(self._rows_at_start())

    def respond(self, values: Tensor, task_id: int | None = None, *, spikes: bool = False, **learning: Any) -> Tensor:
        """Return ``[..., labels]`` products of ``values [..., features]``."""
        return self.linear.product(values, spikes=spikes, **learning)

    def placed(self, scores: Float[Tensor, "batch column"], task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return ``scores``; labels that are not the task's hold minus infinity where ``task_id`` is given."""
        if task_id is None:
            return scores
        hidden = torch.ones(scores.shape[-1], dtype=torch.bool, device=scores.device)
        hidden[list(self.labels_of(task_id))] = False
        return scores.masked_fill(hidden, -math.inf)

    def synapse(self) -> Linear:
        """Return the linear layer."""
        return self.linear

    def _make_room(self, task: Task) -> None:
        if max(task.classes, default=-1) >= self.linear.out_features:
            raise BadInput(
                f"labels must lie below num_classes={self.num_classes} for a single head; got {max(task.classes)}: "
                "use ExpandingHead"
            )

    def _rows_at_start(self) -> int:
        return self.num_classes

    def _grow_to(self, rows: int) -> None:
        there = self.linear.out_features
        grow(self.linear, [initial_row(self.features, self.seed, label) for label in range(there, rows)])
        if self.feedback == "alignment" and rows > there:  # drawn by label, as the rows are
            drawn = [initial_row(self.features, self.seed, "feedback", label)[0] for label in range(rows)]
            self.linear.feedback_weight = torch.stack(drawn).to(self.linear.weight)


class ExpandingHead(SingleHead):
    """One row a label seen so far; grows when a task brings larger labels. Begins with no row at all."""

    def _rows_at_start(self) -> int:
        return 0

    def _make_room(self, task: Task) -> None:
        wanted = max(task.classes, default=-1) + 1
        self._grow_to(wanted)

    def _sizes_from(self, state: dict[str, Any], prefix: str) -> None:
        weight = state.get(f"{prefix}linear.weight")
        if weight is not None:
            self._grow_to(len(weight))


class MultiHead(Head):
    """A linear layer of its own for every named task, over the labels of that task.

    Without ``task_id`` every layer answers, and a label that several tasks share takes the largest score. Errors go
    down by the weights themselves or by their signs; with ``feedback="alignment"`` too, by the weights themselves.
    """

    reference: Tensor

    def __init__(
        self, features: int, *, num_classes: int, seed: int, bias: bool = True, feedback: Feedback = "transpose"
    ) -> None:
        feedback = "sign" if feedback == "sign" else "transpose"
        super().__init__(features, num_classes=num_classes, seed=seed, bias=bias, feedback=feedback)
        self.linears = nn.ModuleDict()
        self.register_buffer("reference", torch.empty(0), persistent=False)  # device and dtype of layers to come

    def respond(self, values: Tensor, task_id: int | None = None, *, spikes: bool = False, **learning: Any) -> Tensor:
        """Return ``[..., columns]``: the task's labels, or those of all tasks in the order the tasks were begun."""
        names = self._names(task_id)
        return torch.cat([self._linear(name).product(values, spikes=spikes, **learning) for name in names], dim=-1)

    def placed(self, scores: Float[Tensor, "batch column"], task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores by label; labels that no asked task has hold minus infinity."""
        width = max(label for labels in self._labels_of.values() for label in labels) + 1
        missing = torch.full_like(scores[..., :1], -math.inf)
        placed, start = [], 0
        for name in self._names(task_id):
            labels = self.labels_of(int(name))
            column = {label: start + place for place, label in enumerate(labels)}
            start += len(labels)
            index = [column.get(label, scores.shape[-1]) for label in range(width)]
            chosen = torch.tensor(index, device=scores.device)
            placed.append(torch.cat([scores, missing], dim=-1).index_select(-1, chosen))
        return placed[0] if len(placed) == 1 else torch.stack(placed).amax(0)

    def synapse(self) -> Linear:
        """Return the layer of the task begun last."""
        return self._linear(self._names(None)[-1])

    def _linear(self, name: str) -> Linear:
        linear = self.linears[name]
        if not isinstance(linear, Linear):
            raise TypeError(f"layer {name} is no Linear")
        return linear

    def _names(self, task_id: int | None) -> list[str]:
        if not self._labels_of:
            raise BadInput("a multi-head answers for tasks with a task_id, and none was begun: call begin_task first")
        if task_id is None:
            return [str(known) for known in self._labels_of]
        self.labels_of(task_id)
        return [str(task_id)]

    def _make_room(self, task: Task) -> None:
        if task.task_id is None:
            raise BadInput(
                "a multi-head needs task.task_id, which only the task-incremental setting shows: use ExpandingHead"
            )
        known = self._labels_of.get(task.task_id, ())
        new = sorted(set(task.classes) - set(known))
        if known and new and min(new) < max(known):
            raise BadInput(f"task {task.task_id} was begun with labels {known}; {new} cannot be put between them")
        self._add(task.task_id, new)

    def _add(self, task_id: int, labels: Sequence[int]) -> None:
        name = str(task_id)
        if name not in self.linears:
            self.linears[name] = Linear(self.features, 0, bias=self.bias, feedback=self.feedback).to(self.reference)
        grow(self._linear(name), [initial_row(self.features, self.seed, "task", task_id, label) for label in labels])

    def _sizes_from(self, state: dict[str, Any], prefix: str) -> None:
        self.linears.clear()
        for task_id, labels in self._labels_of.items():
            self._add(task_id, labels)


class NoHead(Head):
    """No head: the network's answer is its features. For readouts that live elsewhere, such as nearest neighbours."""

    def respond(self, values: Tensor, task_id: int | None = None, *, spikes: bool = False, **learning: Any) -> Tensor:
        """Return ``values``."""
        return values

    def placed(self, scores: Float[Tensor, "batch column"], task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return ``scores``."""
        return scores

    def synapse(self) -> Linear:
        """Refuse: there are no weights."""
        raise BadInput("this network has no head, and so no weights there")


HEADS: dict[str, type[Head]] = {"single": SingleHead, "expanding": ExpandingHead, "multi": MultiHead, "none": NoHead}
