"""Does every shipped model build, learn the digits to a stated floor, and stay self-contained?"""

import ast
import re
from dataclasses import fields

import pytest

from neurocl import streams
from neurocl.run.loop import run
from neurocl.run.shelf import known_models, load_model
from neurocl.streams import Stream

# accuracy over all ten digits after five tasks of two, one seed, few passes: measured minus some points
FLOORS: dict[str, dict[str, tuple[float, dict[str, object]]]] = {
    "finetune": {"spiking": (0.17, {"epochs": 2}), "rate": (0.15, {"epochs": 4})},
    "joint": {"spiking": (0.93, {"epochs": 6, "when": "last"}), "rate": (0.90, {"epochs": 6, "when": "last"})},
    "ewc": {"spiking": (0.17, {"epochs": 2, "fisher_samples": 50}), "rate": (0.15, {"epochs": 4})},
    "replay": {"spiking": (0.80, {"epochs": 2}), "rate": (0.75, {"epochs": 4})},
    "ncm": {"spiking": (0.80, {}), "rate": (0.80, {})},
    "ridge": {"spiking": (0.93, {}), "rate": (0.94, {})},
    "patch_ridge": {"spiking": (0.95, {}), "rate": (0.96, {})},
}
CEILING = 0.25  # of models that have nothing against forgetting in a class-incremental stream
FORGETFUL = {"finetune", "ewc"}
CASES = [(name, coding) for name, codings in FLOORS.items() for coding in codings]


@pytest.fixture(scope="module")
def digits() -> Stream:
    return streams.open("split-digits", seed=0)


def test_every_shipped_model_has_a_floor():
    assert set(FLOORS) == set(known_models())


@pytest.mark.parametrize(("name", "coding"), CASES)
def test_model_learns_the_digits_to_its_floor(name, coding, digits):
    floor, options = FLOORS[name][coding]
    model = load_model(f"{name}:{coding}")
    learner = model.build(model.config(coding=coding, **options), digits.shape, 0)
    last = run(learner, digits, seed=0).accuracy[-1]
    accuracy = sum(last) / len(last)
    assert accuracy >= floor
    assert (accuracy <= CEILING) == (name in FORGETFUL)


@pytest.mark.parametrize("name", FLOORS)
def test_config_is_frozen_complete_and_explained(name):
    model = load_model(name)
    config = model.config()
    with pytest.raises(AttributeError):
        config.coding = "rate"
    with pytest.raises(TypeError):
        model.config("rate")  # keyword-only
    hash(config)  # no lists, no tensors
    assert config.coding == "spiking"
    text = model.path.read_text()
    for field in fields(config):
        line = next(line for line in text.splitlines() if re.match(rf"    {field.name}: ", line))
        assert re.search(r"  # \S", line), f"{name}: {field.name} lacks its unit, source or meaning"


@pytest.mark.parametrize("name", FLOORS)
def test_file_is_short_and_says_what_to_expect_and_how_to_get_it(name):
    text = known_models()[name].read_text()
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert len(text.splitlines()) <= 150
    assert re.search(r"Expected, .*: spiking \d+(\.\d)? %, rate \d+(\.\d)? %", docstring)
    assert f"Command: `neurocl run {name} " in docstring
