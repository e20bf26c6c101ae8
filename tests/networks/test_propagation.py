"""Do errors go down by the weights they were given, and weight gradients pair with the credit they were given?"""

import math

import pytest
import torch

from neurocl.networks import Conv2d, Linear
from neurocl.primitives.checks import BadInput, UnknownName


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(feedback="transpose", *, seed=0):
    return Linear(7, 5, generator=draws(seed), feedback=feedback, feedback_generator=draws(9)).double()


def conv(feedback="transpose"):
    return Conv2d(3, 4, generator=draws(), feedback=feedback, feedback_generator=draws(9)).double()


def gradients(layer, values, **options):
    values = values.clone().requires_grad_()
    output = layer(values, **options)
    error = torch.randn(output.shape, generator=draws(3), dtype=output.dtype)
    return output.detach(), error, torch.autograd.grad((output * error).sum(), [values, layer.weight, layer.bias])


def rows(*sizes, seed=1):
    return torch.randn(*sizes, generator=draws(seed), dtype=torch.float64)


@pytest.mark.parametrize("feedback", ["transpose", "alignment", "sign"])
def test_the_error_goes_down_by_the_backward_weight_and_the_weight_gradient_is_exact(feedback):
    layer, values = linear(feedback), rows(2, 6, 7)
    output, error, (of_input, of_weight, of_bias) = gradients(layer, values)
    torch.testing.assert_close(output, values @ layer.weight.t() + layer.bias)
    torch.testing.assert_close(of_input, error @ layer.backward_weight())
    torch.testing.assert_close(of_weight, torch.einsum("tbo,tbi->oi", error, values))
    torch.testing.assert_close(of_bias, error.sum((0, 1)))
    assert torch.equal(layer.backward_weight(), layer.weight) == (feedback == "transpose")


@pytest.mark.parametrize("feedback", ["alignment", "sign"])
def test_a_convolution_sends_errors_down_as_its_backward_weight_would(feedback):
    layer, plain, values = conv(feedback), conv(), rows(2, 3, 6, 5)
    output, _, (of_input, of_weight, of_bias) = gradients(layer, values)
    same, _, expected = gradients(plain, values)
    assert torch.equal(output, same)
    torch.testing.assert_close(of_weight, expected[1])
    torch.testing.assert_close(of_bias, expected[2])
    with torch.no_grad():
        plain.weight.copy_(layer.backward_weight())
    torch.testing.assert_close(of_input, gradients(plain, values)[2][0])
    assert not torch.allclose(of_input, expected[0])


@pytest.mark.parametrize("feedback", ["transpose", "alignment"])
@pytest.mark.parametrize(("make", "shape"), [(linear, (6, 7)), (conv, (2, 3, 6, 5))], ids=["linear", "conv"])
def test_credit_replaces_the_input_in_the_weight_gradient_alone(make, shape, feedback):
    layer, values, credit = make(feedback), rows(*shape), rows(*shape, seed=2)
    plain, _, of_values = gradients(layer, values)
    _, _, of_credit = gradients(layer, credit)
    output, _, found = gradients(layer, values, credit=credit, observed=torch.zeros(1))
    assert torch.equal(output, plain)
    for gradient, expected in zip(found, (of_values[0], of_credit[1], of_values[2]), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_spikes_go_by_events_whatever_the_feedback():
    spikes = (torch.rand(640, 300, generator=draws()) < 0.05).float()
    for feedback in ("transpose", "alignment", "sign"):
        options = {"generator": draws(), "feedback": feedback, "feedback_generator": draws(9)}
        layer = Linear(300, 200, **options)
        by_event, dense = gradients(layer, spikes, spikes=True), gradients(layer, spikes)
        for one, other in zip((by_event[0], *by_event[2]), (dense[0], *dense[2]), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_hooks_see_every_product_with_its_keywords():
    layer, seen = linear(), []
    layer.register_forward_hook(lambda module, args, kwargs, output: seen.append((args, kwargs)), with_kwargs=True)
    spikes, credit = (rows(4, 7) > 0).double(), rows(4, 7)
    layer.product(spikes, spikes=True)
    layer(spikes, credit=credit, observed=credit)
    assert seen[0][1] == {"spikes": True}
    assert seen[1][1]["credit"] is credit
    assert seen[1][0][0] is spikes


def test_fixed_weights_come_from_their_generator_and_are_part_of_the_state():
    one, same = linear("alignment"), linear("alignment", seed=4)
    assert torch.equal(one.feedback_weight, same.feedback_weight)
    assert not torch.equal(one.weight, same.weight)
    assert "feedback_weight" in one.state_dict()
    assert "feedback_weight" not in linear("sign").state_dict()
    assert one.feedback_weight.abs().max() <= 1 / math.sqrt(7)
    wide = Linear(400, 300, feedback="alignment", feedback_generator=draws())
    assert float(wide.feedback_weight.std()) == pytest.approx(1 / math.sqrt(3 * 400), rel=0.02)


def test_signs_are_scaled_as_in_the_paper():
    layer = linear("sign")
    assert torch.equal(layer.backward_weight() * math.sqrt(7), layer.weight.sign())
    layer = conv("sign")
    torch.testing.assert_close(layer.backward_weight() / math.sqrt(2 / (9 * 4)), layer.weight.detach().sign())


def test_per_sample_gradients_vectorise_through_feedback():
    layer, values = linear("alignment"), rows(3, 7)

    def loss(sample):
        return layer(sample.unsqueeze(0)).square().sum()

    vectorised = torch.func.vmap(torch.func.grad(loss))(values)
    assert torch.allclose(vectorised, 2 * layer(values).detach() @ layer.feedback_weight)


def test_what_does_not_fit_is_refused(as_installed):
    with pytest.raises(UnknownName, match="alignment"):
        linear("aligment")
    with pytest.raises(BadInput, match="credit must have the shape of input"):
        linear()(rows(4, 7), credit=rows(8, 7))
