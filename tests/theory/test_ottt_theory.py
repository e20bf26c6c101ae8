"""Are gradients of online training through time those of its equations, at a memory that does not grow with time?"""

import gc
from functools import partial

import pytest
import torch
from torch.nn import functional

from neurocl.networks import CNN, MLP, Count, Direct, Frames, HLOPNet, Membrane, Poisson, ResNet18
from neurocl.neurons import DSRLIF, LIF, CurrentLIF
from neurocl.primitives.checks import BadInput
from neurocl.primitives.surrogates import Sigmoid
from neurocl.primitives.tasks import TaskShape

T = 6
PAPER = partial(
    LIF.like_spikingjelly, tau=2.0, decay_input=False, v_reset=None, detach_reset=True, surrogate=Sigmoid(alpha=4.0)
)
SHAPE = TaskShape(input_shape=(30,), num_classes=5, num_tasks=1)
LABELS = torch.arange(6) % 5


def network_of(shape=SHAPE, *, make=PAPER, encoding=None, steps=T, **options):
    encoding = Direct(steps) if encoding is None else encoding
    options = {"hidden": (40, 35), "head": "single", "neuron": make, "training": "ottt", "weight_scale": 1.5} | options
    network = MLP(shape, encoding=encoding, **options).double()
    with torch.no_grad():
        network.layers[1].synapse.weight.mul_(2)
    return network


def learnt(network, inputs, labels=LABELS):
    """Gradients after one batch, and the loss."""
    network.zero_grad()
    total = 0.0
    for share, scores in network.scores_over_time(inputs):
        loss = share * functional.cross_entropy(scores, labels)
        loss.backward()
        total += float(loss.detach())
    return total, {name: weight.grad.clone() for name, weight in network.named_parameters()}


def slope(x):
    y = torch.sigmoid(4 * x)
    return 4 * y * (1 - y)


def by_hand(network, inputs):
    """The same with no autograd at all: forward in time, traces beside, errors straight down at every step."""
    weights = [layer.synapse.weight.detach() for layer in network.layers]
    biases = [layer.synapse.bias.detach() for layer in network.layers]
    head, head_bias = network.head.linear.weight.detach(), network.head.linear.bias.detach()
    zero = [torch.zeros(len(inputs), len(weight)) for weight in weights]
    v, trace = list(zero), list(zero)
    gradients = {name: torch.zeros_like(weight) for name, weight in network.named_parameters()}
    for _ in range(T):
        x, charged = inputs, []
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            h = 0.5 * v[layer] + x @ weight.t() + bias
            x = (h >= 1).double()
            v[layer] = h - x
            trace[layer] = 0.5 * trace[layer] + x
            charged.append(h)
        error = torch.softmax(x @ head.t() + head_bias, 1)
        error[torch.arange(len(inputs)), LABELS] -= 1
        error /= len(inputs) * T
        gradients["head.linear.weight"] += error.t() @ trace[1]
        gradients["head.linear.bias"] += error.sum(0)
        down = error @ head
        for layer, credit in ((1, trace[0]), (0, inputs)):
            error = down * slope(charged[layer] - 1)
            gradients[f"layers.{layer}.synapse.weight"] += error.t() @ credit
            gradients[f"layers.{layer}.synapse.bias"] += error.sum(0)
            down = error @ weights[layer]
        assert 0.02 < x.mean() < 0.95
    return gradients


def test_gradients_are_those_of_the_paper_written_by_hand(float64):
    network, inputs = network_of(), torch.rand(6, 30)
    _, found = learnt(network, inputs)
    expected = by_hand(network, inputs)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-12)


def test_at_one_step_the_gradient_is_that_of_backpropagation_through_time(float64):
    inputs = torch.rand(6, 30)
    online, through_time = network_of(steps=1), network_of(steps=1, training="surrogate", readout="mean")
    through_time.readout.gain = 1.0
    _, found = learnt(online, inputs)
    functional.cross_entropy(through_time(inputs), LABELS).backward()
    for name, weight in through_time.named_parameters():
        assert weight.grad.abs().max() > 0
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-10, atol=1e-14)


def test_over_several_steps_it_is_another_gradient_of_the_same_scores(float64):
    inputs = torch.rand(6, 30)
    online, through_time = network_of(), network_of(training="surrogate", readout="mean")
    through_time.readout.gain = 1.0
    with torch.no_grad():
        mean = sum(share * scores for share, scores in online.scores_over_time(inputs))
    torch.testing.assert_close(mean, online.predict(inputs))
    torch.testing.assert_close(mean, through_time.predict(inputs))
    _, found = learnt(online, inputs)
    functional.cross_entropy(through_time(inputs), LABELS).backward()
    expected = through_time.layers[0].synapse.weight.grad
    alike = functional.cosine_similarity(found["layers.0.synapse.weight"].flatten(), expected.flatten(), 0)
    assert 0.3 < alike < 0.9999


@pytest.mark.parametrize("make", [partial(CurrentLIF), partial(DSRLIF), partial(LIF, tau_membrane_ms=4.5)])
def test_every_neuron_with_a_keep_learns_online(make, float64):
    _, found = learnt(network_of(make=make), torch.rand(6, 30))
    assert all(gradient.isfinite().all() and gradient.abs().max() > 0 for gradient in found.values())


@pytest.mark.parametrize("make", [HLOPNet, CNN, partial(ResNet18, width=4)])
def test_convolutions_learn_online(make):
    shape = TaskShape(input_shape=(1, 8, 8), num_classes=5, num_tasks=1)
    network = make(shape, head="single", encoding=Direct(T), training="ottt").train()
    _, found = learnt(network, torch.rand(6, 1, 8, 8) * 3)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert found["layers.0.synapse.weight"].abs().max() > 0


@pytest.mark.parametrize("feedback", ["transpose", "sign"])
def test_errors_pass_shortcuts_online_as_they_do_through_time_where_there_is_one_step(feedback, float64):
    shape = TaskShape(input_shape=(1, 8, 8), num_classes=5, num_tasks=1)
    options = {"width": 4, "head": "single", "feedback": feedback, "readout": "mean"}
    online, plain = (
        ResNet18(shape, encoding=Direct(1), training=mode, **options).double() for mode in ("ottt", "surrogate")
    )
    plain.readout.gain = 1.0
    inputs = 3 * torch.rand(6, 1, 8, 8)
    loss, found = learnt(online.train(), inputs)
    expected = functional.cross_entropy(plain.train()(inputs), LABELS)
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-9)
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    over_time = ResNet18(shape, encoding=Direct(T), training="ottt", **options).double().eval()
    mean = sum(share * scores for share, scores in over_time.scores_over_time(inputs))
    torch.testing.assert_close(mean, over_time(inputs))


def bytes_in_use():
    gc.collect()
    return sum(
        value.untyped_storage().nbytes()
        for value in gc.get_objects()
        if type(value) is torch.Tensor and value.ndim and value.layout is torch.strided  # other tests leave others
    )


def test_memory_does_not_grow_with_the_number_of_steps(request):
    peaks, saved = [], []
    inputs = torch.rand(6, 30).double()
    gc.collect()
    gc.freeze()  # what other tests left is not counted, and not gone through at every step
    request.addfinalizer(gc.unfreeze)
    for steps in (4, 40):
        network, most, kept, per_step = network_of(steps=steps), 0, 0, []

        def pack(value):
            nonlocal kept
            kept += 1
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            for share, scores in network.scores_over_time(inputs):
                most, before = max(most, bytes_in_use()), kept
                (share * functional.cross_entropy(scores, LABELS)).backward()
                per_step.append(before)
                kept = 0
        peaks.append(most)
        saved.append(set(per_step[1:]))
        network.zero_grad()
        del network, scores
    assert peaks[1] <= peaks[0] * 1.02
    assert saved[0] == saved[1]
    assert len(saved[0]) == 1


def seen_by_hooks(network, inputs):
    calls = []
    synapses = [*(layer.synapse for layer in network.layers), network.head.linear]
    for place, synapse in enumerate(synapses):
        synapse.register_forward_hook(
            lambda module, args, kwargs, output, place=place: calls.append((place, args[0], kwargs)), with_kwargs=True
        )
    learnt(network, inputs)
    return calls


def test_watchers_see_the_input_in_the_first_layer_and_spikes_above_traces_behind(float64):
    inputs = torch.rand(6, 30)
    calls = seen_by_hooks(network_of(), inputs)
    assert [place for place, _, _ in calls] == [0, 1, 2] * T
    trace = torch.zeros(6, 40)
    for place, values, rows in calls:
        if place == 0:
            assert torch.equal(values, inputs)
            assert not rows
            continue
        assert rows["observed"].shape == (12, values.shape[1])
        assert torch.equal(rows["observed"][:6], values)
        assert torch.equal(rows["observed"][6:], rows["credit"])
        if place == 1:
            trace = 0.5 * trace + values
            assert torch.equal(rows["credit"], trace)


@pytest.mark.parametrize("encoding", [Poisson(T, seed=1), Frames(T, spikes=True)], ids=["Poisson", "Frames"])
def test_spikes_that_come_from_outside_leave_traces_too(encoding, float64):
    steps = T if isinstance(encoding, Frames) else None
    shape = TaskShape(input_shape=(30,), num_classes=5, num_tasks=1, time_steps=steps)
    inputs = (torch.rand(T, 6, 30) < 0.5).double() if steps else torch.rand(6, 30)
    calls = [call for call in seen_by_hooks(network_of(shape, encoding=encoding), inputs) if call[0] == 0]
    trace = torch.zeros(6, 30)
    for _, values, rows in calls:
        assert set(values.unique().tolist()) == {0.0, 1.0}
        trace = 0.5 * trace + values
        assert torch.equal(rows["credit"], trace)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"readout": Count(PAPER)}, "readout must be linear"),
        ({"make": lambda: LIF(), "training": "dsr"}, "neuron must be DSRLIF"),
    ],
)
def test_parts_that_cannot_be_trained_so_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        network_of(**options)


def test_a_readout_that_weighs_steps_weighs_their_losses(float64):
    network = network_of(readout=Membrane())
    shares = [share for share, _ in network.scores_over_time(torch.rand(6, 30))]
    assert shares == network.readout.weights(T)
    assert shares[0] > shares[-1]
