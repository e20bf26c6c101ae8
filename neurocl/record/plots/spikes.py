"""Figures of spikes: raster, distribution of rates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput, check_number
from neurocl.primitives.figures import COLOURS
from neurocl.record.analysis.arrays import read_numbers, read_raster
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

MOST_NEURONS = 300  # rows that a page's height keeps apart
MOST_STEPS = 600  # columns that a page's width keeps apart
MANY_BINS = 25


def spike_raster(
    raster: ArrayLike,
    *,
    dt_ms: float,
    title: str,
    names: Sequence[str] | None = None,
    width_mm: float = PAGE_MM,
) -> "Figure":
    """Draw a dot for each spike, samples one after the other.

    Shown are at most 300 neurons, evenly over all, and the first samples or steps that the width keeps apart; a second
    line says so.

    Args:
        raster: Spikes (0 or 1) [sample, time, neuron].
        dt_ms: Length of one step.
        title: What is shown.
        names: Of the samples, such as their classes; none are written where they would not fit.
        width_mm: Width on paper.
    """
    spikes, dt_ms = read_raster(raster), check_number("dt_ms", dt_ms, above=0)
    samples, steps, neurons = spikes.shape
    labels = check_names("names", names, samples) if names is not None else []
    most = max(20, int(MOST_STEPS * width_mm / PAGE_MM))
    kept_samples, kept_steps = max(1, min(samples, most // steps)), min(steps, most)
    chosen = evenly(neurons, MOST_NEURONS)
    part = spikes[:kept_samples, :kept_steps, chosen]
    shown = part.reshape(-1, len(chosen))
    note = joined(
        of_all(len(chosen), neurons, "neurons, evenly chosen"),
        of_all(kept_samples, samples, "samples, the first"),
        of_all(kept_steps, steps, "steps, the first"),
        f"a spike in {100 * shown.mean():.3g} % of steps" if shown.any() else "",
    )
    height = float(np.clip(25 + 0.35 * len(chosen), 45, 95))
    figure, (axes,) = new_figure(width_mm, height, title=title, note=note)
    draw_dots(axes, shown, chosen, dt_ms, height)
    draw_samples(axes, kept_samples, kept_steps * dt_ms, labels[:kept_samples], width_mm)
    axes.set_xlim(0, len(shown) * dt_ms)
    axes.set_ylim(-0.5 - 0.01 * neurons, neurons - 0.5 + 0.01 * neurons)
    axes.locator_params(axis="y", integer=True, min_n_ticks=1)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("time (ms)")
    axes.set_ylabel("neuron")
    if not shown.any():
        say(axes, "no spikes")
    return figure


def draw_dots(axes: "Axes", shown: Bool[ndarray, "time neuron"], chosen: ndarray, dt_ms: float, height: float) -> None:
    """Put a short vertical line at each spike, as high as a row, within limits of what ink can do."""
    step, row = np.nonzero(shown)
    points = float(np.clip(0.7 * 72 * (height - 20) / 25.4 / max(1, len(chosen)), 1.0, 6.0))
    axes.plot(
        (step + 0.5) * dt_ms,
        chosen[row],
        linestyle="none",
        marker="|" if points > 2.5 else ".",
        markersize=points if points > 2.5 else 1.6 * points,
        markeredgewidth=0.8 if points > 2.5 else 0,
        color="black",
    )


def draw_samples(axes: "Axes", samples: int, sample_ms: float, names: Sequence[str], width_mm: float) -> None:
    """Mark where one sample ends and the next begins, and name them above if that fits."""
    for edge in range(1, samples):
        axes.axvline(edge * sample_ms, color=COLOURS[0], linewidth=0.5, alpha=0.6)
    if not names:
        return
    room_pt = 72 * (width_mm - 20) / 25.4 / samples
    if 0.6 * NOTE_PT * max(map(len, names)) > room_pt - 2:
        return
    for place, name in enumerate(names):
        axes.annotate(
            name,
            ((place + 0.5) * sample_ms, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=NOTE_PT,
            color=COLOURS[0],
        )


def rate_histogram(rates_hz: ArrayLike, *, title: str, width_mm: float = COLUMN_MM) -> "Figure":
    """Draw how many neurons fire at which rate; silent ones have a bar of their own.

    The axis of rates is logarithmic where they span more than a factor of ten.

    Args:
        rates_hz: Firing rate of each neuron, none negative.
        title: What is shown.
        width_mm: Width on paper.
    """
    rates = read_numbers("rates_hz", rates_hz, axes=("neuron",))
    if rates.min() < 0:
        raise BadInput(f"rates_hz must not be negative; the least is {rates.min():g}")
    active = rates[rates > 0]
    silent = len(rates) - len(active)
    median = f"median of the others {np.median(active):.3g} Hz" if len(active) and silent else ""
    median = f"median {np.median(active):.3g} Hz" if len(active) and not silent else median
    counted = f"{len(rates):,} neurons" if len(rates) > 1 else "1 neuron"
    note = joined(counted, f"{silent:,} silent ({silent / len(rates):.0%})" if silent else "", median)
    figure, (axes,) = new_figure(width_mm, 60, title=title, note=note)
    logarithmic = len(active) > 1 and bool(active.max() > 10 * active.min())
    edges = bins_for(active, logarithmic=logarithmic)
    heights, _ = np.histogram(active, edges)
    axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=COLOURS[0], edgecolor="white", linewidth=0.3)
    if logarithmic:
        axes.set_xscale("log")
        axes.tick_params(which="minor", length=1.5, width=0.4)
    draw_silent(axes, silent, edges, logarithmic=logarithmic)
    axes.set_ylim(0, 1.08 * max(heights.max(), silent, 1))
    axes.locator_params(axis="y", integer=True)
    axes.set_xlabel("firing rate (Hz)")
    axes.set_ylabel("neurons")
    return figure


def bins_for(active: ndarray, *, logarithmic: bool) -> ndarray:
    """Edges of bins of equal width, on the axis they are drawn on."""
    if not len(active):
        return np.linspace(0, 1, 11)
    number = int(np.clip(np.sqrt(len(active)), 8, MANY_BINS))
    if logarithmic:
        edges = np.geomspace(active.min(), active.max(), number + 1)
        edges[0], edges[-1] = active.min(), active.max()  # which rounding must not leave outside
        return edges
    return np.linspace(0, 1.02 * active.max(), number + 1)


def draw_silent(axes: "Axes", silent: int, edges: ndarray, *, logarithmic: bool) -> None:
    """Put the bar of silent neurons to the left of all rates, with its own tick."""
    if logarithmic:
        ratio = edges[1] / edges[0]
        left, right = edges[0] / ratio**3, edges[0] / ratio**1.5
    else:
        left, right = -2.5 * edges[1], -1.0 * edges[1]
    if not silent:
        return
    axes.bar(left, silent, right - left, align="edge", color=COLOURS[1])
    where = np.sqrt(left * right) if logarithmic else (left + right) / 2
    axes.text(where, silent, "silent", ha="center", va="bottom", fontsize=TEXT_PT, color=COLOURS[1])
    low, high = axes.get_xlim()
    for minor in (False, True):  # the bar of silent neurons stands at no rate
        ticks = axes.get_xticks(minor=minor)
        axes.set_xticks(ticks[(ticks >= edges[0] * (1 - 1e-9)) & (ticks <= high)], minor=minor)
    axes.set_xlim(low, high)
