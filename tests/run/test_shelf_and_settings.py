"""Are models found by path first, then on the shelf, and are settings read as their types demand?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import torch

from neurocl.primitives.checks import BadInput, UnknownName
from neurocl.run import shelf
from neurocl.run.environment import resolve_device
from neurocl.run.job import run_name
from neurocl.run.settings import split_settings, typed_settings

SOFTMAX = Path(__file__).with_name("linear_softmax.py")


def test_a_path_ending_in_py_comes_before_a_name_and_a_name_is_found_on_the_shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "PACKAGE", tmp_path / "neurocl")
    beside, inside = tmp_path / "models", tmp_path / "neurocl" / "_shelf" / "models"
    beside.mkdir(parents=True)
    (beside / "mine.py").write_text('"""Beside the package.\n\nMore."""\n')
    assert shelf.find("mine", shelf.known_models()) == beside / "mine.py"
    inside.mkdir(parents=True)
    (inside / "mine.py").write_text('"""Inside the package."""\n')
    assert shelf.find("mine", shelf.known_models()) == inside / "mine.py"
    monkeypatch.chdir(beside)
    assert shelf.find("mine.py", shelf.known_models()) == Path("mine.py")
    assert shelf.summary_of(Path("mine.py")) == "Beside the package."


def test_every_shipped_model_loads_by_name():
    known = shelf.known_models()
    assert "finetune" in known
    for name in known:
        model = shelf.load_model(f"{name}:rate")
        assert model.name == name
        assert model.configured({}).coding == "rate"
        assert model.summary


def test_a_name_may_carry_a_coding_and_a_path_a_colon():
    assert shelf.split_coding("ewc") == ("ewc", None)
    assert shelf.split_coding("ewc:rate") == ("ewc", "rate")
    assert shelf.split_coding(r"C:\models\mine.py") == (r"C:\models\mine.py", None)
    assert shelf.split_coding(r"C:\models\mine.py:rate") == (r"C:\models\mine.py", "rate")
    with pytest.raises(UnknownName, match="no coding named 'rat'; did you mean 'rate'"):
        shelf.load_model("ewc:rat")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def (", "line 1: invalid syntax"),
        ("import nowhere_to_be_found", "ModuleNotFoundError in line 1"),
        ("x = 1\n\n\ny = 1 / 0", "ZeroDivisionError in line 4: division by zero"),
        ("x = 1", "needs a dataclass Config and a function build"),
        (
            "import dataclasses\n@dataclasses.dataclass\nclass Config:\n    a: int = 1\ndef build(): pass",
            "field coding",
        ),
    ],
)
def test_a_file_that_is_no_model_is_one_clear_line(tmp_path, text, reason):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(BadInput, match=reason) as caught:
        shelf.load_model(str(tmp_path / "mine.py"))
    assert "\n" not in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Settings:
    flag: bool = False
    count: int = 1
    rate: float = 0.1
    name: str = "a"
    mask: Literal["seen", "task", 3] = "seen"
    widths: tuple[int, ...] = (400, 400)
    pair: tuple[int, float] = (1, 2.0)
    limit: int | None = None
    amount: int | float | str = 1
    odd: list[int] | None = None
    inner: object = None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flag", "true", True),
        ("flag", "No", False),
        ("count", "-12", -12),
        ("rate", "1e-3", 1e-3),
        ("rate", "2", 2.0),
        ("name", "a,b=c", "a,b=c"),
        ("mask", "task", "task"),
        ("mask", "3", 3),
        ("widths", "100", (100,)),
        ("widths", "(100, 50,)", (100, 50)),
        ("widths", "", ()),
        ("pair", "3,4", (3, 4.0)),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("amount", "7", 7),
        ("amount", "7.5", 7.5),
        ("amount", "much", "much"),
        ("odd", "None", None),
    ],
)
def test_texts_become_values_of_their_fields_types(name, text, value):
    read = typed_settings(Settings, {name: text}, owner="it")[name]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("flag", "maybe", "true or false"),
        ("count", "1.5", "a whole number"),
        ("rate", "fast", "a number"),
        ("rate", "nan", "a number"),
        ("mask", "sen", "one of seen, task, 3"),
        ("widths", "1,x", "a whole number"),
        ("pair", "1,2,3", "2 values separated by commas"),
        ("limit", "x", "none or a whole number"),
        ("inner", "x", "copy the model and edit it"),
    ],
)
def test_a_text_of_another_type_is_one_clear_line(name, text, expected):
    with pytest.raises(BadInput, match=rf"--set {name}={text}: {name} must be .*{expected}"):
        typed_settings(Settings, {name: text}, owner="it")


def test_an_unknown_setting_is_refused_with_what_is_close():
    model = shelf.load_model(str(SOFTMAX))
    with pytest.raises(
        UnknownName, match="no setting of linear_softmax named 'learning_rat'; did you mean 'learning_rate'"
    ):
        model.configured({"learning_rat": "1"})
    with pytest.raises(BadInput, match="learning_rate must be a finite number greater than 0; got -1"):
        model.configured({"learning_rate": "-1"})


def test_codings_that_contradict_each_other_are_refused():
    model = shelf.load_model(f"{SOFTMAX}:rate")
    assert model.configured({"coding": "rate"}).coding == "rate"
    with pytest.raises(BadInput, match="contradict each other"):
        model.configured({"coding": "spiking"})


def test_settings_of_model_and_stream_are_told_apart():
    texts = ["a=1", "stream.b=x=y", "c = 2", "record.every=3"]
    assert split_settings(texts) == ({"a": "1", "c": "2"}, {"b": "x=y"}, {"every": "3"})
    for wrong in (["a"], ["=1"], ["stream.=1"], ["a=1", "a=2"]):
        with pytest.raises(BadInput, match="--set"):
            split_settings(wrong)


def test_long_names_of_runs_stay_apart_and_short_enough_for_a_file_system():
    settings = tuple((f"setting_{place}", "1") for place in range(20))
    names = {run_name("replay", "rate", (*settings, ("last", value))) for value in ("1", "2")}
    assert len(names) == 2
    assert max(map(len, names)) <= 120


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(name) for name in ("cuda", "cuda:1", "cpu", "cpu:0")] == ["cuda", "cuda:1", "cpu", "cpu:0"]
    with pytest.raises(BadInput, match=r"--device cuda:2: there is no such GPU here, their numbers end at 1"):
        resolve_device("cuda:2")
