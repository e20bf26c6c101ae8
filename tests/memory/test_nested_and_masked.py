"""Readouts of frozen units: do strays, silence and empty masks decide anything?"""

import pytest
import torch

from neurocl.memory import MaskedNeighbours, NestedDiscriminant
from neurocl.primitives.checks import BadInput


def test_a_stray_sample_does_not_displace_what_is_known_of_a_class():
    draws = torch.Generator().manual_seed(0)
    memory, labels, probe = NestedDiscriminant([8]), torch.arange(80) % 2, torch.rand(5, 8, generator=draws)
    memory.open_level(torch.arange(8) < 6)
    memory.update(torch.rand(80, 8, generator=draws) + labels[:, None] * torch.arange(8) / 8, labels)
    before = memory.scores(probe)
    memory.open_level(torch.arange(8) < 7)
    memory.update(torch.rand(2, 8, generator=draws), torch.tensor([0, 1]))
    assert [level.counts for level in memory.levels] == [{0: 41, 1: 41}, {0: 1, 1: 1}]
    torch.testing.assert_close(memory.scores(probe), before, rtol=0.3, atol=0.3)  # 1 sample in 41 moves a mean little
    again = NestedDiscriminant([8])
    again.load_state_dict(memory.state_dict())
    torch.testing.assert_close(
        again.scores(probe), memory.scores(probe), rtol=1e-3, atol=1e-3
    )  # half a scatter is kept
    assert again.counts == memory.counts == {0: 41, 1: 41}
    memory.update(torch.rand(40, 8, generator=draws), torch.arange(40) % 2)
    assert [level.counts for level in memory.levels] == [{0: 21, 1: 21}], "levels with enough samples never take over"
    with pytest.raises(BadInput, match="activity must be finite"):
        memory.update(torch.full((1, 8), float("nan")), torch.tensor([0]))


def test_silent_samples_are_answered_alike_whatever_was_remembered_first():
    units, vectors = torch.ones(3, dtype=torch.bool), {label: torch.eye(3)[[label]].repeat(3, 1) for label in range(3)}
    answers = []
    for order in ([0, 1, 2], [2, 1, 0]):
        memory = MaskedNeighbours(neighbours=2)
        for label in order:
            memory.remember(label, vectors[label], units)
        answers.append(memory.scores(torch.zeros(1, 3)))
    assert torch.equal(*answers)
    assert int(answers[0].argmax()) == 0


def test_a_class_without_units_never_wins():
    memory = MaskedNeighbours(neighbours=5)
    memory.remember(0, torch.ones(4, 3), torch.zeros(3, dtype=torch.bool))
    memory.remember(1, torch.ones(1, 3), torch.ones(3, dtype=torch.bool))
    assert memory.scores(torch.rand(6, 3)).argmax(1).tolist() == [1] * 6
