"""Figures of matrices: tasks against tasks, samples against samples; numbers in the cells where they can be read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput
from neurocl.primitives.figures import task_ticks
from neurocl.record.analysis.arrays import read
from neurocl.record.plots.page import COLUMN_MM, NOTE_PT, PAGE_MM, SMALLEST_PT, TEXT_PT, check_names, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGINS_MM = 32.0  # of a panel's width, for names of rows and the scale


def task_matrix(
    values: ArrayLike,
    *,
    title: str,
    label: str,
    span: tuple[float, float],
    axis_labels: tuple[str, str] = ("task", "task"),
    names: Sequence[str] | None = None,
    width_mm: float = COLUMN_MM,
) -> "Figure":
    """Draw a matrix of tasks as a heat map; cells without a value are grey.

    Args:
        values: Matrix [task down, task across]; NaN where there is no value.
        title: What is shown.
        label: What the colours stand for, with its unit.
        span: Lowest and highest value of the scale.
        axis_labels: What stands down and across.
        names: Of the tasks; numbers from 1 where none are given.
        width_mm: Width on paper.
    """
    matrix = read_matrix("values", values)
    figure, (axes,) = new_figure(width_mm, width_mm - MARGINS_MM + 24, title=title)
    draw_matrix(axes, matrix, label=label, span=span, side_mm=width_mm - MARGINS_MM)
    name_tasks(axes, matrix.shape, names, width_mm - MARGINS_MM)
    axes.set_ylabel(axis_labels[0])
    axes.set_xlabel(axis_labels[1])
    make_square(figure, axes, matrix.shape)
    return figure


def overlap_heat_map(
    values: ArrayLike, *, title: str, names: Sequence[str] | None = None, width_mm: float = COLUMN_MM
) -> "Figure":
    """Draw the overlap of the activity subspaces of tasks (mean squared cosine), from 0 to 1.

    Args:
        values: As :func:`overlap_matrix` gives.
        title: What is shown.
        names: Of the tasks.
        width_mm: Width on paper.
    """
    return task_matrix(values, title=title, label="overlap (mean cos²)", span=(0, 1), names=names, width_mm=width_mm)


def angle_heat_map(
    angles: ArrayLike, *, title: str, names: Sequence[str] | None = None, width_mm: float = COLUMN_MM
) -> "Figure":
    """Draw the mean principal angle between the activity subspaces of tasks, in degrees.

    Args:
        angles: In radians, as :func:`angle_matrix` gives.
        title: What is shown.
        names: Of the tasks.
        width_mm: Width on paper.
    """
    degrees = np.degrees(read_matrix("angles", angles))
    label = "mean principal angle (°)"
    return task_matrix(degrees, title=title, label=label, span=(0, 90), names=names, width_mm=width_mm)


def captured_heat_map(
    values: ArrayLike, *, title: str, names: Sequence[str] | None = None, width_mm: float = COLUMN_MM
) -> "Figure":
    """Draw the share of each task's energy (down) in the subspace of each task (across).

    Args:
        values: As :func:`captured_matrix` gives.
        title: What is shown.
        names: Of the tasks.
        width_mm: Width on paper.
    """
    return task_matrix(
        values,
        title=title,
        label="captured share",
        span=(0, 1),
        axis_labels=("activity of task", "in the subspace of task"),
        names=names,
        width_mm=width_mm,
    )


def dissimilarity_heat_map(
    dissimilarities: ArrayLike,
    *,
    title: str,
    label: str = "dissimilarity",
    groups: Sequence[object] | None = None,
    width_mm: float = COLUMN_MM,
) -> "Figure":
    """Draw a representational dissimilarity matrix, with lines between groups of rows.

    Args:
        dissimilarities: Symmetric [sample, sample] or [class, class]; NaN where there is no value.
        title: What is shown.
        label: Which measure it is.
        groups: Of each row, such as its task or class; rows of a group stand together. Numbers from 1 if not given.
        width_mm: Width on paper.
    """
    matrix = read_matrix("dissimilarities", dissimilarities)
    if matrix.shape[0] != matrix.shape[1]:
        raise BadInput(f"dissimilarities must be square; got shape {list(matrix.shape)}")
    figure, (axes,) = new_figure(width_mm, width_mm - MARGINS_MM + 24, title=title)
    top = np.nanmax(matrix, initial=0) or 1.0
    draw_matrix(axes, matrix, label=label, span=(0, top), side_mm=width_mm - MARGINS_MM)
    if groups is None:
        name_tasks(axes, matrix.shape, None, width_mm - MARGINS_MM)
    else:
        draw_groups(axes, check_names("groups", [str(group) for group in groups], len(matrix)))
    make_square(figure, axes, matrix.shape)
    return figure


def accuracy_beside_drift(accuracy: ArrayLike, drift: ArrayLike, *, title: str, width_mm: float = PAGE_MM) -> "Figure":
    """Draw the accuracy on each task after each task beside the drift of that task's activity.

    Args:
        accuracy: Shares from 0 to 1 [after task, on task]; NaN where not measured.
        drift: Relative change of activity [after task, of task], as :func:`drift_matrix` gives.
        title: What is shown.
        width_mm: Width on paper.
    """
    percent, moved = 100 * read_matrix("accuracy", accuracy), read_matrix("drift", drift)
    if percent.shape != moved.shape:
        raise BadInput(f"accuracy and drift must be of one shape; got {percent.shape} and {moved.shape}")
    side = width_mm / 2 - MARGINS_MM
    figure, (left, right) = new_figure(width_mm, side + 24, title=title, columns=2)
    draw_matrix(left, percent, label="accuracy (%)", span=(0, 100), side_mm=side)
    top = np.nanmax(moved, initial=0) or 1.0
    draw_matrix(right, moved, label="drift of activity", span=(0, top), side_mm=side)
    for axes, across in ((left, "evaluated on task"), (right, "activity of task")):
        name_tasks(axes, percent.shape, None, side)
        axes.set_ylabel("after learning task")
        axes.set_xlabel(across)
    make_square(figure, left, percent.shape)
    return figure


def draw_matrix(
    axes: "Axes", matrix: Float64[ndarray, "row column"], *, label: str, span: tuple[float, float], side_mm: float
) -> None:
    """Draw cells, their numbers where these can be read, and the scale."""
    from matplotlib import colormaps

    low, high = span
    image = axes.imshow(
        matrix,
        vmin=low,
        vmax=high,
        cmap=colormaps["viridis"].with_extremes(bad="0.85"),
        interpolation="nearest",
        aspect="auto",  # cells are made square by the height of the figure, which the layout can reckon with
    )
    axes.spines[:].set_visible(False)
    digits = 0 if high >= 20 else 2
    size = min(NOTE_PT, 72 * side_mm / 25.4 / max(matrix.shape) / (0.6 * len(f"{high:.{digits}f}")))
    if size >= SMALLEST_PT:
        for row, column in np.argwhere(np.isfinite(matrix)):
            value = matrix[row, column]
            shade = "black" if value > low + 0.6 * (high - low) else "white"  # viridis is light above
            text = f"{value:.{digits}f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=shade)
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.04, 0.05, 0.05, 0.9)))
    bar.set_label(label, fontsize=TEXT_PT)
    bar.ax.tick_params(labelsize=NOTE_PT, length=2, width=0.6)
    bar.outline.set_visible(False)


def make_square(figure: "Figure", axes: "Axes", shape: tuple[int, ...]) -> None:
    """Make the figure as high as it takes for cells of ``axes`` to be as high as wide, up to half as high again."""
    figure.draw_without_rendering()  # lays everything out
    box = axes.get_position()
    width, height = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
    wanted = width * min(1.5, shape[0] / shape[1])
    figure.set_figheight(figure.get_figheight() + wanted - height)


def name_tasks(axes: "Axes", shape: tuple[int, ...], names: Sequence[str] | None, side_mm: float) -> None:
    """Put ticks at rows and columns: names where they are given and fit, otherwise numbers from 1."""
    for axis, size in ((axes.yaxis, shape[0]), (axes.xaxis, shape[1])):
        labels = None if names is None else check_names("names", names, size)
        if labels is None or 72 * side_mm / 25.4 / size < NOTE_PT:  # one line of text a row does not fit
            places, labels = task_ticks(size)
            places = places - 1
        else:
            places = np.arange(size)
        wide = max(map(len, labels)) * 0.55 * NOTE_PT > 72 * side_mm / 25.4 / len(labels)
        turned: dict[str, Any] = {"rotation": 90} if axis is axes.xaxis and wide else {}
        axis.set_ticks(places, labels, fontsize=NOTE_PT, **turned)


def draw_groups(axes: "Axes", groups: Sequence[str]) -> None:
    """Draw lines between groups of rows and name each in its middle."""
    edges = [place for place in range(1, len(groups)) if groups[place] != groups[place - 1]]
    starts, stops = [0, *edges], [*edges, len(groups)]
    for edge in edges:
        axes.axhline(edge - 0.5, color="white", linewidth=0.8)
        axes.axvline(edge - 0.5, color="white", linewidth=0.8)
    shown = task_ticks(len(starts))[0] - 1
    places = [(starts[g] + stops[g] - 1) / 2 for g in shown]
    labels = [groups[starts[g]] for g in shown]
    axes.set_yticks(places, labels, fontsize=NOTE_PT)
    axes.set_xticks(places, labels, fontsize=NOTE_PT, rotation=90 if max(map(len, labels)) > 3 else 0)


def read_matrix(name: str, values: ArrayLike) -> Float64[ndarray, "row column"]:
    """Return a matrix in double precision that may hold NaN but nothing infinite."""
    matrix = np.asarray(read(name, values, axes=("row", "column")), np.float64)
    if np.isinf(matrix).any():
        raise BadInput(f"{name} must not be infinite; {int(np.isinf(matrix).sum())} of {matrix.size} values are")
    return matrix
