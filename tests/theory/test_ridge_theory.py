"""Does ridge from statistics equal ridge from data: jointly, recursively, after forgetting, in the held-out error?"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocl.memory import ClassMeans, RecursiveRidge
from neurocl.memory.recursive_ridge import add_gram, symmetric
from neurocl.primitives.checks import BadInput
from neurocl.primitives.seeding import generator

FEATURES, CLASSES = 37, 6
EXACT = {"rtol": 0, "atol": 1e-8}  # float64, condition of the systems below about 1e4


def data(samples: int = 300) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rectified features, labels, ids."""
    draws = generator(0, "ridge data")
    centres = torch.randn(CLASSES, FEATURES, generator=draws)
    labels = torch.randint(CLASSES, (samples,), generator=draws)
    noise = torch.randn(samples, FEATURES, generator=draws)
    return (centres[labels] + 2 * noise).relu(), labels, torch.arange(samples)


def joint(features: torch.Tensor, labels: torch.Tensor, strength: float, classes: int = CLASSES) -> torch.Tensor:
    """Ridge by least squares on the data themselves, with the strength as extra rows."""
    rows = torch.cat([features.double(), math.sqrt(strength) * torch.eye(features.shape[1], dtype=torch.float64)])
    targets = torch.nn.functional.one_hot(labels, classes).double()
    targets = torch.cat([targets, torch.zeros(features.shape[1], classes, dtype=torch.float64)])
    return torch.linalg.lstsq(rows, targets).solution.T


@pytest.mark.parametrize("by_class", [False, True])
def test_ridge_task_by_task_equals_joint_ridge(by_class):
    features, labels, _ = data()
    ridge = RecursiveRidge(FEATURES, strength=1.0, by_class=by_class)
    for first in range(0, CLASSES, 2):
        for label in (first, first + 1):
            ridge.update(features[labels == label], labels[labels == label])
        ridge.solve()
    assert torch.allclose(ridge.solve(), joint(features, labels, 1.0), **EXACT)


def test_ridge_equals_the_recursion_on_the_inverse():
    features, labels, _ = data()
    strength = 0.5
    # ACIL: R <- R - R H' (I + H R H')^-1 H R,  W <- W + R H' (Y - H W)
    inverse = torch.eye(FEATURES, dtype=torch.float64) / strength
    weights = torch.zeros(FEATURES, CLASSES, dtype=torch.float64)
    ridge = RecursiveRidge(FEATURES, strength=strength)
    for part in torch.arange(len(labels)).split(32):
        rows, targets = features[part].double(), torch.nn.functional.one_hot(labels[part], CLASSES).double()
        inside = torch.eye(len(part), dtype=torch.float64) + rows @ inverse @ rows.T
        inverse = inverse - inverse @ rows.T @ torch.linalg.solve(inside, rows @ inverse)
        weights = weights + inverse @ rows.T @ (targets - rows @ weights)
        ridge.update(features[part], labels[part])
        assert torch.allclose(ridge.solve(), weights.T[: len(ridge.counts)], **EXACT)


@pytest.mark.parametrize("strength", [1.0, "auto"])
def test_downdate_equals_training_without_those_samples(strength):
    features, labels, ids = data()
    gone = (labels == 3) | (ids % 7 == 0)
    forgetful, never = (RecursiveRidge(FEATURES, strength=strength) for _ in range(2))
    forgetful.update(features, labels, sample_ids=ids)
    before = forgetful.solve()
    forgetful.downdate(features[gone], labels[gone], sample_ids=ids[gone])
    never.update(features[~gone], labels[~gone], sample_ids=ids[~gone])
    assert torch.allclose(forgetful.solve(), never.solve(), **EXACT)
    assert (before - forgetful.solve()).abs().max() > 1e-3  # it had something to forget
    assert torch.equal(forgetful.counts, never.counts)
    assert (forgetful.scores(features)[:, 3] == -math.inf).all()


def test_forgetting_a_class_without_its_samples_equals_training_without_it():
    features, labels, ids = data()
    forgetful, never = (RecursiveRidge(FEATURES, by_class=True) for _ in range(2))
    forgetful.update(features, labels, sample_ids=ids)
    forgetful.forget(2)
    rest = labels != 2
    never.update(features[rest], labels[rest], sample_ids=ids[rest])
    assert torch.allclose(forgetful.solve(), never.solve(), **EXACT)
    forgetful.update(features[~rest], labels[~rest], sample_ids=ids[~rest])
    everything = RecursiveRidge(FEATURES)
    everything.update(features, labels, sample_ids=ids)
    assert torch.allclose(forgetful.solve(), everything.solve(), **EXACT)


def test_the_chosen_strength_has_the_least_error_on_held_out_samples():
    features, labels, ids = data(600)
    ridge = RecursiveRidge(FEATURES, held_out=0.3, seed=4)
    ridge.update(features, labels, sample_ids=ids)
    held = ridge._set_of(labels, ids).bool()
    assert 0.2 < held.float().mean() < 0.4

    def error(strength: float) -> float:
        weights = joint(features[~held], labels[~held], strength)
        targets = torch.nn.functional.one_hot(labels[held], CLASSES).double()
        return float((features[held].double() @ weights.T - targets).square().sum())

    chosen = ridge.strength
    candidates = [chosen * 10.0**decades for decades in (-3, -2, -1, -0.5, 0.5, 1, 2, 3)]
    assert all(error(chosen) <= error(other) for other in candidates)
    assert max(map(error, candidates)) > 1.05 * error(chosen)  # the choice mattered
    assert torch.allclose(ridge.solve(), joint(features, labels, chosen), **EXACT)  # and all samples made the weights


def test_what_is_held_out_hangs_on_the_id_alone():
    features, labels, ids = data()
    forwards, backwards = RecursiveRidge(FEATURES), RecursiveRidge(FEATURES)
    forwards.update(features, labels, sample_ids=ids)
    for part in torch.arange(len(ids)).flip(0).split(41):
        backwards.update(features[part], labels[part], sample_ids=ids[part])
    assert forwards.strength == pytest.approx(backwards.strength, rel=1e-9)
    assert torch.allclose(forwards.solve(), backwards.solve(), **EXACT)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 9))
def test_gram_by_blocks_is_the_whole_product(features, samples, seed):
    rows = torch.randn(samples, features, generator=generator(seed, "rows"), dtype=torch.float64)
    gram = torch.zeros(features, features, dtype=torch.float64)
    add_gram(gram, rows)
    assert torch.allclose(symmetric(gram), rows.T @ rows, rtol=1e-12, atol=1e-12)
    add_gram(gram, rows, sign=-1)
    assert gram.abs().max() < 1e-12


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(60)), st.integers(1, 60))
def test_neither_order_nor_division_of_samples_matters(order, size):
    features, labels, _ = data(60)
    ridge = RecursiveRidge(FEATURES, strength=2.0)
    for part in torch.tensor(order).split(size):
        ridge.update(features[part], labels[part])
    whole = RecursiveRidge(FEATURES, strength=2.0)
    whole.update(features, labels)
    assert torch.allclose(ridge.solve(), whole.solve(), **EXACT)


def test_state_comes_back_bit_for_bit_and_stays_apart():
    features, labels, ids = data()
    first = RecursiveRidge(FEATURES)
    first.update(features[:200], labels[:200], sample_ids=ids[:200])
    first.solve()
    second = RecursiveRidge(FEATURES)
    second.load_state_dict(first.state_dict())
    before = first.solve().clone()
    second.update(features[200:], labels[200:], sample_ids=ids[200:])
    assert torch.equal(first.solve(), before)
    first.update(features[200:], labels[200:], sample_ids=ids[200:])
    assert torch.equal(first.solve(), second.solve())
    assert first.strength == second.strength


def test_bytes_are_those_of_the_statistics():
    features, labels, ids = data()
    ridge = RecursiveRidge(FEATURES)
    ridge.update(features, labels, sample_ids=ids)
    sets = 2
    assert ridge.bytes == sets * 8 * (FEATURES * FEATURES + FEATURES * CLASSES + CLASSES)


def test_class_means_are_means_whatever_the_order():
    features, labels, _ = data()
    means = ClassMeans(FEATURES)
    for part in torch.arange(len(labels)).split(17):
        means.update(features[part], labels[part])
    for label in range(CLASSES):
        assert torch.allclose(means.means()[label], features[labels == label].double().mean(0), **EXACT)
    nearest = torch.cdist(features.double(), means.means()).argmin(1)
    assert torch.equal(means.scores(features).argmax(1), nearest)


def test_class_means_forget_by_downdate():
    features, labels, _ = data()
    means = ClassMeans(FEATURES)
    means.update(features, labels)
    means.downdate(features[labels == 1], labels[labels == 1])
    assert (means.scores(features)[:, 1] == -math.inf).all()
    assert torch.isfinite(means.scores(features)[:, 0]).all()


def test_user_mistakes_are_one_clear_line():
    features, labels, ids = data()
    ridge = RecursiveRidge(FEATURES)
    with pytest.raises(BadInput, match="update before solve"):
        ridge.solve()
    with pytest.raises(BadInput, match="sample_ids"):
        ridge.update(features, labels)
    with pytest.raises(BadInput, match=r"must be \[300, 37\]"):
        ridge.update(features[:, :5], labels, sample_ids=ids)
    with pytest.raises(BadInput, match="finite"):
        ridge.update(features * math.nan, labels, sample_ids=ids)
    with pytest.raises(BadInput, match="by_class=True"):
        ridge.forget(0)
    with pytest.raises(BadInput, match="strength must be"):
        RecursiveRidge(FEATURES, strength=-1.0)
    ridge.update(features, labels, sample_ids=ids)
    weights = ridge.solve()
    with pytest.raises(BadInput, match="added before"):
        ridge.downdate(features.repeat(2, 1), labels.repeat(2), sample_ids=ids.repeat(2))
    assert torch.equal(ridge.solve(), weights)
    means = ClassMeans(FEATURES)
    means.update(features, labels)
    with pytest.raises(BadInput, match="added before"):
        means.downdate(features, torch.zeros_like(labels))
