"""Does every network keep the contract of neurocl/networks/network.py, whatever it is put together from?"""

import copy
import inspect
import itertools
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

import neurocl.networks as room
from neurocl.networks import CNN, MLP, Direct, Frames, HLOPNet, Latency, Linear, Network, Poisson, Recurrent, ResNet18
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput, UnknownName
from neurocl.primitives.tasks import Task, TaskShape

IMAGE, STEPS, BATCH = (1, 8, 8), 5, 4
SHAPE = TaskShape(input_shape=IMAGE, num_classes=8, num_tasks=3)
NETWORKS = {
    "MLP": partial(MLP, hidden=(24, 16)),
    "CNN": partial(CNN, channels=(6, 8)),
    "HLOPNet": HLOPNet,
    "Recurrent": partial(Recurrent, hidden=(20, 12)),
    "ResNet18": partial(ResNet18, width=3),
}
CODINGS = {
    "rate": ("rate", lambda: None),
    "direct": ("spiking", lambda: Direct(STEPS)),
    "poisson": ("spiking", lambda: Poisson(STEPS, seed=3)),
    "latency": ("spiking", lambda: Latency(STEPS)),
}
READOUTS, HEADS = ("count", "membrane", "weighted-rate"), ("single", "expanding", "multi")
# every way to put an MLP together, and for the others every pair of parts
PAIRS = zip(READOUTS * 2, (*HEADS, *HEADS[1:], HEADS[0]), strict=True)
ALL = [
    *itertools.product(["MLP"], CODINGS, READOUTS, HEADS),
    *((name, code, *pair) for name in NETWORKS if name != "MLP" for code, pair in zip(CODINGS, PAIRS, strict=False)),
]
every_network = pytest.mark.parametrize("case", ALL, ids=["-".join(case) for case in ALL])
# one of each part, for questions that do not hang on how the parts meet
SOME = [(name, code, "membrane", "expanding") for name, code in itertools.product(NETWORKS, ("rate", "direct"))]
some_networks = pytest.mark.parametrize("case", SOME, ids=["-".join(case) for case in SOME])
STRONG = 3.0  # weights of tests are this much larger: short sequences, deep layers, and nobody may be silent


def task(index, classes, task_id=None):
    return Task(
        index=index,
        task_id=task_id,
        classes=classes,
        seen_classes=tuple(range(max(classes) + 1)),
        boundary="clear",
        batches=lambda size, epoch: iter(()),
        size=1,
    )


def build(case, *, seed=1, shape=SHAPE, encoding=None, begun=2):
    """A network of that kind after ``begun`` tasks, driven hard enough to fire."""
    name, code, readout, head = case
    coding, make_encoding = CODINGS[code]
    encoding = make_encoding() if encoding is None else encoding
    network = NETWORKS[name](shape, coding=coding, encoding=encoding, readout=readout, head=head, seed=seed)
    if coding == "spiking":
        with torch.no_grad():
            for module in network.layers.modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
                    module.weight.mul_(STRONG)
                if isinstance(module, nn.BatchNorm2d):
                    module.running_var.fill_(0.1)
    for index in range(begun):
        network.begin_task(task(index, (2 * index, 2 * index + 1), task_id=index))
    return network.eval()


def images(rows=BATCH, seed=0, dtype=torch.float32):
    return torch.rand(rows, *IMAGE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gradients(network, inputs, task_id):
    network.zero_grad()
    scores = network(inputs, task_id)
    seen = scores[scores.isfinite()]
    (seen * torch.linspace(1, 2, seen.numel()).to(seen)).sum().backward()
    found = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    return scores.detach(), found


def test_every_exported_network_is_tested_here():
    exported = {
        name
        for name in room.__all__
        if inspect.isclass(getattr(room, name)) and issubclass(getattr(room, name), Network)
    }
    assert set(NETWORKS) == exported - {"Network"}
    assert len(NETWORKS) == 5


@every_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scores_have_a_column_for_every_label_and_the_dtype_of_the_weights(case, dtype):
    network = build(case).to(dtype)
    scores = network(images(dtype=dtype))
    assert scores.shape == (BATCH, 8 if case[3] == "single" else 4)
    assert scores.dtype == dtype
    assert scores.isfinite().all()
    for layer in network.activity(images(dtype=dtype))[:-1]:
        assert layer.post.dtype == dtype
        assert layer.post.count_nonzero() > 0, f"the test says nothing about a silent {layer.name}"


@every_network
def test_only_the_labels_of_a_named_task_have_scores(case):
    network = build(case)
    everything, of_task = network(images()), network(images(), 1)
    assert torch.equal(of_task[:, 2:4], everything[:, 2:4])
    assert of_task[:, :2].isneginf().all()
    assert of_task[:, 4:].isneginf().all()


@every_network
def test_a_row_of_the_batch_does_not_depend_on_the_others(case):
    network = build(case).double()
    inputs = images(6, dtype=torch.float64)
    together = network(inputs)
    alone = torch.cat([network(row.unsqueeze(0)) for row in inputs])
    # products of other sizes round differently; a spike that moved would show as more than 1e-2
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@every_network
def test_predict_changes_nothing(case):
    network = build(case).train()
    network.layers[0].eval()
    before, modes = copy.deepcopy(network.state_dict()), [part.training for part in network.modules()]
    random_state = torch.random.get_rng_state()
    first = network.predict(images(), 0)
    network.predict(images(7, seed=5))
    network.activity(images(3))
    assert torch.equal(network.predict(images(), 0), first)
    assert not first.requires_grad
    assert [part.training for part in network.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), random_state)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@every_network
def test_a_new_task_leaves_old_rows_and_their_scores_as_they_are(case):
    network = build(case, begun=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    old = network.predict(images(), 0)
    network.begin_task(task(1, (2, 3), task_id=1))
    for name, value in network.state_dict().items():
        if name in before and not name.endswith("tasks"):
            assert torch.equal(value[: len(before[name])] if value.ndim else value, before[name])
    # one more column may change the order of sums in a product
    torch.testing.assert_close(network.predict(images(), 0)[:, :2], old[:, :2], rtol=1e-6, atol=1e-6)


@every_network
def test_weights_depend_on_the_seed_and_on_nothing_else(case):
    torch.manual_seed(1)
    random_state = torch.random.get_rng_state()
    one = build(case, begun=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), random_state)
    torch.manual_seed(2)
    same, other = build(case, begun=3).state_dict(), build(case, seed=2, begun=3).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(name.endswith("weight") and not torch.equal(one[name], other[name]) for name in one)


@every_network
def test_a_fresh_network_takes_a_checkpoint_with_a_grown_head(case):
    trained = build(case, begun=3)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.add_(0.01)
    fresh = copy.deepcopy(build(case, begun=0))
    fresh.load_state_dict(trained.state_dict())
    for task_id in (None, 0, 2):
        assert torch.equal(fresh.predict(images(), task_id), trained.predict(images(), task_id))
    for network in (fresh, trained):
        network.begin_task(task(3, (6, 7), task_id=3)) if case[3] != "single" else None
    assert torch.equal(fresh.predict(images()), trained.predict(images()))


@every_network
def test_exact_autograd_gives_the_same_scores_and_gradients(case):
    network, inputs = build(case).double(), images(dtype=torch.float64)
    fast, fast_gradients = gradients(network, inputs, 1)
    kernels = [part.kernel for part in network.modules() if hasattr(part, "kernel")]
    with network.exact_autograd():
        assert {part.kernel for part in network.modules() if hasattr(part, "kernel")} <= {"reference"}
        exact, exact_gradients = gradients(network, inputs, 1)
    assert kernels == [part.kernel for part in network.modules() if hasattr(part, "kernel")]
    torch.testing.assert_close(exact, fast, rtol=1e-10, atol=1e-10)
    assert fast_gradients.keys() == exact_gradients.keys()
    assert sum(gradient.abs().sum() for gradient in fast_gradients.values()) > 0
    for name, gradient in fast_gradients.items():
        torch.testing.assert_close(
            exact_gradients[name], gradient, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


@some_networks
@pytest.mark.parametrize("readout", READOUTS)
def test_gradients_sample_by_sample_run_under_vmap(case, readout):
    network, inputs = build((*case[:2], readout, case[3])).double(), images(dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3])
    parameters = {name: weight.detach() for name, weight in network.named_parameters()}

    def loss(weights, sample, label):
        scores = torch.func.functional_call(network, weights, (sample.unsqueeze(0),))
        return functional.cross_entropy(scores, label.unsqueeze(0))

    with network.exact_autograd():
        by_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, inputs, labels)
    network.zero_grad()
    functional.cross_entropy(network(inputs), labels, reduction="sum").backward()
    for name, weight in network.named_parameters():
        # lateral weights that never came to act have no gradient at all
        summed = torch.zeros_like(weight) if weight.grad is None else weight.grad
        torch.testing.assert_close(by_sample[name].sum(0), summed, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_constant_input_gives_what_the_repeated_input_gives(name):
    case = (name, "direct", "membrane", "expanding")
    static = build(case).double()
    shape = TaskShape(input_shape=IMAGE, num_classes=8, num_tasks=3, time_steps=STEPS)
    repeated = build(case, shape=shape, encoding=Frames(STEPS)).double()
    inputs = images(dtype=torch.float64)
    sequence = inputs.expand(STEPS, *inputs.shape)
    once, always = gradients(static, inputs, 1), gradients(repeated, sequence, 1)
    torch.testing.assert_close(once[0], always[0], rtol=1e-9, atol=1e-9)
    for key, gradient in once[1].items():
        torch.testing.assert_close(gradient, always[1][key], rtol=1e-8, atol=1e-10)
    assert static.activity(inputs)[0].pre.shape[0] == 1
    assert repeated.activity(sequence)[0].pre.shape[0] == STEPS


@every_network
def test_activity_shows_every_synapse_with_what_came_in_and_what_went_out(case):
    network = build(case)
    layers = network.activity(images())
    synapses = [part for part in network.layers.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    assert [layer.synapse for layer in layers[:-1]] == synapses
    assert layers[-1].name == "head"
    for layer in layers:
        assert layer.pre.shape[1] == layer.post.shape[1] == BATCH
        assert layer.pre_is_spikes == (layer.pre_spikes_per_unit == 1)
        if layer.pre_is_spikes:
            assert set(layer.pre.unique().tolist()) <= {0.0, 1.0}
        assert layer.synapse(layer.pre[0]).shape[1] == layer.synapse.weight.shape[0]
    if case[2] != "count":
        columns = slice(2, 4) if case[3] == "multi" else slice(None)
        assert torch.equal(layers[-1].post[0][:, columns], network.predict(images())[:, columns])


@some_networks
def test_features_times_the_gain_are_what_a_linear_head_reads(case):
    network = build(case)
    features = network.features(images())
    assert features.shape[0] == BATCH
    assert features.min() >= 0
    torch.testing.assert_close(network.head(network.readout.gain * features), network(images()))


@some_networks
def test_one_step_and_one_sample_are_enough(case):
    network = build(case, encoding=Direct(1))
    assert network(images(1)).shape == (1, 4)


@some_networks
@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (torch.rand(0, *IMAGE), "at least one sample"),
        (torch.rand(2, 1, 8, 9), "shape"),
        (torch.rand(*IMAGE), "shape"),
        (torch.full((2, *IMAGE), torch.nan), "finite"),
        (torch.full((2, *IMAGE), torch.inf), "finite"),
        (torch.ones(2, *IMAGE, dtype=torch.uint8), "float32"),
        (torch.rand(2, *IMAGE, dtype=torch.float64), "float32"),
    ],
    ids=["empty", "wrong size", "no batch", "NaN", "infinite", "bytes", "double"],
)
def test_bad_inputs_are_refused_in_one_line(case, inputs, says, as_installed):
    network = build(case)
    for ask in (network, network.features, network.activity):
        with pytest.raises(BadInput, match=says) as refused:
            ask(inputs)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_what_a_network_cannot_be_is_refused(make, as_installed):
    with pytest.raises(UnknownName, match="sign"):
        make(SHAPE, feedback="sing") if make is not NETWORKS["Recurrent"] else Linear(3, 2, feedback="sing")
    with pytest.raises(UnknownName, match="surrogate"):
        make(SHAPE, training="surogate")
    with pytest.raises(UnknownName, match="membrane"):
        make(SHAPE, readout="membran")
    with pytest.raises(UnknownName, match="expanding"):
        make(SHAPE, head="expandin")
    with pytest.raises(UnknownName, match="spiking"):
        make(SHAPE, coding="spking")
    with pytest.raises(BadInput, match="Frames"):
        make(SHAPE, encoding=Frames(4))
    with pytest.raises(BadInput, match="Frames"):
        make(TaskShape(input_shape=IMAGE, num_classes=2, num_tasks=1, time_steps=6), encoding=Direct(6))


@pytest.mark.parametrize("make", [CNN, HLOPNet, ResNet18])
def test_convolutions_refuse_what_is_no_image_or_too_small(make):
    with pytest.raises(BadInput, match="channels, height, width"):
        make(TaskShape(input_shape=(64,), num_classes=2, num_tasks=1))
    with pytest.raises(BadInput, match="at least"):
        make(TaskShape(input_shape=(1, 3, 20), num_classes=2, num_tasks=1))


@pytest.mark.parametrize("name", NETWORKS)
def test_sequences_of_the_wrong_length_are_refused(name):
    shape = TaskShape(input_shape=IMAGE, num_classes=8, num_tasks=3, time_steps=STEPS)
    network = build((name, "direct", "membrane", "expanding"), shape=shape, encoding=Frames(STEPS, spikes=True))
    assert network((torch.rand(STEPS, 2, *IMAGE) < 0.3).float()).shape == (2, 4)
    with pytest.raises(BadInput, match=r"\[5, B, 1, 8, 8\]"):
        network(torch.rand(STEPS + 1, 2, *IMAGE))


def test_normalisation_runs_over_time_and_batch_in_training_only():
    network = build(("HLOPNet", "direct", "membrane", "expanding"))
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    network.train()
    network(images())
    assert all(norm.num_batches_tracked == 1 for norm in norms)
    means = [norm.running_mean.clone() for norm in norms]
    network.predict(images(2))
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, means, strict=True))
    assert all(name in network.state_dict() for name in ("layers.0.normalise.running_mean",))


def test_neurons_of_a_network_are_its_own():
    network = MLP(SHAPE, hidden=(4, 4), neuron=lambda: LIF(tau_membrane_ms=3.0), readout="count")
    neurons = [part for part in network.modules() if isinstance(part, LIF)]
    assert len({id(neuron) for neuron in neurons}) == 3
    assert {neuron.tau_membrane_ms for neuron in neurons} == {3.0}
