"""Do the Hebbian rules end where mathematics says: stored patterns, principal axes, chance coincidence?"""

import pytest
import torch

from neurocl.plasticity import anti_hebbian_step, hebbian_coupling, oja_step
from neurocl.primitives.checks import BadInput

NEURONS, PATTERNS = 6000, 3


def diluted(share: float, seed: int = 0) -> torch.Tensor:
    """Patterns of entries -1, 0, 1, a share of them 0."""
    draws = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (PATTERNS, NEURONS), generator=draws) * 2.0 - 1
    return signs * (torch.rand(PATTERNS, NEURONS, generator=draws) >= share)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_diluted_patterns_are_retrieved_together_in_their_exact_hierarchy(share):
    patterns = diluted(share)
    coupling, state = hebbian_coupling(patterns), patterns[0].clone()
    for _ in range(PATTERNS + 2):
        state = torch.sign(coupling @ state)
    assert torch.equal(torch.sign(coupling @ state), state), "not at rest"
    overlaps = (patterns @ state / NEURONS).abs().sort(descending=True).values  # chance decides order and signs
    # neurons a pattern leaves out follow the next one: 1 - d, d (1 - d), d^2 (1 - d); without zeros the first alone
    expected = torch.tensor([share**place * (1 - share) for place in range(PATTERNS)])
    # each pattern's neurons carry the others at random: a mean of up to N signs, 4 standard deviations
    assert ((overlaps - expected).abs() < 4 / NEURONS**0.5).all(), overlaps


@pytest.mark.parametrize(("share", "expected"), [(0.3, 0.0), (0.7, 0.3**3 / 4)])
def test_the_hierarchy_is_at_rest_while_the_first_outweighs_the_others(share, expected):
    patterns = diluted(share)
    state = torch.zeros(NEURONS)
    for pattern in patterns:
        state = torch.where(state == 0, pattern, state)
    turned = torch.sign(hebbian_coupling(patterns) @ state) * state < 0
    # 1 - d < d - d^K: neurons of the first pattern whose entries in the other two both disagree give way
    assert (1 - 2 * share + share**PATTERNS > 0) == (expected == 0)
    assert float(turned.float().mean()) == pytest.approx(expected, abs=4 * (expected / NEURONS) ** 0.5)


def test_coupling_is_the_sum_of_outer_products_without_self_coupling(as_installed):
    coupling = hebbian_coupling(torch.tensor([[1.0, -1.0, 0.0], [1.0, 1.0, 1.0]]))
    assert torch.allclose(coupling * 3, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    for wrong, says in ((torch.ones(3), "patterns must be"), (torch.full((2, 3), torch.nan), "finite")):
        with pytest.raises(BadInput, match=says):
            hebbian_coupling(wrong)


@pytest.mark.parametrize("learning_rate", [0.1, 1.0])
def test_oja_rows_of_a_linear_unit_end_at_the_principal_axis_with_norm_one(learning_rate):
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 5, generator=draws, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.5, 1.0, 0.2])
    weight = torch.randn(1, 5, generator=draws, dtype=torch.float64)
    for _ in range(300):
        weight = oja_step(weight, inputs, inputs @ weight.T, learning_rate=learning_rate)
    _, axes = torch.linalg.eigh(inputs.T @ inputs)
    assert abs(float(weight.norm()) - 1) < 1e-9
    assert abs(float((weight @ axes[:, -1]).abs()) - 1) < 1e-9


def test_anti_hebbian_inhibition_grows_with_coincidence_beyond_chance_and_stays_non_negative():
    # neurons 0 and 1 always fire together, 2 never with them; each in a quarter of the samples
    output = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    changed = anti_hebbian_step(torch.full((3, 3), 0.05), output, target_rate=0.25, learning_rate=0.1)
    # together in 1/4 of samples, chance 1/16: excess 3
    assert torch.allclose(changed, torch.tensor([[0.0, 0.35, 0.0], [0.35, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    held = torch.zeros(3, 3)
    for _ in range(500):
        held = anti_hebbian_step(held, output, target_rate=0.25, learning_rate=0.1, decay=2.0)
    assert torch.allclose(held[0, 1], torch.tensor(1.5))  # excess over decay


def test_rules_refuse_rates_out_of_range():
    rows = torch.ones(2, 3)
    with pytest.raises(BadInput, match="learning_rate"):
        oja_step(torch.ones(3, 3), rows, rows, learning_rate=-1.0)
    for wrong in ({"target_rate": 0.0}, {"learning_rate": -1.0}, {"decay": -1.0}):
        with pytest.raises(BadInput, match=next(iter(wrong))):
            anti_hebbian_step(torch.ones(3, 3), rows, **({"target_rate": 0.1, "learning_rate": 0.1} | wrong))


@pytest.mark.parametrize(
    ("weight", "post", "pre"),
    [
        (torch.ones(4, 5), torch.ones(2, 4), torch.ones(3, 5)),
        (torch.ones(4, 5), torch.ones(0, 4), torch.ones(0, 5)),
        (torch.ones(4, 5), torch.ones(3, 5), torch.ones(3, 5)),
        (torch.ones(5), torch.ones(3, 1), torch.ones(3, 5)),
    ],
)
def test_rules_refuse_activity_that_does_not_belong_to_the_weights(weight, post, pre, as_installed):
    with pytest.raises(BadInput, match=r"weights must be \[post, pre\] for activity"):
        oja_step(weight, pre, post, learning_rate=0.1)


def test_rules_refuse_what_is_not_finite(as_installed):
    bad = torch.full((3, 4), torch.nan)
    with pytest.raises(BadInput, match="pre must be finite"):
        oja_step(torch.ones(2, 4), bad, torch.ones(3, 2), learning_rate=0.1)
    with pytest.raises(BadInput, match="post must be finite"):
        anti_hebbian_step(torch.zeros(4, 4), bad, target_rate=0.1, learning_rate=0.1)
    for output in (torch.ones(0, 4), torch.ones(5, 3)):
        with pytest.raises(BadInput, match=r"weights must be \[post, pre\]"):
            anti_hebbian_step(torch.zeros(4, 4), output, target_rate=0.1, learning_rate=0.1)
