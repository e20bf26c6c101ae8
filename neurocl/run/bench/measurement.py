"""What one process measures: for each library the peer, and our network with its speed-ups one by one.

Run as ``python -m neurocl.run.bench.measurement`` by :func:`neurocl.run.bench.run_bench`; takes its settings as JSON
on the command line and answers on standard output, a JSON object a line.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from neurocl.run.bench.contenders import Ours, compare_spikes, draw_inputs, parts_for, tune_activity
from neurocl.run.bench.peers import PEERS, is_installed
from neurocl.run.bench.rounds import inference, ratios, timed_rounds, training_step

SEED = 0


def measure(settings: dict[str, Any], progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return one row for each library, activity and set of speed-ups."""
    torch.set_num_threads(settings["threads"])
    rows = []
    for activity in settings["activity"]:
        rows += _at_activity(settings, activity, progress)
    return rows


def _at_activity(settings: dict[str, Any], activity: float, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the rows at one hidden activity."""
    kind, steps = settings["input"], settings["time_steps"]
    inputs, labels = draw_inputs(kind, time_steps=steps, batch=settings["batch"], seed=SEED)
    facts = {key: settings[key] for key in ("input", "mode", "threads", "time_steps", "batch")} | {"activity": activity}
    every_part = parts_for(kind)
    runs: dict[str, Callable[[], None]] = {}
    rows = []
    for library, kind_of_peer in PEERS.items():
        if not is_installed(library):
            rows.append(facts | {"library": library, "note": "not installed; pip install 'neurocl[interop]'"})
            continue
        progress(f"{library}: spikes at {activity:.0%} activity")
        ours = Ours(library, kind, time_steps=steps, parts=every_part[-1])
        tune_activity(ours, inputs, activity)
        peer = kind_of_peer(ours.linears(), time_steps=steps)
        found = vars(compare_spikes(ours, peer, inputs))
        runs[library] = _run(peer, inputs, labels, settings["mode"])
        for parts in every_part if settings["parts"] else every_part[-1:]:
            variant = Ours(library, kind, time_steps=steps, parts=parts)
            variant.load_state_dict(ours.state_dict())
            runs[f"{library} {parts}"] = _run(variant, inputs, labels, settings["mode"])
            rows.append(facts | found | {"library": library, "parts": str(parts), "all_parts": parts == every_part[-1]})
    if not runs:
        return rows
    seconds = timed_rounds(runs, settings["rounds"], lambda text: progress(f"{activity:.0%} activity: {text}"))
    for row in rows:
        if "parts" in row:
            row |= ratios(seconds[row["library"]], seconds[f"{row['library']} {row['parts']}"])
    return rows


def _run(network: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor, mode: str) -> Callable[[], None]:
    """Return what is timed."""
    if mode == "train":
        return training_step(network.train(), inputs, labels)
    return inference(network.eval(), inputs)


def main() -> None:
    """Measure by the settings on the command line, and answer on standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    sys.stdout = sys.stderr  # libraries that print do not disturb the answers

    def say(key: str, value: Any) -> None:
        answers.write(json.dumps({key: value}) + "\n")

    say("rows", measure(json.loads(sys.argv[1]), lambda text: say("progress", text)))


if __name__ == "__main__":
    main()
