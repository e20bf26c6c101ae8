"""Through CLASSP's gate, spike pairings have an induction threshold, and potentiation saturates gradually.

Classical protocol: fifteen pairings, post-synaptic spike 10 ms after or before the pre-synaptic one, at 1 to 50 Hz,
make one window; windows are repeated. Each window's triplet (or pair) drive meets the gate once, then the saturation.
Left: the drive of a window over frequency, and the threshold. Middle: weight change after ten windows. Right: weight
change over the number of pairings, as it grows without gate and saturation, and with powers 1 and 2. Deterministic.

Run: python experiments/classp_induction.py   (seconds)
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from neurocl.cli.experiment import asked
from neurocl.plasticity import STDP, DriveGate, Saturation, saturating_step, stdp_drive
from neurocl.primitives.files import make_folder, write_json, write_text
from neurocl.run.plots import COLOURS

SEEDS = range(1)  # nothing is drawn
CLAIMS = ()  # what is measured is no table of runs
PAIRINGS, WINDOWS, APART_MS = 15, 40, 10
FREQUENCIES_HZ = (1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50)
SHOWN_HZ = (10, 20, 40)
THRESHOLD = 0.03  # of the drive's size; potentiation and depression alike
STEP_SIZE = 0.03  # largest first change of the weight
RULES = {"triplets": STDP(), "pairs": STDP.pairs()}
OUT = Path("results/experiments/classp_induction")


def window_drive(rule: STDP, frequency_hz: int, apart_ms: int) -> float:
    """Drive of one window of pairings, steps of 1 ms."""
    period = round(1000 / frequency_hz)
    pre, post = (torch.zeros(100 + PAIRINGS * period, 1, 1) for _ in range(2))
    for place in range(PAIRINGS):
        pre[50 + place * period] = post[50 + place * period + apart_ms] = 1
    return float(stdp_drive(pre, post, rule=rule))


def course(drive: float, power: float) -> list[float]:
    """Weight change after each window."""
    gate = DriveGate(kind="absolute", threshold=THRESHOLD**2)
    saturation = Saturation(power=power, epsilon=THRESHOLD**power)
    weight, history, changes = torch.zeros(1), torch.zeros(1), []
    for _ in range(WINDOWS):
        weight, history = saturating_step(
            weight, history, torch.tensor([drive]), step_size=STEP_SIZE, gate=gate, saturation=saturation
        )
        changes.append(float(weight))
    return changes


def draw(drives: dict[str, list[float]], courses: dict[str, list[float]], path: Path) -> None:
    """Draw the three panels."""
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for name, values in drives.items():
        kind, _, order = name.partition(", ")
        style = {"color": COLOURS[list(RULES).index(kind)], "ls": "-" if "pre first" in order else "--"}
        left.plot(FREQUENCIES_HZ, values, marker="o", ms=3, label=name, **style)
        after_ten = [course(value, 2.0)[9] for value in values]
        middle.plot(FREQUENCIES_HZ, after_ten, marker="o", ms=3, label=name, **style)
    left.axhspan(-THRESHOLD, THRESHOLD, color="0.9", zorder=0, label="below threshold")
    left.set(xlabel="pairing frequency (Hz)", ylabel="drive of a window", ylim=(-0.1, 0.17))
    left.set_title("Drive and induction threshold")
    middle.set(xlabel="pairing frequency (Hz)", ylabel="weight change", title="After ten windows, power 2")
    pairings = [PAIRINGS * (place + 1) for place in range(WINDOWS)]
    for place, frequency in enumerate(SHOWN_HZ):
        for power, style in (("1", "-"), ("2", "--")):
            values = courses[f"{frequency} Hz, power {power}"]
            right.plot(pairings, values, style, color=COLOURS[place], label=f"{frequency} Hz, power {power}")
    drive = drives["triplets, pre first"][FREQUENCIES_HZ.index(SHOWN_HZ[-1])]
    plain = [STEP_SIZE * drive / THRESHOLD * (place + 1) for place in range(4)]
    right.plot(pairings[:4], plain, ":", color="0.4", label=f"{SHOWN_HZ[-1]} Hz, no saturation")
    right.set(xlabel="number of pairings", ylabel="weight change", title="Triplets, pre first", ylim=(-0.01, 0.5))
    for axes in (left, middle, right):
        axes.axhline(0, color="0.6", lw=0.6, zorder=0)
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=7, handlelength=3.5, loc="upper left")
    right.legend(frameon=False, fontsize=7, handlelength=3.5, loc="upper right", ncols=2)
    figure.savefig(path, dpi=150)


def main() -> int:
    """Compute, print, draw and save."""
    drives = {
        f"{kind}, {'pre first' if apart > 0 else 'post first'}": [window_drive(rule, f, apart) for f in FREQUENCIES_HZ]
        for kind, rule in RULES.items()
        for apart in (APART_MS, -APART_MS)
    }
    triplets = dict(zip(FREQUENCIES_HZ, drives["triplets, pre first"], strict=True))
    courses = {f"{f} Hz, power {p}": course(triplets[f], float(p)) for f in SHOWN_HZ for p in (1, 2)}
    lines = ["| drive of a window | " + " | ".join(f"{f} Hz" for f in FREQUENCIES_HZ) + " |"]
    lines += ["|---|" + "---:|" * len(FREQUENCIES_HZ)]
    lines += [f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |" for name, values in drives.items()]
    lines += ["", "| weight change after | 1 | 10 | 40 windows |", "|---|---:|---:|---:|"]
    lines += [f"| {n} | {values[0]:.4f} | {values[9]:.4f} | {values[39]:.4f} |" for n, values in courses.items()]
    make_folder(OUT)
    write_text(OUT / "table.md", "\n".join([*lines, ""]))
    write_json(OUT / "table.json", {"frequencies_hz": FREQUENCIES_HZ, "drives": drives, "courses": courses})
    draw(drives, courses, OUT / "classp_induction.png")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    asked(__doc__)
    sys.exit(main())
