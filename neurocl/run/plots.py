"""Plots of a run and of a comparison, as PNG. Colours keep apart for colour-blind readers and in grey print.

Drawn without pyplot: no windows, no global state; matplotlib is imported only when something is drawn.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from neurocl.primitives.figures import COLOURS as COLOURS
from neurocl.primitives.figures import MANY_TASKS as MANY_TASKS
from neurocl.primitives.figures import MARKERS, fitting_size, save_png
from neurocl.primitives.figures import task_ticks as task_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = {"spiking": "#0072B2", "rate": "#E69F00"}  # far apart in brightness too
NAMES = {"spiking": "spiking", "rate": "rate-coded"}
DPI = 160

OF_A_RUN = ("accuracy_matrix.png", "accuracy_curves.png")
Groups = Mapping[tuple[str, str], Sequence[dict[str, Any]]]  # results of all seeds by (model, coding)


def save_run(folder: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Draw accuracy matrix and accuracy curves of a run, or of one model's runs with several seeds, into ``folder``."""
    first = runs[0]
    seeds = f"seed {first['seed']}" if len(runs) == 1 else f"mean of {len(runs)} seeds"
    title = f"{first['model']} ({first['coding']}) on {first['stream']}, {first['setting']}, {seeds}"
    values = np.array([in_percent(results["accuracy"]) for results in runs])
    for name, draw in zip(OF_A_RUN, (accuracy_matrix, accuracy_curves), strict=True):
        save(draw(values, title=title), folder / name)


def save_comparison(folder: Path, groups: Groups, *, title: str) -> None:
    """Draw the final accuracy of all models, and their accuracy over tasks, into ``folder``."""
    save(comparison_bars(groups, title=title), folder / "comparison_bars.png")
    save(comparison_curves(groups, title=title), folder / "comparison_curves.png")


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG in one step."""
    save_png(figure, path, dpi=DPI)


def new_figure(
    width: float,
    height: float,
    *,
    title: str,
    panels: int = 1,
    margins: tuple[float, float, float, float] | None = None,
) -> tuple["Figure", list["Axes"]]:
    """Return a figure of this size in inches, and its panels side by side without the two lines that carry nothing.

    ``margins`` (left, bottom, right, top, in inches) spare the drawing that it takes to find them out.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=None if margins else "constrained")
    if margins:
        left, bottom, right, top = margins
        figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    row = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axes in row:
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    row[0].set_title(title, fontsize=min(9.0, fitting_size(title, width - 0.8)), loc="left")
    return figure, list(row)


def in_percent(accuracy: Sequence[Sequence[float | None]]) -> np.ndarray:
    """An accuracy matrix in percent, NaN where nothing was measured."""
    return 100 * np.array([[np.nan if value is None else value for value in row] for row in accuracy])


def accuracy_matrix(values: Float64[ndarray, "seed task task"], *, title: str) -> "Figure":
    """Heat map of the accuracy in percent on each task (across) after each task (down), averaged over seeds."""
    from matplotlib import colormaps

    mean = values.mean(axis=0)
    tasks = len(mean)
    side = min(6.6, 2.4 + 0.4 * tasks)
    width = max(side + 1.1, 5.4)
    figure, (axes,) = new_figure(width, side, title=title, margins=(0.6, 0.5, width - side + 0.2, 0.3))
    image = axes.imshow(mean, vmin=0, vmax=100, cmap=colormaps["viridis"].with_extremes(bad="0.93"))
    if tasks <= MANY_TASKS:
        for row, column in np.argwhere(np.isfinite(mean)):
            value = mean[row, column]
            shade = "black" if value > 60 else "white"  # viridis is light above
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=7.5, color=shade)
    places, names = task_ticks(tasks)
    axes.set_xticks(places - 1, names)
    axes.set_yticks(places - 1, names)
    axes.set_xlabel("evaluated on task", fontsize=9)
    axes.set_ylabel("after learning task", fontsize=9)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, cax=axes.inset_axes((1.05, 0.1, 0.05, 0.8)))
    bar.set_label("accuracy (%)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def accuracy_curves(values: Float64[ndarray, "seed task task"], *, title: str) -> "Figure":
    """Accuracy in percent on each task from its turn on, and the average so far; bands are one SD over seeds."""
    from matplotlib import colormaps

    tasks = values.shape[1]
    few = tasks <= MANY_TASKS
    figure, (axes,) = new_figure(6.4, 3.8, title=title, margins=(0.6, 0.5, 1.25, 0.3))
    shades = colormaps["viridis"](np.linspace(0, 0.9, tasks))
    after = np.arange(1, tasks + 1)
    for task in range(tasks):
        own = values[:, task:, task]
        axes.plot(
            after[task:],
            own.mean(axis=0),
            color=shades[task],
            linewidth=1.3 if few else 0.7,
            marker=MARKERS[task % len(MARKERS)] if few else None,
            markersize=4,
            label=f"task {task + 1}" if few or task in {0, tasks - 1} else None,
        )
        if few:
            band(axes, after[task:], own, shades[task])
    so_far = np.stack([values[:, t, : t + 1].mean(axis=1) for t in range(tasks)], axis=1)
    axes.plot(after, so_far.mean(axis=0), color="black", linewidth=2.4, label="average so far")
    band(axes, after, so_far, "black")
    axes.set_xticks(*task_ticks(tasks))
    axes.set_xlabel("tasks learnt", fontsize=9)
    axes.set_ylabel("accuracy (%)", fontsize=9)
    axes.set_ylim(-3, 103)
    axes.grid(axis="y", color="0.9")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=8, frameon=False)
    return figure


def comparison_curves(groups: Groups, *, title: str) -> "Figure":
    """Average accuracy over the tasks so far by model, a panel for each coding; bands are one SD over seeds."""
    from matplotlib.lines import Line2D

    models, codings = models_and_codings(groups)
    figure, panels = new_figure(4.6 + 2.6 * (len(codings) - 1), 3.9, title="", panels=len(codings))
    figure.suptitle(title, fontsize=min(9.0, fitting_size(title, 6.0)), x=0.01, ha="left")
    styles = {
        m: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]) for i, m in enumerate(models)
    }
    for axes, coding in zip(panels, codings, strict=True):
        tasks = 1
        for place, model in enumerate(models):
            if (model, coding) not in groups:
                continue
            curves = np.array([so_far(results["accuracy"]) for results in groups[model, coding]])
            tasks = curves.shape[1]
            aside = 0.045 * (place - (len(models) - 1) / 2)  # so that models that do alike do not hide each other
            after, (colour, marker) = np.arange(1, tasks + 1) + aside, styles[model]
            axes.plot(after, curves.mean(axis=0), color=colour, marker=marker, markersize=4, linewidth=1.1)
            band(axes, after, curves, colour)
        axes.set_title(NAMES[coding], fontsize=9)
        axes.set_xticks(*task_ticks(tasks))
        axes.set_xlabel("tasks learnt", fontsize=9)
        axes.set_ylim(0, 103)
        axes.grid(axis="y", color="0.9")
    panels[0].set_ylabel("average accuracy on the tasks so far (%)", fontsize=9)
    handles = [Line2D([], [], color=c, marker=m, markersize=4, label=model) for model, (c, m) in styles.items()]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def comparison_bars(groups: Groups, *, title: str) -> "Figure":
    """Final accuracy by model and coding; whiskers one SD, dots single seeds, the line is the best ridge."""
    models, codings = models_and_codings(groups)
    figure, (axes,) = new_figure(6.4, 1.2 + 0.17 * (len(codings) + 0.8) * len(models), title=title)
    thick = 0.8 / len(codings)
    ridge = []
    for (model, coding), runs in groups.items():
        scores = 100 * np.array([results["average_accuracy"] for results in runs])
        place = models.index(model) + (codings.index(coding) - (len(codings) - 1) / 2) * thick
        axes.barh(place, scores.mean(), height=thick * 0.92, color=BARS[coding], label=NAMES[coding])
        if len(scores) > 1:
            axes.errorbar(scores.mean(), place, xerr=spread_of(scores), color="black", linewidth=1, capsize=2)
            axes.plot(scores, np.full(len(scores), place), ".", color="black", markersize=3, alpha=0.5)
        axes.text(103, place, f"{scores.mean():.1f}", va="center", fontsize=7)
        if "ridge" in model:
            ridge.append(scores.mean())
    if ridge:
        axes.axvline(max(ridge), color="0.35", linestyle=(0, (2, 2)), linewidth=0.9, zorder=0, label="best ridge")
    axes.set_yticks(range(len(models)), models)
    axes.invert_yaxis()
    axes.set_xlabel("average accuracy over all tasks at the end (%)", fontsize=9)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=8, frameon=False)
    return figure


def models_and_codings(groups: Groups) -> tuple[list[str], list[str]]:
    """Models in the order they come, and the codings that occur."""
    return list(dict.fromkeys(model for model, _ in groups)), [
        c for c in NAMES if c in {coding for _, coding in groups}
    ]


def so_far(accuracy: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Average accuracy in percent over the tasks so far, after each task."""
    return np.array([row[: t + 1].mean() for t, row in enumerate(in_percent(accuracy))])


def band(axes: "Axes", after: np.ndarray, curves: np.ndarray, colour: Any) -> None:
    """Shade one standard deviation over seeds around the mean of ``curves``."""
    if len(curves) > 1:
        mean, spread = curves.mean(axis=0), spread_of(curves)
        axes.fill_between(after, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)


def spread_of(values: np.ndarray) -> np.ndarray:
    """Sample standard deviation over seeds (first axis); 0 for a single seed."""
    return np.asarray(values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:]))
