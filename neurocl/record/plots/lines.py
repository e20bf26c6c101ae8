"""Lines with their names beside the panel, for figures of courses."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from neurocl.primitives.figures import COLOURS, MANY_TASKS, MARKERS
from neurocl.record.plots.page import NOTE_PT, SMALLEST_PT, told_apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEGEND_SHARE = 0.25  # of a figure's width, at most, for names of lines
LEGEND_PT = SMALLEST_PT + 0.5  # of long names


def draw_lines(axes: "Axes", places: ndarray, curves: Mapping[str, ndarray], width_mm: float) -> None:
    """Draw a line for each name; few in the house's colours with markers, many as a scale from first to last."""
    from matplotlib import colormaps

    few, names = len(curves) <= len(COLOURS), list(curves)
    marked = len(places) <= 3 * MANY_TASKS
    shades = COLOURS if few else colormaps["viridis"](np.linspace(0, 0.9, len(curves)))
    room_pt = 72 * LEGEND_SHARE * width_mm / 25.4
    shown = told_apart(names, int(room_pt / (0.55 * LEGEND_PT)))
    for place, (name, values) in enumerate(curves.items()):
        axes.plot(
            places,
            values,
            color=shades[place],
            linewidth=1.0 if few else 0.6,
            marker=MARKERS[place] if few and (marked or np.isfinite(values).sum() == 1) else None,
            markersize=3,
            label=as_label(shown[place]) if few or name in {names[0], names[-1]} else None,
            clip_on=False,
        )
    longest = max(map(len, shown))
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),  # beside the panel, below the title
        borderaxespad=0,
        fontsize=NOTE_PT if longest < 16 else LEGEND_PT,
        frameon=False,
        handlelength=1.5,
        title=None if few else f"{len(names)} lines",
        title_fontsize=NOTE_PT,
    )


def as_label(name: str) -> str:
    """Return a name as matplotlib shows it in a legend: no formula, and shown even if it begins with _."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")
