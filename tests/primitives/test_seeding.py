"""Does every consumer of randomness have draws of its own, the same on every run?"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurocl.primitives.checks import BadInput
from neurocl.primitives.seeding import derive, generator, numpy_generator, seeded

NAMES = st.lists(st.one_of(st.text("abc-1", min_size=1, max_size=6), st.integers(0, 99)), max_size=3)


def test_draws_are_the_same_on_every_machine():
    """Golden values: a change here changes every published result."""
    assert derive(0) == 2033344993903900207
    assert derive(7, "replay") == 8005480815195132374
    assert torch.rand(2, generator=generator(0, "x")).tolist() == [0.04517543315887451, 0.8687873482704163]
    assert numpy_generator(0, "x").random(2).tolist() == [0.7819137369848375, 0.35172743187039945]


@given(seed=st.integers(0, 2**40), names=NAMES, others=NAMES)
def test_seeds_depend_on_every_name_and_nothing_else(seed, names, others):
    assert derive(seed, *names) == derive(seed, *names)
    assert 0 <= derive(seed, *names) < 2**63
    same = [str(name) for name in names] == [str(name) for name in others]
    assert (derive(seed, *names) == derive(seed, *others)) == same
    assert derive(seed, *names) != derive(seed + 1, *names)


def test_generators_of_a_name_agree_and_others_differ():
    draw = [torch.rand(20, generator=generator(3, name)) for name in ("replay", "replay", "order")]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    numbers = [numpy_generator(3, name).random(20) for name in ("replay", "replay", "order")]
    assert np.array_equal(numbers[0], numbers[1])
    assert not np.array_equal(numbers[0], numbers[2])


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    generator(1, "a")
    derive(1, "b")
    with seeded(1, "weights"):
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)


def test_the_global_generator_returns_after_an_error():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), seeded(1):
        torch.rand(3, 2) @ torch.rand(3, 2)
    assert torch.equal(torch.rand(4), expected)


def test_a_seeded_block_initialises_a_module_the_same_way():
    weights = []
    for _ in range(2):
        torch.rand(7)  # what was drawn before must not matter
        with seeded(2, "layer"):
            weights.append(torch.nn.Linear(4, 3).weight.detach())
    assert torch.equal(*weights)
    with seeded(2, "another layer"):
        assert not torch.equal(torch.nn.Linear(4, 3).weight, weights[0])


@pytest.mark.parametrize("seed", [-1, 0.5, "zero", None, True])
def test_an_impossible_seed_is_refused(seed, as_installed):
    for draw in (derive, generator, numpy_generator):
        with pytest.raises(BadInput, match=r"^seed must be a whole number of at least 0"):
            draw(seed, "name")
