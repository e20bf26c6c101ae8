"""Our network by the rule of each peer's neurons, with its speed-ups one by one; inputs; and how active layers are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from neurocl.networks import MLP, Direct, Frames, Linear, Readout
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import TaskShape
from neurocl.run.bench.peers import PRESETS, Peer

WIDTHS = (784, 400, 400, 10)
ACTIVE_PIXELS = 0.2  # of a static image, about MNIST's share
ACTIVE_INPUTS = 0.1  # of a raster, per step
ACTIVITIES_TRIED = 16  # halvings of the interval that holds the weight scale


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which of the speed-ups are on, beside the kernel.

    Attributes:
        constant: A static input is multiplied once, not at every step.
        events: Spikes are multiplied event by event.
    """

    constant: bool = False
    events: bool = False

    def __str__(self) -> str:
        named = {"constant current": self.constant, "event products": self.events}
        return " + ".join(["kernel", *(name for name, on in named.items() if on)])


def parts_for(kind: str) -> list[Parts]:
    """Return the speed-ups that a kind of input has, one more each time."""
    if kind == "static":
        return [Parts(), Parts(constant=True), Parts(constant=True, events=True)]
    return [Parts(), Parts(events=True)]


def draw_inputs(kind: str, *, time_steps: int, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return inputs, ``[B, 784]`` images or a ``[T, B, 784]`` raster, and labels."""
    draws = generator(seed, "bench", kind)
    labels = torch.randint(WIDTHS[-1], (batch,), generator=draws)
    if kind == "static":
        image = torch.rand(batch, WIDTHS[0], generator=draws)
        return image * (torch.rand(batch, WIDTHS[0], generator=draws) < ACTIVE_PIXELS), labels
    return (torch.rand(time_steps, batch, WIDTHS[0], generator=draws) < ACTIVE_INPUTS).float(), labels


class Ours(torch.nn.Module):
    """``neurocl.networks.MLP`` with the neurons of one library, and some of the speed-ups switched off.

    Args:
        library: Whose rule the neurons follow.
        kind: ``"static"`` or ``"raster"``.
        time_steps: Number of steps.
        parts: Which speed-ups are on.
        seed: Source of the weights.
    """

    def __init__(self, library: str, kind: str, *, time_steps: int, parts: Parts, seed: int = 0) -> None:
        super().__init__()
        self.repeats = time_steps if kind == "static" and not parts.constant else None
        static = kind == "static" and parts.constant
        shape = TaskShape(
            input_shape=WIDTHS[:1],
            num_classes=WIDTHS[-1],
            num_tasks=1,
            time_steps=None if static else time_steps,
        )
        self.network = MLP(
            shape,
            hidden=WIDTHS[1:-1],
            neuron=partial(PRESETS[library], kernel="eager"),
            encoding=Direct(time_steps) if static else Frames(time_steps, spikes=kind == "raster"),
            readout=Readout(),
            head="single",
            seed=seed,
        )
        for module in self.network.modules():
            if isinstance(module, Linear):
                module.event_products = parts.events

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores."""
        return self.network(self._repeated(inputs))

    def hidden(self, inputs: Tensor) -> list[Tensor]:
        """Return the spikes of both hidden layers."""
        return [layer.post for layer in self.network.activity(self._repeated(inputs))[:2]]

    def linears(self) -> list[Linear]:
        """Return the three layers of weights."""
        return [module for module in self.network.modules() if isinstance(module, Linear)]

    def _repeated(self, inputs: Tensor) -> Tensor:
        return inputs if self.repeats is None else inputs.expand(self.repeats, *inputs.shape)


def tune_activity(ours: Ours, inputs: Tensor, activity: float) -> None:
    """Scale the weights of one hidden layer after the other until it fires at ``activity`` spikes a neuron and step."""
    for index, linear in enumerate(ours.linears()[:2]):
        start = [parameter.detach().clone() for parameter in linear.parameters()]
        low, high = 1e-3, 1e3
        for _ in range(ACTIVITIES_TRIED):
            scale = (low * high) ** 0.5
            _scale(linear, start, scale)
            rate = float(ours.hidden(inputs)[index].mean())
            low, high = (scale, high) if rate < activity else (low, scale)


def _scale(linear: Linear, start: Sequence[Tensor], scale: float) -> None:
    with torch.no_grad():
        for parameter, value in zip(linear.parameters(), start, strict=True):
            parameter.copy_(value * scale)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far our spikes are the peer's.

    Attributes:
        rates: Spikes per neuron and step of both hidden layers, ours.
        same_rule: Share of equal spikes of each layer's neurons, given the same currents; 1 means bit for bit.
        same_network: Share of equal spikes of each layer in the whole network, where products may round differently.
    """

    rates: list[float]
    same_rule: list[float]
    same_network: list[float]


def compare_spikes(ours: Ours, peer: Peer, inputs: Tensor) -> Agreement:
    """Compare spikes before any time is measured."""
    with torch.no_grad():
        own, theirs = ours.hidden(inputs), peer.hidden(inputs)
        first = inputs if inputs.ndim == 3 else inputs.expand(peer.time_steps, *inputs.shape)
        same_rule = []
        for index, pre in enumerate((first, theirs[0])):
            currents = peer.linears[index](pre)
            layer: Any = ours.network.layers[index]
            same_rule.append(_share(layer.neuron(currents)[0], peer.response(index, currents)))
    return Agreement(
        rates=[float(spikes.mean()) for spikes in own],
        same_rule=same_rule,
        same_network=[_share(a, b) for a, b in zip(own, theirs, strict=True)],
    )


def _share(a: Tensor, b: Tensor) -> float:
    """Return the share of equal values; 1 only if all are."""
    return float((a == b).double().mean())
