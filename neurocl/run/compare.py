"""Many runs side by side: which runs a comparison takes, and the one table it ends in."""

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.primitives.tasks import CODINGS
from neurocl.run.job import Job, prepare
from neurocl.run.results import read_run
from neurocl.run.shelf import known_models, load_model, split_coding

BAR = ("ridge", "patch_ridge")  # closed form on fixed features: what class-incremental learning has to clear


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table.

    Attributes:
        key: Of ``results.json``, or ``cost.`` and a key of its cost.
        header: At most two lines.
        scale: The number shown is the value times this.
        form: How the number is written.
        spread: Whether the standard deviation over seeds stands behind it.
    """

    key: str
    header: str
    scale: float = 1.0
    form: str = ".1f"
    spread: bool = False


QUALITY = (
    Column(key="average_accuracy", header="accuracy\n%", scale=100, spread=True),
    Column(key="average_incremental_accuracy", header="AIA\n%", scale=100),
    Column(key="forgetting", header="forgetting\n%", scale=100),
    Column(key="task_incremental_accuracy", header="task-IL\n%", scale=100),
)
COST = (
    Column(key="cost.parameter_bytes", header="weights\nkB", scale=1e-3),
    Column(key="cost.auxiliary_bytes", header="auxiliary\nkB", scale=1e-3),
    Column(key="cost.memory_bytes", header="memory\nkB", scale=1e-3),
    Column(key="cost.synaptic_operations_per_sample", header="syn. ops\n10³/sample", scale=1e-3),
    Column(key="cost.multiply_accumulates_per_sample", header="MACs\n10³/sample", scale=1e-3),
    Column(key="cost.mean_firing_rate", header="firing\nrate", form=".3f"),
    Column(key="cost.train_seconds", header="training\ns"),
)
COLUMNS = QUALITY + COST


@dataclass(frozen=True, kw_only=True)
class Row:
    """All seeds of one model.

    Attributes:
        model: Name of the model with its overrides.
        coding: ``"spiking"`` or ``"rate"``.
        results: Each seed's ``results.json``.
    """

    model: str
    coding: str
    results: Sequence[dict[str, Any]]

    def values(self, key: str) -> list[float]:
        """Values over seeds, without those that were not measured."""
        found = []
        for results in self.results:
            value: Any = results
            for name in key.split("."):
                value = value.get(name)
            if value is not None:
                found.append(value)
        return found

    def cell(self, column: Column) -> str:
        """The mean over seeds as the table shows it, a hyphen where nothing was measured."""
        values = [value * column.scale for value in self.values(column.key)]
        if not values:
            return "-"
        text = format(statistics.fmean(values), column.form)
        if column.spread and len(values) > 1:
            text += f" ± {statistics.stdev(values):{column.form}}"
        return text


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Finished runs on one stream, ready to be shown.

    Attributes:
        title: Stream, setting, tasks and seeds.
        notes: What has to be known to read the numbers.
        rows: One for each model and coding.
    """

    title: str
    notes: list[str]
    rows: list[Row]

    def save(self, folder: Path) -> None:
        """Write the table as Markdown, CSV and JSON, and the plots."""
        from neurocl.run import plots

        files.make_folder(folder)
        files.write_text(folder / "comparison.md", self.markdown())
        files.write_text(folder / "comparison.csv", self.csv())
        if len(self.rows) == 1:
            plots.save_run(folder, self.rows[0].results)
        else:
            groups = {(row.model, row.coding): row.results for row in self.rows}
            plots.save_comparison(folder, groups, title=self.title)
        files.write_json(folder / "comparison.json", self.json())

    def markdown(self) -> str:
        """The table in Markdown."""
        heads = ["model", "coding", *(column.header.replace("\n", " ") for column in COLUMNS)]
        lines = [f"# {self.title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * 2}{'---:|' * len(COLUMNS)}"]
        for row in self.rows:
            cells = [row.model, row.coding, *(row.cell(column) for column in COLUMNS)]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes), ""])

    def json(self) -> dict[str, Any]:
        """The table as strict JSON, values unrounded."""
        return {"title": self.title, "notes": self.notes, "rows": [summary(row) for row in self.rows]}

    def csv(self) -> str:
        """The table as CSV, values unrounded, empty where nothing was measured."""
        text = io.StringIO()
        rows = [summary(row) for row in self.rows]
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "seeds": " ".join(map(str, row["seeds"]))} for row in rows)
        return text.getvalue()


def summary(row: Row) -> dict[str, Any]:
    """A row as names and numbers: mean and sample standard deviation over seeds."""
    content: dict[str, Any] = {"model": row.model, "coding": row.coding}
    content["seeds"] = [results["seed"] for results in row.results]
    for column in COLUMNS:
        name, values = column.key.removeprefix("cost."), row.values(column.key)
        content[f"{name}_mean"] = statistics.fmean(values) if values else None
        content[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    return content


def plan(
    models: Sequence[str], template: Job, *, seeds: Sequence[int], settings: dict[str, str]
) -> tuple[list[Job], list[str]]:
    """Return the runs of a comparison, and a line for every model that was left out.

    Args:
        models: Names or paths, ``name`` for both codings, ``name:rate`` for one; none stands for all shipped models.
            The ridge readouts always come last, in the codings asked for.
        template: Stream, device and the like, common to all runs.
        seeds: One run each.
        settings: Overrides, as texts; each goes to every model that has a setting of that name.

    Raises:
        BadInput: If a model named by the user cannot run on the stream, no model has a setting of some name, or a model
            that would run without the settings cannot run with them.
    """
    wanted = [pair for text in models or known_models() for pair in codings_of(text)]
    codings = [coding for coding in CODINGS if coding in {coding for _, coding in wanted}]
    bar = [(name, coding) for name in BAR if name in known_models() for coding in codings]
    pairs = list(dict.fromkeys([*(pair for pair in wanted if pair not in bar), *bar]))
    loaded = {text: load_model(text) for text in dict.fromkeys(text for text, _ in pairs)}
    fields = {text: set(model.config.__dataclass_fields__) for text, model in loaded.items()}
    if loaded and (unknown := set(settings) - set().union(*fields.values())):
        next(iter(loaded.values())).configured(
            {name: settings[name] for name in unknown}
        )  # says which and what is close
    able: list[Job] = []
    unable: dict[str, list[str]] = defaultdict(list)
    for text, coding in pairs:
        own = tuple((name, value) for name, value in settings.items() if name in fields[text])
        job = replace(template, model=text, coding=coding, settings=own, seed=seeds[0])
        try:
            prepare(job)
        except BadInput as error:
            if (models and (text, coding) in wanted) or (own and runs(replace(job, settings=()))):
                raise
            unable[str(error)].append(f"{text}:{coding}")
            continue
        able.append(job)
    left_out = [f"{', '.join(names)}: {reason}" for reason, names in unable.items()]
    if not able:
        raise BadInput(f"no model can run on {template.stream}: {left_out[0] if left_out else 'the shelf is empty'}")
    return [replace(job, seed=seed) for seed in seeds for job in able], left_out  # a stream is opened once for a seed


def runs(job: Job) -> bool:
    """Whether a job can be prepared."""
    try:
        prepare(job)
    except BadInput:
        return False
    return True


def codings_of(text: str) -> list[tuple[str, str]]:
    """``name`` in both codings, ``name:rate`` in that one."""
    name, coding = split_coding(text)
    return [(name, one) for one in CODINGS if coding in {None, one}]


def collect(folders: Iterable[Path]) -> list[Comparison]:
    """Read finished runs and put them side by side, one comparison for every stream and setting."""
    by_stream: dict[tuple[str, str, str], dict[tuple[str, str], list[tuple[dict, dict]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for folder in folders:
        config, results = read_run(folder)
        label = "".join([config["model"], *(f"+{k}={v}" for k, v in config["overrides"].items() if k != "coding")])
        options = "".join(f"+{name}={value}" for name, value in config["stream_options"].items())
        stream = (config["stream"] + options, config["setting"], str(results["tasks"]))
        by_stream[stream][label, config["coding"]].append((config, results))
    return [compared(stream, groups) for stream, groups in by_stream.items()]


def compared(
    stream: tuple[str, str, str], groups: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]]
) -> Comparison:
    """Put the runs on one stream side by side."""
    rows = []
    for (label, coding), runs in groups.items():
        results = sorted((results for _, results in runs), key=lambda results: results["seed"])
        rows.append(Row(model=label, coding=coding, results=results))
    seeds = sorted({results["seed"] for row in rows for results in row.results})
    many = f"mean ± SD over seeds {ranges(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]}"
    configs = [config for runs in groups.values() for config, _ in runs]
    name, setting, tasks = stream
    return Comparison(title=f"{name}, {setting}, {tasks} tasks, {many}", notes=notes_on(configs, setting), rows=rows)


def notes_on(configs: Sequence[dict[str, Any]], setting: str) -> list[str]:
    """What has to be known to read the table: machine, loss masks, and what the columns count."""
    machines = {
        f"{c['hardware']['gpu'] or c['hardware']['cpu']} ({c['hardware']['cores']} CPU cores, "
        f"{c['hardware']['threads']} thread{'s' if c['hardware']['threads'] > 1 else ''} a run)"
        for c in configs
    }
    meaning = {
        "seen": "all classes seen so far",
        "task": "the current task's classes",
        "all": "every class of the stream",
    }
    masks: dict[str, list[str]] = defaultdict(list)
    for config in configs:
        mask = "task" if config["setting"] == "task-incremental" else config["loss_mask"]  # there each task has a head
        if config["loss_mask"] and config["model"] not in masks[mask]:
            masks[mask].append(config["model"])
    bar = [name for name in BAR if any(config["model"] == name for config in configs)]
    bar = (
        [f"{' and '.join(bar)}: closed form on fixed features, one pass, no replay; the bar for the others"]
        if bar
        else []
    )
    judges = {config["stream_options"].get("judged_on") for config in configs}
    held_out = ["judged on held-out training samples, not on test samples"] if "validation" in judges else []
    return [
        *held_out,
        f"hardware: {'; '.join(sorted(machines))}",
        *(f"loss mask: softmax over {meaning.get(m, m)} in {', '.join(names)}" for m, names in masks.items()),
        "task-IL: the same scores with the argmax limited to the classes of the sample's task"
        + (", which is told at test" if setting == "task-incremental" else ", which the learner is not told"),
        *bar,
    ]


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in short: ``0-2, 5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
