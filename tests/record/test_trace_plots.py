"""Do the figures carry what they should, whatever the size of a recording, at the size they are printed in?"""

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput
from neurocl.record import plots
from neurocl.record.plots import Span

draw = np.random.default_rng(0)


def triangle(tasks, value=0.5):
    """A matrix measured on and below the diagonal."""
    return np.where(np.tri(tasks, dtype=bool), value, np.nan)


def recorded(samples):
    """Tasks and phases of a recording of this length."""
    half = samples // 2
    return [Span(0, half, "a"), Span(half, samples, "b")], [Span(0, samples, "training")]


SIZES = {
    "a raster of one step": lambda: plots.spike_raster(np.ones((1, 1, 1)), dt_ms=1, title="t"),
    "a silent raster": lambda: plots.spike_raster(np.zeros((2, 5, 3)), dt_ms=1, title="t", names=["x", "y"]),
    "many neurons": lambda: plots.spike_raster(draw.random((2, 700, 10_000)) < 0.01, dt_ms=1, title="t"),
    "rates of one neuron": lambda: plots.rate_histogram([3.0], title="t"),
    "rates of silent neurons": lambda: plots.rate_histogram(np.zeros(4), title="t"),
    "rates over decades": lambda: plots.rate_histogram(np.r_[0, 0.1, draw.lognormal(1, 2, 500)], title="t"),
    "rate of one sample": lambda: plots.rate_over_recording([1.0], title="t"),
    "rate of silence": lambda: plots.rate_over_recording(np.zeros(9), title="t", tasks=recorded(9)[0]),
    "rate of a long recording": lambda: plots.rate_over_recording(
        draw.random(30_000), title="t", tasks=[Span(300 * k, 300 * k + 300, f"task {k}") for k in range(100)]
    ),
    "voltage of one step": lambda: plots.voltage_traces([[0.5]], [[0]], dt_ms=1, threshold=1, title="t"),
    "voltages that never move": lambda: plots.voltage_traces(
        np.zeros((4, 30)), np.zeros((4, 30)), dt_ms=1, threshold=0, title="t"
    ),
    "weights of one snapshot": lambda: plots.weight_drift_curves({"w": [0.0]}, title="t"),
    "weights of many layers": lambda: plots.weight_drift_curves({f"w{i}": [0, i] for i in range(30)}, title="t"),
    "weights of layers with long names": lambda: plots.weight_drift_curves(
        {name * 30: [0, 1] for name in ("layer", "$_1$", "_b")}, title="long words " * 30, note="longer ones " * 30
    ),
    "weights of one layer with a long name on a page": lambda: plots.weight_drift_curves(
        {"layer" * 50: [0, 1]}, title="t", width_mm=plots.PAGE_MM
    ),
    "drift of one task": lambda: plots.drift_curves([[0.0]], title="t"),
    "drift of 100 tasks": lambda: plots.drift_curves(triangle(100), title="t"),
    "no drift measured": lambda: plots.drift_curves(triangle(2, np.nan), title="t"),
    "one task": lambda: plots.overlap_heat_map([[1.0]], title="t", names=["digits"]),
    "100 tasks": lambda: plots.angle_heat_map(triangle(100), title="t", names=["digits"] * 100),
    "one dissimilarity": lambda: plots.dissimilarity_heat_map([[0.0]], title="t"),
    "nothing measured": lambda: plots.accuracy_beside_drift(triangle(3, np.nan), triangle(3, np.nan), title="t"),
}


@pytest.mark.parametrize("case", SIZES)
def test_every_size_is_drawn_without_warnings_at_its_width_on_paper(monkeypatch, case):
    figure = SIZES[case]()
    assert figure.get_figwidth() * 25.4 == pytest.approx(plots.COLUMN_MM) or figure.get_figwidth() * 25.4 == (
        pytest.approx(plots.PAGE_MM)
    )
    texts = written_in(figure, monkeypatch)
    assert texts
    assert not [text.get_text() for text in texts if not inside(text, figure)]
    assert min(text.get_fontsize() for text in texts) >= 5.5


def written_in(figure, monkeypatch):
    """Every text that is drawn, which leaves out ticks beyond the ends of an axis."""
    found, draw_text = [], Text.draw

    def noted(self, renderer, *args, **options):
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        return draw_text(self, renderer, *args, **options)

    monkeypatch.setattr(Text, "draw", noted)
    figure.draw_without_rendering()
    return found


def inside(text, figure):
    """Whether a text lies on the page, to half a letter of a tick at the end of an axis."""
    box, page, near = text.get_window_extent(), figure.bbox, 3 * figure.dpi / 72
    return box.x0 > -near and box.y0 > -near and box.x1 < page.width + near and box.y1 < page.height + near


def test_a_raster_shows_each_spike_where_it_was():
    raster = np.zeros((2, 4, 3), bool)
    raster[0, 1, 2] = raster[1, 3, 0] = True
    figure = plots.spike_raster(raster, dt_ms=2, title="hidden", names=["cat", "dog"])
    axes = figure.axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[3, 2], [15, 0]]
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == [8]  # where one sample ends
    assert [text.get_text() for text in axes.texts] == ["cat", "dog"]
    assert figure.get_suptitle().startswith("hidden")


def test_a_raster_says_what_it_leaves_out():
    raster = np.ones((50, 20, 1000), bool)
    figure = plots.spike_raster(raster, dt_ms=1, title="t")
    note = figure.texts[-1].get_text()
    assert "300 of 1,000 neurons" in note
    assert "30 of 50 samples" in note
    rows = np.unique(figure.axes[0].lines[0].get_ydata())
    assert (rows.min(), rows.max(), len(rows)) == (0, 999, 300)


def test_a_histogram_counts_every_neuron_and_keeps_the_silent_apart():
    rates = np.r_[np.zeros(7), 0.1, 1, 10, 100, draw.uniform(1, 10, 89)]
    figure = plots.rate_histogram(rates, title="t")
    axes = figure.axes[0]
    bars = [(patch.get_x() + patch.get_width(), patch.get_height()) for patch in axes.patches]
    assert axes.get_xscale() == "log"
    assert sum(height for _, height in bars) == 100
    assert [height for right, height in bars if right < 0.09] == [7]
    assert min(axes.get_xticks()) >= 0.1 * (1 - 1e-6)
    assert "7 silent (7%)" in figure.texts[-1].get_text()
    assert plots.rate_histogram([20.0, 30], title="t").axes[0].get_xscale() == "linear"


def test_the_rate_keeps_its_mean_and_range_where_samples_are_taken_together():
    rate = draw.random(8001)
    figure = plots.rate_over_recording(rate, title="t")
    axes = figure.axes[0]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert "of 11 samples each" in figure.texts[-1].get_text()
    assert axes.lines[0].get_ydata()[:-1].mean() == pytest.approx(rate[: 11 * 727].mean())
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(rate[11 * 727 :].mean())
    assert band.max() == rate.max()


def test_tasks_are_named_and_phases_shaded_with_a_legend():
    tasks, phases = recorded(20)
    phases = [*phases[:1], Span(15, 20, "evaluation")]
    figure = plots.rate_over_recording(draw.random(20), title="t", tasks=tasks, phases=phases)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert axes.lines[-1].get_xdata()[0] == 10
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "evaluation"]


def test_spans_are_runs_of_equal_labels():
    assert plots.spans_of(["a", "a", None, "b", "a"]) == [(0, 2, "a"), (3, 4, "b"), (4, 5, "a")]
    assert plots.spans_of([]) == []


def test_voltages_come_with_threshold_and_a_tick_for_each_spike():
    voltage, spikes = draw.random((50, 3)), draw.random((50, 3)) < 0.2
    figure = plots.voltage_traces(voltage, spikes, dt_ms=1, threshold=1.5, title="t", names=["x", "y", "z"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["x", "y", "z"]
    for axes, trace, own in zip(figure.axes, voltage.T, spikes.T, strict=True):
        assert axes.lines[0].get_ydata().tolist() == trace.tolist()
        assert set(axes.lines[1].get_ydata()) == {1.5}
        ticks = [segment[0, 0] for segment in axes.collections[0].get_segments()]
        assert ticks == (np.flatnonzero(own) + 0.5).tolist()
        assert own.any()


def test_a_threshold_that_nobody_knows_is_not_drawn():
    for threshold, spikes, dashed in ((1.0, [[0], [1]], True), (None, [[0], [1]], False), (None, None, False)):
        figure = plots.voltage_traces([[-60.0], [-50.0]], spikes, dt_ms=1, threshold=threshold, title="t")
        assert len(figure.axes[0].lines) == 1 + dashed
        note = " ".join(text.get_text() for text in figure.texts)
        assert ("threshold" in note) is dashed
        assert ("ticks above" in note) is (spikes is not None)


def test_every_phase_that_a_recording_knows_has_a_shade():
    phases = [Span(place, place + 1, phase) for place, phase in enumerate(PHASES)]
    figure = plots.rate_over_recording(np.ones(len(PHASES)), title="t", phases=phases)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(PHASES)


def test_lines_of_drift_start_with_their_task():
    drift = np.array([[0, np.nan], [0.4, 0]])
    axes = plots.drift_curves(drift, title="t").axes[0]
    first, second = (line.get_ydata() for line in axes.lines)
    assert first.tolist() == [0, 0.4]
    assert np.isnan(second[0])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["task 1", "task 2"]


def test_long_names_leave_the_panel_its_room_and_the_title_free():
    names = [f"{'encoder.' * 12}{layer}.{'projection.' * 6}out" for layer in ("left", "right")]
    figure = plots.weight_drift_curves({name: [0, 1] for name in names}, title="How far weights have moved")
    figure.draw_without_rendering()
    axes, title = figure.axes[0], figure._suptitle.get_window_extent()
    assert axes.get_window_extent().width > 0.4 * figure.bbox.width
    shown = axes.get_legend().get_texts()
    assert all(text.get_window_extent().y1 < title.y0 for text in shown)
    first, second = (text.get_text() for text in shown)
    assert first != second
    assert "…" in first
    assert first.startswith("enc")


def test_a_shortened_name_keeps_both_ends():
    assert plots.shortened("hidden", 6) == "hidden"
    assert plots.shortened("hidden.layer.1", 7) == "hid…r.1"


def test_cells_carry_their_numbers_and_the_unmeasured_stay_empty():
    figure = plots.accuracy_beside_drift(triangle(2, 0.987), triangle(2, 0.25), title="t")
    left, right = figure.axes[:2]
    assert [text.get_text() for text in left.texts] == ["99"] * 3
    assert [text.get_text() for text in right.texts] == ["0.25"] * 3
    cells = plots.angle_heat_map([[0, np.pi / 2], [np.pi / 2, 0]], title="t").axes[0]
    assert [text.get_text() for text in cells.texts] == ["0", "90", "90", "0"]


def test_cells_are_square_on_paper():
    figure = plots.captured_heat_map(draw.random((4, 4)), title="t", names=["a long name"] * 4)
    figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    assert box.width == pytest.approx(box.height, rel=0.02)


def test_groups_of_samples_are_named_once():
    axes = plots.dissimilarity_heat_map(draw.random((6, 6)), title="t", groups=[4, 4, 4, 7, 7, 7]).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["4", "7"]
    assert axes.get_yticks().tolist() == [1, 4]


def test_a_long_title_is_set_smaller_rather_than_cut():
    figure = plots.drift_curves([[0.0]], title="lateral circuits on split-mnist in the class-incremental setting")
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    assert title.x1 <= figure.bbox.width


def test_a_saved_figure_is_a_png_of_its_size_on_paper(tmp_path):
    plots.save(plots.drift_curves([[0.0]], title="t"), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "PNG"
        assert image.width == pytest.approx(85 / 25.4 * 300, abs=1)


def test_a_figure_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    figure = plots.drift_curves([[0.0]], title="t")

    def broken(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(BadInput, match="No space left"):
        plots.save(figure, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.save(plots.drift_curves([[0.0]], title="t"), "x.pdf"), "must end in .png; got 'x.pdf'"),
        (lambda: plots.spike_raster(np.ones((2, 2, 2)), dt_ms=1, title="t", names=["a"]), "names must hold 2 names"),
        (lambda: plots.spike_raster(np.ones((1, 2, 2)), dt_ms=1, title="t", width_mm=3), "width_mm must be"),
        (lambda: plots.rate_histogram([-1.0], title="t"), "rates_hz must not be negative"),
        (lambda: plots.rate_over_recording([1.0], title="t", phases=[Span(0, 1, "sleep")]), "phases must be named"),
        (lambda: plots.voltage_traces([[1.0]], [[1, 0]], dt_ms=1, threshold=1, title="t"), "spikes must be of the sh"),
        (lambda: plots.weight_drift_curves({}, title="t"), "at least one layer"),
        (lambda: plots.weight_drift_curves({"a": [0, 1], "b": [0]}, title="t"), "lengths differ"),
        (lambda: plots.overlap_heat_map([[np.inf]], title="t"), "must not be infinite"),
        (lambda: plots.dissimilarity_heat_map(np.ones((2, 3)), title="t"), "must be square"),
        (lambda: plots.accuracy_beside_drift(np.ones((2, 2)), np.ones((3, 3)), title="t"), "of one shape"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(BadInput, match=message):
        call()
