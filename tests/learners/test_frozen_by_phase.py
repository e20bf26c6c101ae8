"""Learners that freeze units: do these answer alike to the bit after every phase, and is it told when none is left?"""

import warnings
from collections.abc import Iterator

import pytest
import torch

from neurocl import streams
from neurocl.learners import NISPALearner, SparseReplayLearner
from neurocl.plasticity import CapacityExhausted
from neurocl.plasticity.fisher import dense_products
from neurocl.run.loop import scheduled
from neurocl.run.shelf import load_model
from neurocl.streams import Stream

SHARP = {
    "channels": (6, 8), "pooled": (0,), "hidden": (40, 32), "time_steps": 4, "phases": 3, "phase_epochs": 1,
    "batch_size": 32, "replay_batch_size": 16, "per_class": 8, "least_share": 0.5,
}  # fmt: skip
NISPA = {
    "hidden": (40, 30), "time_steps": 4, "phases": 3, "phase_epochs": 1, "batch_size": 32, "memory_size": 0,
}  # fmt: skip


def digits(**options: object) -> Stream:
    return streams.open("split-digits", seed=0, options={"train_per_class": 30}, **options)


def built(name: str, stream: Stream, **settings: object) -> SparseReplayLearner | NISPALearner:
    model = load_model(name)
    return model.build(model.config(**(SHARP if name == "sharp" else NISPA) | settings), stream.shape, 0)


def frozen_answers(learner: SparseReplayLearner, probe: torch.Tensor, frozen: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return what frozen units of each layer answer, with all that was learnt up to now."""
    learner.working.settle()
    with dense_products(learner.network):
        found = learner.network.features_by_layer(probe)
    return [one.unflatten(1, (len(units), -1))[:, units].clone() for one, units in zip(found, frozen, strict=True)]


def after_each_phase(learner: SparseReplayLearner, task) -> Iterator[int]:
    """Teach a task; stop after the last batch of every phase."""
    batches = list(scheduled(task, learner.schedule))
    assert len(batches) % learner.phases == 0
    for at, batch in enumerate(batches, start=1):
        learner.observe(batch)
        if at % (len(batches) // learner.phases) == 0:
            yield at


@pytest.mark.filterwarnings("ignore::neurocl.plasticity.CapacityExhausted")  # 6 channels for five tasks
@pytest.mark.parametrize("coding", ["rate", "spiking"])
@pytest.mark.parametrize("settings", [{}, {"replay": "raw"}, {"skip_idle": "never"}], ids=str)
def test_frozen_units_answer_alike_after_every_phase_of_every_later_task(coding, settings):
    stream = digits()
    learner = built("sharp", stream, coding=coding, **settings)
    probe, compared, learnt = torch.cat([stream.test(at).inputs for at in range(3)]), 0, 0
    for task in stream:
        frozen = [learner.plasticity.frozen(place) for place in range(4)]
        before = frozen_answers(learner, probe, frozen)
        start = [layer.synapse.weight.detach().clone() for layer in learner.network.layers]
        learner.begin_task(task)
        for _ in after_each_phase(learner, task):
            for a, b in zip(before, frozen_answers(learner, probe, frozen), strict=True):
                assert torch.equal(a, b)
            learnt += not torch.equal(start[-1], learner.network.layers[-1].synapse.weight)
            compared += bool(frozen[-1].any()) and float(before[-1].abs().sum()) > 0
        learner.end_task(task)
        for a, b in zip(before, frozen_answers(learner, probe, frozen), strict=True):
            assert torch.equal(a, b)
    assert compared >= 2 * learner.phases, "hardly anything frozen was heard"
    assert learnt >= 4 * learner.phases, "hardly anything was learnt"


@pytest.mark.parametrize(
    ("name", "settings", "layers"),
    [
        ("sharp", {"coding": "rate", "channels": (), "hidden": (12, 10), "least_share": 1.0}, range(2)),
        ("nispa", {"coding": "rate", "hidden": (6, 6)}, range(2)),
    ],
)
def test_a_model_tells_in_each_later_task_which_layers_have_no_idle_unit_left(name, settings, layers):
    stream = digits(setting="task-incremental") if name == "nispa" else digits()
    learner, met = built(name, stream, **settings), 0
    for task in stream:
        full = [learner.plasticity.layers[at].name for at in layers if bool(learner.plasticity.active(at).all())]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            learner.begin_task(task)
            for batch in scheduled(task, learner.schedule):
                learner.observe(batch)
            learner.end_task(task)
        told = [str(one.message) for one in caught if issubclass(one.category, CapacityExhausted)]
        told = [message.partition(":")[0] for message in told if message.startswith("no idle")]
        assert told == ([f"no idle units left in {', '.join(full)}"] if full else [])
        met += bool(full)
    assert 0 < met < 5, "layers were always full, or never"
