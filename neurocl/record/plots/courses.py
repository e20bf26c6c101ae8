"""Figures of what changes in the course of a recording: population rate, voltages, weights, old activity."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput, check_number
from neurocl.primitives.figures import COLOURS, MANY_TASKS, task_ticks
from neurocl.record.analysis.arrays import read, read_numbers
from neurocl.record.plots.lines import draw_lines
from neurocl.record.plots.page import (
    COLUMN_MM,
    NOTE_PT,
    PAGE_MM,
    TEXT_PT,
    check_names,
    evenly,
    joined,
    new_figure,
    of_all,
    say,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 800  # along a page's width; more are drawn as mean and range
MOST_VOLTAGES = 8
MOST_VOLTAGE_STEPS = 2000
# shade, and hatching, which keeps two of one brightness apart in grey print
PHASES = {"training": ("0.97", ""), "evaluation": ("0.85", ""), "replay": ("#FBE6C4", "//////")}
PHASES |= {"consolidation": ("#DCEAF4", "......")}


class Span(NamedTuple):
    """A stretch of a recording.

    Attributes:
        start: First position.
        stop: First position behind it.
        name: Of the task or the phase.
    """

    start: float
    stop: float
    name: str


def spans_of(labels: Iterable[object]) -> list[Span]:
    """Return the stretches of equal labels, such as the task or the phase of each sample; gaps (None) are left out."""
    spans, start = [], 0
    for label, group in groupby(labels):
        stop = start + sum(1 for _ in group)
        if label is not None:
            spans.append(Span(start, stop, str(label)))
        start = stop
    return spans


def rate_over_recording(
    rate_hz: ArrayLike,
    *,
    title: str,
    tasks: Sequence[Span] = (),
    phases: Sequence[Span] = (),
    width_mm: float = PAGE_MM,
) -> "Figure":
    """Draw the population rate over the samples of a recording, with lines between tasks and shades for phases.

    Where there are more samples than the width keeps apart, the line is a mean over neighbours and the band their
    range; a second line says over how many.

    Args:
        rate_hz: Rate of the average neuron in each sample, in the order they came.
        title: What is shown.
        tasks: Where each task starts and stops, counted in samples.
        phases: Where each phase starts and stops, named training, evaluation or replay.
        width_mm: Width on paper.
    """
    rate = read_numbers("rate_hz", rate_hz, axes=("sample",))
    each = -(-len(rate) // max(50, int(MOST_POINTS * width_mm / PAGE_MM)))
    note = f"mean (line) and range (band) of {each:,} samples each" if each > 1 else ""
    figure, (axes,) = new_figure(width_mm, 55, title=title, note=note)
    starts = np.arange(0, len(rate), each)
    sizes = np.diff([*starts, len(rate)])
    middle, mean = starts + sizes / 2, np.add.reduceat(rate, starts) / sizes
    if each > 1:
        low, high = np.minimum.reduceat(rate, starts), np.maximum.reduceat(rate, starts)
        axes.fill_between(middle, low, high, color=COLOURS[0], alpha=0.3, linewidth=0)
    axes.plot(middle, mean, color=COLOURS[0], linewidth=0.8, marker="o" if len(rate) == 1 else None, markersize=3)
    draw_phases(axes, phases)
    draw_tasks(axes, tasks, len(rate), width_mm)
    axes.set_xlim(0, len(rate))
    axes.set_ylim(0, 1.08 * rate.max() or 1)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if not rate.any():
        say(axes, "no spikes")
    axes.set_xlabel("sample")
    axes.set_ylabel("population rate (Hz)")
    return figure


def draw_phases(axes: "Axes", phases: Sequence[Span]) -> None:
    """Shade stretches by phase and say below which shade is which."""
    from matplotlib.patches import Patch

    names = list(dict.fromkeys(span.name for span in phases))
    for name in names:
        if name not in PHASES:
            raise BadInput(f"phases must be named {', '.join(PHASES)}; got {name!r}")
        stretches = [(span.start, span.stop - span.start) for span in phases if span.name == name]
        transform = axes.get_xaxis_transform()
        look = {"facecolor": PHASES[name][0], "hatch": PHASES[name][1], "edgecolor": "#DBA84E"}
        axes.broken_barh(stretches, (0, 1), transform=transform, zorder=0, linewidth=0, **look)
    if names:
        looks = [(name, *PHASES[name]) for name in names]
        patches = [Patch(facecolor=s, hatch=h, edgecolor="#DBA84E", linewidth=0.4, label=n) for n, s, h in looks]
        axes.figure.legend(
            handles=patches, loc="outside lower right", ncols=len(names), fontsize=NOTE_PT, frameon=False
        )


def draw_tasks(axes: "Axes", tasks: Sequence[Span], size: float, width_mm: float) -> None:
    """Draw a line where each task starts, and its name above where there is room."""
    room_pt = 72 * (width_mm - 20) / 25.4
    free_from = -np.inf
    for span in tasks:
        if span.start > 0:
            axes.axvline(span.start, color="0.25", linewidth=0.6 if len(tasks) <= MANY_TASKS else 0.25)
        middle, half = room_pt * (span.start + span.stop) / 2 / size, 0.28 * NOTE_PT * len(span.name) + 2
        if middle - half > free_from:
            axes.annotate(
                span.name,
                ((span.start + span.stop) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=NOTE_PT,
            )
            free_from = middle + half


def voltage_traces(
    voltage: ArrayLike,
    spikes: ArrayLike | None,
    *,
    dt_ms: float,
    threshold: float | None,
    title: str,
    names: Sequence[str] | None = None,
    width_mm: float = PAGE_MM,
) -> "Figure":
    """Draw the membrane voltage of some neurons below each other, with the threshold dashed and a tick at each spike.

    Shown are at most 8 neurons, evenly over all, and the first 2000 steps; a second line says so.

    Args:
        voltage: Voltage [time, neuron].
        spikes: Spikes (0 or 1) [time, neuron] at the same steps; ``None`` where they are not known.
        dt_ms: Length of one step.
        threshold: Voltage at which neurons spike, in the unit of ``voltage``; ``None`` where that is not known.
        title: What is shown.
        names: Of the neurons; their numbers from 0 where none are given.
        width_mm: Width on paper.
    """
    v = read_numbers("voltage", voltage, axes=("time", "neuron"))
    fired = np.zeros(v.shape, bool) if spikes is None else read("spikes", spikes, axes=("time", "neuron")) != 0
    if fired.shape != v.shape:
        raise BadInput(f"spikes must be of the shape of voltage, {list(v.shape)}; got {list(fired.shape)}")
    dt_ms = check_number("dt_ms", dt_ms, above=0)
    threshold = None if threshold is None else check_number("threshold", threshold)
    labels = check_names("names", names or [str(n) for n in range(v.shape[1])], v.shape[1])
    chosen, steps = evenly(v.shape[1], MOST_VOLTAGES), min(len(v), MOST_VOLTAGE_STEPS)
    note = joined(
        "dashed: threshold" if threshold is not None else "",
        "ticks above: spikes" if spikes is not None else "spikes were not recorded",
        of_all(len(chosen), v.shape[1], "neurons, evenly chosen"),
        of_all(steps, len(v), "steps, the first"),
    )
    figure, rows = new_figure(width_mm, max(48, 22 + 13 * len(chosen)), title=title, note=note, rows=len(chosen))
    part = v[:steps, chosen]
    low, high = min(part.min(), 0.0), max(part.max(), 0.0 if threshold is None else threshold)
    span = high - low or 1.0
    for axes, trace, neuron in zip(rows, part.T, chosen, strict=True):
        time = (np.arange(steps) + 0.5) * dt_ms  # the middle of each step, as in rasters
        axes.plot(time, trace, color=COLOURS[0], linewidth=0.8, marker="o" if steps == 1 else None, markersize=3)
        if threshold is not None:
            axes.axhline(threshold, color="0.4", linewidth=0.6, linestyle=(0, (4, 2)))
        ticks = time[fired[:steps, neuron]]
        axes.vlines(ticks, high + 0.08 * span, high + 0.33 * span, color=COLOURS[1], linewidth=0.9)
        axes.set_ylim(low - 0.06 * span, high + 0.38 * span)
        axes.set_ylabel(labels[neuron], rotation=0, ha="right", va="center")
        axes.locator_params(axis="y", nbins=3)
        axes.yaxis.set_tick_params(labelsize=NOTE_PT)
    rows[-1].set_xlim(0, steps * dt_ms)
    rows[-1].set_xlabel("time (ms)")
    figure.supylabel("voltage of neuron", fontsize=TEXT_PT)
    return figure


def weight_drift_curves(
    drifts: Mapping[str, ArrayLike],
    *,
    title: str,
    positions: ArrayLike | None = None,
    position_label: str = "snapshot",
    tasks: Sequence[Span] = (),
    note: str = "",
    width_mm: float = COLUMN_MM,
) -> "Figure":
    """Draw how far the weights of each layer have moved from the first snapshot, relative to their norm.

    Args:
        drifts: Of each layer, the relative change at each snapshot, as :func:`weight_drift` gives.
        title: What is shown.
        positions: Where the snapshots were taken, such as the number of batches seen; 0, 1, 2, ... if not given.
        position_label: What ``positions`` counts.
        tasks: Where each task starts and stops, in the same count.
        note: Second line, such as what is left out.
        width_mm: Width on paper.
    """
    if not drifts:
        raise BadInput("drifts must hold at least one layer; got none")
    curves = {name: read_numbers(f"drift of {name}", values, axes=("snapshot",)) for name, values in drifts.items()}
    size = len(next(iter(curves.values())))
    places = np.arange(size) if positions is None else read_numbers("positions", positions, axes=("snapshot",))
    if any(len(values) != len(places) for values in curves.values()):
        raise BadInput("drifts of all layers must have one value for each of the positions; lengths differ")
    figure, (axes,) = new_figure(width_mm, 60, title=title, note=note)
    draw_lines(axes, places, curves, width_mm)
    last = float(places.max()) or 1.0
    draw_tasks(axes, tasks, last, width_mm)
    axes.set_xlim(min(0.0, float(places.min())), last)
    axes.set_ylim(0, 1.06 * max(values.max() for values in curves.values()) or 1)
    if positions is None:
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.set_xlabel(position_label)
    axes.set_ylabel("relative change of weights")
    return figure


def drift_curves(
    drift: ArrayLike, *, title: str, label: str = "relative change of activity", width_mm: float = COLUMN_MM
) -> "Figure":
    """Draw how far the activity of each task has moved after each later task.

    Args:
        drift: Matrix [after task, of task], as :func:`drift_matrix` gives; NaN where nothing was measured.
        title: What is shown.
        label: What is measured.
        width_mm: Width on paper.
    """
    values = np.asarray(read("drift", drift, axes=("after task", "of task")), np.float64)
    figure, (axes,) = new_figure(width_mm, 60, title=title)
    after = np.arange(1, len(values) + 1)
    draw_lines(axes, after, {f"task {task + 1}": values[:, task] for task in range(values.shape[1])}, width_mm)
    axes.set_xticks(*task_ticks(len(values)))
    axes.set_xlim(0.7, len(values) + 0.3)
    top = np.nanmax(values, initial=0)
    axes.set_ylim(-0.03 * (top or 1), 1.08 * top or 1)
    axes.set_xlabel("tasks learnt")
    axes.set_ylabel(label)
    return figure
