"""What can only be seen from outside: exit codes, quick starts, and Ctrl-C in the middle of several processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOFTMAX = str(Path(__file__).parents[1] / "run" / "linear_softmax.py")
NEUROCL = [sys.executable, "-m", "neurocl.cli"]

WITHOUT_TORCH = """
import sys
from neurocl.cli.entry import exit_code
for words in (["--version"], ["--help"], ["list"], ["show", "finetune"], ["copy", "finetune", "mine.py"], ["rum"]):
    exit_code(words)
print([name for name in ("torch", "numpy", "matplotlib", "sklearn", "scipy") if name in sys.modules], file=sys.stderr)
"""


def test_help_list_show_and_copy_start_without_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
    assert (tmp_path / "mine.py").is_file()


def test_a_mistake_ends_the_process_with_code_2_and_one_line(tmp_path):
    words = [*NEUROCL, "run", SOFTMAX, "--set", "learning_rat=1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "neurocl: no setting of linear_softmax named 'learning_rat'; did you mean 'learning_rate'?\n"
    assert not list(tmp_path.iterdir())


def nobody_is_left(group):
    """Whether all processes of a group end soon; the last ones only have to be reaped."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(os.name == "nt", reason="sends a signal to a group of processes")
def test_ctrl_c_stops_every_process_and_leaves_whole_files_to_go_on_from(tmp_path):
    words = [*NEUROCL, "run", SOFTMAX, "--seeds", "0,1", "--workers", "2", "--set", "epochs=200"]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # where the tests run in the background of a shell, they and their children are deaf to Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("task-*.json"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to all processes
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.strip().splitlines()[-1].startswith("neurocl: interrupted;")
    assert "--resume" in err
    assert "Traceback" not in err
    assert nobody_is_left(process.pid)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [name for name in left if name.startswith(".")]
    assert "config.json" in left
    assert "results.json" not in left
