"""What a learner keeps of its last tasks, and how it comes back: hidden activity at a cut, or samples as they were.

What is kept and what is read of it comes by dense products, so that frozen units give the same bits whatever others do.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neurocl.learners.active_network import ActiveNetwork
from neurocl.learners.gradient_learner import Part
from neurocl.memory import ActivationReplay, RawReplay
from neurocl.networks import Network, evaluating
from neurocl.networks.layers import HiddenLayer
from neurocl.networks.reactivation import place_of
from neurocl.plasticity.fisher import dense_products
from neurocl.primitives.annotation import annotated
from neurocl.primitives.checks import BadInput, check_count
from neurocl.primitives.tasks import Task

AT_ONCE = 1024  # samples recorded together


@runtime_checkable
class Window(Part, Protocol):
    """Contract: keeps samples of a task that ends, lets go of what is older than its horizon, and replays."""

    def check(self, network: Network) -> None:
        """Refuse a network whose samples cannot be kept, before it has learnt anything."""
        ...

    def keep(self, network: Network, task: Task) -> None:
        """Keep samples of ``task``, and let go of what the next task will not replay."""
        ...

    def classes(self) -> list[int]:
        """Return the labels kept."""
        ...

    def replayed(self, working: ActiveNetwork, n: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return features with gradient, and labels, of ``n`` samples spread over the classes."""
        ...

    def features_of(self, network: Network, label: int) -> Tensor:
        """Return features of all that is kept of a class, in evaluation mode and without gradient."""
        ...

    def hidden_of(self, network: Network, label: int, *, last: int, read: str = "spikes") -> Tensor:
        """Return what :meth:`~neurocl.networks.Network.hidden_features` gives for all that is kept of a class."""
        ...


class ActivationWindow:
    """Hidden activity behind a layer: what lies before it does not run in replay, and cannot be corrected by it.

    Args:
        memory: The store, with its horizon; its cut is the number of the layer.

    Raises:
        BadInput: If the cut is none.
    """

    def __init__(self, memory: ActivationReplay) -> None:
        if not isinstance(memory.cut.name, int):
            raise BadInput(
                f"cut of a window must be the number of a layer; got {memory.cut.name!r}: ActivationReplay(1) cuts "
                "behind layers.1"
            )
        self.memory = memory
        self.layer = memory.cut.name

    def check(self, network: Network) -> None:
        """Refuse a store of spikes behind a layer that sends none, or averages of some."""
        layers = [layer for layer in network.layers if isinstance(layer, HiddenLayer)]
        layer = layers[place_of(self.layer, layers)[0]]
        spiking = getattr(getattr(layer, "neuron", None), "spiking", False)
        if self.memory.holds_spikes and not (spiking and not isinstance(getattr(layer, "pool", None), nn.AvgPool2d)):
            sends = "averages of spikes" if spiking else "rates"
            raise BadInput(
                f"store must be 'quantised' behind layers.{self.layer}, which sends {sends}; got "
                f"{self.memory.store!r}, a code of spikes alone"
            )

    def keep(self, network: Network, task: Task) -> None:
        """Record the task's samples and keep those that the store chooses; see the contract."""
        device = next(network.parameters()).device
        for batch in task.batches(AT_ONCE, -1):
            with dense_products(network):
                activity = self.memory.record(network, batch.inputs.to(device))
            self.memory.add(activity, batch.labels, batch.sample_ids, task=task.index)
        self.memory.begin_task(task.index + 1)

    def classes(self) -> list[int]:
        """Return the labels kept."""
        return [*self.memory.classes]

    def replayed(self, working: ActiveNetwork, n: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return features with gradient, and labels, of ``n`` samples spread over the classes."""
        drawn, network = self.memory.draw_balanced(n, draws), working.network
        device = next(network.parameters()).device
        activity = working.at_cut(drawn.activity.to(device), self.layer)
        with annotated(phase="replay", labels=drawn.labels, task=None, sample_ids=None):
            return network.forward_from(self.layer, activity), drawn.labels.to(device)

    def features_of(self, network: Network, label: int) -> Tensor:
        """Return features of all that is kept of a class, in evaluation mode and without gradient."""
        places = (self.memory.labels == label).nonzero().squeeze(1)
        activity = self.memory.take(places).activity.to(next(network.parameters()).device)
        with torch.no_grad(), evaluating(network), dense_products(network):
            return self.memory.replay(network, activity)

    def hidden_of(self, network: Network, label: int, *, last: int, read: str = "spikes") -> Tensor:
        """Return what :meth:`~neurocl.networks.Network.hidden_features` gives for all that is kept of a class."""
        found: list[Tensor] = []

        def collect(layer: nn.Module, inputs: Any, signal: Any) -> None:
            found.append(network.read(layer, inputs[0], signal, read=read))

        hooks = [layer.register_forward_hook(collect) for layer in network.layers[-last:]]
        try:
            self.features_of(network, label)
        finally:
            for hook in hooks:
                hook.remove()
        if len(found) < last:
            raise BadInput(f"layers read must lie behind the cut, {self.memory.cut.name}; read at most {len(found)}")
        return torch.cat(found, dim=1)

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, bytes of the store)."""
        return self.memory.byte_counts()

    def state_dict(self) -> dict[str, Any]:
        """Return the store's state."""
        return self.memory.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.memory.load_state_dict(state)


class RawWindow:
    """Samples of the last tasks as they were.

    Args:
        per_class: Samples of every class of every task.
        horizon: Number of tasks before the present one whose samples stay.
        seed: Decides which samples are kept.
        sequence: Whether inputs have time as first axis.
    """

    def __init__(self, per_class: int, *, horizon: int, seed: int = 0, sequence: bool = False) -> None:
        self.per_class = check_count("per_class", per_class)
        self.horizon = check_count("horizon", horizon)
        self.seed, self.sequence = seed, sequence
        self.stores: dict[int, RawReplay] = {}

    def check(self, network: Network) -> None:
        """Accept every network: its inputs are what is kept."""

    def keep(self, network: Network, task: Task) -> None:
        """Keep samples of every class of ``task``; see the contract."""
        store = self._store()
        for batch in task.batches(AT_ONCE, -1):
            store.add(batch, task=task.index)
        kept = {**self.stores, task.index: store}
        self.stores = {index: one for index, one in kept.items() if index > task.index - self.horizon}

    def classes(self) -> list[int]:
        """Return the labels kept."""
        return sorted({label for store in self.stores.values() for label in store.labels.tolist()})

    def replayed(self, working: ActiveNetwork, n: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return features with gradient, and labels, of ``n`` samples spread over the classes."""
        labels, inputs, network = self.classes(), [], working.network
        shares = [n // len(labels) + (place < n % len(labels)) for place in range(len(labels))]
        counts = []
        for label, share in zip(labels, shares, strict=True):
            own = self._of(label)
            axis = 1 if self.sequence else 0
            order = torch.randperm(own.shape[axis], generator=draws)
            places = order.repeat(-(-share // len(order)))[:share]
            inputs.append(own.index_select(axis, places))
            counts.append(share)
        device = next(network.parameters()).device
        drawn = torch.cat(inputs, dim=1 if self.sequence else 0).to(device)
        kinds = torch.tensor(labels).repeat_interleave(torch.tensor(counts))
        with annotated(phase="replay", labels=kinds, task=None, sample_ids=None):
            return network(drawn), kinds.to(device)

    def features_of(self, network: Network, label: int) -> Tensor:
        """Return features of all that is kept of a class, in evaluation mode and without gradient."""
        with torch.no_grad(), evaluating(network), dense_products(network):
            return network(self._of(label).to(next(network.parameters()).device))

    def hidden_of(self, network: Network, label: int, *, last: int, read: str = "spikes") -> Tensor:
        """Return what :meth:`~neurocl.networks.Network.hidden_features` gives for all that is kept of a class."""
        with dense_products(network):
            return network.hidden_features(self._of(label).to(next(network.parameters()).device), last=last, read=read)

    def byte_counts(self) -> tuple[int, int]:
        """Return (0, bytes of the samples)."""
        return 0, sum(store.bytes for store in self.stores.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the samples by task."""
        return {str(index): store.state_dict() for index, store in self.stores.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.stores = {}
        for index, kept in state.items():
            self.stores[int(index)] = self._store()
            self.stores[int(index)].load_state_dict(kept)

    def _store(self) -> RawReplay:
        return RawReplay("per-class", size=self.per_class, seed=self.seed, sequence=self.sequence)

    def _of(self, label: int) -> Tensor:
        """Return all samples kept of a class."""
        axis = 1 if self.sequence else 0
        found = [s.take((s.labels == label).nonzero().squeeze(1)).inputs for s in self.stores.values()]
        return torch.cat([part for part in found if part.shape[axis]], dim=axis)
