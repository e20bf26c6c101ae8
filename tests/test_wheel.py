"""Does the wheel carry the shelf, and does it work away from the clone?"""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("neurocl-*.whl")
    return built


def run_away_from_the_clone(command: list[str], folder: Path, **environment: str) -> str:
    keep = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "NEUROCL_DATA"}}
    done = subprocess.run(command, cwd=folder, env=keep | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_package_and_shelf_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"neurocl"}
    shipped = {name for name in names if name.startswith("neurocl/_shelf/models/") and name.endswith(".py")}
    assert shipped == {f"neurocl/_shelf/models/{path.name}" for path in (ROOT / "models").glob("*.py")}
    assert "neurocl/py.typed" in names


def test_unpacked_wheel_lists_copies_and_loads_models_outside_the_clone(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    here = tmp_path / "elsewhere"
    here.mkdir()
    neurocl = [sys.executable, "-m", "neurocl.cli"]
    where = run_away_from_the_clone(
        [sys.executable, "-c", "import neurocl; print(neurocl.__file__)"], here, PYTHONPATH=str(site)
    )
    assert where.startswith(str(site))
    assert "finetune" in run_away_from_the_clone([*neurocl, "list"], here, PYTHONPATH=str(site))
    run_away_from_the_clone([*neurocl, "copy", "finetune", "mine.py"], here, PYTHONPATH=str(site))
    assert (here / "mine.py").read_text() == (ROOT / "models" / "finetune.py").read_text()


@pytest.mark.slow
def test_wheel_installed_in_a_new_environment_runs_finetune_on_digits(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    binaries = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = [str(binaries / "pip"), "install", "-q", str(wheel), "-c", str(ROOT / "constraints.txt")]
    run_away_from_the_clone(install, tmp_path)
    run = [str(binaries / "neurocl"), "run", "finetune", "split-digits", "--seeds", "0", "--out", "out", "--quiet"]
    run_away_from_the_clone(run, tmp_path)
    assert list((tmp_path / "out").rglob("results.json"))
