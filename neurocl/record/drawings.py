"""The figures of a trace file that the field looks at first, each by itself: what draws one does not mind the others.

Everything comes from the file alone.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput, check_name
from neurocl.record import analysis, plots
from neurocl.record.layout import INDEX
from neurocl.record.overview import LOOKED_AT, Activity, accuracy_of, history_of, output_of, recorded_stages
from neurocl.record.reading import Traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Drawing = tuple[str, Callable[[], Figure]]  # its name, and what draws it

FIGURES_OF = 4  # populations drawn, the last ones: nearest to the decision
RASTER_SAMPLES, VOLTAGE_NEURONS = 5, 4
NAME_LETTERS = 28  # of a population's name in a title, which a column has room for beside the rest


def drawn_populations(traces: Traces, populations: Sequence[str] | None = None) -> list[str]:
    """Return the populations to draw: those named, or the last :data:`FIGURES_OF` of which there is something to draw.

    Raises:
        UnknownName: If the file has no population of such a name.
    """
    if populations is not None:
        return [check_name("population", name, traces.populations) for name in dict.fromkeys(populations)]
    return [name for name in traces if output_of(traces[name]) or "voltage" in traces[name].variables][-FIGURES_OF:]


def drawings_of(traces: Traces, populations: Sequence[str] | None = None) -> "Iterator[Drawing]":
    """Yield the figures that the file has the numbers for: the name of each, and a function that draws it.

    Rasters, rates, rates over the recording and membranes of populations; weight drift; of recordings with evaluations
    after every task the drift of old tasks' activity beside accuracy, and the angles between tasks. A figure whose
    numbers have no value, such as drift from weights that are all 0, raises where it is drawn; the others do not mind.

    Args:
        traces: The file.
        populations: Names; without them see :func:`drawn_populations`.

    Raises:
        UnknownName: If the file has no population of such a name.
    """
    drawn = drawn_populations(traces, populations)
    for name in drawn:
        if output_of(traces[name]) is None and "voltage" not in traces[name].variables:
            reason = f"figures are of spikes, outputs and voltage; recorded: {', '.join(traces[name].variables)}"
            yield f"figures of {name}", partial(refuse, reason)
        yield from drawings_of_population(traces, name)
    yield from drawings_of_weights(traces)
    try:
        stages = recorded_stages(traces)
    except BadInput:
        return
    if len(stages) > 1:
        for name in drawn:
            if output_of(traces[name]) is not None:
                yield from drawings_of_tasks(traces, name)


def figures_of(traces: Traces, populations: Sequence[str] | None = None) -> "Iterator[tuple[str, Figure]]":
    """Yield the figures of :func:`drawings_of`, each with its name; the first that cannot be drawn raises."""
    for name, draw in drawings_of(traces, populations):
        yield name, draw()


def drawings_of_weights(traces: Traces) -> "Iterator[Drawing]":
    """Yield how far weights have moved: of all parameters in one figure but those that have no such number."""
    moved: dict[str, NDArray[np.float64]] = {}
    unmoved: dict[str, str] = {}
    counts = {name: len(traces.rows(f"{INDEX}/weights/{name}")) for name in traces.weights}
    several = [name for name, count in counts.items() if count > 1]
    for name in several:
        try:
            moved[short(name)] = weight_drift_of(traces, name, most=max(counts.values()))
        except BadInput as problem:
            unmoved[name] = str(problem)
    if moved:
        title = "How far weights have moved from the first snapshot"
        left_out = ", ".join(plots.shortened(short(name), NAME_LETTERS) for name in unmoved)
        note = f"without {left_out}" if unmoved else ""
        draw = partial(plots.weight_drift_curves, moved, title=title, note=note, width_mm=plots.PAGE_MM)
        yield "weight_drift", draw
    for name, reason in unmoved.items():
        yield f"weight_drift of {name}", partial(refuse, reason)


def weight_drift_of(traces: Traces, parameter: str, *, most: int) -> NDArray[np.float64]:
    """Return how far a parameter has moved at each of its snapshots.

    Raises:
        BadInput: If it was not of one size and finite in all ``most`` snapshots, or is all 0 in the first.
    """
    _, values = traces.snapshots(parameter)
    if len(values) != most:
        raise BadInput(f"it has {len(values)} snapshots, others have {most}: draw it with plots.weight_drift_curves")
    if not np.isfinite(values).all():
        raise BadInput("its snapshots must be of one size and finite: it has grown, or holds NaN or infinity")
    return analysis.weight_drift(values)


def refuse(reason: str) -> "Figure":
    """Raise what stands in place of a figure."""
    raise BadInput(reason)


def short(parameter: str) -> str:
    """Return a parameter's name without what goes without saying."""
    return parameter.removesuffix(".weight").removesuffix(".synapse")


def drawings_of_population(traces: Traces, name: str) -> "Iterator[Drawing]":
    """Yield the drawings of one population."""
    population = traces[name]
    output = output_of(population)
    if output == "spikes" and len(population.recorded(output)):
        yield f"raster_{name}", partial(raster_of, traces, name)
        yield f"rates_{name}", partial(rates_of, traces, name)
        yield f"rate_over_recording_{name}", partial(rate_over_recording_of, traces, name)
    if "voltage" in population.variables and len(population.recorded("voltage")):
        yield f"voltage_{name}", partial(voltages_of, traces, name)


def alike(traces: Traces, name: str) -> NDArray[np.int64]:
    """Return the samples whose spikes were recorded, of those as long as the last."""
    recorded = traces[name].recorded("spikes")
    lengths = traces.samples["time_steps"][recorded]
    return recorded[lengths == lengths[-1]]


def raster_of(traces: Traces, name: str) -> "Figure":
    """Draw the spikes of some samples."""
    some = shown_samples(traces, alike(traces, name))
    names = [label_of(traces, int(sample)) for sample in some]
    raster = traces[name].raster(samples=some)
    return plots.spike_raster(raster, dt_ms=traces.dt_ms, title=f"Spikes of {titled(name)}", names=names)


def rates_of(traces: Traces, name: str) -> "Figure":
    """Draw how the neurons' rates are distributed."""
    same = alike(traces, name)
    few = same[np.linspace(0, len(same) - 1, min(LOOKED_AT, len(same))).astype(int)]
    rates = traces[name].mean(samples=few).mean(0) * 1000 / traces.dt_ms
    return plots.rate_histogram(rates, title=f"Firing rates in {titled(name)}")


def rate_over_recording_of(traces: Traces, name: str) -> "Figure":
    """Draw the population rate over all samples."""
    recorded = traces[name].recorded("spikes")
    return plots.rate_over_recording(
        traces[name].mean(samples=recorded).mean(1) * 1000 / traces.dt_ms,
        title=f"Population rate of {titled(name)} over the recording",
        tasks=spans(traces.samples["stage"][recorded], lambda stage: f"task {stage + 1}"),
        phases=spans(traces.samples["phase"][recorded], lambda phase: PHASES[phase]),
    )


def voltages_of(traces: Traces, name: str) -> "Figure":
    """Draw the membranes of some neurons in one sample, with the spikes of those of which they were recorded too."""
    population = traces[name]
    sample = population.recorded("voltage")[-1:]
    voltage = population.read("voltage", samples=sample)[0]
    ids = population.ids("voltage")
    spikes = np.zeros(voltage.shape, bool)
    heard = "spikes" in population.variables and len(population.recorded("spikes", samples=sample)) > 0
    if heard:
        _, columns, places = np.intersect1d(population.ids("spikes"), ids, return_indices=True)
        spikes[:, places] = population.raster(samples=sample)[0][:, columns]
    busy = np.argsort(-spikes.sum(0), kind="stable")[:VOLTAGE_NEURONS]
    which = "the most active of those recorded" if heard else "the first of those recorded"
    return plots.voltage_traces(
        voltage[:, busy].astype(np.float64),
        spikes[:, busy] if heard else None,
        dt_ms=traces.dt_ms,
        threshold=threshold_of(traces, name),
        title=f"Membranes in {titled(name)}, {which}",
        names=[f"neuron {ids[place]}" for place in busy],
    )


def drawings_of_tasks(traces: Traces, name: str) -> "Iterator[Drawing]":
    """Yield how the activity of old tasks moved, and how near to each other tasks lie."""
    history = cache(partial(history_of, traces, name))  # read once, when the first is drawn
    yield f"drift_{name}", lambda: drift_of(traces, name, history())
    yield (
        f"angles_{name}",
        lambda: plots.angle_heat_map(
            analysis.angle_matrix([row[-1] for row in history()]),
            title=f"Mean principal angle between tasks in {titled(name)}",
        ),
    )
    yield (
        f"captured_{name}",
        lambda: plots.captured_heat_map(
            analysis.captured_matrix([row[-1] for row in history()]),
            title=f"Energy of tasks in each other's subspace in {titled(name)}",
        ),
    )


def drift_of(traces: Traces, name: str, history: list[list[Activity]]) -> "Figure":
    """Draw how the activity of old tasks moved, beside accuracy on the same tasks where that was marked."""
    drift, marked = analysis.drift_matrix(history), accuracy_of(traces)
    accuracy = np.full(drift.shape, np.nan)
    if marked is not None:
        size = min(len(marked), len(drift))
        accuracy[:size, :size] = marked[:size, :size]
    if np.isfinite(accuracy).any():
        title = f"Accuracy, and drift of old tasks' activity in {titled(name)}"
        return plots.accuracy_beside_drift(accuracy, drift, title=title)
    return plots.drift_curves(drift, title=f"Drift of old tasks' activity in {titled(name)}")


def titled(name: str) -> str:
    """Return a population's name as titles have it."""
    return plots.shortened(name, NAME_LETTERS)


def shown_samples(traces: Traces, recorded: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return some samples to draw: the last evaluated ones, one of each class first, or the last ones."""
    evaluated = np.intersect1d(recorded, traces.select(phase="evaluation"))
    pool = evaluated if len(evaluated) else recorded
    labels = traces.samples["label"][pool]
    _, first = np.unique(labels[::-1], return_index=True)
    picked = pool[::-1][first][:RASTER_SAMPLES]
    return np.sort(picked if len(picked) > 1 else pool[-RASTER_SAMPLES:])


def label_of(traces: Traces, sample: int) -> str:
    """Return what to call a sample in a figure."""
    label = int(traces.samples["label"][sample])
    names = traces.run["metadata"].get("class_names") or []
    return f"sample {sample}" if label < 0 else f"class {names[label] if label < len(names) else label}"


def spans(numbers: NDArray[Any], name: Any) -> list[plots.Span]:
    """Return the stretches of equal numbers with their names; those of which nobody said a number are left out."""
    return plots.spans_of(None if number < 0 else name(int(number)) for number in numbers)


def threshold_of(traces: Traces, name: str) -> float | None:
    """Return the threshold of a population's membranes: the config's, or 1; ``None`` if they are in another unit."""
    if traces[name].units("voltage") != "threshold":
        return None
    return float((traces.run["metadata"].get("config") or {}).get("threshold") or 1.0)
