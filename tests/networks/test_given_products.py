"""Is a layer's mean current multiplied once, and only where nobody could tell?"""

from unittest import mock

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.utils import parametrize

from neurocl.networks import MLP, Direct, Linear, Poisson, Signal
from neurocl.networks.layers import Layer
from neurocl.neurons import DSRLIF
from neurocl.plasticity import attach_lateral
from neurocl.primitives.tasks import TaskShape
from neurocl.record import Recorder

SHAPE = TaskShape(input_shape=(30,), num_classes=5, num_tasks=2, setting="domain-incremental")


def network(*, bias=True, lateral=False):
    made = MLP(
        SHAPE, hidden=(40, 35), bias=bias, encoding=Direct(6), head="single", training="dsr", neuron=DSRLIF, seed=0
    ).double()
    if lateral:
        attach_lateral(made, rows=5).begin_task()
    with torch.no_grad():
        for layer in made.layers:
            layer.synapse.weight.mul_(3)
    return made


def loss_of(made):
    x = torch.rand(6, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return functional.cross_entropy(made(x), torch.arange(6) % 5)


def products(made):
    """Mean currents multiplied in the hidden layers: products of rows without a time axis, but of the image."""
    real, seen = functional.linear, []

    def linear(x, weight, bias=None):
        seen.append(x.dim() == 2 and x.shape[1] == 40)
        return real(x, weight, bias)

    with mock.patch.object(functional, "linear", linear):
        loss_of(made)
    return sum(seen)


def never():
    return mock.patch.object(Linear, "takes_products", False)


@pytest.mark.parametrize("lateral", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_mean_current_is_not_multiplied_again_and_gradients_are_those_of_the_product(bias, lateral):
    made = network(bias=bias, lateral=lateral)
    assert products(made) == 0
    given = torch.autograd.grad(loss_of(made), list(made.parameters()))
    with never():
        assert products(made) == 1
        multiplied = torch.autograd.grad(loss_of(made), list(made.parameters()))
    assert any(gradient.abs().max() > 0 for gradient in given)
    for one, other in zip(given, multiplied, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_gradients_of_gradients_are_those_of_the_product():
    made = network()
    weights = [layer.synapse.weight for layer in made.layers] + [made.head.linear.weight]

    def curvature():
        first = torch.autograd.grad(loss_of(made), weights, create_graph=True)
        return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), weights)

    given = curvature()
    with never():
        multiplied = curvature()
    for one, other in zip(given, multiplied, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-15)


def test_what_no_gradient_asks_for_may_be_changed_before_the_backward_pass():
    made = MLP(SHAPE, hidden=(40,), encoding=Poisson(6), head="single", training="dsr", neuron=DSRLIF, seed=0)
    made.head.requires_grad_(False)
    optimiser = torch.optim.SGD(made.layers.parameters(), lr=0.1)
    first, second = (made(torch.rand(6, 30)).square().sum() for _ in range(2))
    first.backward()
    optimiser.step()
    second.backward()
    x, frozen = torch.rand(2, 4, requires_grad=True), Linear(4, 3).requires_grad_(False)
    pre = x * 1
    output = frozen(pre, product=functional.linear(pre, frozen.weight, frozen.bias))
    pre.data.zero_()
    pre.detach().add_(1)
    output.sum().backward()
    torch.testing.assert_close(x.grad, frozen.weight.sum(0).expand(2, 4))


def test_a_layer_without_units_has_gradients_without_values():
    behind = Layer(Linear(8, 0), DSRLIF())
    signal = Layer(Linear(30, 8), DSRLIF()).by_rates(Signal(values=torch.rand(4, 30), time_steps=6, constant=True))
    behind.by_rates(signal).credit.sum().backward()
    assert behind.synapse.weight.grad.shape == (0, 8)


def test_shapes_are_told_on_the_meta_device():
    assert network().to("meta")(torch.rand(6, 30, dtype=torch.float64, device="meta")).shape == (6, 5)


def test_the_output_a_watcher_sees_is_the_product_and_may_be_changed_in_place():
    synapse = Linear(4, 3)
    x = torch.rand(2, 4)
    output = synapse(x, product=functional.linear(x, synapse.weight, synapse.bias))
    output.mul_(2).sum().backward()
    torch.testing.assert_close(synapse.weight.grad, 2 * x.sum(0).expand(3, 4))
    torch.testing.assert_close(synapse.bias.grad, torch.full((3,), 4.0))


def test_a_recorder_only_looks(tmp_path):
    made = network(lateral=True)
    with Recorder(tmp_path / "traces.h5", made, variables=("spikes", "lateral")):
        assert len(made.layers[1].synapse._forward_hooks) > 1
        assert products(made) == 0


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


class Louder(Linear):
    def forward(self, input, **options):
        return 2 * super().forward(input, **options)


def with_hook(synapse):
    synapse.register_forward_hook(lambda module, inputs, output: 2 * output)


def with_pre_hook(synapse):
    synapse.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))


def with_own_forward(synapse):
    forward = synapse.forward
    synapse.forward = lambda *args, **options: 2 * forward(*args, **options)


def with_parametrisation(synapse):
    parametrize.register_parametrization(synapse, "weight", Doubled())


def with_subclass(synapse):
    synapse.__class__ = Louder


CHANGES = [with_hook, with_pre_hook, with_own_forward, with_parametrisation, with_subclass]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_where_somebody_makes_something_else_of_the_product_it_is_multiplied(change):
    made = network()
    change(made.layers[1].synapse)
    assert not made.layers[1].synapse.takes_products
    assert products(made) == 1


@pytest.mark.parametrize("hook", ["register_module_forward_hook", "register_module_forward_pre_hook"])
def test_hooks_on_every_module_count_too(hook):
    handle = getattr(nn.modules.module, hook)(lambda *_: None)
    try:
        assert products(network()) == 1
    finally:
        handle.remove()


def test_autocast_transforms_and_forward_mode_have_their_own_product():
    made = network()
    synapse = made.layers[1].synapse
    assert synapse.takes_products
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not synapse.takes_products
    with forward_ad.dual_level():
        assert not synapse.takes_products
    seen = []
    torch.func.grad(lambda x: (seen.append(synapse.takes_products), x.sum())[1])(torch.ones(1))
    assert seen == [False]
