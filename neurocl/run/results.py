"""The folder of a run: what it is in ``config.json``, what came out in ``results.json``, tables and plots beside them.

``results.json`` is written last: a folder that has it holds a finished run.
"""

import csv
import dataclasses
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.run import checkpoint, metrics, plasticity_plots, plots
from neurocl.run.loop import History

IDENTITY = ("model", "model_digest", "coding", "config", "stream", "setting", "stream_digest", "seed", "device")
CONFIG_KEYS = (*IDENTITY, "overrides", "stream_options", "hardware", "loss_mask")
RESULTS_KEYS = ("model", "coding", "stream", "setting", "seed", "tasks", "accuracy", "average_accuracy", "cost")
TIMES = ("train_seconds", "evaluate_seconds", "train_samples_per_second", "peak_bytes")  # in cost; differ between runs
TABLES = ("accuracy.csv", "confusion.csv")
TRACES, NEW_TRACES = "traces.h5", "new-traces.h5"  # the second while a finished run's still stand
NO_TRANSFER = {
    "class-incremental": "unseen classes are masked, so the accuracy on a task before its turn says nothing",
    "task-incremental": "an unseen task has no output of its own before its turn",
    "domain-incremental": "the learner scores no class before it has learnt, or the stream has a single task",
}


def plain(value: Any) -> Any:
    """Return a configuration's value as strict JSON; what JSON lacks is written out as Python would show it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return repr(value)


def plain_config(config: Any) -> dict[str, Any]:
    """Return the fields of a ``Config`` as strict JSON."""
    return {field.name: plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def identity_of(description: dict[str, Any]) -> str:
    """Return what decides a run's numbers, as a digest; two runs of one identity give the same results."""
    kept = {key: description.get(key) for key in IDENTITY}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a finished run is, and what came out.

    Raises:
        BadInput: If one of the two files is missing or damaged.
    """
    return files.read_json(folder / "config.json", CONFIG_KEYS), files.read_json(folder / "results.json", RESULTS_KEYS)


class RunFolder:
    """The folder of one run.

    Args:
        path: Where it is, or shall be.
        description: What the run is: the content of ``config.json``.
    """

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description
        self.identity = identity_of(description)
        self.checkpoints = path / "checkpoints"
        self.config = path / "config.json"
        self.finished = path / "results.json"
        self.replaces = False  # whether a finished run lies there, which stays until this one has finished

    def claim(self, *, resume: bool) -> bool:
        """Make the folder this run's own; return whether a finished run is there and ``resume`` lets it stand.

        Without ``resume`` an earlier run of the same identity, or of the same model file before it was edited, is begun
        anew. Had it finished, its files stay until this run has finished too.

        Raises:
            BadInput: If another run lies there, or the folder cannot be written to.
        """
        files.sweep(self.path)  # a run killed while it wrote its first file left only that
        if self.config.exists():
            there = files.read_json(self.config)
            same = identity_of(there) == self.identity
            if resume and same and self.finished.exists():
                self.restore()
                return True
            if not same:
                begun = resume and checkpoint.identity(self.checkpoints) == self.identity
                self.refuse_other(there, edited_too=resume and not begun)
        elif files.holds_files(self.path):
            raise BadInput(f"{self.path} holds other files and no run: choose another folder with --out")
        self.replaces = self.finished.exists()
        if not self.replaces:
            if not resume:
                self.discard()
            files.write_json(self.config, self.description)
        return False

    def refuse_other(self, there: dict[str, Any], *, edited_too: bool) -> None:
        """Refuse to touch the folder of a run with another identity, and say what differs.

        A run of the model file before it was edited is such a run only with ``edited_too``.
        """
        edited = self.description["model_digest"] != there.get("model_digest")
        keys = [key for key in IDENTITY if key not in {"model_digest", "config"} or not edited]
        for key in keys:
            mine, other = self.description[key], there.get(key)
            if mine != other:
                if isinstance(mine, dict) and isinstance(other, dict):
                    key = next(name for name in sorted({*mine, *other}) if mine.get(name) != other.get(name))
                    mine, other = mine.get(key), other.get(key)
                raise BadInput(
                    f"{self.path} holds another run ({key} is {shortened(other)} there, {shortened(mine)} here): "
                    "choose another folder with --out, or remove it"
                )
        if edited and edited_too:
            raise BadInput(
                f"{self.path} holds another run (of the model file before it was edited): "
                "leave --resume out to run it anew, or choose another folder with --out"
            )

    def withdraw(self) -> None:
        """Leave no trace of a run that came to nothing before its first checkpoint; a finished one stays as it is."""
        if not self.finished.exists() and not any(self.checkpoints.glob("task-*.json")):
            self.discard()

    def discard(self) -> None:
        """Leave no trace of a run that would only come to the same end again; a finished one loses its checkpoints."""
        names = [NEW_TRACES]
        if not self.finished.exists():
            names += ["config.json", TRACES, *TABLES, *plots.OF_A_RUN, plasticity_plots.NAME]
        for path in [*self.checkpoints.glob("task-*"), *(self.path / name for name in names)]:
            files.remove(path)
        files.remove_empty([self.checkpoints])

    def write(self, results: dict[str, Any], history: History) -> None:
        """Write tables, plots, and last of all ``results.json``."""
        self.write_shown(results)
        files.write_text(self.path / "confusion.csv", confusion_table(history.confusion))
        if self.replaces:
            files.remove(self.finished)  # never beside the config.json of another run
            files.write_json(self.config, self.description)
        files.write_json(self.finished, results)

    def write_shown(self, results: dict[str, Any]) -> None:
        """Write what can be made from ``results.json`` alone: the accuracy table and the plots."""
        files.write_text(self.path / "accuracy.csv", accuracy_table(results["accuracy"]))
        plots.save_run(self.path, [results])
        plasticity_plots.save_run(self.path, results)

    def restore(self) -> None:
        """Look whether a finished run is whole, and write again what can be made from its results, if it is gone."""
        _, results = read_run(self.path)
        names = ["accuracy.csv", *plots.OF_A_RUN, *[plasticity_plots.NAME] * bool(plasticity_plots.updates_of(results))]
        if not all((self.path / name).exists() for name in names):
            self.write_shown(results)


def shortened(value: object) -> str:
    """A value on one line, long digests cut."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:12]}...{text[-6:]}"


def results_of(history: History, description: dict[str, Any]) -> dict[str, Any]:
    """Return the content of ``results.json``; every metric's definition is in :mod:`neurocl.run.metrics`."""
    accuracy = matrix(history.accuracy)
    within = matrix(history.accuracy_within_task)
    sizes = np.array(history.test_sizes, dtype=np.int64)
    confusion, classes = last_confusion(history)
    untrained = np.array([np.nan if b is None else b for b in history.untrained])
    setting = description["setting"]
    transfer = metrics.forward_transfer(accuracy, untrained) if setting == "domain-incremental" else None
    told = setting == "task-incremental"  # which task it is: nothing to infer, and no way to prefer the last one
    return {
        **{key: description[key] for key in ("model", "coding", "stream", "setting", "seed")},
        "judged_on": description.get("stream_options", {}).get("judged_on", "test"),
        "tasks": len(accuracy),
        "accuracy": history.accuracy,
        "average_accuracy": metrics.average_accuracy(accuracy),
        "average_incremental_accuracy": metrics.average_incremental_accuracy(accuracy),
        "backward_transfer": metrics.backward_transfer(accuracy),
        "forward_transfer": transfer,
        "forward_transfer_undefined": None if transfer is not None else NO_TRANSFER[setting],
        "forgetting": metrics.forgetting(accuracy),
        "task_incremental_accuracy": metrics.average_accuracy(within),
        "average_accuracy_micro": metrics.average_accuracy_micro(accuracy, sizes),
        "average_incremental_accuracy_micro": metrics.average_incremental_accuracy_micro(accuracy, sizes),
        "task_incremental_accuracy_micro": metrics.average_accuracy_micro(within, sizes),
        "learning_accuracy": metrics.learning_accuracy(accuracy),
        "task_inference_accuracy": None if told else metrics.task_inference_accuracy(confusion, classes),
        "recency_bias": None if told else metrics.recency_bias(confusion, classes),
        "argmax": "task" if told else "seen",
        "loss_mask": description["loss_mask"],
        "accuracy_within_task": history.accuracy_within_task,
        "untrained_accuracy": history.untrained,
        "test_sizes": history.test_sizes,
        "train_samples": history.samples,
        "diagnostics": history.diagnostics,
        "cost": {
            **history.cost,
            "train_seconds": history.train_seconds,
            "evaluate_seconds": history.evaluate_seconds,
            "train_samples_per_second": history.samples / max(history.train_seconds, 1e-9),
            "peak_bytes": history.peak_bytes,
        },
    }


def matrix(rows: list[list[float | None]]) -> metrics.Matrix:
    """Return an accuracy matrix with NaN where nothing was measured."""
    return np.array([[np.nan if value is None else value for value in row] for row in rows])


def last_confusion(history: History) -> tuple[metrics.Counts, list[tuple[int, ...]]]:
    """Return the counts of the last evaluation and each task's classes; tasks with a shared test set all have them."""
    tasks = len(history.accuracy)
    counts = np.array([row[1:] for row in history.confusion if row[0] == tasks - 1], dtype=np.int64)
    size = int(counts[:, 1:3].max()) + 1
    confusion = np.zeros((tasks, size, size), dtype=np.int64)
    confusion[tuple(counts[:, :3].T)] = counts[:, 3]
    own = [tuple(np.flatnonzero(confusion[task].sum(axis=1)).tolist()) for task in range(tasks)]
    every = tuple(sorted({label for classes in own for label in classes}))
    return confusion, [classes or every for classes in own]


def accuracy_table(accuracy: list[list[float | None]]) -> str:
    """The accuracy matrix as CSV: a row after each task, a column for each task tested, empty where not measured."""
    rows = [["after_task", *(f"task_{i}" for i in range(len(accuracy)))]]
    rows += [[str(t), *("" if value is None else repr(value) for value in row)] for t, row in enumerate(accuracy)]
    return table(rows)


def confusion_table(counts: list[list[int]]) -> str:
    """Confusion counts above 0 of every evaluation as CSV; tasks that share a test set go by the first of them."""
    return table([["after_task", "task", "true", "predicted", "count"], *counts])


def table(rows: list[list[Any]]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
