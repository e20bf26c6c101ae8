"""Lateral circuits protect networks of other libraries: two tasks, one network, plain training as the control."""

import pytest
import torch
from torch import Tensor, nn

from neurocl.networks import MLP, Direct
from neurocl.plasticity import HebbianRule, SettlingSpikes, SpikeRates, attach_lateral
from neurocl.primitives.seeding import generator, seeded
from neurocl.primitives.tasks import Task, TaskShape

INPUTS, HIDDEN, CLASSES, STEPS, CLOUDS = 60, 100, 4, 8, 20


def two_tasks() -> list[tuple[Tensor, Tensor]]:
    """Clouds around 20 random centres a task, labelled at random: the same inputs, other things to say about them."""
    draws = generator(5, "clouds")
    tasks = []
    for _ in range(2):
        centres = (torch.rand(CLOUDS, INPUTS, generator=draws) < 0.3).float()
        label = torch.randint(CLASSES, (CLOUDS,), generator=draws)
        cloud = torch.arange(20 * CLOUDS) % CLOUDS
        noise = 0.1 * torch.randn(len(cloud), 2, generator=draws) @ torch.randn(2, INPUTS, generator=draws)
        tasks.append((centres[cloud] + noise, label[cloud]))
    return tasks


class OurNetwork(nn.Module):
    def __init__(self, coding: str = "spiking") -> None:
        super().__init__()
        shape = TaskShape(input_shape=(INPUTS,), num_classes=CLASSES, num_tasks=2)
        self.net = MLP(
            shape, hidden=(HIDDEN,), coding=coding, encoding=Direct(STEPS), head="single", seed=1, readout="membrane"
        )
        classes = tuple(range(CLASSES))
        self.net.begin_task(
            Task(index=0, task_id=None, classes=classes, seen_classes=classes, boundary="clear", batches=None, size=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class SnnTorchNetwork(nn.Module):
    """Stepped by hand, each layer called once a step."""

    def __init__(self) -> None:
        super().__init__()
        snn = pytest.importorskip("snntorch")
        self.first, self.second = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, CLASSES)
        self.neuron = snn.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> Tensor:
        membrane, total = self.neuron.init_leaky(), 0.0
        for _ in range(STEPS):
            spikes, membrane = self.neuron(self.first(x), membrane)
            total = total + self.second(spikes)
        return total / STEPS * 3


class NorseNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        norse = pytest.importorskip("norse.torch")
        self.net = norse.SequentialState(
            nn.Linear(INPUTS, HIDDEN), norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(200.0))),
            nn.Linear(HIDDEN, CLASSES),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        state, total = None, 0.0
        for _ in range(STEPS):
            out, state = self.net(x, state)
            total = total + out
        return total / STEPS * 3


class SpikingJellyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
        self.functional = pytest.importorskip("spikingjelly.activation_based.functional")
        self.net = nn.Sequential(
            nn.Linear(INPUTS, HIDDEN), neuron.LIFNode(tau=2.0, step_mode="m"), nn.Linear(HIDDEN, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        self.functional.reset_net(self.net)
        return self.net(x.expand(STEPS, *x.shape)).mean(0) * 3


class RateNetwork(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(INPUTS, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, CLASSES))


class Convolutional(nn.Module):
    """Stride, padding, dilation and groups at once, on the inputs as an image."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding="same", dilation=2, groups=4, padding_mode="circular"), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 3 * 3, CLASSES),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.view(-1, 2, 5, 6))


def learn(network: nn.Module, task: tuple[Tensor, Tensor], optimiser: torch.optim.Optimizer, epochs: int) -> None:
    network.train()
    x, y = task
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator(epoch, "order"))
        for part in order.split(50):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x[part]), y[part]).backward()
            optimiser.step()


@torch.no_grad()
def accuracy(network: nn.Module, task: tuple[Tensor, Tensor]) -> float:
    network.eval()
    return float((network(task[0]).argmax(1) == task[1]).float().mean())


def outcome(make, *, protected: bool, adam: bool = False, epochs: int = 6, **options) -> tuple[float, float, float]:
    """Return accuracy on the first task when learnt and after the second, and on the second."""
    with seeded(3, "network"):
        network = make()
    tasks = two_tasks()
    circuits = None
    if protected:
        settings = {"rows": 24, "rule": HebbianRule(learning_rate=0.01)} | options
        circuits = attach_lateral(network, **settings)
    seen = []
    for task in tasks:
        optimiser: torch.optim.Optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
        if adam:
            optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
        if circuits is not None:
            circuits.begin_task()
            circuits.protect(optimiser)
        learn(network, task, optimiser, epochs)
        if circuits is not None:
            circuits.end_task()
        seen.append(accuracy(network, tasks[0]))
    return seen[0], seen[1], accuracy(network, tasks[1])


NETWORKS = [OurNetwork, SnnTorchNetwork, NorseNetwork, SpikingJellyNetwork, RateNetwork, lambda: OurNetwork("rate")]
NAMES = ["neurocl", "snntorch", "norse", "spikingjelly", "torch", "neurocl-rate"]


@pytest.mark.parametrize("make", NETWORKS, ids=NAMES)
def test_circuits_keep_the_first_task_where_plain_training_forgets_it(make):
    epochs = 12 if make is NorseNetwork else 6  # whose membranes need more
    plain, protected = outcome(make, protected=False, epochs=epochs), outcome(make, protected=True, epochs=epochs)
    assert plain[0] - plain[1] > 0.1, "nothing to protect"
    assert protected[0] - protected[1] <= 0.05
    assert protected[2] > 0.9, "protection must leave room to learn"


def test_circuits_keep_the_first_task_through_stride_padding_dilation_and_groups():
    plain = outcome(Convolutional, protected=False, epochs=15)
    protected = outcome(Convolutional, protected=True, epochs=15, rows="explained-variance", share=0.995)
    assert plain[0] - plain[1] > 0.1
    assert protected[0] - protected[1] <= 0.02
    assert protected[2] > 0.9


@pytest.mark.parametrize("neurons", [SpikeRates(), SettlingSpikes()], ids=["rates", "settling"])
@pytest.mark.parametrize("make", [RateNetwork, pytest.param(OurNetwork, marks=pytest.mark.slow)])
def test_spiking_lateral_neurons_keep_the_first_task(make, neurons):
    first, after, second = outcome(make, protected=True, neurons=neurons)
    assert first - after <= 0.05
    assert second > 0.9


@pytest.mark.parametrize("make", [RateNetwork, pytest.param(OurNetwork, marks=pytest.mark.slow)])
def test_projecting_the_update_keeps_the_guarantee_under_adam_and_weight_decay(make):
    plain = outcome(make, protected=False, adam=True)
    first, after, second = outcome(make, protected=True, adam=True)
    assert plain[0] - plain[1] > 0.05
    assert first - after <= 0.01
    assert second > 0.9
