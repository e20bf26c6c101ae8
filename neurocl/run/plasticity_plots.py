"""What a run did to its weights, as one PNG: share updated by each task, saturation, overlap between tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurocl.run import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "plasticity.png"


def updates_of(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what each task did to the weights; empty where a run reports none of it."""
    found = [of_task.get("updates") for of_task in results.get("diagnostics", ())]
    return [updates for updates in found if updates]


def save_run(folder: Path, results: Mapping[str, Any]) -> None:
    """Draw into ``folder``, if the run reports what tasks did to the weights."""
    if updates := updates_of(results):
        title = f"{results['model']} ({results['coding']}) on {results['stream']}, {results['setting']}"
        plots.save(plasticity(updates, title=f"{title}, seed {results['seed']}"), folder / NAME)


def plasticity(updates: Sequence[Mapping[str, Any]], *, title: str) -> "Figure":
    """Draw the three panels; that of saturation stays out where the optimiser keeps no history."""
    from matplotlib.figure import Figure

    saturated = all("saturation_deciles" in each for each in updates)
    figure = Figure(figsize=(10.2 if saturated else 7.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 3 if saturated else 2)
    draw_shares(panels[0], updates)
    draw_overlap(panels[-1], updates)
    if saturated:
        draw_saturation(panels[1], updates)
    for axes in panels:
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def draw_shares(axes: "Axes", updates: Sequence[Mapping[str, Any]]) -> None:
    """Share of weights that each task updated, and of weights that nothing has driven yet."""
    tasks = np.arange(1, len(updates) + 1)
    axes.bar(tasks, [100 * each["share"] for each in updates], color=plots.COLOURS[0], width=0.7, label="updated")
    if "fresh" in updates[-1]:
        fresh = [100 * each["fresh"] for each in updates]
        axes.plot(tasks, fresh, color=plots.COLOURS[1], marker="o", markersize=4, label="still fresh")
    axes.set_xticks(*plots.task_ticks(len(updates)))
    axes.set(ylim=(0, 105))
    axes.set_xlabel("task", fontsize=9)
    axes.set_ylabel("share of weights (%)", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def draw_saturation(axes: "Axes", updates: Sequence[Mapping[str, Any]]) -> None:
    """Cumulative distribution of the number that steps are divided by, after each task."""
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0, 0.9, len(updates)))
    shown = {0, len(updates) - 1} if len(updates) > plots.MANY_TASKS else range(len(updates))
    percent = np.linspace(0, 100, len(updates[0]["saturation_deciles"]))
    for place, (each, shade) in enumerate(zip(updates, shades, strict=True)):
        label = f"task {place + 1}" if place in shown else None
        axes.plot(each["saturation_deciles"], percent, color=shade, marker=".", label=label)
    axes.set(xscale="log", ylim=(-3, 103))
    axes.set_xlabel(r"saturation $(\epsilon + G)^{1/p}$", fontsize=9)
    axes.set_ylabel("weights below (%)", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


def draw_overlap(axes: "Axes", updates: Sequence[Mapping[str, Any]]) -> None:
    """Overlap of the sets that two tasks updated."""
    tasks = len(updates)
    overlap = np.eye(tasks)
    for place, each in enumerate(updates):
        overlap[place, :place] = overlap[:place, place] = each["overlap"]
    image = axes.imshow(overlap, vmin=0, vmax=1, cmap="viridis")
    if tasks <= plots.MANY_TASKS:
        for row, column in np.ndindex(tasks, tasks):
            shade = "black" if overlap[row, column] > 0.6 else "white"
            text = f"{overlap[row, column]:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=shade)
    places, names = plots.task_ticks(tasks)
    axes.set_xticks(places - 1, names)
    axes.set_yticks(places - 1, names)
    axes.set_xlabel("task", fontsize=9)
    axes.set_ylabel("task", fontsize=9)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("overlap of updated weights", fontsize=9)
    bar.ax.tick_params(labelsize=8)
