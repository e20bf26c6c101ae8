"""Do synapses spare work without changing what comes out?"""

from unittest import mock

import pytest
import torch
from torch.nn import functional

from neurocl.kernels import event_product
from neurocl.networks import MLP, Conv2d, Direct, Frames, Linear, Recurrent, Signal
from neurocl.primitives.tasks import TaskShape


def raster(*sizes, density=0.05):
    return (torch.rand(*sizes) < density).float()


def transmitted(linear, signal):
    current = linear.transmit(signal)
    assert current.spikes_per_unit is None
    loss = (current.values * torch.linspace(0, 1, current.values.numel()).view_as(current.values)).sum()
    return current.values.detach(), *torch.autograd.grad(loss, [linear.weight, linear.bias])


def test_event_products_and_dense_products_agree_to_rounding():
    linear = Linear(300, 200, generator=torch.Generator().manual_seed(0))
    signal = Signal(values=raster(10, 64, 300), time_steps=10, spikes_per_unit=1.0)
    find_events, found = event_product.find_events, []

    def find(*args, **kwargs):
        found.append(find_events(*args, **kwargs))
        return found[-1]

    with mock.patch.object(event_product, "find_events", find):
        sparse = transmitted(linear, signal)
    assert len(found) == 1
    assert found[0] is not None, "the test says nothing where no event product ran"
    linear.event_products = False
    refuse = AssertionError("a dense product looked for events")
    with mock.patch.object(event_product, "find_events", side_effect=refuse):
        dense = transmitted(linear, signal)
    for by_event, plain in zip(sparse, dense, strict=True):
        # sums of up to 640 products in another order: a few units in the last place
        torch.testing.assert_close(by_event, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


@pytest.mark.parametrize("make", [MLP, Recurrent])
def test_networks_use_event_products_for_spikes_and_only_for_them(make):
    shape = TaskShape(input_shape=(300,), num_classes=3, num_tasks=1, time_steps=10)
    raster_in = raster(10, 64, 300)
    for spikes in (True, False):
        network = make(shape, hidden=(256,), head="single", encoding=Frames(10, spikes=spikes))
        with mock.patch.object(event_product, "find_events", wraps=event_product.find_events) as find:
            network(raster_in).sum().backward()
        assert ((640, 300) in [tuple(call.args[0].shape) for call in find.call_args_list]) == spikes
        with network.exact_autograd(), mock.patch.object(event_product, "find_events", side_effect=AssertionError):
            network(raster_in)


def test_a_constant_input_is_multiplied_once():
    shape = TaskShape(input_shape=(30,), num_classes=3, num_tasks=1)
    network = MLP(shape, hidden=(20,), head="single", encoding=Direct(50))
    with mock.patch.object(functional, "linear", wraps=functional.linear) as linear:
        network(torch.rand(7, 30))
    assert [tuple(call.args[0].shape) for call in linear.call_args_list] == [(7, 30), (7, 20)]


def test_without_a_generator_weights_are_drawn_as_torch_does():
    torch.manual_seed(3)
    ours = Linear(12, 5), Conv2d(2, 3)
    torch.manual_seed(3)
    theirs = torch.nn.Linear(12, 5), torch.nn.Conv2d(2, 3, 3, padding=1)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.weight, other.weight)
        assert torch.equal(one.bias, other.bias)


@pytest.mark.parametrize("scale", [0.577, 1.0, 3.0])
def test_scale_is_the_spread_of_the_current_for_inputs_of_mean_square_one(scale):
    linear = Linear(400, 500, bias=False, scale=scale, generator=torch.Generator().manual_seed(1))
    inputs = torch.randn(200, 400)
    current = linear(inputs / inputs.square().mean().sqrt()).detach()
    assert abs(float(current.std()) / scale - 1) < 0.05
