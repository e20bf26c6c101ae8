"""Do README's examples run as they stand?"""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:40])
def test_example_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    if "print(" in block:
        assert capsys.readouterr().out.strip()


def test_readme_gives_the_two_lines_and_leaves_no_gap():
    assert "pip install -e . -c constraints.txt && neurocl compare split-digits" in README
    assert 'pip install -e ".[test]" -c constraints.txt && pytest' in README
    assert "@@" not in README
