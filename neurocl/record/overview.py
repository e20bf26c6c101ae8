"""What a trace file shows at a glance: a table of its populations, and how tasks fared.

Everything comes from the file alone. The activity of a sample is its neurons' mean over time; that of a task after each
stage is compared over the same samples, by their ids.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurocl.primitives.annotation import PHASES
from neurocl.primitives.checks import BadInput
from neurocl.record import analysis
from neurocl.record.population import Population
from neurocl.record.reading import Marker, Traces
from neurocl.record.selection import SENT

LOOKED_AT = 2048  # samples that a table's rates are taken of
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
    found = {
        (stage, marker.task): marker.value
        for marker, stage in zip(*marked_accuracies(traces), strict=True)
        if stage >= 0 and marker.task >= 0
    }
    if not found:
        return None
    size = 1 + max(max(pair) for pair in found)
    accuracy = np.full((size, size), np.nan)
    for pair, value in found.items():
        accuracy[pair] = value
    return accuracy


def marked_accuracies(traces: Traces) -> tuple[list[Marker], list[int]]:
    """Return the markers of accuracies, and the task after which each was measured.

    A marker's text says so, as ``after task 2``; else the last task that was marked as ended before it, the stage of
    the sample before it, or its place: accuracies on tasks 0, 0, 1, 0, 1, 2 are those after tasks 0, 1, 1, 2, 2, 2.
    """
    markers, stages = [], []
    ended, stage, before = -1, 0, -1
    for marker in traces.markers:
        if marker.kind == "task-ends":
            ended = marker.task if marker.task >= 0 else ended + 1
        if marker.kind != "accuracy":
            continue
        stage, before = stage + (0 <= marker.task <= before), marker.task
        said = re.fullmatch(r"after task (\d{1,9})", marker.text)
        seen = int(traces.samples["stage"][marker.sample - 1]) if 0 < marker.sample <= len(traces) else -1
        after = int(said[1]) if said else ended if ended >= 0 else seen if seen >= 0 else stage
        markers.append(marker)
        stages.append(after)
    return markers, stages
