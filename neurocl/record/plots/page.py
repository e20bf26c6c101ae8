"""Sizes of a printed page, text that stays readable on it, and what all figures of a recording share.

Widths are those of a journal's column and page. Nothing is scaled afterwards: 8 points in the figure are 8 on paper.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from neurocl.primitives.checks import BadInput, check_number
from neurocl.primitives.figures import fitting_size, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN_MM = 85.0  # one column of most journals
PAGE_MM = 174.0  # two columns
TEXT_PT = 8.0
NOTE_PT = 7.0  # second line of a title, numbers in cells
SMALLEST_PT = 5.5  # below, nobody reads it on paper
DPI = 300  # what journals ask of half-tones


def new_figure(
    width_mm: float, height_mm: float, *, title: str, note: str = "", rows: int = 1, columns: int = 1
) -> tuple["Figure", list["Axes"]]:
    """Return a figure of this size and its panels, row by row, without the two lines that carry nothing.

    Args:
        width_mm: Width on paper; :data:`COLUMN_MM` or :data:`PAGE_MM`, or any other.
        height_mm: Height on paper.
        title: First line, at the left; set smaller where it would not fit, cut in its middle if need be.
        note: Second line: what is shown of what there is.
        rows: Panels below each other, which share their x axis.
        columns: Panels side by side.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, hspace=0.02, wspace=0.04)
    width_mm = check_number("width_mm", width_mm, at_least=40, at_most=1000)
    figure = Figure(figsize=(width_mm / 25.4, height_mm / 25.4), layout=layout)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex="col" if rows > 1 else False).flat)
    for axes in panels:
        axes.tick_params(labelsize=TEXT_PT, length=2.5, width=0.6)
        axes.spines[:].set_linewidth(0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.label.set_size(TEXT_PT)
        axes.yaxis.label.set_size(TEXT_PT)
    write_title(figure, title, note, width_mm / 25.4)
    return figure, panels


def write_title(figure: "Figure", title: str, note: str, inches: float) -> None:
    """Write up to two lines above all panels, the second in grey."""
    room = inches - 0.1
    most = int(72 * room / (0.55 * SMALLEST_PT))
    title, note = shortened(title, most), shortened(note, most)
    lines = [(title, TEXT_PT, "black"), (note, NOTE_PT, "0.35")]
    lines = [(text, max(SMALLEST_PT, min(size, fitting_size(text, room))), colour) for text, size, colour in lines]
    shown = [line for line in lines if line[0]]
    if not shown:
        return
    # the first is what the layout makes room for, with as many lines as there are; the second is drawn into that room
    text, size, colour = shown[0]
    plain = {"ha": "left", "parse_math": False}  # a dollar in a name is a dollar
    figure.suptitle(text + "\n" * (len(shown) - 1), fontsize=size, x=0.05 / inches, color=colour, **plain)
    if len(shown) > 1:
        text, small, colour = shown[1]
        down = (0.03 + 1.25 * size / 72) / figure.get_figheight()
        figure.text(0.05 / inches, 1 - down, text, fontsize=small, color=colour, va="top", **plain)


def save(figure: "Figure", path: Path | str) -> None:
    """Write a figure as PNG at 300 dots per inch, whole or not at all.

    Raises:
        BadInput: If the name does not end in ``.png``, or the folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise BadInput(f"figures are saved as PNG: the name must end in .png; got {path.name!r}")
    save_png(figure, path, dpi=DPI)


def shortened(name: str, most: int) -> str:
    """Return a name of at most ``most`` letters: a longer one keeps both ends, with an ellipsis between them."""
    if len(name) <= most:
        return name
    front = most // 2
    return f"{name[:front]}…{name[len(name) - (most - front - 1) :]}"


def told_apart(names: Sequence[str], most: int) -> list[str]:
    """Return names of at most ``most`` letters, those that would be the same when shortened with a number behind."""
    short = [shortened(name, most) for name in names]
    if len({*short}) == len({*names}):
        return short
    numbers = {name: place + 1 for place, name in enumerate(dict.fromkeys(names))}
    return [f"{shortened(name, most - 4)} ({numbers[name]})" if len(name) > most else name for name in names]


def evenly(size: int, most: int) -> Int64[ndarray, " shown"]:
    """Places of at most ``most`` out of ``size`` things, the first and the last among them."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))


def of_all(shown: int, size: int, what: str, how: str = "") -> str:
    """Say how many are shown, if not all are: ``200 of 10,000 neurons``."""
    return f"{shown:,} of {size:,} {what}{how}" if shown < size else ""


def joined(*parts: str) -> str:
    """Put those parts that say something on one line."""
    return "; ".join(part for part in parts if part)


def say(axes: "Axes", text: str) -> None:
    """Write into the middle of a panel that has nothing to show why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT_PT, color="0.35")


def check_names(name: str, names: Sequence[str] | None, size: int) -> list[str]:
    """Return a name for each of ``size`` things; numbers from 1 where none are given."""
    if names is None:
        return [str(place + 1) for place in range(size)]
    if len(names) != size:
        raise BadInput(f"{name} must hold {size} names; got {len(names)}")
    return [str(each) for each in names]
