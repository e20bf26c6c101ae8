"""Do the rooms stay in order, and do files carry names that say something?"""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "neurocl").rglob("*.py"))
HEAVY = {"matplotlib", "pooch", "sklearn", "snntorch", "norse", "spikingjelly", "torchvision", "nir", "scipy.stats"}
SHELF = sorted([*(ROOT / "models").glob("*.py"), *(ROOT / "experiments").glob("*.py")])


def imported_modules(path: Path) -> set[str]:
    """Full names of the modules a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_rooms_import_downwards_only():
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("import-linter is not installed in this environment")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PACKAGE + SHELF, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_imports_the_shelf_by_name_or_torchvision(path):
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert not roots & {"models", "experiments", "torchvision"}


@pytest.mark.parametrize("path", SHELF, ids=lambda p: str(p.relative_to(ROOT)))
def test_shelf_files_import_little_and_stay_short(path):
    roots = {name.split(".")[0] for name in imported_modules(path)}
    allowed = {"neurocl", "torch", "numpy", "rich", "matplotlib", *sys.stdlib_module_names}
    assert roots <= allowed
    limit = 150 if path.parent.name == "models" else 120
    assert len(path.read_text().splitlines()) <= limit


def test_file_names_are_nouns_of_the_field():
    empty_names = {"utils", "util", "helpers", "common", "base", "core", "misc", "manager"}
    assert not [path for path in PACKAGE + SHELF if path.stem in empty_names]


def test_only_the_agreed_folders_stand_at_the_top():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    folders = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert folders == {".ci", "neurocl", "models", "experiments", "tests", "data"}


def test_importing_neurocl_loads_no_optional_library():
    code = (
        "import sys, neurocl, neurocl.neurons, neurocl.networks, neurocl.learners, neurocl.streams, neurocl.run\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
