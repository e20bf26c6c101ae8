"""Does dark replay hold the answers it stored, those alone, and count what they take?"""

import math

import pytest
import torch
from torch import nn

from neurocl.learners import DarkReplay, Replay, Step
from neurocl.learners.dark_replay import matched
from neurocl.memory import RawReplay
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import Batch, Task


class Table(nn.Module):
    """Answers ``inputs @ weight``: three labels, or the first ``width`` of them, and a shift for a named task."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]]))
        self.width = width

    def forward(self, inputs: torch.Tensor, task_id: int | None = None) -> torch.Tensor:
        return (inputs @ self.weight)[:, : self.width] + (task_id or 0)


def batch(ids: list[int], label: int = 0, *, task_id: int | None = None) -> Batch:
    """Samples (1, id)."""
    inputs = torch.tensor([[1.0, float(place)] for place in ids])
    labels = torch.full((len(ids),), label)
    return Batch(inputs=inputs, labels=labels, sample_ids=torch.tensor(ids), task_id=task_id)


def task(samples: Batch, seen: tuple[int, ...], index: int = 0) -> Task:
    return Task(
        index=index, task_id=samples.task_id, classes=(int(samples.labels[0]),), seen_classes=seen, boundary="clear",
        batches=lambda batch_size, epoch: iter([samples]), size=len(samples),
    )  # fmt: skip


def step(network: nn.Module, samples: Batch, seen: tuple[int, ...] = (0, 1, 2), number: int = 0) -> Step:
    return Step(network=network, batch=samples, competing=seen, seen=seen, tasks_begun=1, number=number)


def dark_on(network: nn.Module, *, policy: str = "everything", size: int = 0, **options: float) -> DarkReplay:
    replay = Replay(RawReplay(policy, size=size), batch_size=8)
    return DarkReplay(replay, network, **{"alpha": 0.5, "beta": 2.0, "batch_size": 8} | options)


def test_losses_are_those_worked_out_by_hand():
    network = Table()
    dark = dark_on(network)
    samples = batch([0, 2], label=1)
    dark.store_task(task(samples, seen=(0, 1)))  # answers (1, 2) and (1, 0); the third label is still unknown
    with torch.no_grad():
        network.weight[0, 0] += 3.0  # answers of both to label 0 move by 3, of label 2 by 8
        network.weight[0, 2] += 8.0
    held = dark.distilled(step(network, samples))
    assert held.item() == pytest.approx(0.5 * (9 + 0 + 9 + 0) / 4)
    (slope,) = torch.autograd.grad(held, network.weight)
    assert torch.equal(slope, torch.tensor([[0.5 * 2 * 6 / 4, 0, 0], [0.5 * 2 * 3 * 2 / 4, 0, 0]]))
    now = network(samples.inputs).log_softmax(1)[:, 1]
    assert dark.labelled(step(network, samples)).item() == pytest.approx(-2.0 * now.mean().item())


def test_an_empty_memory_loses_nothing():
    network = Table()
    dark = dark_on(network)
    assert dark.distilled(step(network, batch([1]))).item() == 0
    assert dark.labelled(step(network, batch([1]))).item() == 0
    assert dark.byte_counts() == (0, 0)


def test_columns_that_the_head_grew_later_are_free():
    network = Table(width=2)
    dark = dark_on(network)
    dark.store_task(task(batch([0, 2]), seen=(0, 1)))
    network.width = 3
    assert dark.distilled(step(network, batch([0]))).item() == 0
    later = batch([5], label=2)
    dark.store_task(task(later, seen=(0, 1, 2), index=1))
    assert dark.logits.isfinite().sum(1).tolist() == [2, 2, 3]
    with torch.no_grad():
        network.weight[0, 2] += 1.0
    assert dark.distilled(step(network, later)).item() == pytest.approx(0.5 * 1 / 7)


def test_a_logit_takes_four_bytes_beside_its_sample():
    dark = dark_on(Table())
    dark.store_task(task(batch([0, 1, 3]), seen=(0, 1)))
    samples = 3 * (2 + 2 + 2 + 8)  # values of a byte, label, task, id
    assert dark.memory.bytes == samples
    assert dark.byte_counts() == (0, samples + 4 * 3 * 2)


def test_logits_stay_with_their_samples_while_others_leave():
    network = Table()
    dark = dark_on(network, policy="reservoir", size=5)
    for first in range(0, 40, 4):
        dark.store(step(network, batch(list(range(first, first + 4)))))
        ids = dark.memory.sample_ids
        assert len(ids) == len(dark.logits) <= 5
        assert torch.equal(dark.logits, torch.stack([1.0 + 0 * ids, 2.0 - ids, 4.0 + 3 * ids], dim=1))
    assert int(dark.memory.sample_ids.min()) < 32  # not the last ones alone


def test_online_logits_are_those_before_the_step_and_of_the_last_pass():
    network = Table()
    dark = dark_on(network)
    for _ in range(2):
        seen = step(network, batch([2]), seen=(0, 1))
        answers = seen.scores.detach().clone()
        with torch.no_grad():
            network.weight += 1
        dark.store(seen)
    assert torch.equal(dark.logits[:, :2], answers[:, :2])
    assert dark.logits[0, 2] == -math.inf


def test_samples_are_asked_under_their_own_task():
    network = Table()
    dark = dark_on(network)
    dark.store_task(task(batch([0, 1], task_id=0), seen=(0, 1, 2)))
    dark.store_task(task(batch([4, 5], task_id=7), seen=(0, 1, 2), index=7))
    assert dark.distilled(step(network, batch([4], task_id=7))).item() == 0


def test_state_comes_back_exactly():
    network = Table()
    dark, loaded = dark_on(network, policy="reservoir", size=3), dark_on(network, policy="reservoir", size=3)
    dark.store(step(network, batch([1, 2, 3, 4])))
    loaded.load_state_dict(dark.state_dict())
    for one in (dark, loaded):
        one.store(step(network, batch([8, 9, 10, 11]), number=1))
    assert torch.equal(dark.logits, loaded.logits)
    with torch.no_grad():
        network.weight += 1
    asked = step(network, batch([1]), number=3)
    assert dark.distilled(asked).item() == loaded.distilled(asked).item() > 0


def test_ids_are_matched_where_both_have_them():
    rows, places = matched(torch.tensor([7, 1, 5, 9]), torch.tensor([5, 2, 7]))
    assert dict(zip(rows.tolist(), places.tolist(), strict=True)) == {0: 2, 2: 0}
    none = matched(torch.tensor([1]), torch.empty(0, dtype=torch.int64))
    assert [len(part) for part in none] == [0, 0]


def test_user_mistakes_are_one_clear_line():
    with pytest.raises(BadInput, match="alpha"):
        dark_on(Table(), alpha=-1.0)
    with pytest.raises(BadInput, match="beta"):
        dark_on(Table(), beta=math.nan)
