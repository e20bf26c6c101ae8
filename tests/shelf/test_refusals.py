"""Do models refuse what cannot be when they are built, in the words of their own Config?"""

import pytest

from neurocl import streams
from neurocl.primitives.checks import BadInput
from neurocl.run.shelf import load_model

SPIKES = {"lateral": "spike-rates"}


@pytest.mark.parametrize(
    ("model", "numbers", "message"),
    [
        ("hlop", {"matching_rate": 2.0}, "matching_rate must be"),
        ("hlop", {"rule": "oja", "hebbian_rate": 0.0}, "hebbian_rate must be"),
        ("hlop", {"rule": "oja", "hebbian_rate_first": 0.0}, "hebbian_rate_first must be"),
        ("hlop", {"rule": "oja", "hebbian_clamp": 0.0}, "hebbian_clamp must be"),
        ("hlop", SPIKES | {"lateral_scale": 0.0}, "lateral_scale must be"),
        ("hlop", SPIKES | {"lateral_steps": 0}, "lateral_steps must be"),
        (
            "hlop",
            SPIKES | {"optimiser": "adam"},
            "lateral neurons that spike cannot project.*or linear lateral neurons",
        ),
        ("hlop", {"memory_size": -5}, "memory_size must be"),
        ("hlop", {"memory_size": 5, "replay_epochs": 0}, "replay_epochs must be"),
        ("hlop", {"memory_size": 5, "replay_learning_rate": -1.0}, "replay_learning_rate must be"),
        ("hlop", {"readout_strength": -1.0}, "readout_strength must be"),
        ("hlop", {"rows": "fixed", "rows_first": ()}, "rows_first must hold at least one number"),
        ("hlop", {"rows": "fixed", "rows_later": ()}, "rows_later must hold at least one number"),
        ("hlop", {"rows": "fixed", "rows_first": (2, 3)}, "rows must not exceed its 64 inputs; got 70"),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_the_name_they_have_in_config(model, numbers, message):
    shape, loaded = streams.open("split-digits", seed=0).shape, load_model(model)
    with pytest.raises(BadInput, match=rf"^({message})|(layer .*{message})"):
        loaded.build(loaded.config(**({"hidden": (20, 20), "time_steps": 2} | numbers)), shape, 0)


@pytest.mark.parametrize(
    ("model", "numbers", "name"),
    [
        ("hlop", {"readout_layers": 5}, "readout_layers"),
        ("classp", {"induction": -1.0}, "induction"),
        ("classp", {"gate": "quantile", "induction_depression": 3.0}, "induction_depression"),
        ("classp", {"history": "decaying", "history_keep": 2.0}, "history_keep"),
    ],
)
def test_what_is_looked_at_when_a_task_begins_or_ends_is_named_so_too(model, numbers, name):
    stream, loaded = streams.open("split-digits", seed=0), load_model(model)
    learner = loaded.build(loaded.config(**({"hidden": (20, 20), "time_steps": 2} | numbers)), stream.shape, 0)
    task = next(iter(stream))

    def run():
        learner.begin_task(task)
        learner.end_task(task)

    with pytest.raises(BadInput, match=rf"^{name} (.* )?must"):
        run()
