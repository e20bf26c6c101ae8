"""A store of hidden activity: what passed a cut of a network, for a few samples of every class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from neurocl.memory.activity_stores import STORES, TIMINGS
from neurocl.memory.activity_table import (
    LABELS,
    ActivityTable,
    Reactivated,
    as_numbers,
    as_places,
    check_activity,
    check_labels,
)
from neurocl.memory.cut import Cut, Run
from neurocl.memory.sample_choice import CHOICES, chosen
from neurocl.primitives.checks import BadInput, check_count, check_name
from neurocl.primitives.tasks import Batch


class ActivationReplay:
    r"""Keeps what passes a cut of a network for some samples of every class, packed, and puts it back there.

    With N values at a step and T steps a sample takes :math:`\lceil NT/8 \rceil` bytes as ``"raster"``,
    :math:`\lceil N \lceil \log_2(T+1) \rceil / 8 \rceil` as ``"count"``,
    :math:`\lceil k \lceil \log_2 NT \rceil / 8 \rceil + 4` as ``"events"`` with k spikes, and
    :math:`\lceil NTb/8 \rceil + 8` as ``"quantised"`` with b bits; and 12 more for label, task and id. A sample
    is known by its id and task: offering it twice changes nothing.

    In your own code, around any network and any loss::

        memory = ActivationReplay("neuron1", store="raster", per_class=25)  # a name out of network.named_modules()
        for number, loader in enumerate(tasks):
            memory.begin_task(number)  # lets go of classes outside the horizon
            for ids, x, y in loader:
                loss = criterion(network(x), y)
                if len(memory):
                    past = memory.draw_balanced(64, generator)
                    loss = loss + criterion(memory.replay(network, past.activity), past.labels)
                optimiser.zero_grad(); loss.backward(); optimiser.step()
            for ids, x, y in loader:
                memory.add(memory.record(network, x), y, ids)

    Args:
        cut: Name of the module whose output is stored; also the number of a layer for neurocl's networks. All that is
            behind it must depend on the input through this output alone.
        store: ``"raster"`` and ``"events"`` come back bit for bit; ``"count"`` with other spike times;
            ``"quantised"`` rounded, for rate-coded units or membranes.
        per_class: Samples kept of every class of every task.
        horizon: Number of tasks before the present one whose samples stay; ``None`` keeps all.
        choose: ``"first"`` shown; ``"random"``, whatever the order they are shown in; ``"herding"``, whose mean rate is
            nearest to that of the class, among stored and newly offered samples: offer a class whole;
            ``"reservoir"``, a random part of all samples of the window, ``per_class`` times its classes.
        seed: Decides which samples stay by chance.
        bits: Of a quantised value, 1 to 16.
        timing: Spikes made of counts are ``"even"`` in time, or ``"bernoulli"``, drawn at each replay.
        sequence: Whether activity has a time axis, ``[T, B, ...]``; ``None`` finds out where that is not ambiguous.
        run: ``run(network, inputs, ...)`` where the network is called step by step in a loop of your own.

    Raises:
        BadInput: For unknown names and numbers out of range.

    Source:
        Gurbuz, Moorman & Dovrolis 2023, SHARP: short-term memory. Differs: classes outside the horizon are let go of;
        spikes are packed; quantised samples that are added together share one range by class and task, constants
        survive, and each sample carries its range; which samples stay can be chosen.
    """

    def __init__(
        self,
        cut: str | int,
        store: str = "raster",
        *,
        per_class: int = 25,
        horizon: int | None = 1,
        choose: str = "first",
        seed: int = 0,
        bits: int = 8,
        timing: str = "even",
        sequence: bool | None = None,
        run: Run | None = None,
    ) -> None:
        self.cut = Cut(cut, run)
        self.store = check_name("store", store, STORES)
        self.per_class = check_count("per_class", per_class)
        self.horizon = None if horizon is None else check_count("horizon", horizon)
        self.choose = check_name("choose", choose, CHOICES)
        self.seed = check_count("seed", seed, at_least=0)
        options = {"count": {"timing": timing}, "quantised": {"bits": bits}}.get(store, {})
        check_name("timing", timing, TIMINGS)
        STORES[store](1, 1, **options)  # refuses bits out of range
        self.task = 0
        self._table = ActivityTable(store, options, sequence)
        self._groups: set[int] = set()  # classes of tasks shown within the window

    def __len__(self) -> int:
        return len(self._table)

    @property
    def holds_spikes(self) -> bool:
        """Whether spikes are all that the store holds, as all but ``"quantised"``."""
        return STORES[self.store].spikes

    @property
    def labels(self) -> Int64[Tensor, " sample"]:
        """Label of every stored sample."""
        return torch.from_numpy(self._table.labels.astype(np.int64))

    @property
    def tasks(self) -> Int64[Tensor, " sample"]:
        """Task of every stored sample."""
        return torch.from_numpy(self._table.tasks.astype(np.int64))

    @property
    def sample_ids(self) -> Int64[Tensor, " sample"]:
        """Id of every stored sample."""
        return torch.from_numpy(self._table.ids.copy())

    @property
    def classes(self) -> tuple[int, ...]:
        """Labels stored, ascending."""
        return tuple(sorted(set(self._table.labels.tolist())))

    @property
    def bytes(self) -> int:
        """Bytes of everything stored: codes, label and task of 2 bytes each, ids of 8."""
        return self._table.bytes

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, :attr:`bytes`): nothing beside the memory."""
        return 0, self.bytes

    def record(self, network: nn.Module, inputs: Tensor, *args: Any, **kw: Any) -> Float[Tensor, "..."]:
        """Return what passes the cut; nothing is stored.

        In evaluation mode, without gradients, and from rest; modes are put back, hidden states are left reset.

        Args:
            network: Any module that has the cut.
            inputs: As the network takes them.
            args: What else it takes.
            kw: What else it takes.

        Returns:
            ``[T, B, ...]`` from neurocl's networks (one step where they are rate-coded) and from modules called step by
            step; otherwise as the module gives it. A module that is called once may be one of either kind: it gives a
            step of its own, ``[1, B, ...]``, where ``sequence=True`` and its output has no time axis yet.

        Raises:
            BadInput: If there is no such cut, it does not run, or it gives no floating-point tensor of one shape.
        """
        return self.cut.record(network, inputs, *args, sequence=self._table.sequence, **kw)

    def observe(self, network: nn.Module, batch: Batch, *, task: int | None = None) -> None:
        """Record the samples of a batch, and offer them; see :meth:`add`."""
        self.add(self.record(network, batch.inputs), batch.labels, batch.sample_ids, task=task)

    def replay(self, network: nn.Module, activity: Float[Tensor, "..."], *args: Any, **kw: Any) -> Any:
        """Return what the network makes of ``activity`` at the cut.

        Gradients reach everything behind the cut and nothing before it. Hidden states start from rest and are left
        reset. Modules before the cut are skipped where that is possible, and otherwise run on zeros in evaluation mode.

        Args:
            network: The network recorded from, in the mode that those behind the cut are to have.
            activity: As :meth:`record` or a draw gives it.
            args: What the network takes beside its inputs.
            kw: What the network takes beside its inputs.

        Raises:
            BadInput: If the activity does not fit the cut; the network is then as it was.
        """
        if 0 in check_activity(activity).shape:
            raise BadInput(f"activity must be of at least one sample and step; got {list(activity.shape)}")
        table = self._table
        leading = 1 + bool(table.sequence)
        if table.units and (
            activity.ndim != leading + len(table.units) or tuple(activity.shape[leading:]) != table.units
        ):
            wanted = ", ".join(["T", "B"][-leading:] + [str(size) for size in table.units])
            raise BadInput(f"activity must be [{wanted}] as what is stored; got {list(activity.shape)}")
        return self.cut.replay(network, activity, *args, sequence=table.sequence, **kw)

    def begin_task(self, task: int) -> None:
        """Let go of the classes of tasks outside the horizon, those before ``task - horizon``."""
        self.task = check_task(task)
        if self.horizon is None:
            return
        oldest = max(self.task - self.horizon, 0)
        self._groups = {group for group in self._groups if group // LABELS >= oldest}
        self._table.keep(np.flatnonzero(self._table.tasks >= oldest))

    def add(
        self, activity: Float[Tensor, "..."], labels: Tensor, sample_ids: Tensor, *, task: int | None = None
    ) -> None:
        """Offer samples; ``choose`` decides which stay.

        Args:
            activity: As :meth:`record` gives it.
            labels: ``[B]``, from 0 to 32,767.
            sample_ids: ``[B]``.
            task: Number of their task; the present one unless given. A later one begins that task.

        Raises:
            BadInput: If shapes do not agree, values are not finite or, for codes of spikes, not spikes of one
                amplitude; nothing is changed then.
        """
        task = self.task if task is None else check_task(task)
        label, ids = check_labels(labels, task), as_numbers("sample_ids", sample_ids)
        if len(label) != len(ids):
            raise BadInput(f"labels and sample_ids must be as many; got {len(label)} and {len(ids)}")
        there = self._table.ids[self._table.tasks == task]
        _, once = np.unique(ids, return_index=True)
        new = np.sort(once[~np.isin(ids[once], there)])
        before = self.task, self._groups, dict(vars(self._table))
        try:
            if task > self.task and len(new):
                self.begin_task(task)  # may leave nothing that activity has to be like
            values, sequence = self._table.oriented(check_activity(activity), len(ids), sequence=self.cut.timed)
            if not len(new) or (self.horizon is not None and task < self.task - self.horizon):
                return
            self._groups = {*self._groups, *(task * LABELS + label).tolist()}
            kept = self._chosen(task * LABELS + label[new], ids[new], values, new)
            stay, fresh = kept[kept < len(self)], new[kept[kept >= len(self)] - len(self)]
            if len(fresh):
                shown = values if len(fresh) == len(ids) else values[:, fresh]
                units = tuple(activity.shape[1 + sequence :])
                self._table.insert(shown, label[fresh], ids[fresh], task, stay=stay, units=units, sequence=sequence)
        except BadInput:
            self.task, self._groups = before[:2]
            vars(self._table).update(before[2])
            raise

    def draw(self, n: int, generator: torch.Generator) -> Reactivated:
        """Return ``n`` different samples drawn by ``generator``, or all in random order where there are fewer."""
        places = torch.randperm(len(self), generator=generator)[: check_count("n", n)]
        return self.take(places, generator)

    def draw_balanced(self, n: int, generator: torch.Generator) -> Reactivated:
        """Return ``n`` samples, as many of each class; what is left over goes to the first classes.

        A class's samples come without repetition until all were drawn, and then anew.
        """
        share, more = divmod(check_count("n", n), max(len(self.classes), 1))
        drawn = []
        for place, label in enumerate(self.classes):
            members, wanted = torch.from_numpy(np.flatnonzero(self._table.labels == label)), share + (place < more)
            rounds = -(-wanted // len(members))
            orders = [torch.randperm(len(members), generator=generator) for _ in range(rounds)]
            drawn += [members[torch.cat(orders)[:wanted]]] if wanted else []
        return self.take(torch.cat(drawn) if drawn else torch.zeros(0, dtype=torch.int64), generator)

    def take(
        self, places: Tensor | NDArray[Any] | Sequence[int], generator: torch.Generator | None = None
    ) -> Reactivated:
        """Return the samples at ``places``, which count from 0 to ``len(self) - 1``.

        Args:
            places: Which samples: whole numbers, or one truth for each stored sample, such as ``memory.labels == 3``.
            generator: Draws spike times where they are left to chance.

        Raises:
            BadInput: If nothing is stored, or places are none.
        """
        wanted = as_places(places, len(self))
        activity = self._table.decoded(wanted, generator)
        chosen = torch.from_numpy(wanted)
        return Reactivated(
            activity=activity, labels=self.labels[chosen], tasks=self.tasks[chosen], sample_ids=self.sample_ids[chosen]
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that is stored, and what is known of the cut."""
        return {
            "task": self.task,
            "groups": sorted(self._groups),
            "seen": dict(self.cut.seen),
            "table": self._table.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Raises:
            BadInput: If it is damaged, or of a memory with another store; nothing is changed then.
        """
        missing = [name for name in ("task", "groups", "seen", "table") if name not in state]
        if missing:
            raise BadInput(f"state must hold task, groups, seen and table; {', '.join(missing)} missing: it is damaged")
        self._table.load_state_dict(state["table"])
        self.task, self._groups, self.cut.seen = state["task"], set(state["groups"]), dict(state["seen"])

    def _chosen(
        self, groups: NDArray[np.int64], ids: NDArray[np.int64], values: NDArray[np.float32], new: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return who stays: places among the stored samples, and behind them the ``new`` ones of those offered."""
        stored = len(self)

        def rates(members: NDArray[np.int64]) -> NDArray[np.float32]:
            old, totals = members < stored, np.empty((len(members), values.shape[2]), np.float32)
            totals[~old] = values[:, new[members[~old] - stored]].sum(0)
            if old.any():
                totals[old] = self._table.totals(members[old])
            totals /= len(values)
            return totals

        return chosen(
            self.choose,
            np.concatenate([self._table.groups, groups]),
            np.concatenate([self._table.ids, ids]),
            quota=self.per_class,
            total=self.per_class * len(self._groups),
            seed=self.seed,
            rates=rates,
        )


def check_task(task: object) -> int:
    """Return the number of a task that two bytes hold."""
    number = check_count("task", task, at_least=0)
    if number >= LABELS:
        raise BadInput(f"task must lie from 0 to {LABELS - 1}; got {number}: count the tasks of a stream from 0")
    return number
