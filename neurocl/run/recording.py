"""Recording a run: one trace file in its folder, which goes on where the run goes on."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput, check_name
from neurocl.record import Recorder, Selection
from neurocl.run.loop import Watcher
from neurocl.run.results import NEW_TRACES, TRACES

WHOLE_NUMBERS = ("every", "every_sample", "every_weights")
SEVERAL = ("variables", "populations", "phases", "weight_names")


def selection_from(texts: Mapping[str, str]) -> Selection:
    """Read ``--set record.NAME=VALUE``: what a run records.

    Without any: what every population sends on in all evaluations and in one training and one replay pass of ten, and
    the weights at the ends of tasks.

    Raises:
        BadInput: If a name or a value is none.
    """
    names = [part.name for part in fields(Selection) if part.init]
    values: dict[str, Any] = {"weights": "values", "every": 10}
    for name, text in texts.items():
        check_name("setting of the recorder", name, names)
        words = tuple(word.strip() for word in text.split(",") if word.strip())
        if name in SEVERAL:
            values[name] = words
        elif name in WHOLE_NUMBERS or name == "neurons":
            if not words or not all(word.isdecimal() and len(word) < 19 for word in words):
                raise BadInput(f"--set record.{name} takes whole numbers; got {text!r}")
            if name != "neurons" and len(words) > 1:
                raise BadInput(f"--set record.{name} takes one whole number; got {text!r}")
            numbers = [int(word) for word in words]
            values[name] = numbers[0] if len(numbers) == 1 else numbers
        else:
            values[name] = text
    return Selection(**values)


def networks_of(learner: object) -> list[nn.Module]:
    """Return the networks that a learner has, its own and those of learners inside it."""
    found = [part for part in (getattr(learner, name, None) for name in ("network", "features")) if part is not None]
    own = [part for part in found if isinstance(part, nn.Module)]
    inner = [part for part in (getattr(learner, name, None) for name in ("learner", "inner")) if part is not None]
    return list({id(part): part for part in [*own, *(each for one in inner for each in networks_of(one))]}.values())


class RunRecorder:
    """Records a run while another watcher looks on.

    Args:
        folder: The run's folder.
        learner: Whose networks are recorded; those that it makes later too.
        selection: What is kept.
        description: What the run is; part of the file.
        watcher: Told of everything first.
        after: The last task learnt before, to go on behind its checkpoint; ``None`` begins anew.
        replaces: Whether a finished run's traces stay until this run has finished.
    """

    def __init__(
        self,
        folder: Path,
        learner: object,
        selection: Selection,
        description: Mapping[str, Any],
        watcher: Watcher,
        *,
        after: int | None,
        replaces: bool,
    ) -> None:
        self.learner, self.watcher = learner, watcher
        self.final = folder / TRACES
        self.path = folder / NEW_TRACES if replaces else self.final
        self.attached: list[nn.Module] = []
        goes_on = after is not None and self.path.exists()
        if not goes_on:
            files.remove(self.path)
        if not networks_of(learner):
            raise BadInput(f"--record: {description['model']} has no network whose activity could be recorded")
        known = {key: description[key] for key in ("model", "coding", "stream", "setting", "seed", "class_names")}
        self.recorder = Recorder(
            self.path,
            selection=selection,
            resume=goes_on,
            dt_ms=step_of(learner),
            metadata={**known, "config": description["config"]},
        )
        try:
            if goes_on:
                self.recorder.rewind(after)
            self._attach()
        except BaseException:
            self.recorder.close()
            raise

    def task_begins(self, task: int, tasks: int, batches: int) -> None:
        """Mark the boundary."""
        self.watcher.task_begins(task, tasks, batches)
        self._attach()
        self.recorder.mark("task-begins", task=task)
        if task == 0:
            self.recorder.snapshot(task=-1)

    def batch_done(self, losses: dict[str, float]) -> None:
        """Count the step."""
        self.watcher.batch_done(losses)
        self.recorder.trained()

    def task_learnt(self, task: int) -> None:
        """Mark the boundary, and keep the weights; a learner may have made a new network by now."""
        self.watcher.task_learnt(task)
        self._attach()
        self.recorder.mark("task-ends", task=task)
        self.recorder.snapshot(task=task)

    def task_ends(self, task: int, accuracy: list[float | None]) -> None:
        """Tell the other watcher; accuracies were marked with the checkpoint."""
        self.watcher.task_ends(task, accuracy)

    def saved(self, task: int, accuracy: list[float | None]) -> None:
        """Mark the accuracies after a task, and everything so far as what a resumed run goes on behind."""
        for of, value in enumerate(accuracy):
            if value is not None:
                self.recorder.mark("accuracy", task=of, value=value, text=f"after task {task}")
        self.recorder.checkpoint(task)

    def close(self, *, finished: bool) -> None:
        """End the file; a finished run's takes the place of an earlier one."""
        self.recorder.close()
        if finished and self.path != self.final:
            self.path.replace(self.final)

    def _attach(self) -> None:
        networks = networks_of(self.learner)
        if [id(each) for each in networks] != [id(each) for each in self.attached]:
            self.recorder.detach()
            for network in networks:
                self.recorder.attach(network)
            self.attached = networks


def step_of(learner: object) -> float:
    """Return the length of a step of the learner's neurons, in ms; 1 where they have none."""
    steps = [getattr(part, "dt_ms", None) for network in networks_of(learner) for part in network.modules()]
    return float(next((step for step in steps if isinstance(step, int | float)), 1.0))
