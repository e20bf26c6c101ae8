"""What do lateral circuits cost? Processor time of one training step, and peak memory, beside the same network alone.

784-800-800-10, DSR, T = 20, batches of 64; rows of a layer as in the second and the eighth of ten permutations. Beside
ours stands the published order of operations, written down from the paper's equations: every step of every sequence
goes through every product, five Hebbian changes a batch over all rows. Run by ``pytest
tests/benchmarks/test_lateral_speed.py -m slow -n 0``, which prints milliseconds, ratios and megabytes: least of
interleaved rounds in one process, memory in processes of their own.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neurocl.networks import MLP, Direct, WeightedRate
from neurocl.neurons import DSRLIF
from neurocl.plasticity import HebbianRule, LateralCircuits, SimilarityMatching, attach_lateral
from neurocl.primitives.tasks import TaskShape
from neurocl.run.peak import peak_bytes

SHAPE = TaskShape(input_shape=(1, 28, 28), num_classes=10, num_tasks=10, setting="domain-incremental")
FIRST, LATER = (80, 200, 100), (70, 70, 50, 50, 50, 30, 30, 30, 10)  # published rows, by layer and by task
TASKS = [((), FIRST)] + [(tuple(n + sum(LATER[:at]) for n in FIRST), (rows,) * 3) for at, rows in enumerate(LATER)]
ROWS = {"without": ((), ()), "second task": TASKS[1], "eighth task": TASKS[7]}  # old ones, and those that learn
TIME = {"tau_membrane_ms": 20.0, "dt_ms": 1.0}
STEPS, KEEP, THRESHOLD, FIRE_AT, DT = 20, 0.951229424500714, 0.3, 0.3, 0.05
ROUNDS = 12


def made(old: tuple[int, ...], new: tuple[int, ...], *, rule: str = "matching") -> tuple[MLP, LateralCircuits | None]:
    """Return the network, in some task, and its circuits."""
    network = MLP(
        SHAPE,
        hidden=(800, 800),
        bias=False,
        neuron=lambda: DSRLIF(threshold=THRESHOLD, fire_at=FIRE_AT, trainable=True, **TIME),
        head="single",
        encoding=Direct(STEPS),
        readout=WeightedRate(tau_ms=20.0, dt_ms=1.0),
        training="dsr",
        seed=0,
    )
    if not new:
        return network, None
    names = ["layers.0.synapse", "layers.1.synapse", "head.linear"]
    published = rule == "oja"
    circuits = attach_lateral(
        network,
        rows={name: [*old[at : at + 1], new[at]] for at, name in enumerate(names)},
        rule=HebbianRule(deflate=False) if published else SimilarityMatching(),
        rules={names[0]: HebbianRule(deflate=False, learning_rate=0.001)} if published else None,
        orthonormalise="never" if published else "task",
    )
    circuits.begin_task()
    if old:
        functional.cross_entropy(network(images()[0]), images()[1]).backward()
        circuits.end_task()
        network.zero_grad()
        network.freeze_normalisation()
        circuits.begin_task()
    return network, circuits


def images() -> tuple[Tensor, Tensor]:
    """Return a batch of made-up images, a fifth of their pixels lit, and labels."""
    draws = torch.Generator().manual_seed(0)
    lit = torch.rand(64, 1, 28, 28, generator=draws) < 0.2
    return torch.rand(64, 1, 28, 28, generator=draws) * lit, torch.arange(64) % 10


def ours(old: tuple[int, ...], new: tuple[int, ...], *, rule: str = "matching") -> Callable[[], None]:
    """Return one step of training."""
    network, _ = made(old, new, rule=rule)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, fused=True)
    inputs, labels = images()

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(network(inputs), labels).backward()
        optimiser.step()

    return step


class EveryStep(torch.autograd.Function):
    """A layer under linear lateral neurons, which answer every row of ``[time * batch, pre]``."""

    @staticmethod
    def forward(ctx, x, weight, rows):
        ctx.save_for_backward(x if rows is None else x - (x @ rows.T) @ rows, weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, grad):
        left, weight = ctx.saved_tensors
        return grad @ weight if ctx.needs_input_grad[0] else None, grad.T @ left, None


class Rates(torch.autograd.Function):
    """The neurons, step by step; errors of all steps reach the rate by its weights, and are split over the steps."""

    @staticmethod
    def forward(ctx, current, weights):
        u, out = torch.zeros_like(current[0]), []
        for now in current:
            u = KEEP * u + (1 - KEEP) * now
            spike = (u >= FIRE_AT * THRESHOLD).to(u.dtype)
            u = u - THRESHOLD * spike
            out.append(spike * (THRESHOLD / DT))
        ctx.save_for_backward(torch.tensordot(weights, current, 1), weights)
        return torch.stack(out)

    @staticmethod
    def backward(ctx, grad):
        rate_in, weights = ctx.saved_tensors
        total = torch.tensordot(weights, grad, 1) * ((rate_in > 0) & (rate_in < THRESHOLD / DT))
        return total.expand_as(grad), None


class Published:
    """The published order of operations on the weights and rows of ``made``; ``step`` is one step of training."""

    def __init__(self, old: tuple[int, ...], new: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> None:
        network, circuits = made(old, new, rule="oja")
        self.weights = [weight.detach().to(dtype).requires_grad_() for weight in network.parameters() if weight.dim()]
        each = [] if circuits is None else [layer.circuits[0] for layer in circuits.layers.values()]
        self.rows = [torch.cat([circuit.old, circuit.new]).to(dtype) for circuit in each] or [None] * 3
        self.old = [len(circuit.old) for circuit in each] or [0] * 3
        self.velocity = [None if rows is None else torch.zeros_like(rows) for rows in self.rows]
        self.optimiser = torch.optim.SGD(self.weights, lr=0.1)
        inputs, self.labels = images()
        self.x = inputs.to(dtype).flatten(1).expand(STEPS, -1, -1).contiguous()
        of_steps = torch.exp(-DT * torch.arange(STEPS - 1, -1, -1, dtype=dtype))
        self.of_steps = of_steps / of_steps.sum()

    def scores(self) -> Tensor:
        """Go through the layers, rows learning on the way."""
        x = self.x
        for place, weight in enumerate(self.weights):
            rows = self.rows[place]
            old = rows[: self.old[place]] if self.old[place] else None
            current = EveryStep.apply(x.flatten(0, 1), weight, old).unflatten(0, x.shape[:2])
            if rows is not None:
                self.learn(place, torch.tensordot(self.of_steps, x.detach(), 1))
            x = Rates.apply(current, self.of_steps) if place < 2 else current
        return torch.tensordot(self.of_steps, x, 1)

    @torch.no_grad()
    def learn(self, place: int, x: Tensor) -> None:
        """Change the new rows five times."""
        h, v, old = self.rows[place], self.velocity[place], self.old[place]
        for _ in range(5):
            y = x @ h.T
            change = (y.T @ (x - y @ h) / len(x)).clamp(-10, 10)
            v[old:] = 0.9 * v[old:] + 0.1 * change[old:]
            h[old:] += (0.001 if place == 0 else 0.01) * v[old:]

    def step(self) -> None:
        """Learn the batch."""
        self.optimiser.zero_grad()
        functional.cross_entropy(self.scores(), self.labels).backward()
        self.optimiser.step()


WAYS: dict[str, Callable[..., Callable[[], None]]] = {
    "ours": ours,
    "ours, published rule": partial(ours, rule="oja"),
    "published": lambda *rows: Published(*rows).step,
}


@pytest.mark.slow
def test_the_published_order_of_operations_has_our_gradients_and_rows():
    network, circuits = made(*ROWS["second task"], rule="oja")
    there = Published(*ROWS["second task"], dtype=torch.float64)
    inputs, labels = images()
    network = network.double()
    functional.cross_entropy(network(inputs.double()), labels).backward()
    functional.cross_entropy(there.scores(), labels).backward()
    found = [weight.grad for weight in network.parameters() if weight.dim()]
    for ours_, theirs, layer, rows in zip(found, there.weights, circuits.layers.values(), there.rows, strict=True):
        torch.testing.assert_close(ours_, theirs.grad, rtol=1e-4, atol=1e-9)  # thresholds are float32's
        found_rows = torch.cat([layer.circuits[0].old, layer.circuits[0].new])
        torch.testing.assert_close(found_rows, rows, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_a_step_with_circuits_takes_less_than_twice_as_long_as_one_without(capsys):
    makers = {f"{who}, {name}": make(*rows) for who, make in WAYS.items() for name, rows in ROWS.items()}
    least = dict.fromkeys(makers, float("inf"))
    for _ in range(ROUNDS):
        for name, step in makers.items():
            start = time.process_time()
            for _ in range(3):
                step()
            least[name] = min(least[name], (time.process_time() - start) / 3)
    with capsys.disabled():
        for name, seconds in least.items():
            theirs = least[f"published, {name.split(', ')[-1]}"]
            sys.stdout.write(
                f"\n{name}: {1e3 * seconds:.1f} ms, {seconds / least['ours, without']:.2f} times ours without, "
                f"published takes {theirs / seconds:.2f} times as long"
            )
    assert max(least[f"ours, {name}"] for name in ROWS) < 2 * least["ours, without"]


@pytest.mark.slow
def test_ten_tasks_take_a_part_of_the_time_of_the_published_order(capsys):
    """One batch of each task, from the first, without old rows, to the tenth; sums of least times."""
    makers = {f"{who} {at}": make(*rows) for at, rows in enumerate(TASKS) for who, make in WAYS.items()}
    least = dict.fromkeys(makers, float("inf"))
    for _ in range(ROUNDS):
        for name, step in makers.items():
            step()  # as in training, a batch follows another one: weights and rows are in the cache
            start = time.process_time()
            step()
            least[name] = min(least[name], time.process_time() - start)
    total = {who: sum(least[f"{who} {at}"] for at in range(len(TASKS))) for who in WAYS}
    with capsys.disabled():
        for who, seconds in total.items():
            each = ", ".join(f"{1e3 * least[f'{who} {at}']:.1f}" for at in range(len(TASKS)))
            sys.stdout.write(f"\n{who}: {each} ms; published takes {total['published'] / seconds:.2f} times as long")
    assert total["ours"] < total["published"]


@pytest.mark.slow
def test_circuits_take_less_memory_than_a_quarter_of_the_process(capsys):
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    peaks = {name: int(run([sys.executable, __file__, name]).stdout) for name in ROWS}
    with capsys.disabled():
        for name, peak in peaks.items():
            sys.stdout.write(f"\n{name}: {peak / 1e6:.0f} MB")
    assert max(peaks.values()) < 1.25 * peaks["without"]


if __name__ == "__main__":
    take_step = ours(*ROWS[sys.argv[1]])
    for _ in range(20):
        take_step()
    sys.stdout.write(str(peak_bytes("cpu")))
