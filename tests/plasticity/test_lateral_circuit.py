"""Does one circuit keep to the equations of Xiao et al. 2024, and to theory where theory knows the answer?"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocl.plasticity import HebbianRule, LateralCircuit, SettlingSpikes, SpikeRates
from neurocl.plasticity.subspaces import complement, orthonormal_rows
from neurocl.primitives.checks import BadInput

PUBLISHED = {"rule": HebbianRule(deflate=False), "orthonormalise": "never"}


def circuit_with(old: int, new: int, inputs: int = 30, **options) -> LateralCircuit:
    """A circuit in double precision whose old rows overlap a little, as published ones do."""
    circuit = LateralCircuit(inputs, seed=4, **options).double()
    circuit.grow(old)
    circuit.consolidate()
    draws = torch.Generator().manual_seed(1)
    circuit.old += 0.02 * torch.randn(old, inputs, generator=draws, dtype=torch.float64)
    circuit.grow(new)
    return circuit


def activity(rows: int = 50, inputs: int = 30, seed: int = 2) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2.0, 0.2, inputs, dtype=torch.float64)
    return torch.randn(rows, inputs, generator=draws, dtype=torch.float64) * scale


def literal_update(h, v, x, old, *, rate=0.01, momentum=0.9, iterations=5, clamp=10.0, quantise=lambda y: y):
    """The published rule over all rows, written down as it stands."""
    for _ in range(iterations):
        y = quantise(x @ h.T)
        change = (y.T @ (x - y @ h) / len(x)).clamp(-clamp, clamp)
        change[:old] = 0
        v = momentum * v + (1 - momentum) * change
        v[:old] = 0
        h = h + rate * v
    return h, v


@pytest.mark.parametrize("clamp", [10.0, 0.05])
@pytest.mark.parametrize("neurons", [None, SpikeRates(scale=4.0, steps=16)], ids=["linear", "spiking"])
def test_two_updates_follow_the_published_equations(neurons, clamp):
    circuit = circuit_with(6, 5, rule=HebbianRule(deflate=False, clamp=clamp), orthonormalise="never", neurons=neurons)
    h, v = torch.cat([circuit.old, circuit.new]), torch.zeros(11, 30, dtype=torch.float64)
    quantise = (lambda y: neurons.respond(y, h)) if neurons else (lambda y: y)
    for seed in (2, 3):
        h, v = literal_update(h, v, activity(seed=seed), 6, clamp=clamp, quantise=quantise)
        circuit.hebbian_update(activity(seed=seed))
    assert torch.allclose(torch.cat([circuit.old, circuit.new]), h, atol=1e-12, rtol=0)
    assert torch.allclose(circuit.velocity, v[6:], atol=1e-12, rtol=0)


def test_projection_takes_out_what_old_rows_answer_and_nothing_else():
    circuit, x = circuit_with(6, 5, **PUBLISHED), activity()
    assert torch.allclose(circuit.project(x), x - (x @ circuit.old.T) @ circuit.old, atol=1e-12)
    assert not torch.allclose(circuit.project(x), x, atol=0.1)
    assert torch.equal(LateralCircuit(30).double().project(x), x)


def test_projecting_the_inputs_or_the_weight_gradient_is_the_same():
    circuit, x = circuit_with(6, 0, **PUBLISHED), activity()
    error = torch.randn(50, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    by_input, by_weight = error.T @ circuit.project(x), circuit.project(error.T @ x)
    assert torch.allclose(by_input, by_weight, rtol=1e-12, atol=1e-12)


def test_old_rows_keep_their_bits_and_no_rows_is_no_change():
    circuit = circuit_with(6, 5, **PUBLISHED)
    old = circuit.old.clone()
    for _ in range(20):
        circuit.hebbian_update(activity())
    circuit.consolidate()
    assert torch.equal(circuit.old[:6], old)
    before = circuit.old.clone()
    circuit.grow(0)
    circuit.hebbian_update(activity())
    circuit.consolidate()
    assert torch.equal(circuit.old, before)


def test_rows_become_the_principal_subspace():
    circuit = LateralCircuit(30, seed=1).double()
    circuit.grow(5)
    scale = torch.cat([torch.linspace(3, 2, 5), torch.full((25,), 0.3)]).double()
    turn = torch.linalg.qr(torch.randn(30, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    draws = torch.Generator().manual_seed(1)
    for _ in range(600):
        circuit.hebbian_update(torch.randn(64, 30, generator=draws, dtype=torch.float64) * scale @ turn.T)
    best = float(scale[:5].square().sum() / scale.square().sum())
    assert circuit.drift < 0.02
    assert abs(circuit.captured - best) < 0.02
    assert float(complement(orthonormal_rows(circuit.new), turn.T[:5]).norm()) < 0.1


@pytest.mark.parametrize(("options", "largest"), [(PUBLISHED, 1.0), ({}, 1e-6)], ids=["published", "repaired"])
def test_repair_keeps_blocks_of_several_tasks_orthonormal_where_the_published_rule_drifts(options, largest):
    circuit = LateralCircuit(40, seed=1, **options)
    for task in range(4):
        circuit.grow(6)
        for step in range(100):
            circuit.hebbian_update(activity(64, 40, seed=100 * task + step).float())
        circuit.consolidate()
    assert circuit.drift < largest
    assert (circuit.drift > 0.02) == (options is PUBLISHED)
    x = activity(64, 40).float()
    projected = circuit.project(x)
    left = float(complement(orthonormal_rows(circuit.old), projected).norm()) if options is PUBLISHED else 0.0
    inside = float((projected @ orthonormal_rows(circuit.old).T).square().sum() / projected.square().sum())
    assert (inside < 1e-6) == (options is not PUBLISHED), left


def test_explained_variance_takes_the_rows_that_the_activity_needs_and_stops_at_the_share():
    scale = torch.cat([torch.full((8,), 3.0), torch.full((42,), 0.1)])
    circuit = LateralCircuit(50, share=0.98, seed=0)
    draws = torch.Generator().manual_seed(1)
    for _ in range(200):
        circuit.hebbian_update(torch.randn(64, 50, generator=draws) * scale)
    assert circuit.captured >= 0.98
    circuit.consolidate()
    assert len(circuit.old) == 8  # 72 of 72.4 units of energy
    assert circuit.room == 42


def test_explained_variance_stops_when_the_space_is_full_and_says_what_is_left():
    circuit = LateralCircuit(12, share=0.9999, seed=0)
    for step in range(100):
        circuit.hebbian_update(activity(64, 12, seed=step).float())
    circuit.consolidate()
    assert circuit.rows <= 12
    assert circuit.room == 12 - circuit.rows
    before = circuit.rows
    circuit.hebbian_update(activity(64, 12).float())
    circuit.consolidate()
    assert before <= circuit.rows <= 12


@given(st.integers(1, 200), st.floats(0.1, 50), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_spike_rates_are_whole_spikes_within_the_scale(steps, scale, seed):
    y = 40 * torch.randn(20, 3, generator=torch.Generator().manual_seed(seed))
    answer = SpikeRates(scale=scale, steps=steps).respond(y, torch.empty(3, 5))
    spikes = answer / (scale / steps)
    assert torch.allclose(spikes, spikes.round(), atol=1e-3)
    assert float(answer.abs().max()) <= scale * (1 + 1e-6)
    near = y.abs() <= scale
    assert bool(((answer - y).abs()[near] <= scale / steps * 0.5001).all())


def test_settling_spikes_end_where_the_closed_form_does_for_orthonormal_rows():
    rows = orthonormal_rows(torch.randn(10, 40, generator=torch.Generator().manual_seed(0)))
    y = activity(64, 40).float() @ rows.T
    settled = SettlingSpikes(scale=8.0, steps=64).respond(y, rows)
    closed = SpikeRates(scale=8.0, steps=64).respond(y, rows)
    assert float((settled - closed).abs().max()) <= 8.0 / 64 * 1.01  # ties at half a spike may fall either way
    assert float((settled - closed).abs().mean()) < 1e-3


def test_settling_spikes_find_the_residual_outside_rows_that_overlap_and_the_closed_form_does_not():
    draws = torch.Generator().manual_seed(0)
    rows = orthonormal_rows(torch.randn(10, 40, generator=draws)) + 0.05 * torch.randn(10, 40, generator=draws)
    x, basis = activity(64, 40).float(), orthonormal_rows(rows)
    inside = []
    for neurons in (SettlingSpikes(scale=8.0, steps=400), SpikeRates(scale=8.0, steps=400)):
        left = x - neurons.respond(x @ rows.T, rows) @ rows
        inside.append(float((left @ basis.T).square().sum() / (x @ basis.T).square().sum()))
    assert inside[0] < 1e-3 < 0.02 < inside[1]


def test_a_state_dict_brings_back_a_circuit_of_another_size_bit_for_bit():
    circuit = LateralCircuit(30, share=0.9, seed=1)
    for step in range(40):
        circuit.hebbian_update(activity(seed=step).float())
        if step == 25:
            circuit.consolidate()
    other = LateralCircuit(30, share=0.9, seed=1)
    other.load_state_dict(circuit.state_dict())
    for one in (circuit, other):
        one.hebbian_update(activity(seed=77).float() * 3)
        one.hebbian_update(activity(seed=78).float() * 3)
    assert all(
        torch.equal(a, b) for a, b in zip(circuit.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_activity_that_is_not_finite_is_refused_and_changes_nothing():
    circuit = circuit_with(6, 5)
    before = {name: value.clone() for name, value in circuit.state_dict().items()}
    x = activity()
    x[3, 4] = torch.nan
    with pytest.raises(BadInput, match="activity must be finite"):
        circuit.hebbian_update(x)
    assert all(torch.equal(before[name], value) for name, value in circuit.state_dict().items())


def test_more_rows_than_there_is_room_are_refused():
    circuit = circuit_with(25, 0)
    with pytest.raises(BadInput, match=r"room that is left, 5 of 30 dimensions; got 6"):
        circuit.grow(6)
    circuit.grow(5)


def test_silent_input_leaves_finite_rows():
    for options in (PUBLISHED, {}, {"share": 0.9}):
        circuit = LateralCircuit(20, **options)
        circuit.grow(3)
        for _ in range(25):
            circuit.hebbian_update(torch.zeros(4, 20))
        circuit.consolidate()
        assert torch.isfinite(circuit.old).all()
        assert circuit.captured == 0.0


@pytest.mark.parametrize("neurons", [SpikeRates(scale=8.0, steps=32), SettlingSpikes(scale=8.0, steps=32)])
def test_rows_keep_their_length_under_the_published_rule_whatever_answers(neurons):
    circuit = LateralCircuit(30, seed=4, neurons=neurons, **PUBLISHED).double()
    circuit.grow(10)
    for seed in range(300):
        circuit.hebbian_update(3 * activity(seed=seed))
    assert float((circuit.new.norm(dim=1) - 1).abs().max()) < 0.3
