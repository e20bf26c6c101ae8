"""Are fixed feature maps what their definitions say, and fixed by the first task alone?"""

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from neurocl.memory import RecursiveRidge
from neurocl.networks import FeatureMap, FoldiakFeatures, PatchFeatures, RandomFeatures
from neurocl.networks.feature_maps.patches import normalised
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import TaskShape

IMAGE = (2, 12, 13)
SHAPE = TaskShape(input_shape=IMAGE, num_classes=4, num_tasks=2)
SMALL = {
    RandomFeatures: {"features": 50},
    PatchFeatures: {"filters": 20, "patch": 4, "samples": 500},
    FoldiakFeatures: {"filters": 20, "patch": 4, "samples": 2000, "hebbian_rate": 0.05},
}
every_map = pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
every_coding = pytest.mark.parametrize("coding", ["spiking", "rate"])


def images(rows=30, seed=0):
    """Smooth random images, so that patches have structure."""
    noise = torch.rand(rows, *IMAGE, generator=torch.Generator().manual_seed(seed))
    return functional.avg_pool2d(noise, 3, stride=1, padding=1)


def fitted(make, coding="spiking", *, seed=0, first=None, shape=SHAPE, **options):
    features = make(shape, coding=coding, seed=seed, **{**SMALL[make], **options})
    features.fit(images() if first is None else first)
    return features


@every_map
@every_coding
def test_features_are_fixed_by_the_first_task(make, coding):
    features = fitted(make, coding)
    before, random_state = copy.deepcopy(features.state_dict()), torch.random.get_rng_state()
    first = features(images(5, seed=7))
    features(images(40, seed=8) * 3)
    features.operations(images(4, seed=9))
    assert torch.equal(features(images(5, seed=7)), first)
    after = features.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    with pytest.raises(BadInput, match="fitted already"):
        features.fit(images(30, seed=8))


@every_map
@every_coding
def test_the_same_seed_and_first_task_give_the_same_features_and_others_do_not(make, coding):
    rows = images(6, seed=5)
    torch.manual_seed(5)
    one = fitted(make, coding)(rows)
    torch.manual_seed(6)
    assert torch.equal(fitted(make, coding)(rows), one)
    assert not torch.equal(fitted(make, coding, seed=1)(rows), one)
    assert not torch.equal(fitted(make, coding, first=images(seed=3) * 2 + 0.1 * images(seed=4))(rows), one)


@every_map
@every_coding
def test_a_fresh_map_takes_over_a_fitted_one(make, coding):
    one = fitted(make, coding)
    other = make(SHAPE, coding=coding, seed=4, **SMALL[make])
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(images(3, seed=2)), one(images(3, seed=2)))


@every_map
@every_coding
def test_a_row_does_not_depend_on_the_others(make, coding):
    features, rows = fitted(make, coding).double(), images(9, seed=1).double()
    alone = torch.cat([features(row.unsqueeze(0)) for row in rows])
    torch.testing.assert_close(features(rows), alone, rtol=0, atol=1e-9)
    assert features(rows).dtype == torch.float64
    assert not features(rows).requires_grad


@every_map
@every_coding
def test_features_do_not_hang_on_the_scale_of_the_images(make, coding):
    one = fitted(make, coding).double()(images(6, seed=5).double())
    scaled = make(SHAPE, coding=coding, **SMALL[make]).double()
    scaled.fit(images().double() * 255)
    torch.testing.assert_close(scaled(images(6, seed=5).double() * 255), one, rtol=1e-3, atol=1e-3)


def test_random_projections_have_root_mean_square_one_over_the_first_task():
    features = fitted(RandomFeatures, "rate", bias=0.0)
    projected = images().flatten(1) @ features.weight.T
    torch.testing.assert_close(projected.square().mean(0).sqrt(), torch.ones(50))
    torch.testing.assert_close(features(images()), projected.relu())


@pytest.mark.parametrize("time_steps", [16, 128, 1024])
def test_firing_rates_approach_the_rectified_drive_as_time_grows(time_steps):
    drive = 0.3
    spiking = fitted(RandomFeatures, time_steps=time_steps, keep=1 - 1e-7, drive=drive).double()
    rate = fitted(RandomFeatures, "rate").double()
    rows = images(20, seed=3).double()
    expected = (drive * rate(rows)).clamp(max=1.0)
    assert (expected > 0.2).float().mean() > 0.1, "the test says nothing about units that hardly fire"
    # without a leak, T steps of a current I make T I / threshold spikes, less a remainder below one
    error = spiking(rows) - expected
    assert error.max() <= 1e-3
    assert error.min() >= -1 / time_steps - 1e-3


@pytest.mark.parametrize("time_steps", [16, 128, 1024])
def test_spiking_patch_features_approach_rectified_ones_as_time_grows(time_steps):
    rate = fitted(PatchFeatures, "rate", threshold=0.0).double()
    spiking = fitted(PatchFeatures, time_steps=time_steps, keep=1 - 1e-7, drive=0.1).double()
    rows = images(6, seed=3).double()
    expected, found = rate(rows).square() * 0.1, spiking(rows).square()
    assert expected[:, :-1].mean() > 0.01
    assert (found - expected)[:, :-1].max() <= 1e-3
    assert (found - expected)[:, :-1].min() >= -1 / time_steps


def test_patch_features_are_their_definition():
    features = fitted(PatchFeatures, "rate", threshold=0.3).double()
    drawn, variance = features._drawn(images())
    epsilon = 0.5 * variance.mean()
    patches = (drawn - drawn.mean(1, keepdim=True)) / (drawn.var(1, unbiased=False, keepdim=True) + epsilon).sqrt()
    torch.testing.assert_close(normalised(drawn, epsilon), patches)
    mean, covariance = patches.mean(0), torch.cov(patches.T, correction=0)
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance + 0.1 * torch.eye(32)))
    values, vectors = torch.linalg.eigh(covariance + 0.1 * torch.eye(32))
    symmetric = vectors / values.sqrt() @ vectors.T
    torch.testing.assert_close(whitening.T @ whitening, symmetric @ symmetric)  # both undo the covariance
    whitened = (patches - mean) @ symmetric
    clear = torch.nonzero(variance >= epsilon).flatten()[:20]
    filters = whitened[clear] / whitened[clear].norm(dim=1, keepdim=True)
    scale = (whitened @ filters.T).square().mean().sqrt()
    rows = images(3, seed=4).double()
    windows = rows.unfold(2, 4, 1).unfold(3, 4, 1)  # image, channel, 9 rows, 10 columns, patch
    flat = windows.permute(0, 2, 3, 1, 4, 5).flatten(3)
    flat = (flat - flat.mean(-1, keepdim=True)) / (flat.var(-1, unbiased=False, keepdim=True) + epsilon).sqrt()
    response = ((flat - mean) @ symmetric @ filters.T / scale - 0.3).relu()
    # 10 columns in three regions: 4, 3, 3
    regions = [
        response[:, 3 * r : 3 * r + 3, left:right].mean((1, 2))
        for r in range(3)
        for left, right in ((0, 4), (4, 7), (7, 10))
    ]
    expected = torch.cat([torch.stack(regions, 1).sqrt().flatten(1), torch.ones(3, 1)], dim=1)
    # weights were folded in float32
    torch.testing.assert_close(features(rows), expected, rtol=1e-4, atol=1e-4)
    assert features.width == 9 * 20 + 1


def test_units_left_out_of_the_simulation_would_have_stayed_silent():
    features = fitted(PatchFeatures, drive=0.25)
    current = torch.linspace(-1, 1.5, 20_001)
    spikes, _ = features.neuron.constant(current.unsqueeze(0), features.time_steps)
    expected = spikes.mean(0).squeeze(0)
    assert 0.3 < (expected > 0).float().mean() < 0.6
    assert torch.equal(features._firing_rates(current.clone()), expected)


def test_faint_patches_make_no_filters():
    first = images(20)
    first[..., :9] = 0.5  # most patches are flat
    features = fitted(PatchFeatures, "rate", first=first)
    assert features.weight.isfinite().all()
    assert (features.weight.norm(dim=1) > 0).all()
    with pytest.raises(BadInput, match="no structure"):
        fitted(PatchFeatures, first=torch.ones(4, *IMAGE))


@pytest.mark.parametrize("make", [RandomFeatures, PatchFeatures])  # inhibition costs too: see test_foldiak.py
def test_operations_are_products_once_and_spikes_by_number(make):
    spiking, rate = fitted(make).operations(images(8, seed=2)), fitted(make, "rate").operations(images(8, seed=2))
    units, values = (50, 2 * 12 * 13) if make is RandomFeatures else (9 * 10 * 20, 2 * 4 * 4)
    assert spiking.multiply_accumulates == rate.multiply_accumulates == units * values
    assert rate.synaptic_operations == 0
    steps = 16 if make is RandomFeatures else 8
    assert spiking.synaptic_operations == pytest.approx(spiking.mean_firing_rate * units * steps, rel=1e-5)
    assert 0.01 < spiking.mean_firing_rate < rate.mean_firing_rate < 0.8


@every_coding
def test_random_features_take_sequences(coding):
    shape = TaskShape(input_shape=(7,), num_classes=2, num_tasks=1, time_steps=6)
    sequence = torch.rand(6, 5, 7)
    features = fitted(RandomFeatures, coding, shape=shape, first=sequence, keep=0.9)
    assert features(sequence).shape == (5, 50)
    assert 0 < features.operations(sequence).mean_firing_rate < 1
    still = RandomFeatures(
        TaskShape(input_shape=(7,), num_classes=2, num_tasks=1), coding=coding, features=50, time_steps=6, keep=0.9
    )
    still.fit(sequence.flatten(0, 1))
    same = sequence[:1].expand(6, -1, -1)
    torch.testing.assert_close(features(same), still(sequence[0]))


@every_map
def test_what_cannot_be_used_is_refused_in_one_line(make, as_installed):
    features = make(SHAPE, **SMALL[make])
    with pytest.raises(BadInput, match="call fit first"):
        features(images(2))
    for inputs, says in (
        (torch.rand(3, 2, 12, 12), "shape"),
        (torch.rand(0, *IMAGE), "at least one"),
        (torch.full((2, *IMAGE), torch.nan), "finite"),
        (torch.ones(2, *IMAGE, dtype=torch.uint8), "floating-point"),
    ):
        with pytest.raises(BadInput, match=says) as refused:
            features.fit(inputs)
        assert "\n" not in str(refused.value)
    assert not features.fitted
    gain = "threshold" if make is FoldiakFeatures else "drive"
    for wrong in ({"coding": "spking"}, {"keep": 1.0}, {gain: 0.0}, {"time_steps": 0}):
        with pytest.raises(BadInput):
            make(SHAPE, **{**SMALL[make], **wrong})


def test_patches_refuse_what_is_no_image_or_too_small():
    with pytest.raises(BadInput, match="RandomFeatures"):
        PatchFeatures(TaskShape(input_shape=(64,), num_classes=2, num_tasks=1))
    with pytest.raises(BadInput, match="sequences"):
        PatchFeatures(TaskShape(input_shape=(1, 8, 8), num_classes=2, num_tasks=1, time_steps=4))
    with pytest.raises(BadInput, match="at least patch"):
        PatchFeatures(TaskShape(input_shape=(1, 7, 7), num_classes=2, num_tasks=1))


def ridge_accuracy(features: FeatureMap, train, test):
    ridge = RecursiveRidge(features.width)
    ridge.update(features(train[0]), train[1], sample_ids=torch.arange(len(train[1])))
    return float((ridge.scores(features(test[0])).argmax(1) == test[1]).float().mean())


@pytest.mark.parametrize(
    ("make", "options", "least"),
    [
        (RandomFeatures, {"features": 500}, 0.95),
        (PatchFeatures, {"filters": 60, "patch": 4, "samples": 5000}, 0.95),
        (FoldiakFeatures, {"filters": 60, "patch": 4, "samples": 5000}, 0.95),
    ],
    ids=["random", "patches", "circuit"],
)
def test_a_ridge_reads_digits_from_spiking_and_from_rate_features_alike(make, options, least):
    loaded = load_digits()
    inputs, labels = torch.tensor(loaded.images[:, None] / 16, dtype=torch.float32), torch.tensor(loaded.target)
    shape = TaskShape(input_shape=(1, 8, 8), num_classes=10, num_tasks=5)
    found = {}
    for coding in ("spiking", "rate"):
        features = make(shape, coding=coding, **options)
        features.fit(inputs[:1400][labels[:1400] < 2])
        found[coding] = ridge_accuracy(features, (inputs[:1400], labels[:1400]), (inputs[1400:], labels[1400:]))
    assert found["rate"] > least - 0.02
    assert found["spiking"] > found["rate"] - 0.02
