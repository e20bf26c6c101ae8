"""Does similarity matching do what two local rules would, and find the principal subspace at any scale of activity?"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocl.plasticity import HebbianRule, LateralCircuit, SimilarityMatching, SpikeRates
from neurocl.plasticity.subspaces import orthonormal_rows
from neurocl.primitives.checks import BadInput

INPUTS = 40
SPREAD = torch.logspace(1.5, -1.5, INPUTS, dtype=torch.float64)  # variances over three decades


def batches(count: int, *, rows: int = 64, scale: float = 1.0, spread: torch.Tensor = SPREAD) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(5)
    mixing = torch.linalg.qr(torch.randn(INPUTS, INPUTS, generator=draws, dtype=torch.float64)).Q
    drawn = (spread * torch.randn(count, rows, INPUTS, generator=draws, dtype=torch.float64)) @ mixing
    return list(scale * drawn)


def taught(rule, seen: list[torch.Tensor], *, rows: int = 12, **options) -> LateralCircuit:
    circuit = LateralCircuit(INPUTS, rule=rule, seed=3, **options).double()
    circuit.grow(rows)
    for x in seen:
        circuit.hebbian_update(x)
    return circuit


def captured(circuit: LateralCircuit, seen: list[torch.Tensor]) -> float:
    x, basis = torch.cat(seen), orthonormal_rows(circuit.new)
    return float((x @ basis.T).square().sum() / x.square().sum())


def test_rows_are_what_hebbian_weights_and_anti_hebbian_inhibition_settle_to():
    seen = batches(30)
    circuit = taught(SimilarityMatching(), seen)
    h = taught(SimilarityMatching(), []).new
    m = 0.01 * (seen[0] @ h.T).square().mean() * torch.eye(12, dtype=torch.float64)
    w = m @ h
    for index, x in enumerate(seen):
        y, rate = torch.linalg.solve(m, w @ x.T).T, max(0.02, 1 / (index + 5))
        w = (1 - rate) * w + rate * y.T @ x / len(x)  # Hebbian: what fires together is wired together
        m = (1 - rate) * m + rate * y.T @ y / len(x)  # anti-Hebbian: and inhibits each other
        if index < 8 or index % 8 == 0:
            h = torch.linalg.solve(m, w)
            turn = torch.linalg.inv(torch.linalg.cholesky(h @ h.T))
            m, w = turn @ m @ turn.T, turn @ m @ turn.T @ turn @ h
    assert torch.allclose(circuit.new, torch.linalg.solve(m, w), rtol=1e-3, atol=1e-4)


def test_weak_directions_are_learnt_at_the_pace_of_strong_ones_where_the_published_rule_lags():
    seen = batches(25, spread=torch.tensor([30.0] + 11 * [1.0] + 28 * [0.1]))  # activity has a strong mean
    energy = torch.linalg.eigvalsh(torch.cat(seen).T @ torch.cat(seen)).flip(0)
    missed = {
        type(rule): float(energy[:12].sum() / energy.sum()) - captured(taught(rule, seen), seen)
        for rule in (SimilarityMatching(), HebbianRule(learning_rate=0.01))  # of twice that it diverges
    }
    assert missed[SimilarityMatching] < 1e-4
    assert missed[HebbianRule] > 20 * missed[SimilarityMatching]


@settings(max_examples=10)
@given(exponent=st.integers(-20, 20))
def test_the_scale_of_the_activity_changes_nothing(exponent):
    rows = [taught(SimilarityMatching(), batches(10, scale=scale)).new for scale in (1.0, 2.0**exponent)]
    assert torch.allclose(*rows, rtol=1e-6, atol=1e-9)


def test_the_share_needs_little_more_rows_than_the_best_subspace_has():
    seen = batches(300)
    circuit = LateralCircuit(INPUTS, rule=SimilarityMatching(), share=0.99, seed=3).double()
    for x in seen:
        circuit.hebbian_update(x)
    circuit.consolidate()
    values = SPREAD.square().cumsum(0) / SPREAD.square().sum()
    assert len(circuit.old) <= int((values < 0.99).sum()) + 2


@pytest.mark.parametrize(
    "rule", [SimilarityMatching(), HebbianRule(learning_rate=0.002)], ids=["matching", "published"]
)
@pytest.mark.parametrize("turns", [100, 500])
def test_rows_for_what_a_long_task_showed_first_are_kept_when_it_shows_other_things(rule, turns):
    first, second = (torch.zeros(INPUTS, dtype=torch.float64) for _ in range(2))
    first[:20], second[20:] = 1.0, 1.0
    early, late = batches(turns, rows=8, spread=torch.ones(INPUTS)), batches(turns, rows=8, spread=torch.ones(INPUTS))
    circuit = LateralCircuit(INPUTS, rule=rule, share=0.99, seed=3).double()
    for x in [*(x * first for x in early), *(x * second for x in late)]:
        circuit.hebbian_update(x)
    circuit.consolidate()
    assert circuit.room == 0
    assert circuit.explained > 0.99


@pytest.mark.parametrize(("rows", "count"), [(64, 5), (8, 60), (1, 200), (64, 1)])
def test_short_tasks_and_small_batches_reach_the_share_too(rows, count):
    seen, fresh = batches(count, rows=rows), batches(count + 20, rows=rows)[count:]
    circuit = LateralCircuit(INPUTS, rule=SimilarityMatching(), share=0.95, seed=3).double()
    for x in seen:
        circuit.hebbian_update(x)
    circuit.consolidate()
    left = circuit.project(torch.cat(fresh)).square().sum() / torch.cat(fresh).square().sum()
    assert circuit.explained >= 0.95
    assert float(left) < 0.08


@pytest.mark.parametrize("neurons", [None, SpikeRates(scale=100.0, steps=400)], ids=["linear", "spiking"])
def test_rows_stay_finite_and_nearly_orthonormal_over_many_updates(neurons):
    circuit = taught(SimilarityMatching(learning_rate=0.05), batches(400), neurons=neurons)
    assert circuit.drift < 0.2


def test_silence_before_and_after_activity_does_no_harm():
    silent = [torch.zeros(64, INPUTS, dtype=torch.float64)] * 50
    circuit = taught(SimilarityMatching(), [*silent, *batches(50), *silent])
    assert bool(circuit.new.isfinite().all())
    assert captured(circuit, batches(50)) > 0.8


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(BadInput, match="learning_rate"):
        SimilarityMatching(learning_rate=rate)


@pytest.mark.parametrize("rule", [HebbianRule(), SimilarityMatching()], ids=lambda rule: type(rule).__name__)
def test_rows_learn_in_their_own_type_under_autocast(rule):
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    alone, cast = LateralCircuit(4, rule=rule), LateralCircuit(4, rule=rule)
    for circuit, enabled in ((alone, False), (cast, True)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            for task in range(2):
                circuit.grow(2 - task)
                circuit.hebbian_update(rows.roll(task, 1))
                circuit.consolidate()
    assert torch.equal(cast.old, alone.old)
    assert cast.drift < 1e-6
