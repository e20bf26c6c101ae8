"""Did it get slower? Run by ``pytest tests/benchmarks --benchmark-only``; write the hardware beside the numbers.

Single times of a busy machine say little: compare runs of one machine, or take ``neurocl bench``, which compares with
other libraries in one process.
"""

import pytest
import torch
from torch.nn import functional

from neurocl.kernels import event_linear, lif_sequence, lif_step, run_steps
from neurocl.networks import MLP, Direct, Readout
from neurocl.plasticity import CLASSP
from neurocl.primitives.surrogates import ATan
from neurocl.primitives.tasks import TaskShape
from neurocl.run.bench.rounds import ratios, timed_rounds

STEPS, BATCH, WIDTH = 32, 128, 400
RULE = {"keep": 0.9, "surrogate": ATan()}


def reference(current, v):
    return run_steps(lambda x, u: lif_step(x, u, **RULE), current, v)


@pytest.mark.parametrize("kernel", [reference, lambda x, v: lif_sequence(x, v, **RULE)], ids=["reference", "eager"])
@pytest.mark.parametrize("way", ["forward", "forward and backward"])
def test_lif_layer(benchmark, kernel, way):
    current = (torch.randn(STEPS, BATCH, WIDTH) * 0.3).requires_grad_(way != "forward")
    v, grad = torch.zeros(BATCH, WIDTH), torch.randn(STEPS, BATCH, WIDTH)

    def run():
        spikes, _ = kernel(current, v)
        if way != "forward":
            current.grad = None
            spikes.backward(grad)

    benchmark(run)


@pytest.mark.parametrize("density", [0.01, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("product", [functional.linear, event_linear], ids=["dense", "events"])
def test_product_forward_and_weight_gradient(benchmark, product, density):
    spikes = (torch.rand(STEPS, BATCH, WIDTH) < density).float()
    weight, grad = torch.randn(WIDTH, WIDTH).requires_grad_(), torch.randn(STEPS, BATCH, WIDTH)

    def run():
        weight.grad = None
        product(spikes, weight).backward(grad)

    benchmark(run)


def test_training_step_of_the_fully_connected_network(benchmark):
    shape = TaskShape(input_shape=(784,), num_classes=10, num_tasks=1)
    network = MLP(shape, hidden=(WIDTH, WIDTH), encoding=Direct(STEPS), readout=Readout(), head="single")
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-6)
    images, labels = torch.rand(BATCH, 784) * (torch.rand(BATCH, 784) < 0.2), torch.randint(10, (BATCH,))

    def step():
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()

    benchmark(step)


OPTIMISERS = {
    "adagrad foreach": lambda some: torch.optim.Adagrad(some, foreach=True),
    "classp": CLASSP,
    "classp foreach": lambda some: CLASSP(some, foreach=True),
    "classp two thresholds": lambda some: CLASSP(some, threshold_depression=0.5),
    "classp quantile": lambda some: CLASSP(some, gate="quantile", threshold=0.3),
    "classp winners": lambda some: CLASSP(some, gate="winners", threshold=0.3),
    "classp power 1.5": lambda some: CLASSP(some, power=1.5),
}


def ten_million() -> list[torch.Tensor]:
    some = [torch.randn(shape).requires_grad_() for shape in [(2500, 1500), (1500, 2500), (2500, 1000), (1000,)]]
    for parameter in some:
        parameter.grad = torch.randn_like(parameter)
    return some


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_optimiser_step_on_ten_million_weights(benchmark, optimiser):
    benchmark(OPTIMISERS[optimiser](ten_million()).step)


def ratio_to_adagrad(optimiser: str, weights: list[torch.Tensor], repeats: int = 1) -> float:
    """Interleaved in one process, processor time, medians."""
    steps = {name: OPTIMISERS[name](weights).step for name in ("adagrad foreach", optimiser)}
    several = {name: lambda step=step: [step() for _ in range(repeats)] for name, step in steps.items()}
    seconds = timed_rounds(several, 9, lambda _: None)
    found = ratios(seconds[optimiser], seconds["adagrad foreach"])
    print(optimiser, len(weights), found)  # noqa: T201  for the ledger: pytest -s
    return found["ratio"]


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["classp", "classp two thresholds"])
def test_a_classp_step_takes_at_most_a_quarter_more_than_adagrads(optimiser):
    assert ratio_to_adagrad(optimiser, ten_million()) < 1.25


@pytest.mark.slow
@pytest.mark.parametrize(("number", "side"), [(6, 180), (40, 320), (1000, 100), (4000, 50)])
def test_many_small_tensors_make_it_no_slower(number, side):
    weights = [torch.randn(side, side).requires_grad_() for _ in range(number)]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    assert ratio_to_adagrad("classp", weights, repeats=max(1, 400 // number)) < 1.25
