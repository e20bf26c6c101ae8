"""Is every experiment one claim, can every row of it be run, and does its table say what came out?"""

import ast
import importlib.util
from pathlib import Path

import pytest

from neurocl.cli.experiment import Claim, save_table, tabulate
from neurocl.primitives.files import read_json
from neurocl.run.shelf import load_model
from neurocl.streams import known

FOLDER = Path(__file__).parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*.py"))


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_row_names_a_shipped_model_a_known_stream_and_settings_they_have(path):
    module = load(path)
    names = {stream.name: stream for stream in known()}
    assert len(module.SEEDS) >= 1
    for claim in module.CLAIMS:
        job = claim.job(0, Path("out"))
        load_model(job.model).configured(dict(job.settings), job.coding)  # refuses unknown names and wrong types
        assert set(claim.options) <= set(names[claim.stream].options)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_docstring_states_the_claim_and_the_command(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text is not None
    assert text.splitlines()[0].endswith((".", "2)."))
    assert f"python experiments/{path.name}" in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ledger_lists_every_experiment(path):
    assert path.name in (FOLDER / "README.md").read_text()


@pytest.fixture
def one_core(monkeypatch):
    """Run here: what processes of their own do is asked in ``run/test_workers.py``, and each takes seconds to start."""
    monkeypatch.setattr("neurocl.run.workers.usable_cores", lambda: 1)


def test_table_holds_stated_and_obtained_numbers_with_their_spread(tmp_path, capsys, one_core):
    claims = [Claim(label="nearest mean", model="ncm:rate", stream="split-digits", stated="about 90")]
    assert tabulate("Digits", claims, seeds=range(2), out=tmp_path) == 0
    (row,) = read_json(tmp_path / "table.json")["rows"]
    results = [read_json(path) for path in sorted(tmp_path.rglob("results.json"))]
    assert sorted(row["values"]) == sorted(100 * found["average_accuracy"] for found in results)
    assert f"| nearest mean | ncm:rate | about 90 | {row['obtained']} |" in (tmp_path / "table.md").read_text()
    assert row["obtained"] in capsys.readouterr().out


def test_a_row_that_cannot_run_is_named_and_the_others_stand(tmp_path, capsys, one_core):
    claims = [
        Claim(label="fine", model="ncm:rate", stream="split-digits"),
        Claim(label="broken", model="ncm:rate", stream="split-digits", settings={"batch_size": 0}),
    ]
    assert tabulate("Digits", claims, seeds=[0], out=tmp_path) == 1
    shown = capsys.readouterr().out
    assert "no result" in shown
    assert "batch_size" in shown


def test_tables_of_an_experiments_own_are_saved_beside_what_they_were_made_from(tmp_path):
    save_table(tmp_path / "new", ["| a |", "|---|", "| 1 |"], [{"a": 1}])
    assert (tmp_path / "new" / "table.md").read_text() == "| a |\n|---|\n| 1 |\n"
    assert read_json(tmp_path / "new" / "table.json") == {"rows": [{"a": 1}]}
