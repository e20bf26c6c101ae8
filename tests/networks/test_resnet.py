"""Is the residual network the one that the literature draws, and can its shortcuts be told apart from its layers?"""

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurocl import streams
from neurocl.networks import Direct, ResNet18, count_operations
from neurocl.primitives.tasks import TaskShape
from neurocl.run.shelf import load_model

SHAPE = TaskShape(input_shape=(3, 16, 12), num_classes=10, num_tasks=1)


def images(rows=5, seed=0):
    return torch.randn(rows, 3, 16, 12, generator=torch.Generator().manual_seed(seed))


def preactivated(network, x):
    """He et al.'s network of rectified units with these weights: normalise, rectify, convolve, and add."""
    stem, *blocks = network.layers
    x, norms = stem.synapse(x), [stem.normalise, *(block.normalise for block in blocks)]
    for norm, block in zip(norms, blocks, strict=False):
        active = functional.relu(norm(x))
        inner = functional.relu(block.first.normalise(block.first.synapse(active)))
        x = block.synapse(inner) + (x if block.shortcut is None else block.shortcut(active))
    pooled = functional.relu(norms[-1](x)).mean((2, 3))
    return functional.linear(pooled, network.head.linear.weight, network.head.linear.bias)


@pytest.mark.parametrize("training", [True, False])
def test_with_rate_units_it_is_the_preactivation_network_of_the_literature(training):
    network = ResNet18(SHAPE, coding="rate", head="single").double().train(training)
    torch.testing.assert_close(network(images().double()), preactivated(network, images().double()))


def test_layers_stand_in_the_order_of_the_paper_with_its_fan_ins():
    network = ResNet18(SHAPE, head="single")
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    blocks = [
        [f"layers.{b}.first.synapse", f"layers.{b}.synapse", *([f"layers.{b}.shortcut"] if b in (3, 5, 7) else [])]
        for b in range(1, 9)
    ]
    assert names == ["layers.0.synapse", *(name for block in blocks for name in block)]
    fans = [part.weight[0].numel() for part in network.modules() if isinstance(part, nn.Conv2d)]
    assert fans == [27, *[180] * 5, 360, 20, *[360] * 3, 720, 40, *[720] * 3, 1440, 80, *[1440] * 2]
    sizes = [tuple(layer.post.shape[2:]) for layer in network.activity(images())[:-1]]
    assert sizes[0] == (20, 16, 12)
    assert sizes[-1] == (160, 2, 2)  # 12, 6, 3, and 2: what is left over counts


def test_neurons_behind_a_shortcut_count_once():
    network = ResNet18(SHAPE, head="single", encoding=Direct(4))
    network.train()(images())
    layers = network.eval().activity(images())
    assert sum(layer.name.endswith(".shortcut") for layer in layers) == 3
    neurons = [layer.post for layer in layers[:-1] if not layer.name.endswith(".shortcut")]
    assert len(neurons) == 17
    expected = sum(float(post.sum()) for post in neurons) / sum(post.numel() for post in neurons)
    assert count_operations(network, images()).mean_firing_rate == pytest.approx(expected)
    assert network.hidden_features(images()).shape == (5, 1220)


def test_the_model_protects_every_layer_shortcuts_too():
    stream = streams.open("split-digits", seed=0, setting="task-incremental", options={"train_per_class": 20})
    model = load_model("hlop")
    # rate units: after so few steps the normalisation that is frozen would keep spiking layers silent
    settings = {"network": "resnet", "coding": "rate", "optimiser": "momentum", "learning_rate": 0.05, "share": 0.9}
    learner = model.build(model.config(**settings), stream.shape, 0)
    for task, _ in zip(stream, range(2), strict=False):
        learner.begin_task(task)
        for batch in task.batches(20, 0):
            learner.observe(batch)
        learner.end_task(task)
    reports = learner.diagnostics()["lateral"]
    assert len(reports) == 20
    assert all(report["rows"] > 0 for report in reports)
    leaks = [report["leak"] for report in reports if report["leak"] is not None]  # None: no more than rounding moved
    assert len(leaks) == 20
    assert max(leaks) < 1e-6, reports
    moved = [name for name, weight in learner.network.named_parameters() if weight.requires_grad]
    assert not [name for name in moved if "normalise" in name or "threshold" in name]
