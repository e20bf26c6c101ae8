"""Are plots drawn without warnings, whatever the number of tasks and seeds, and do they carry what they should?"""

import numpy as np
import pytest

from neurocl.run import plots


def results(tasks, seed=0, model="ewc", coding="spiking"):
    draw = np.random.default_rng(seed)
    accuracy = [[float(draw.uniform()) if i <= t else None for i in range(tasks)] for t in range(tasks)]
    shown = {"model": model, "coding": coding, "stream": "s", "setting": "class-incremental", "seed": seed}
    return {**shown, "accuracy": accuracy, "average_accuracy": float(np.mean(accuracy[-1]))}


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 1), (5, 3), (40, 1)])
def test_a_run_is_drawn_whatever_its_length(tmp_path, drawn, tasks, seeds):
    plots.save_run(tmp_path, [results(tasks, seed) for seed in range(seeds)])
    for name in ("accuracy_matrix", "accuracy_curves"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_matrix_shows_each_number_and_leaves_the_unmeasured_blank():
    values = np.array([plots.in_percent(results(3)["accuracy"])])
    axes = plots.accuracy_matrix(values, title="t").axes[0]
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == [f"{values[0, t, i]:.1f}" for t in range(3) for i in range(t + 1)]
    assert axes.get_xlabel() == "evaluated on task"
    assert axes.get_ylabel() == "after learning task"


def test_curves_show_the_mean_over_seeds_and_a_band_of_one_deviation():
    values = np.array([plots.in_percent(results(4, seed)["accuracy"]) for seed in range(3)])
    axes = plots.accuracy_curves(values, title="t").axes[0]
    last = axes.lines[-1].get_ydata()
    assert last[3] == pytest.approx(values[:, 3].mean())
    band = axes.collections[-1].get_paths()[0].get_extents()
    after_one = values[:, 0, 0]
    assert band.ymin <= after_one.mean() - after_one.std(ddof=1) + 1e-6
    assert len(axes.collections) == 5


def test_bars_show_every_model_in_both_codings_and_the_best_ridge():
    groups = {(m, c): [results(3, s, m, c) for s in range(2)] for m in ("ewc", "ridge") for c in ("spiking", "rate")}
    figure = plots.comparison_bars(groups, title="t")
    axes = figure.axes[0]
    means = [100 * np.mean([r["average_accuracy"] for r in runs]) for runs in groups.values()]
    assert [p.get_width() for p in axes.patches] == pytest.approx(means)
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert legend == {"spiking", "rate-coded", "best ridge"}
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ewc", "ridge"]


def test_comparison_curves_have_a_panel_for_each_coding_with_a_name():
    groups = {("ewc", "spiking"): [results(3)], ("joint", "spiking"): [results(3)], ("ewc", "rate"): [results(3)]}
    figure = plots.comparison_curves(groups, title="t")
    assert [axes.get_title() for axes in figure.axes] == ["spiking", "rate-coded"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]


def test_ticks_are_all_tasks_where_few_and_round_numbers_where_many():
    assert plots.task_ticks(3)[1] == ["1", "2", "3"]
    assert plots.task_ticks(30)[1] == ["1", "5", "10", "15", "20", "25", "30"]
    assert len(plots.task_ticks(700)[1]) <= 13
