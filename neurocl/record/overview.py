"""What a trace file shows at a glance: a table of its populations, and the figures that the field looks at first.

Everything comes from the file alone. The activity of a sample is its neurons' mean over time; that of a task after each
stage is compared over the same samples, by their ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput
from neurocl.record import analysis, plots
from neurocl.record.population import Population
from neurocl.record.reading import Traces
from neurocl.record.selection import SENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKED_AT = 2048  # samples that a table's rates are taken of
FIGURES_OF = 4  # populations drawn, the last ones: nearest to the decision
RASTER_SAMPLES, VOLTAGE_NEURONS = 5, 4
Activity = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One population in the table.

    Attributes:
        name: Of the population.
        neurons: Its size.
        stored: Variables and what each is stored as.
        samples: Number of samples of which its output was recorded.
        rate: Mean output: spikes a second, or the mean value of analogue units.
        silent: Share of neurons that never spoke.
        variation: Mean coefficient of variation of intervals; ``None`` without spikes enough.
    """

    name: str
    neurons: int
    stored: dict[str, str]
    samples: int
    rate: float | None
    silent: float | None
    variation: float | None


def table_of(traces: Traces) -> list[Row]:
    """Return a row for each population; rates are of at most :data:`LOOKED_AT` samples, taken evenly."""
    rows = []
    for name in traces:
        population = traces[name]
        stored = {variable: population.stored_as(variable) for variable in population.variables}
        recorded = population.recorded(output_of(population) or population.variables[0])
        rate = silent = variation = None
        if output_of(population) is not None and len(recorded):
            some = recorded[np.linspace(0, len(recorded) - 1, min(LOOKED_AT, len(recorded))).astype(int)]
            activity = population.mean(samples=some)
            rate, silent = float(activity.mean()), float((activity == 0).all(0).mean())
            if population.output == "spikes":
                rate *= 1000 / traces.dt_ms
                variation = variation_of(population, some[: LOOKED_AT // 8], traces.dt_ms)
        rows.append(
            Row(
                name=name,
                neurons=population.size,
                stored=stored,
                samples=len(recorded),
                rate=rate,
                silent=silent,
                variation=variation,
            )
        )
    return rows


def variation_of(population: Population, samples: NDArray[np.int64], dt_ms: float) -> float | None:
    """Return the mean coefficient of variation of the neurons' intervals between spikes."""
    lengths = population.traces.samples["time_steps"][samples]
    raster = population.raster(samples=samples[lengths == lengths[0]])
    values = analysis.coefficient_of_variation_by_neuron(raster, dt_ms=dt_ms)
    return None if np.isnan(values).all() else float(np.nanmean(values))


def output_of(population: Population) -> str | None:
    """Return what a population sends on, if that was recorded."""
    return next((name for name in SENT if name in population.variables), None)


def history_of(traces: Traces, population: str) -> list[list[Activity]]:
    """Return ``history[i][j]``, the activity ``[sample, neuron]`` of task j after task i, of the same samples always.

    Evaluations alone; samples that some stage lacks are left out.

    Raises:
        BadInput: If no evaluation of every earlier task after every task was recorded.
    """
    own = traces[population]
    stages = recorded_stages(traces)
    common: dict[int, NDArray[np.int64]] = {}
    for of in range(len(stages)):
        ids = [ids_of(traces, own, of, stage)[0] for stage in range(of, len(stages))]
        common[of] = ids[0]
        for more in ids[1:]:
            common[of] = np.intersect1d(common[of], more)
    return [
        [activity_of(traces, own, of, stage, common[of]) for of in range(stage + 1)] for stage in range(len(stages))
    ]


def recorded_stages(traces: Traces) -> list[int]:
    """Return the tasks after which tasks 0 to themselves were evaluated: 0, 1, ... without a gap.

    Raises:
        BadInput: If there are none.
    """
    columns = traces.samples
    evaluated = columns["phase"] == PHASES.index("evaluation")
    pairs = {*zip(columns["stage"][evaluated].tolist(), columns["task"][evaluated].tolist(), strict=True)}
    stages = 0
    while all((stages, of) in pairs for of in range(stages + 1)):
        stages += 1
    if not stages:
        raise BadInput(
            f"{traces.path} holds no evaluation of task 0 after task 0, which a comparison of tasks begins with: "
            "record the phase 'evaluation' with tasks and stages, as neurocl run --record does"
        )
    return list(range(stages))


def ids_of(
    traces: Traces, population: Population, task: int, stage: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of the samples of a task evaluated at a stage, ascending, and where they lie in the file."""
    which = population.recorded(population.output, phase="evaluation", task=task, stage=stage)
    ids, first = np.unique(traces.samples["sample_id"][which], return_index=True)
    return ids, which[first]


def activity_of(traces: Traces, population: Population, task: int, stage: int, ids: NDArray[np.int64]) -> Activity:
    """Return the activity of these samples of a task at a stage, by id."""
    there, places = ids_of(traces, population, task, stage)
    places = places[np.isin(there, ids)]
    order = np.argsort(places)  # the file is read in its own order
    activity = np.empty((len(places), len(population.ids(population.output))))
    activity[order] = population.mean(samples=places)
    return activity


def accuracy_of(traces: Traces) -> NDArray[np.float64] | None:
    """Return ``accuracy[after, on]`` from the markers, NaN where not measured; ``None`` if none were marked."""
    found = {}
    for marker in traces.markers:
        if marker.kind == "accuracy" and marker.text.startswith("after task "):
            found[int(marker.text.removeprefix("after task ")), marker.task] = marker.value
    if not found:
        return None
    size = 1 + max(max(pair) for pair in found)
    accuracy = np.full((size, size), np.nan)
    for pair, value in found.items():
        accuracy[pair] = value
    return accuracy


def figures_of(traces: Traces) -> "Iterator[tuple[str, Figure]]":
    """Yield the figures that the file has the numbers for, each with the name of its file.

    Rasters, rates, rates over the recording and membranes of the last populations; weight drift; of recordings with
    evaluations after every task the drift of old tasks' activity beside accuracy, and the angles between tasks.
    """
    drawn = [name for name in traces if output_of(traces[name]) is not None][-FIGURES_OF:]
    for name in drawn:
        yield from figures_of_population(traces, name)
    if traces.weights:
        snapshots = {name: traces.snapshots(name) for name in traces.weights}
        several = {name: values for name, (_, values) in snapshots.items() if len(values) > 1 and is_whole(values)}
        if several:
            drifts = {short(name): analysis.weight_drift(values) for name, values in several.items()}
            title = "How far weights have moved from the first snapshot"
            yield "weight_drift", plots.weight_drift_curves(drifts, title=title, width_mm=plots.PAGE_MM)
    try:
        stages = recorded_stages(traces)
    except BadInput:
        return
    if len(stages) > 1:
        for name in drawn:
            yield from figures_of_tasks(traces, name)


def short(parameter: str) -> str:
    """Return a parameter's name without what goes without saying."""
    return parameter.removesuffix(".weight").removesuffix(".synapse")


def is_whole(snapshots: NDArray[np.float32]) -> bool:
    """Whether a parameter had one size all the time."""
    return bool(np.isfinite(snapshots).all())


def figures_of_population(traces: Traces, name: str) -> "Iterator[tuple[str, Figure]]":
    """Yield the figures of one population."""
    population, dt_ms = traces[name], traces.dt_ms
    recorded = population.recorded(population.output)
    if not len(recorded):
        return
    lengths = traces.samples["time_steps"][recorded]
    if population.output == "spikes":
        alike = recorded[lengths == lengths[-1]]
        raster = population.raster(samples=(some := shown_samples(traces, alike)))
        names = [label_of(traces, int(sample)) for sample in some]
        yield f"raster_{name}", plots.spike_raster(raster, dt_ms=dt_ms, title=f"Spikes of {name}", names=names)
        few = alike[np.linspace(0, len(alike) - 1, min(LOOKED_AT, len(alike))).astype(int)]
        rates = population.mean(samples=few).mean(0) * 1000 / dt_ms
        yield f"rates_{name}", plots.rate_histogram(rates, title=f"Firing rates in {name}")
        over = population.mean(samples=recorded).mean(1) * 1000 / dt_ms
        yield (
            f"rate_over_recording_{name}",
            plots.rate_over_recording(
                over,
                title=f"Population rate of {name} over the recording",
                tasks=spans(traces.samples["stage"][recorded], lambda stage: f"task {stage + 1}"),
                phases=spans(traces.samples["phase"][recorded], lambda phase: PHASES[phase]),
            ),
        )
    if "voltage" in population.variables:
        yield from voltage_figure(traces, name)


def voltage_figure(traces: Traces, name: str) -> "Iterator[tuple[str, Figure]]":
    """Yield the membranes of some neurons in one sample, with the spikes of those of which they were recorded too."""
    population = traces[name]
    sample = population.recorded("voltage")[-1:]
    if not len(sample):
        return
    voltage = population.read("voltage", samples=sample)[0]
    ids = population.ids("voltage")
    spikes = np.zeros(voltage.shape, bool)
    if "spikes" in population.variables and len(population.recorded("spikes", samples=sample)):
        _, columns, places = np.intersect1d(population.ids("spikes"), ids, return_indices=True)
        spikes[:, places] = population.raster(samples=sample)[0][:, columns]
    busy = np.argsort(-spikes.sum(0), kind="stable")[:VOLTAGE_NEURONS]
    yield (
        f"voltage_{name}",
        plots.voltage_traces(
            voltage[:, busy].astype(np.float64),
            spikes[:, busy],
            dt_ms=traces.dt_ms,
            threshold=threshold_of(traces),
            title=f"Membranes in {name}, the most active of those recorded",
            names=[f"neuron {ids[place]}" for place in busy],
        ),
    )


def figures_of_tasks(traces: Traces, name: str) -> "Iterator[tuple[str, Figure]]":
    """Yield how the activity of old tasks moved, and how near to each other tasks lie."""
    history = history_of(traces, name)
    drift, accuracy = analysis.drift_matrix(history), accuracy_of(traces)
    if accuracy is not None and accuracy.shape == drift.shape:
        title = f"Accuracy, and drift of old tasks' activity in {name}"
        yield f"drift_{name}", plots.accuracy_beside_drift(accuracy, drift, title=title)
    else:
        yield f"drift_{name}", plots.drift_curves(drift, title=f"Drift of old tasks' activity in {name}")
    learnt = [row[-1] for row in history]
    title = f"Mean principal angle between tasks in {name}"
    yield f"angles_{name}", plots.angle_heat_map(analysis.angle_matrix(learnt), title=title)
    title = f"Energy of tasks in each other's subspace in {name}"
    yield f"captured_{name}", plots.captured_heat_map(analysis.captured_matrix(learnt), title=title)


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


def threshold_of(traces: Traces) -> float:
    """Return the threshold that neurons had, if the run's config says so; 1 by convention."""
    return float((traces.run["metadata"].get("config") or {}).get("threshold") or 1.0)
