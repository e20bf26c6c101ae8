"""A store of raw samples for rehearsal, one byte a value where that loses nothing."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neurocl.memory.lots import lots
from neurocl.primitives.checks import BadInput, check_count, check_name
from neurocl.primitives.tasks import Batch

Policy = Literal["reservoir", "class-balanced", "per-class", "per-task-class", "everything"]
POLICIES: tuple[str, ...] = get_args(Policy)
DIVISORS = (255, 16, 1)  # values that are whole numbers over one of these are stored as bytes: pixels, digits, spikes


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Samples drawn from a store.

    Attributes:
        inputs: float32 ``[n, ...]``, or ``[T, n, ...]`` for sequences, exactly as they were added.
        labels: ``[n]``.
        task_ids: ``[n]`` where the setting names tasks, otherwise ``None``.
    """

    inputs: Float[Tensor, "..."]
    labels: Int64[Tensor, " sample"]
    task_ids: Int64[Tensor, " sample"] | None = None


class RawReplay:
    """Keeps a uniformly drawn part of the samples it is shown.

    Which samples stay depends on the seed and the samples alone (see :mod:`neurocl.memory.lots`): showing one twice, or
    in another order, changes nothing.

    Args:
        policy: ``"reservoir"``: ``size`` samples of all shown. ``"class-balanced"``: ``size`` samples, shared equally
            among the classes shown so far. ``"per-class"``: ``size`` samples of every class. ``"per-task-class"``:
            ``size`` of every class of every task, for domains that share labels. ``"everything"``: all of them.
        size: See ``policy``; without meaning for ``"everything"``.
        seed: Decides which samples stay.
        sequence: Whether inputs have time as first axis, ``[T, B, ...]``.
    """

    def __init__(self, policy: str, *, size: int = 0, seed: int = 0, sequence: bool = False) -> None:
        self.policy = check_name("policy", policy, POLICIES)
        self.size = 0 if policy == "everything" else check_count("size", size)
        self.seed = check_count("seed", seed, at_least=0)
        self.sequence = sequence
        self._codes = torch.empty(0)  # samples first; uint8 or float32
        self._divisor = 0  # of the codes; 0 where they are float32
        self._labels = torch.empty(0, dtype=torch.int16)
        self._tasks = torch.empty(0, dtype=torch.int16)
        self._ids = torch.empty(0, dtype=torch.int64)
        self._groups: list[int] = []  # classes (of tasks) that share the store
        self._tasks_named = False

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def bytes(self) -> int:
        """Bytes of everything stored: inputs at stored size, labels and task numbers of 2, ids of 8 bytes."""
        stored = (self._codes, self._labels, self._tasks, self._ids)
        return sum(tensor.numel() * tensor.element_size() for tensor in stored)

    @property
    def labels(self) -> Int64[Tensor, " sample"]:
        """Label of every stored sample."""
        return self._labels.long()

    @property
    def sample_ids(self) -> Int64[Tensor, " sample"]:
        """Id of every stored sample."""
        return self._ids.clone()

    @property
    def task_ids(self) -> Int64[Tensor, " sample"] | None:
        """Task of every stored sample where the setting names tasks, otherwise ``None``."""
        return self._tasks.long() if self._tasks_named else None

    @property
    def tasks(self) -> Int64[Tensor, " sample"]:
        """Number of the task under which every stored sample was added, whatever the setting names."""
        return self._tasks.long()

    def add(self, batch: Batch, *, task: int = 0) -> None:
        """Offer the samples of ``batch``; samples that are stored already are passed over.

        Args:
            batch: Samples with their ids.
            task: Number of the task they belong to.
        """
        inputs = batch.inputs.detach().cpu()
        inputs = inputs.transpose(0, 1) if self.sequence else inputs
        labels, ids = batch.labels.cpu(), batch.sample_ids.cpu()
        if not len(inputs) == len(labels) == len(ids):
            raise BadInput(f"inputs, labels and ids must be as many; got {len(inputs)}, {len(labels)} and {len(ids)}")
        new = ~torch.isin(ids, self._ids)
        if not new.any():
            return
        self._tasks_named = batch.task_id is not None
        self._append_inputs(inputs[new])
        self._labels = torch.cat([self._labels, labels[new].to(torch.int16)])
        self._tasks = torch.cat([self._tasks, torch.full((int(new.sum()),), task, dtype=torch.int16)])
        self._ids = torch.cat([self._ids, ids[new]])
        self._keep(self._chosen())

    def draw(self, n: int, generator: torch.Generator) -> Replayed:
        """Return ``n`` different samples drawn by ``generator``, or all in random order where there are fewer."""
        return self.take(torch.randperm(len(self), generator=generator)[: check_count("n", n)])

    def take(self, places: Int64[Tensor, " sample"]) -> Replayed:
        """Return the samples at ``places``, which count from 0 to ``len(self) - 1``."""
        inputs = decoded(self._codes[places], self._divisor)
        return Replayed(
            inputs=inputs.transpose(0, 1) if self.sequence else inputs,
            labels=self._labels[places].long(),
            task_ids=None if self.task_ids is None else self.task_ids[places],
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that is stored."""
        return {
            "codes": self._codes,
            "divisor": self._divisor,
            "labels": self._labels,
            "tasks": self._tasks,
            "ids": self._ids,
            "groups": list(self._groups),
            "tasks_named": self._tasks_named,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._codes, self._divisor = state["codes"].clone(), state["divisor"]
        self._labels, self._tasks, self._ids = (state[name].clone() for name in ("labels", "tasks", "ids"))
        self._groups, self._tasks_named = list(state["groups"]), state["tasks_named"]

    def _append_inputs(self, inputs: Tensor) -> None:
        """Append in the present code; find another for all samples where the present one would lose something."""
        if not len(self):
            self._divisor = next((d for d in DIVISORS if is_exact(inputs, d)), 0)
            self._codes = encoded(inputs, self._divisor)
        elif self._divisor and not is_exact(inputs, self._divisor):
            everything = torch.cat([decoded(self._codes, self._divisor), inputs.to(torch.float32)])
            self._divisor = next((d for d in DIVISORS if is_exact(everything, d)), 0)
            self._codes = encoded(everything, self._divisor)
        else:
            self._codes = torch.cat([self._codes, encoded(inputs, self._divisor)])

    def _chosen(self) -> Int64[Tensor, " sample"]:
        """Return the places of the samples that stay, ascending."""
        if self.policy == "everything":
            return torch.arange(len(self))
        order = lots(self._ids, self.seed, "raw replay").argsort(stable=True)
        if self.policy == "reservoir":
            return order[: self.size].sort().values
        group = self.labels
        if self.policy == "per-task-class":
            group = group + self._tasks.long() * (torch.iinfo(torch.int16).max + 1)
        self._groups = sorted({*self._groups, *group.tolist()})
        share, more = divmod(self.size, len(self._groups)) if self.policy == "class-balanced" else (self.size, 0)
        if more:  # who gets one more hangs on lots too, or the order of appearance would decide
            drawn = lots(torch.tensor(self._groups), self.seed, "raw replay, classes")
            self._groups = [self._groups[place] for place in drawn.argsort().tolist()]
        quotas = {g: share + (place < more) for place, g in enumerate(self._groups)}
        return torch.cat([order[group[order] == g][:quota] for g, quota in quotas.items()]).sort().values

    def _keep(self, places: Tensor) -> None:
        """Drop all samples but those at ``places``."""
        if len(places) < len(self):
            self._codes, self._labels = self._codes[places], self._labels[places]
            self._tasks, self._ids = self._tasks[places], self._ids[places]


def encoded(inputs: Tensor, divisor: int) -> Tensor:
    """Return ``inputs`` times ``divisor`` as bytes, or as float32 where ``divisor`` is 0."""
    if not divisor:
        return inputs.to(torch.float32).clone()
    return (inputs * divisor).round().to(torch.uint8)


def decoded(codes: Tensor, divisor: int) -> Float[Tensor, "..."]:
    """Undo :func:`encoded`."""
    return codes.to(torch.float32) / divisor if divisor else codes


def is_exact(inputs: Tensor, divisor: int) -> bool:
    """Tell whether every value is a whole number from 0 to 255 over ``divisor``, in float32 arithmetic."""
    codes = (inputs * divisor).round()
    inside = bool(((codes >= 0) & (codes <= 255)).all())
    return inside and torch.equal(decoded(codes, divisor), inputs)
