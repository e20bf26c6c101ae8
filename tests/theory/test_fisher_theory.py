"""Is the Fisher diagonal the one of the definition, on both ways to it and for every kind?"""

import pytest
import torch
from torch import nn

from neurocl.networks import CNN, MLP, Direct
from neurocl.plasticity import fisher_diagonal
from neurocl.plasticity.fisher import chunks
from neurocl.primitives.checks import BadInput
from neurocl.primitives.seeding import generator, seeded
from neurocl.primitives.tasks import Coding, Task, TaskShape

SHAPE = TaskShape(input_shape=(6,), num_classes=4, num_tasks=1)
LABELS = (0, 1, 2, 3)
TASK = Task(
    index=0, task_id=None, classes=LABELS, seen_classes=LABELS, boundary="clear", batches=lambda b, e: iter(()), size=0
)
# gradients in float32 summed in another order; relative to the largest entry, as small ones are sums that cancel
ROUNDING = 1e-5


def inputs(samples: int = 12) -> torch.Tensor:
    return torch.rand(samples, 6, generator=generator(0, "inputs"))


def mlp(coding: Coding, *, time_steps: int = 4, hidden: tuple[int, ...] = (7, 5)) -> MLP:
    network = MLP(SHAPE, hidden=hidden, coding=coding, encoding=Direct(time_steps), seed=1)
    network.begin_task(TASK)
    return network


def by_loop(network: nn.Module, x: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """The definition, sample by sample and class by class, by plain autograd."""
    network.eval()
    total = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    for row, weight in zip(x, weights, strict=True):
        log_p = network(row.unsqueeze(0)).log_softmax(1)[0]
        for label, share in enumerate(weight):
            slopes = torch.autograd.grad(
                log_p[label], list(network.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for name, slope in zip(total, slopes, strict=True):
                total[name] += share * slope.square() / len(x)
    return total


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert any(value.abs().max() > 0 for value in expected.values())  # silence would prove nothing
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=ROUNDING * float(value.max())), name


@pytest.mark.parametrize("method", ["auto", "general"])
@pytest.mark.parametrize(("coding", "time_steps"), [("rate", 1), ("spiking", 4), ("spiking", 30)])
def test_exact_fisher_equals_a_loop_over_samples_and_classes(coding, time_steps, method):
    network = mlp(coding, time_steps=time_steps)
    probabilities = network(inputs()).softmax(1).detach()
    assert_close(fisher_diagonal(network, inputs(), method=method), by_loop(network, inputs(), probabilities))


@pytest.mark.parametrize("method", ["auto", "general"])
def test_empirical_fisher_takes_the_label_alone(method):
    network = mlp("spiking")
    labels = torch.arange(12) % 4
    expected = by_loop(network, inputs(), nn.functional.one_hot(labels, 4).float())
    assert_close(fisher_diagonal(network, inputs(), kind="empirical", labels=labels, method=method), expected)


def test_sampled_fisher_comes_close_to_the_exact_one_over_many_draws():
    network = mlp("rate")
    many = inputs().repeat(400, 1)
    sampled = fisher_diagonal(network, many, kind="sampled", generator=generator(0, "sampled"))
    exact = fisher_diagonal(network, inputs())
    one_draw = fisher_diagonal(network, inputs(), kind="sampled", generator=generator(0, "one"))
    for name, value in exact.items():
        # 4,800 draws: standard errors of about 2 % at the large entries
        assert torch.allclose(sampled[name], value, rtol=0.1, atol=0.02 * float(value.max()))
    assert not torch.allclose(one_draw["layers.1.synapse.weight"], exact["layers.1.synapse.weight"], rtol=0.1)


def test_fisher_of_a_linear_softmax_model_has_its_closed_form():
    with seeded(0, "linear"):
        model = nn.Linear(6, 4)
    x = inputs()
    p = model(x).softmax(1).detach()
    # d log p_c / d W_o = (1[c = o] - p_o) x, and its mean square over c ~ p is p_o (1 - p_o) x^2
    spread = p * (1 - p)
    expected = {"weight": spread.T @ x.square() / len(x), "bias": spread.mean(0)}
    assert_close(fisher_diagonal(model, x), expected)
    assert_close(fisher_diagonal(model, x, method="general"), expected)


def test_a_network_with_other_parameters_goes_the_general_way_and_agrees_with_the_loop():
    shape = TaskShape(input_shape=(1, 6, 6), num_classes=4, num_tasks=1)
    network = CNN(shape, coding="spiking", encoding=Direct(3), seed=0)
    network.begin_task(TASK)
    images = torch.rand(5, 1, 6, 6, generator=generator(0, "images"))
    probabilities = network.eval()(images).softmax(1).detach()
    assert_close(fisher_diagonal(network, images), by_loop(network, images, probabilities))


class TimeSecond(nn.Module):
    """A foreign network whose sequences are [B, T, N]: the quick way would square the wrong sums."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0, "time second"):
            self.inner, self.outer = nn.Linear(2, 5), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(x.view(len(x), 3, 2))).mean(1))


class TiedTwice(nn.Module):
    """A foreign network that also uses a layer's weights outside the layer's call."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0, "tied"):
            self.layer = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(self.layer(x)) @ self.layer.weight)[:, :4]


@pytest.mark.parametrize("make", [TimeSecond, TiedTwice])
def test_foreign_axes_and_tied_weights_are_noticed_and_still_exact(make):
    network = make()
    probabilities = network(inputs()).softmax(1).detach()
    assert_close(fisher_diagonal(network, inputs()), by_loop(network, inputs(), probabilities))


def test_only_the_stated_classes_share_the_softmax():
    network = mlp("rate")
    found = fisher_diagonal(network, inputs(), classes=(0, 1))
    head = found["head.linear.weight"]
    assert head[:2].max() > 0
    assert head[2:].abs().max() == 0
    every = fisher_diagonal(network, inputs())["head.linear.weight"]
    assert every[2:].max() > 0


def test_fisher_leaves_modes_kernels_and_products_as_they_were():
    network = mlp("spiking").train()
    network.layers[0].eval()
    before = [(m.training, getattr(m, "kernel", None), getattr(m, "event_products", None)) for m in network.modules()]
    for method in ("auto", "general"):
        fisher_diagonal(network, inputs(), method=method)
    after = [(m.training, getattr(m, "kernel", None), getattr(m, "event_products", None)) for m in network.modules()]
    assert after == before
    assert all(p.grad is None for p in network.parameters())


def test_squaring_the_gradient_of_a_mean_is_something_else():
    network = mlp("rate")
    labels = torch.arange(12) % 4
    found = fisher_diagonal(network, inputs(), kind="empirical", labels=labels)["head.linear.weight"]
    nn.functional.cross_entropy(network(inputs()), labels).backward()
    assert not torch.allclose(found, network.head.linear.weight.grad.square(), rtol=0.2)


def test_chunks_cover_every_sample_once():
    covered = [place for part in chunks(1234, 100) for place in range(part.start, part.stop)]
    assert covered == list(range(1234))
    assert [*chunks(3, 0)] == [slice(0, 1), slice(1, 2), slice(2, 3)]


@pytest.mark.parametrize(
    ("options", "word"),
    [({"kind": "empirical"}, "labels"), ({"kind": "sampled"}, "generator"), ({"kind": "exactt"}, "exact")],
)
def test_missing_and_unknown_options_are_one_clear_line(options, word):
    with pytest.raises(BadInput, match=word):
        fisher_diagonal(mlp("rate"), inputs(), **options)


def test_no_sample_is_refused():
    with pytest.raises(BadInput, match="at least one sample"):
        fisher_diagonal(mlp("rate"), torch.empty(0, 6))
