"""Do rates of DSR neurons follow their currents, and are weight gradients those of the equations, step by step?"""

import math

import pytest
import torch
from torch.nn import functional

from neurocl.networks import CNN, MLP, Direct, Frames, HLOPNet, Readout, ResNet18, WeightedRate
from neurocl.neurons import DSRLIF
from neurocl.plasticity import HebbianRule, SpikeRates, attach_lateral
from neurocl.primitives.tasks import Task, TaskShape

KEEP, THRESHOLD, SHARE, DT, TAU, T = math.exp(-0.05), 0.3, 0.3, 0.05, 1.0, 20  # the paper's numbers


def weights(steps=T):
    raw = torch.tensor([math.exp(-(steps - i) * DT / TAU) for i in range(1, steps + 1)], dtype=torch.float64)
    return raw / raw.sum()


class LiteralRates(torch.autograd.Function):
    """The paper's neuron over T steps, every step of the sequence with a gradient of its own."""

    @staticmethod
    def forward(ctx, current, threshold):
        u, out = torch.zeros_like(current[0]), []
        for now in current:
            u = KEEP * u + (1 - KEEP) * now
            spike = (u >= SHARE * threshold).to(u.dtype)
            u = u - threshold * spike
            out.append(spike * threshold / DT)
        ctx.save_for_backward(torch.tensordot(weights(len(current)).to(u), current, 1), threshold)
        return torch.stack(out)

    @staticmethod
    def backward(ctx, grad):
        rate_in, threshold = ctx.saved_tensors
        top, total = threshold * TAU / DT, len(grad) * torch.tensordot(weights(len(grad)).to(grad), grad, 1)
        inside = (rate_in > 0) & (rate_in < top)
        each = (total * inside / TAU / len(grad)).expand(len(grad), *total.shape)
        return each, DT * (total * (rate_in >= top)).sum()


class LiteralProjection(torch.autograd.Function):
    """The paper's layer under spiking lateral neurons: every step's errors meet what these leave of that step."""

    @staticmethod
    def forward(ctx, x, weight, rows):
        answers = (x @ rows.T).clamp(-20, 20).div(0.5).round().mul(0.5)
        ctx.save_for_backward(x - answers @ rows, weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, grad):
        left, weight = ctx.saved_tensors
        return grad @ weight, grad.flatten(0, 1).T @ left.flatten(0, 1), None


def shape(*sizes, classes=5):
    return TaskShape(input_shape=sizes, num_classes=classes, num_tasks=1)


def gradients(loss, named):
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def same(found, expected):
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-9, f"the test says nothing about {name}"
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}")


def loud(network, factor):
    """Drive the layers until some neurons fire at every step, so that thresholds learn too."""
    with torch.no_grad():
        for layer in network.layers:
            layer.synapse.weight.mul_(factor)
    return network


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_gradients_of_a_network_are_those_of_the_paper_at_every_step(bias, float64):
    make = lambda: DSRLIF(trainable=True)  # noqa: E731
    options = {"neuron": make, "head": "single", "bias": bias, "training": "dsr", "readout": WeightedRate()}
    network = MLP(shape(30), hidden=(40, 35), encoding=Direct(T), **options).double()
    network = loud(network, 8.0)
    inputs, labels = torch.rand(6, 30), torch.arange(6) % 5
    scores = network(inputs)
    found = gradients(functional.cross_entropy(scores, labels), dict(network.named_parameters()))
    x = inputs.expand(T, -1, -1)
    for layer in network.layers:
        x = LiteralRates.apply(functional.linear(x, layer.synapse.weight, layer.synapse.bias), layer.neuron.threshold)
        assert 0.02 < (x > 0).double().mean() < 0.9
    logits = functional.linear(x, network.head.linear.weight, network.head.linear.bias)
    expected_scores = torch.tensordot(weights(), logits, 1)
    torch.testing.assert_close(scores, expected_scores, rtol=1e-10, atol=1e-12)
    same(found, gradients(functional.cross_entropy(expected_scores, labels), dict(network.named_parameters())))


@pytest.mark.parametrize(("readout", "louder"), [(WeightedRate(), 1.0817513513940962), (Readout(), 1.0)])
def test_the_last_layer_gathers_the_errors_of_its_steps_by_the_weights_of_its_rate(readout, louder, float64):
    network = MLP(shape(30), hidden=(40,), encoding=Direct(T), head="single", training="dsr", readout=readout).double()
    inputs = torch.rand(6, 30)
    signal = network._hidden(inputs)
    (found,) = torch.autograd.grad(readout.features(signal).sum(), signal.credit)
    torch.testing.assert_close(found, torch.full_like(found, louder), rtol=1e-12, atol=0)


def test_lateral_neurons_that_spike_answer_every_step_as_in_the_paper(float64):
    options = {"neuron": DSRLIF, "head": "single", "bias": False, "training": "dsr", "readout": WeightedRate()}
    network = loud(MLP(shape(30), hidden=(40, 35), encoding=Direct(T), **options).double(), 8.0)
    rule = HebbianRule(deflate=False)
    circuits = attach_lateral(network, rows=6, rule=rule, neurons=SpikeRates(), orthonormalise="never")
    inputs, labels = 3 * torch.rand(6, 30), torch.arange(6) % 5
    network.train()
    circuits.begin_task()
    functional.cross_entropy(network(inputs), labels).backward()
    circuits.end_task()
    network.zero_grad()
    circuits.begin_task()
    functional.cross_entropy(network(inputs), labels).backward()
    found = {name: weight.grad for name, weight in network.named_parameters()}
    x = inputs.expand(T, -1, -1)
    named = {name: weight.detach().clone().requires_grad_() for name, weight in network.named_parameters()}
    *hidden, last = zip(named.values(), (layer.circuits[0].old for layer in circuits.layers.values()), strict=True)
    for weight, rows in hidden:
        assert (rows @ x.flatten(0, 1).T).abs().max() > 1.0, "answers of a spike or two and more"
        x = LiteralRates.apply(LiteralProjection.apply(x, weight, rows), torch.tensor(THRESHOLD))
    scores = torch.tensordot(weights(), LiteralProjection.apply(x, *last), 1)
    same(found, gradients(functional.cross_entropy(scores, labels), named))


def test_an_input_over_time_goes_through_the_first_layer_as_spikes_do(float64):
    over_time = TaskShape(input_shape=(30,), num_classes=5, num_tasks=1, time_steps=T)
    network = loud(MLP(over_time, hidden=(40,), head="single", training="dsr", readout=WeightedRate()).double(), 6.0)
    inputs, labels = torch.rand(T, 6, 30), torch.arange(6) % 5
    found = gradients(functional.cross_entropy(network(inputs), labels), dict(network.named_parameters()))
    layer, threshold = network.layers[0].synapse, torch.tensor(THRESHOLD)
    x = LiteralRates.apply(functional.linear(inputs, layer.weight, layer.bias), threshold)
    logits = functional.linear(x, network.head.linear.weight, network.head.linear.bias)
    loss = functional.cross_entropy(torch.tensordot(weights(), logits, 1), labels)
    same(found, gradients(loss, dict(network.named_parameters())))


@pytest.mark.parametrize("frozen", [False, True], ids=["batch statistics", "frozen"])
def test_gradients_with_normalisation_are_those_of_the_paper_at_every_step(frozen, float64):
    network = HLOPNet(shape(2, 8, 8), encoding=Direct(6), head="single", training="dsr", readout=WeightedRate())
    network = loud(network.double(), 1.5).train()
    if frozen:
        for layer in network.layers:
            layer.normalise.momentum = 1.0
        network(torch.rand(4, 2, 8, 8))
        network.freeze_normalisation()
    network.train()
    inputs, labels = torch.rand(4, 2, 8, 8), torch.arange(4)
    named = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    assert len(named) == (5 if frozen else 11)
    found = gradients(functional.cross_entropy(network(inputs), labels), named)
    x, threshold = inputs.expand(6, -1, -1, -1, -1), torch.tensor(THRESHOLD)
    for layer in network.layers:
        rows = layer.synapse(x.flatten(0, 1))
        norm, statistics = layer.normalise, (layer.normalise.running_mean, layer.normalise.running_var)
        rows = functional.batch_norm(
            rows, *(statistics if frozen else (None, None)), norm.weight, norm.bias, not frozen, 0.0, norm.eps
        )
        x = LiteralRates.apply(rows.unflatten(0, x.shape[:2]), threshold)
        x = functional.avg_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])
    head = network.head.linear
    loss = functional.cross_entropy(
        torch.tensordot(weights(6), functional.linear(x.flatten(2), head.weight, head.bias), 1), labels
    )
    same(found, gradients(loss, named))


@pytest.mark.parametrize("frozen", [False, True], ids=["batch statistics", "frozen"])
def test_gradients_around_shortcuts_are_those_of_the_paper_at_every_step(frozen, float64):
    make = lambda: DSRLIF(trainable=True)  # noqa: E731
    network = ResNet18(shape(2, 8, 8), width=3, neuron=make, encoding=Direct(6), head="single", training="dsr")
    network = network.double().train()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.fill_(2.5)
                part.bias.uniform_(0.0, 1.0)
                part.momentum = 1.0
    if frozen:
        network(torch.rand(4, 2, 8, 8))
        network.freeze_normalisation()
    network.train()
    inputs, labels = torch.rand(4, 2, 8, 8), torch.arange(4)
    named = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    assert len(named) == 20 + 2 + (0 if frozen else 3 * 17)
    found = gradients(functional.cross_entropy(network(inputs), labels), named)

    def over_time(synapse, x):
        return synapse(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def fired(layer, current):
        norm = layer.normalise
        statistics = (norm.running_mean, norm.running_var) if frozen else (None, None)
        rows = functional.batch_norm(
            current.flatten(0, 1), *statistics, norm.weight, norm.bias, not frozen, 0.0, norm.eps
        )
        return LiteralRates.apply(rows.unflatten(0, current.shape[:2]), layer.neuron.threshold)

    stem, *blocks = network.layers
    current = over_time(stem.synapse, inputs.expand(6, -1, -1, -1, -1))
    for before, block in zip([stem, *blocks], blocks, strict=False):  # as the paper draws it: neurons come first
        x = fired(before, current)
        beside = current if block.shortcut is None else over_time(block.shortcut, x)
        current = over_time(block.synapse, fired(block.first, over_time(block.first.synapse, x))) + beside
    x = fired(blocks[-1], current)
    head = network.head.linear
    logits = functional.linear(x.mean((3, 4)), head.weight, head.bias)
    loss = functional.cross_entropy(torch.tensordot(weights(6), logits, 1), labels)
    expected = gradients(loss, {name: weight for name, weight in named.items() if "threshold" not in name})
    same(found, expected)


def test_max_pooling_sends_errors_to_the_winners_of_every_step(float64):
    network = loud(
        CNN(shape(1, 8, 8), channels=(4, 6), encoding=Direct(6), head="single", training="dsr"), 4.0
    ).double()
    inputs, labels = torch.rand(4, 1, 8, 8), torch.arange(4)
    named = {name: weight for name, weight in network.named_parameters() if name.startswith("layers.1")}
    found = gradients(functional.cross_entropy(network(inputs), labels), named)
    x, threshold = inputs.expand(6, -1, -1, -1, -1), torch.tensor(THRESHOLD)
    for layer in network.layers:
        x = LiteralRates.apply(layer.synapse(x.flatten(0, 1)).unflatten(0, x.shape[:2]), threshold)
        x = functional.max_pool2d(x.flatten(0, 1), 2).unflatten(0, x.shape[:2])
    x = x.flatten(2)
    louder = 6 * weights(6).square().sum()  # of the readout's errors over the steps, gathered by the same weights
    equally = torch.tensordot(weights(6), x, 1).detach() + louder * (x.mean(0) - x.mean(0).detach())
    loss = functional.cross_entropy(network.head(equally), labels)
    same(found, gradients(loss, named))


@pytest.mark.parametrize("steps", [20, 80])
def test_a_constant_current_comes_out_as_itself_up_to_what_stays_in_the_membrane(steps, float64):
    neuron = DSRLIF(fire_at=0.5)
    current = torch.linspace(-2, 8, 401).unsqueeze(0)
    response = neuron.respond(current, current.clone().requires_grad_(), time_steps=steps)
    per_rate = (1 - neuron.keep) * 20  # 0.975: in steps, not in continuous time
    expected = (per_rate * current).clamp(0, neuron.amplitude)
    # the membrane ends between -threshold / 2 and threshold / 2 where rates can follow
    bound = 0.5 * neuron.threshold * float(weights(steps)[-1]) * 20
    assert bound < neuron.amplitude * 0.041
    inside = (per_rate * current > 0) & (per_rate * current < neuron.amplitude)
    assert ((response.rate - expected).abs()[inside] <= bound + 1e-9).all()
    assert torch.equal(response.rate[~inside & (current < 0)], torch.zeros_like(current[~inside & (current < 0)]))
    torch.testing.assert_close(response.rate[current > 7], torch.full_like(current[current > 7], neuron.amplitude))
    # the plain mean misses what leaks out of the membrane over time besides what stays in it
    bound = 0.5 * neuron.threshold * (1 - neuron.keep + 1 / steps) * 20
    assert ((response.credit - expected).abs()[inside] <= bound + 1e-9).all()


@pytest.mark.parametrize(
    ("rate_slope", "slope", "top"), [("paper", 1.0, 6.0), ("exact", 20 * (1 - KEEP), 0.3 / (1 - KEEP))]
)
def test_the_derivative_of_rates_has_the_slope_and_the_range_asked_for(rate_slope, slope, top, float64):
    neuron = DSRLIF(rate_slope=rate_slope)
    assert neuron.amplitude == pytest.approx(6.0)
    current = torch.tensor([[-0.1, 1e-6, 3.0, top - 1e-6, top + 1e-6, 9.0]], requires_grad=True)
    for sequence, steps in ((current.detach(), 20), (current.detach().expand(20, 1, 6), None)):
        response = neuron.respond(sequence, current, time_steps=steps)
        (found,) = torch.autograd.grad(response.credit.sum(), current)
        torch.testing.assert_close(found, torch.tensor([[0.0, slope, slope, slope, 0.0, 0.0]]))


def test_a_scaled_sequence_is_the_sequence(float64):
    neuron, current = DSRLIF(), torch.randn(20, 3, 50) + 1
    mean = current.mean(0).requires_grad_()
    plain, scaled = neuron.respond(current, mean), neuron.respond(current / 6, mean, scale=6.0)
    assert 0.05 < plain.spikes.mean() < 0.6
    assert torch.equal(plain.spikes, scaled.spikes)
    torch.testing.assert_close(plain.rate, torch.tensordot(weights(), 6 * plain.spikes, 1))
    assert torch.equal(plain.spikes, neuron(current)[0])


def test_training_and_prediction_see_the_same_scores():
    network = loud(MLP(shape(30), hidden=(40, 35), head="expanding", training="dsr"), 4.0)
    network.begin_task(
        Task(
            index=0, task_id=None, classes=(0, 1), seen_classes=(0, 1), boundary="clear", size=1, batches=lambda *_: []
        )
    )
    inputs = torch.rand(6, 30)
    torch.testing.assert_close(network(inputs).detach(), network.predict(inputs), rtol=1e-5, atol=1e-5)


def test_the_weight_gradient_takes_as_many_rows_as_the_batch_has():
    over_time = TaskShape(input_shape=(30,), num_classes=5, num_tasks=1, time_steps=T)
    for network, inputs in (
        (MLP(shape(30), hidden=(40, 35), head="single", encoding=Direct(T), training="dsr"), torch.rand(6, 30)),
        (MLP(over_time, hidden=(40, 35), head="single", encoding=Frames(T), training="dsr"), torch.rand(T, 6, 30)),
    ):
        rows = []

        def look(module, args, kwargs, output, rows=rows):
            if output.requires_grad:
                rows.append(tuple(args[0].shape))
                assert kwargs.get("observed", args[0]).shape == args[0].shape

        for layer in (*(layer.synapse for layer in network.layers), network.head.linear):
            layer.register_forward_hook(look, with_kwargs=True)
        network(inputs).sum().backward()
        assert rows == [(6, 30), (6, 40), (6, 35)]


def test_an_infinite_current_saturates_and_silences_nobody():
    current = torch.tensor([math.inf, -math.inf, 1e38]).expand(4, 1, 3)
    with torch.no_grad():
        spikes, v = DSRLIF()(current)
    assert spikes[:, 0].T.tolist() == [[1.0] * 4, [0.0] * 4, [1.0] * 4]
    assert not v.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sequences_spike_bit_for_bit_as_single_steps_do(dtype):
    draws = torch.Generator().manual_seed(1)
    currents = {"over time": (torch.rand(60, 20, 999, generator=draws, dtype=dtype) * 4, None)}
    currents |= {"constant": (torch.rand(20, 999, generator=draws, dtype=dtype) * 4, 60)}
    currents |= {
        f"at threshold {level}": (torch.full((1, 1), SHARE * level, dtype=dtype), 1500) for level in (0.05, 0.3, 1.7)
    }
    for name, (current, steps) in currents.items():
        neuron = DSRLIF(threshold=float(name.split()[-1]) if "threshold" in name else THRESHOLD)
        run = neuron if steps is None else lambda now, neuron=neuron, steps=steps: neuron.constant(now, steps)
        with torch.no_grad():
            spikes, v = run(current)
        stepped, after = run(current.clone().requires_grad_())
        assert torch.equal(spikes, stepped), name
        assert torch.equal(v, after), name


def test_half_precision_has_the_range_for_slow_membranes():
    spikes, v = DSRLIF(tau_membrane_ms=1e6)(torch.full((20, 1, 3), 100.0, dtype=torch.float16))
    assert not spikes.any()
    assert v.isfinite().all()
    with torch.no_grad():
        response = DSRLIF(tau_membrane_ms=1e6).respond(
            torch.full((20, 1, 3), 1.0, dtype=torch.float16), torch.zeros(1, 3, dtype=torch.float16), scale=2.0
        )
    assert response.rate.isfinite().all()


def test_a_network_learns_under_autocast():
    network = MLP(shape(30), hidden=(40, 35), encoding=Direct(T), head="single", training="dsr", neuron=DSRLIF)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = functional.cross_entropy(network(torch.rand(6, 30)), torch.arange(6) % 5)
    loss.backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in network.parameters())
