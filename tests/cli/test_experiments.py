"""Do experiments say what they do when asked, refuse what they do not know, and run the part that is wanted?"""

import json
import runpy
import sys
from pathlib import Path

import pytest

from neurocl.cli.experiment import Claim, asked, tabulate

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.py"))
CLAIMS = [
    Claim(
        label=f"Offline, {name}", model="joint:rate", stream="split-digits", settings={"epochs": 1, "hidden": (width,)}
    )
    for name, width in (("narrow", 8), ("wide", 16))
]


@pytest.fixture
def argued(monkeypatch, tmp_path):
    """Stand in an empty folder with these arguments."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: monkeypatch.setattr(sys, "argv", ["experiment.py", *words])


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_help_is_the_docstring_and_runs_nothing(path, argued, capsys, tmp_path):
    argued("--help")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    doc = path.read_text(encoding="utf-8").split('"""')[1].strip()
    shown = capsys.readouterr().out
    assert doc.splitlines()[0] in shown
    assert "Run: " in shown
    for flag in ("full", "mnist", "quick", "record", "whole"):
        assert (f"--{flag}: " in doc or f"; --{flag} " in doc or f" --{flag}" in doc) == (f"--{flag} " in shown), flag
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--hlep"], ["--rows"], ["--seeds", "x"], ["--seeds", "3-1"], ["more"]])
def test_what_is_not_known_ends_the_program_with_one_line(words, argued, capsys):
    argued(*words)
    with pytest.raises(SystemExit) as ended:
        asked("An experiment.", "quick", rows=True)
    assert ended.value.code == 2
    assert words[0].lstrip("-") in capsys.readouterr().err.splitlines()[-1]


def test_rows_that_do_not_exist_are_answered_with_those_that_do(argued):
    argued("--rows", "tall")
    with pytest.raises(SystemExit, match="'tall' names none of: Offline, narrow; Offline, wide"):
        tabulate("Digits", CLAIMS, seeds=range(1), out="runs", asked=asked("", rows=True))


def test_a_part_is_run_and_printed_and_does_not_stand_for_the_whole(argued, capsys):
    argued("--rows", "WIDE", "--seeds", "4")
    assert tabulate("Digits", CLAIMS, seeds=range(1), out="runs", asked=asked("", rows=True)) == 0
    shown = capsys.readouterr().out
    assert "Offline, wide" in shown
    assert "narrow" not in shown
    assert "seed 4;" in shown
    (found,) = Path("runs").rglob("results.json")
    assert json.loads(found.read_text())["seed"] == 4
    assert not Path("runs/table.md").exists()
    argued()
    assert tabulate("Digits", CLAIMS, seeds=[4], out="runs", asked=asked("", rows=True)) == 0
    assert "narrow" in Path("runs/table.md").read_text()
