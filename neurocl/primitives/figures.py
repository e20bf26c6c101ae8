"""What figures of every room share: colours, markers, ticks for tasks, and a PNG written in one step.

Colours keep apart for colour-blind readers and in grey print. Importing this loads no matplotlib.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurocl.primitives import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito 2008, Color universal design; their yellow is left out, being too pale for lines on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MANY_TASKS = 12  # more than this, and numbers in cells and names of lines no longer fit


def save_png(figure: "Figure", path: Path, *, dpi: int) -> None:
    """Write a figure as PNG, with ``dpi`` dots per inch, in one step."""
    files.write(path, lambda temporary: figure.savefig(temporary, format="png", dpi=dpi))


def fitting_size(text: str, inches: float) -> float:
    """Font size in points at which a line of text takes about this room; a letter is about half as wide as high."""
    return 72 * inches / (0.55 * max(1, len(text)))


def task_ticks(tasks: int) -> tuple[np.ndarray, list[str]]:
    """Numbers of the tasks to show on an axis: all where they are few, otherwise the first and round ones."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, tasks) if tasks <= MANY_TASKS * s)
    shown = sorted({1, *range(step, tasks + 1, step)})
    return np.array(shown), [str(task) for task in shown]
