"""Learning by gradient descent: one visible loop, to which a mechanism adds only what it needs.

A mechanism is any object; its methods are handed to :class:`GradientLearner` at the place where they act: as a loss
term, as a transform of the gradients, after the step, at the beginning or at the end of a task. If it has a state, the
object itself is named under ``parts`` as well, so that checkpoints and byte counts see it. The file stays whole, a
little longer than others, for the loop to be read in one place.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, cast, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn, optim

from neurocl.learners.cross_entropy import LOSS_MASKS, cross_entropy, masked
from neurocl.learners.footprint import copied, measured, tensor_bytes
from neurocl.learners.learner import Abilities, Cost, Diverged, Schedule
from neurocl.learners.optimisers import Annealing, MakeOptimiser, annealed, carry_over, with_names
from neurocl.learners.updates import Updates
from neurocl.networks import evaluating
from neurocl.primitives.checks import BadInput, check_finite, check_name
from neurocl.primitives.tasks import Batch, Task


@dataclass(kw_only=True)
class Step:
    """What loss terms see of one step.

    Attributes:
        network: The network that learns; :attr:`scores` is its answer to the batch, computed once.
        batch: Samples of the current task.
        competing: Classes whose logits compete in the loss of the current batch; ``None`` means all columns.
        seen: Labels that occurred so far, ascending.
        tasks_begun: Number of tasks begun, the current one included.
        number: Steps made before this one, over all tasks.
        share: Weight of this step's losses; below 1 where a batch is learnt moment by moment (``training="ottt"``).
        given: Scores that were computed already, of one moment; ``None`` where the network has yet to answer.
    """

    network: nn.Module
    batch: Batch
    competing: tuple[int, ...] | None
    seen: tuple[int, ...]
    tasks_begun: int
    number: int
    share: float = 1.0
    given: Tensor | None = None

    @cached_property
    def scores(self) -> Float[Tensor, "batch label"]:
        """Scores of the current batch, with gradient."""
        if self.given is not None:
            return self.given
        return self.network(self.batch.inputs, self.batch.task_id)


def moments_of(step: Step) -> Iterator[Step]:
    """Yield the step itself, or one for every moment where the network learns forward in time.

    Each moment has scores of its own; its losses count by its share. Ask for the next one after the backward pass.
    """
    if getattr(step.network, "training_mode", "surrogate") != "ottt":
        yield step
        return
    for share, scores in cast(Any, step.network).scores_over_time(step.batch.inputs, step.batch.task_id):
        yield replace(step, share=share, given=scores)


def batch_loss(step: Step) -> Float[Tensor, ""]:
    """Return the cross-entropy of the current batch over the competing classes."""
    return cross_entropy(step.scores, step.batch.labels, classes=step.competing)


@runtime_checkable
class Part(Protocol):
    """An object with a state that outlives a task: memory, importance, circuits."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers, strings, and dicts and lists of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        ...

    def byte_counts(self) -> tuple[int, int]:
        """Return (auxiliary bytes, memory bytes) as :class:`Cost` divides them."""
        ...


class GradientLearner:
    """Learns each batch by one step of gradient descent on a sum of loss terms.

    A network with ``training="ottt"`` is asked for its scores moment by moment; each moment's losses are sent back
    before the next begins, and the step is made once they all were. Terms that ask the network again, as replay does,
    get the gradient of backpropagation through time there.

    Args:
        network: ``network(inputs, task_id) -> scores``, with ``begin_task`` (see :mod:`neurocl.networks.network`).
        schedule: Batch size and passes that the learner asks for.
        optimiser: Makes an optimiser from parameters.
        name: What error messages call the learner.
        device: Where the network computes.
        loss_mask: Classes whose logits compete in the loss of the current batch: ``"seen"`` all classes seen so far;
            ``"task"`` those of the current task (the labels trick); ``"all"`` every column the head has. Where the
            setting names tasks, the task's own columns compete, whatever stands here.
        anneal: How the learning rate falls within each task, see :func:`~neurocl.learners.optimisers.annealed`.
        fresh_optimiser: Whether every task begins with an optimiser without memory; where the stream hides where tasks
            begin (blurry boundaries), the optimiser goes on in any case.
        loss_terms: Summed into the loss; each is named in what ``observe`` returns.
        gradient_transforms: Called in order between the backward pass and the step; they change ``.grad`` in place.
        after_step: Called in order after the weights changed.
        at_task_begin: Called after the network made room for the task's classes.
        at_task_end: Called after the last batch of a task.
        parts: Objects whose state belongs to the learner.
        abilities: What the learner needs and does.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        *,
        optimiser: MakeOptimiser,
        name: str,
        device: str | torch.device = "cpu",
        loss_mask: str = "seen",
        anneal: str = "constant",
        fresh_optimiser: bool = True,
        loss_terms: Mapping[str, Callable[[Step], Tensor]] | None = None,
        gradient_transforms: Sequence[Callable[[nn.Module], object]] = (),
        after_step: Sequence[Callable[[Step], object]] = (),
        at_task_begin: Sequence[Callable[[Task], object]] = (),
        at_task_end: Sequence[Callable[[Task], object]] = (),
        parts: Mapping[str, Part] | None = None,
        abilities: Abilities | None = None,
    ) -> None:
        self.network = network.to(device)
        self.schedule = schedule
        self.abilities = abilities or Abilities()
        self.name = name
        self.device = torch.device(device)
        self.loss_mask = check_name("loss_mask", loss_mask, LOSS_MASKS)
        self.anneal = check_name("way to anneal", anneal, get_args(Annealing))
        self.fresh_optimiser = fresh_optimiser
        self.loss_terms = dict(loss_terms or {"batch": batch_loss})
        self.gradient_transforms = tuple(gradient_transforms)
        self.after_step = tuple(after_step)
        self.at_task_begin = tuple(at_task_begin)
        self.at_task_end = tuple(at_task_end)
        self.parts = dict(parts or {})
        self.seen: tuple[int, ...] = ()
        self.tasks_begun = 0
        self.steps = 0
        self._updates = Updates(self.network)
        self._make_optimiser = self._updates.watching(optimiser)
        self._optimiser: optim.Optimizer | None = None
        self._names: list[str] = []
        self._reports = False
        self._forgets = fresh_optimiser
        self._task_classes: tuple[int, ...] = ()
        self._task_steps, self._steps_before = 1, 0

    def begin_task(self, task: Task) -> None:
        """Make room for the task's classes, and renew the optimiser where asked for."""
        cast(Any, self.network).begin_task(task)
        self.seen = tuple(sorted({*self.seen, *task.seen_classes}))
        self.tasks_begun += 1
        self._task_classes, self._task_steps = task.classes, self.schedule.batches_in(task)
        self._steps_before = self.steps
        self._forgets = self.fresh_optimiser and task.boundary != "blurry"
        self._renew_optimiser()
        own = any(isinstance(part, Updates) for part in self.parts.values())
        self._reports = self._updates.wanted and not own
        if self._reports:
            self._updates.begin(task)
        for act in self.at_task_begin:
            act(task)

    def observe(self, batch: Batch) -> dict[str, float]:
        """Make one step on ``batch``; the whole of what happens to a batch stands here."""
        optimiser = self._optimiser
        if optimiser is None:
            raise BadInput(f"{self.name}: observe comes after begin_task, and before end_task")
        check_batch(batch, self.seen)
        self.network.train()
        step = Step(
            network=self.network,
            batch=batch,
            competing={"seen": self.seen, "task": self._task_classes, "all": None}[self.loss_mask],
            seen=self.seen,
            tasks_begun=self.tasks_begun,
            number=self.steps,
        )
        values = dict.fromkeys(self.loss_terms, 0.0)
        optimiser.zero_grad(set_to_none=True)
        for moment in moments_of(step):  # one, but for networks that learn forward in time
            losses = {name: moment.share * term(moment) for name, term in self.loss_terms.items()}
            values = {name: values[name] + float(loss.detach()) for name, loss in losses.items()}
            self._check_losses(values)
            torch.stack(list(losses.values())).sum().backward()
        for transform in self.gradient_transforms:
            transform(self.network)
        self._anneal(optimiser)
        optimiser.step()
        for act in self.after_step:
            act(step)
        self.steps += 1
        return values

    def end_task(self, task: Task) -> None:
        """Let the mechanisms look back on the task."""
        self.network.zero_grad(set_to_none=True)
        if self._reports:
            self._updates.end(task)
        for act in self.at_task_end:
            act(task)
        if self._forgets:
            self._optimiser = None

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return scores; columns of classes not seen, and of other tasks where ``task_id`` is given, are ``-inf``."""
        if not self.seen:
            raise BadInput(f"{self.name} has seen no class yet: call begin_task before predict")
        with torch.no_grad(), evaluating(self.network):
            return masked(self.network(inputs, task_id), self.seen)

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes; with ``probe`` measure operations and firing rates of one prediction too."""
        parts = [part.byte_counts() for part in self.parts.values()]
        optimiser = tensor_bytes(self._optimiser.state_dict()) if self._optimiser and not self._forgets else 0
        return Cost(
            parameter_bytes=tensor_bytes(self.network.state_dict()),
            auxiliary_bytes=optimiser + sum(auxiliary for auxiliary, _ in parts),
            memory_bytes=sum(memory for _, memory in parts),
            **measured(self.network, probe),
        )

    def diagnostics(self) -> dict[str, Any]:
        """Return what the mechanisms have to say of the last task, by name; plain numbers, texts, lists and dicts."""
        parts = {"updates": self._updates} | self.parts if self._reports else self.parts
        return {name: cast(Any, part).diagnostics() for name, part in parts.items() if hasattr(part, "diagnostics")}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that outlives a task."""
        return copied(
            {
                "network": self.network.state_dict(),
                "optimiser": self._optimiser.state_dict() if self._optimiser else None,
                "seen": list(self.seen),
                "task_classes": list(self._task_classes),
                "tasks_begun": self.tasks_begun,
                "steps": self.steps,
                "parts": {name: part.state_dict() for name, part in self.parts.items()},
                "updates": self._updates.state_dict(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; the learner must be built from the same config."""
        self.network.load_state_dict(state["network"])
        self.seen = tuple(state["seen"])
        self._task_classes = tuple(state["task_classes"])
        self.tasks_begun = state["tasks_begun"]
        self.steps = state["steps"]
        self._optimiser = None
        if state["optimiser"] is not None:
            self._renew_optimiser().load_state_dict(copied(state["optimiser"]))
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self._updates.load_state_dict(state["updates"])

    def _renew_optimiser(self) -> optim.Optimizer:
        """Make an optimiser for the parameters as they are now; carry its memory over unless it is to be fresh."""
        names = [name for name, _ in self.network.named_parameters()]
        renewed = with_names(self._make_optimiser(self.network.parameters()), self.network)
        if self._optimiser is not None and not self._forgets:
            carry_over(self._optimiser, renewed, old_names=self._names, new_names=names)
        self._optimiser, self._names = renewed, names
        return renewed

    def _anneal(self, optimiser: optim.Optimizer) -> None:
        """Set the learning rates for the step that comes."""
        if self.anneal != "constant":
            left = annealed(self.anneal, (self.steps - self._steps_before) / self._task_steps)
            for group in optimiser.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * left

    def _check_losses(self, losses: Mapping[str, float]) -> None:
        """Refuse to step on a loss that is not finite; the weights are as before the batch."""
        bad = [f"{name} = {value}" for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(
                f"{self.name} diverged: loss {', '.join(bad)} at step {self.steps} (task {self.tasks_begun - 1}); "
                "lower the learning rate with --set learning_rate=..., or the strength of the extra loss terms"
            )


def check_batch(batch: Batch, seen: Sequence[int]) -> None:
    """Refuse a batch that is empty, holds NaN, or shows a label that no task announced."""
    if not len(batch):
        raise BadInput("a batch must hold at least one sample; got none")
    check_finite("inputs of a batch", batch.inputs)
    strange = sorted(set(batch.labels.unique().tolist()) - set(seen))
    if strange:
        raise BadInput(
            f"labels of a batch must be among the classes announced by begin_task, {list(seen)}; got {strange}"
        )
