"""Does CLASSP keep its promises, and others theirs, beside lateral circuits, consolidation and masks?"""

from contextlib import nullcontext

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from neurocl.plasticity import CLASSP, OnlineEWC, attach_lateral
from neurocl.run.shelf import load_model
from neurocl.streams import permuted

DIGITS, LABELS = load_digits(return_X_y=True)
STREAM = permuted(
    DIGITS[:400], LABELS[:400], DIGITS[400:600], LABELS[400:600], tasks=2, normalise="standardise", seed=0
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))


def leaks(protected: bool, **options: object) -> list[float]:
    """Share of the second task's weight changes inside the span that circuits protect, by layer."""
    net = network()
    circuits = attach_lateral(net, rows=20)
    optimiser = CLASSP(net.named_parameters(), **options)
    if protected:
        circuits.protect(optimiser)
    for task in STREAM:
        circuits.begin_task()
        for _ in range(3):
            for batch in task.batches(32, 0):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(batch.inputs), batch.labels).backward()
                optimiser.step()
        circuits.end_task()
    assert all(report.rows == 40 for report in circuits.report())
    return [report.leak for report in circuits.reports]


@pytest.mark.parametrize(
    "options", [{}, {"gate": "quantile", "threshold": 0.3}, {"foreach": True, "history": "decaying"}]
)
def test_projection_after_gate_and_saturation_keeps_the_guarantee_of_lateral_circuits(options):
    assert max(leaks(True, **options)) < 1e-9
    with pytest.warns(UserWarning, match="inside the protected span"):
        assert min(leaks(False, **options)) > 1e-3, "gate and saturation turn a projected gradient away"


def test_a_pull_that_is_a_hook_of_the_step_is_projected_with_it():
    found = {}
    for way in ("hook", "behind the step"):
        net, ewc = network(), OnlineEWC(strength=10.0)
        circuits, optimiser = attach_lateral(net, rows=20), CLASSP(net.named_parameters())
        if way == "hook":
            optimiser.register_step_post_hook(lambda *_, net=net, ewc=ewc: ewc.pull(net, step_size=0.01))
        circuits.protect(optimiser)
        for task in STREAM:
            circuits.begin_task()
            for batch in task.batches(32, 0):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(batch.inputs), batch.labels).backward()
                optimiser.step()
                if way != "hook":
                    ewc.pull(net, step_size=0.01)
            told = way != "hook" and task.index  # a leak is told
            with pytest.warns(UserWarning, match="inside the protected span") if told else nullcontext():
                circuits.end_task()
            ewc.consolidate(net, {name: torch.rand_like(p) for name, p in net.named_parameters()})
        found[way] = max(report.leak for report in circuits.reports)
    assert found["hook"] < 1e-9
    assert found["behind the step"] > 1e-3


def test_the_projection_of_a_step_is_no_part_of_the_history():
    net = network()
    circuits = attach_lateral(net, rows=20)
    optimiser = circuits.protect(CLASSP(net.parameters(), power=1.0, threshold=0.0, gate="absolute"))
    total = torch.zeros_like(net[0].weight)
    for task in STREAM:
        circuits.begin_task()
        for batch in task.batches(32, 0):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(batch.inputs), batch.labels).backward()
            total += net[0].weight.grad.abs()
            optimiser.step()
        circuits.end_task()
    torch.testing.assert_close(optimiser.state[net[0].weight]["history"], total, rtol=1e-4, atol=1e-6)


def consolidated(net: nn.Sequential, strength: float) -> OnlineEWC:
    ewc = OnlineEWC(strength=strength)
    ewc.consolidate(net, {name: torch.full_like(p, 2.0) for name, p in net.named_parameters()})
    return ewc


@pytest.mark.parametrize("c", [0.01, 1.0, 1e6])
def test_the_pull_is_the_implicit_step_and_stable_whatever_its_strength(c):
    net = network()
    ewc = consolidated(net, strength=c)
    anchor = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight += 1
    ewc.pull(net, step_size=0.5)
    # theta - anchor = 1 becomes 1 / (1 + step size * strength * importance)
    torch.testing.assert_close(
        net[0].weight - anchor, torch.full_like(anchor, 1 / (1 + 0.5 * c * 2)), rtol=1e-3, atol=1e-6
    )


def test_the_pull_meets_neither_gate_nor_history_and_the_penalty_would_meet_both():
    histories = {}
    for way in ("alone", "pull", "penalty"):
        net = network()
        ewc = consolidated(net, strength=100.0)
        with torch.no_grad():
            net[0].weight += 0.1
        before = net[0].weight.detach().clone()
        optimiser = (
            CLASSP(net.parameters(), threshold=1e6, gate="absolute") if way == "pull" else CLASSP(net.parameters())
        )
        batch = next(STREAM.task(0).batches(32, 0))
        loss = nn.functional.cross_entropy(net(batch.inputs), batch.labels)
        (loss + ewc.penalty(net) if way == "penalty" else loss).backward()
        optimiser.step()
        if way == "pull":
            assert torch.equal(net[0].weight, before), "nothing passes"
            ewc.pull(net, step_size=0.01)
            assert (net[0].weight != before).float().mean() > 0.99, "the pull asks no gate"
        histories[way] = optimiser.state[net[0].weight]["history"]
    assert (histories["pull"] == 0).all()
    assert float(histories["penalty"].mean()) > 10 * float(histories["alone"].mean())


def test_the_model_takes_ewc_along_and_holds_more_with_it():
    learnt = {}
    for strength in (0.0, 1e5):
        model = load_model("classp")
        learner = model.build(model.config(coding="rate", hidden=(30,), strength=strength, epochs=2), STREAM.shape, 0)
        for task in STREAM:
            learner.begin_task(task)
            for batch in task.batches(32, 0):
                learner.observe(batch)
            learner.end_task(task)
            if task.index == 0:
                after_first = [p.detach().clone() for p in learner.network.parameters()]
        moves = [
            float((a - b.detach()).abs().sum()) for a, b in zip(after_first, learner.network.parameters(), strict=True)
        ]
        learnt[strength] = sum(moves)
        assert learner.abilities.needs_boundaries == (strength > 0)
    assert learnt[1e5] < 0.5 * learnt[0.0]


def test_masks_and_circuits_go_together_only_as_far_as_the_projection_leaves_masks_alone():
    """Projection is last: it spreads a change over all inputs of a neuron, but never to other neurons."""
    net = network()
    circuits = attach_lateral(net, rows=20)
    optimiser = circuits.protect(CLASSP(net.parameters()))
    mask = torch.zeros_like(net[0].weight, dtype=torch.bool)
    mask[:10] = True  # whole neurons: rows of the weight, which projection does not mix
    optimiser.freeze(net[0].weight, mask)
    before = net[0].weight.detach().clone()
    for task in STREAM:
        circuits.begin_task()
        for batch in task.batches(32, 0):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(batch.inputs), batch.labels).backward()
            optimiser.step()
        circuits.end_task()
    assert torch.equal(net[0].weight[:10], before[:10])
    assert (net[0].weight[10:] != before[10:]).float().mean() > 0.9
