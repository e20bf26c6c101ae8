"""``neurocl bench``: the spiking 784-400-400-10 network beside the same network in snnTorch, Norse and SpikingJelly.

Spikes are compared before any time is taken. Times are processor times of one process, in interleaved rounds; a ratio
is the median of the ratios of the rounds. The process is a fresh one, whose memory allocator keeps what is freed: by
default glibc hands large blocks back, and page faults bury every difference.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from neurocl.primitives.checks import check_count, check_name, check_number
from neurocl.run.environment import ALLOCATOR

__all__ = ["report", "run_bench"]

ACTIVITY = 0.05
CURVE = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


def run_bench(
    *,
    time_steps: int = 32,
    batch: int = 128,
    activity: Sequence[float] | None = None,
    input: Literal["static", "raster"] = "static",
    mode: Literal["train", "infer"] = "train",
    rounds: int = 9,
    threads: int = 1,
    parts: bool = True,
    quick: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure, in a process of its own, and return the rows.

    Args:
        time_steps: Number of steps.
        batch: Samples at once.
        activity: Spikes per hidden neuron and step, to which weights are scaled; ``None`` means 5 %.
        input: ``"static"``: an image, the same at every step; ``"raster"``: spikes, 10 % active at each step.
        mode: ``"train"``: forward, loss, backward and gradient descent; ``"infer"``: forward without gradients.
        rounds: Times that every contender runs.
        threads: Threads of torch.
        parts: Whether to measure the speed-ups one by one as well.
        quick: A small batch and 2 rounds, to see that everything runs; times mean nothing.
        progress: Called with a line on what is being done.

    Returns:
        Rows with the settings, ``library``, ``parts``, ``rates``, ``same_rule``, ``same_network``, ``theirs_ms``,
        ``ours_ms``, ``ratio``, ``ratio_min``, ``ratio_max`` and the raw rounds; ``note`` instead where a library is
        missing.

    Raises:
        BadInput: If an argument is out of range.
    """
    check_name("input", input, ("static", "raster"))
    check_name("mode", mode, ("train", "infer"))
    settings: dict[str, Any] = {
        "time_steps": check_count("time_steps", 4 if quick else time_steps),
        "batch": check_count("batch", 8 if quick else batch),
        "activity": [check_number("activity", value, above=0, below=1) for value in activity or (ACTIVITY,)],
        "input": input,
        "mode": mode,
        "rounds": check_count("rounds", 2 if quick else rounds),
        "threads": check_count("threads", threads),
        "parts": parts,
    }
    return _measured(settings, progress or (lambda _: None))


def _measured(settings: dict[str, Any], progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run the measurement in a fresh process and pass on what it says."""
    threads = str(settings["threads"])
    environment = os.environ | ALLOCATOR | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-m", "neurocl.run.bench.measurement", json.dumps(settings)]
    rows = None
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        for line in process.stdout or ():
            answer = json.loads(line)
            rows = answer.get("rows", rows)
            if "progress" in answer:
                progress(answer["progress"])
        process.wait()
        errors.seek(0)
        said = errors.read()[-2000:]
    if process.returncode or rows is None:
        raise RuntimeError(f"the measuring process ended with code {process.returncode}:\n{said}")
    return rows


def report(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print rows as tables: spikes first, then times."""
    measured = [row for row in rows if "ratio" in row]
    for row in rows:
        if "note" in row:
            console.print(f"{row['library']}: {row['note']}")
    if not measured:
        return
    first = measured[0]
    console.print(
        f"784-400-400-10, {first['time_steps']} steps, batch {first['batch']}, {first['input']} input, "
        f"{'training step' if first['mode'] == 'train' else 'inference'}, {first['threads']} thread(s)"
    )
    spikes = Table(title="Spikes", title_justify="left")
    for column in ("library", "activity", "rate of layers 1, 2", "equal, same currents", "equal, whole network"):
        spikes.add_column(column)
    times = Table(title="Processor time", title_justify="left")
    for column in ("library", "activity", "with", "theirs, ms", "ours, ms", "ratio (least, greatest)"):
        times.add_column(column)
    for row in measured:
        activity = f"{row['activity']:.0%}"
        if row["all_parts"]:
            shares = [", ".join(f"{value:.6%}" for value in row[key]) for key in ("same_rule", "same_network")]
            spikes.add_row(row["library"], activity, ", ".join(f"{rate:.2%}" for rate in row["rates"]), *shares)
        spread = f"{row['ratio']:.2f} ({row['ratio_min']:.2f}, {row['ratio_max']:.2f})"
        milliseconds = f"{row['theirs_ms']:.1f}", f"{row['ours_ms']:.1f}"
        times.add_row(row["library"], activity, row["parts"], *milliseconds, spread)
    console.print(spikes)
    console.print(times)
