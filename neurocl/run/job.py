"""One run from names: load the model, open the stream, go through the loop, fill the folder."""

import hashlib
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from neurocl import streams
from neurocl.learners.learner import Diverged, Learner
from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.run import checkpoint, environment
from neurocl.run.allocation import within_memory
from neurocl.run.loop import History, Nobody, Watcher, check_abilities, run
from neurocl.run.peak import reset_peak
from neurocl.run.recording import RunRecorder, selection_from
from neurocl.run.results import TRACES, RunFolder, plain_config, results_of
from neurocl.run.shelf import load_model, refuse
from neurocl.streams.stream import Stream


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run, in words that another process can be sent.

    Attributes:
        model: Name or path of a model file.
        coding: ``"spiking"`` or ``"rate"``; ``None`` leaves it to the model's ``Config``.
        settings: Overrides of the model's ``Config``, as texts.
        stream: Name of a stream or path of an ``.npz`` file.
        setting: What the learner is told and asked; ``None`` leaves it to the stream.
        options: Options of the stream, as texts.
        seed: Of the model and of the stream.
        device: Where the learner computes.
        out: Folder under which the runs on this stream lie; ``None`` stands for ``results/STREAM/SETTING``.
        resume: Whether to go on from what is there.
        record: What to record of the activity, as texts (see :func:`neurocl.run.recording.selection_from`); ``None``
            records nothing.
    """

    model: str
    stream: str
    coding: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    setting: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    seed: int = 0
    device: str = "cpu"
    out: str | None = None
    resume: bool = False
    record: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job made ready: everything the user could have got wrong has been checked, nothing has been written."""

    job: Job
    learner: Learner
    stream: Stream
    folder: RunFolder


def open_stream(job: Job) -> Stream:
    """Return the job's stream; the last one opened is kept, since many models run on one stream."""
    try:
        state = Path(job.stream).expanduser().stat()
    except (OSError, ValueError):  # a name, or nothing
        return _open(job.stream, job.setting, job.seed, job.options, None)
    return _open(job.stream, job.setting, job.seed, job.options, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=1)
def _open(
    spec: str, setting: str | None, seed: int, options: tuple[tuple[str, str], ...], state: tuple[int, ...] | None
) -> Stream:
    """Open a stream; ``state`` tells a file from what it was before it was written anew."""
    return streams.open(spec, seed=seed, setting=setting, options=dict(options))


@within_memory()
def prepare(job: Job) -> Prepared:
    """Load the model, open the stream and build the learner.

    Raises:
        BadInput: If anything the user named or set cannot be used, or needs more memory than there is.
    """
    model = load_model(job.model)
    config = model.configured(dict(job.settings), job.coding)
    stream = open_stream(job)
    learner = model.build(config, stream.shape, job.seed, device=job.device)
    if not isinstance(learner, Learner):
        refuse(model.path, f"its build must return a learner (neurocl.learners.Learner); got {type(learner).__name__}")
    check_abilities(learner.abilities, stream)
    if job.record is not None:
        selection_from(dict(job.record))
    description = {
        "model": model.name,
        "coding": config.coding,
        "stream": stream.name,
        "setting": stream.setting,
        "seed": job.seed,
        "device": job.device.partition(":")[0],
        "config": plain_config(config),
        "schedule": asdict(learner.schedule),
        "abilities": asdict(learner.abilities),
        "loss_mask": getattr(learner, "loss_mask", None),
        "chosen": getattr(learner, "chosen", {}),  # numbers that the model chose where its Config left them open
        "overrides": dict(job.settings),
        "stream_options": dict(job.options),
        "boundary": stream.boundary,
        "class_names": list(stream.class_names),
        "stream_digest": stream.digest,
        "model_digest": model.digest,
        "versions": environment.versions(),
        "hardware": environment.hardware(job.device),
        "git_commit": environment.git_commit(),
    }
    path = base_folder(job, stream) / run_name(model.name, config.coding, job.settings) / f"seed-{job.seed}"
    return Prepared(job=job, learner=learner, stream=stream, folder=RunFolder(path, description))


def base_folder(job: Job, stream: Stream) -> Path:
    """Folder under which the runs on a stream lie: ``--out``, or ``results/STREAM/SETTING``."""
    if job.out is not None:
        return Path(job.out)
    options = "".join(f"+{name}={value}" for name, value in job.options)
    return Path("results") / safe(stream.name + options) / stream.setting


def run_name(model: str, coding: str, settings: tuple[tuple[str, str], ...]) -> str:
    """Name of a run's folder: model, coding and overrides, so that runs with other settings lie side by side."""
    return safe(f"{model}-{coding}" + "".join(f"+{key}={text}" for key, text in settings if key != "coding"))


def safe(name: str) -> str:
    """A name that every file system takes; a long one is cut, and told apart by a digest."""
    name = re.sub(r"[^\w.,=+-]+", "_", name)
    return name if len(name) <= 120 else f"{name[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@within_memory()
def execute(job: Job, watcher: Watcher | None = None) -> Path:
    """Run a job, or go on with it, and return its folder.

    Stopped before its first checkpoint it leaves nothing, later its last checkpoint, to go on from. Where learning
    diverges it leaves nothing either way, as it would diverge again. A finished run that lay there before stays.

    Raises:
        BadInput: If anything the user named or set cannot be used, or another process is at the same run.
        Diverged: If learning comes to numbers that are not finite.
    """
    prepared = prepare(job)
    folder = prepared.folder
    with files.alone(folder.path):
        if folder.claim(resume=job.resume):
            return folder.path
        try:
            history = learnt(prepared, watcher)
            folder.write(results_of(history, folder.description), history)
        except Diverged:
            folder.discard()
            raise
        except BaseException:
            folder.withdraw()
            raise
    return folder.path


def learnt(prepared: Prepared, watcher: Watcher | None) -> History:
    """Go through the stream, from the last checkpoint if there is one to go on from, and return what was measured."""
    job, folder, learner = prepared.job, prepared.folder, prepared.learner
    reset_peak(job.device)
    history = resumed(folder, learner) if job.resume else History()
    recorder = recording(prepared, history, watcher)

    def save(task: int, history: History) -> None:
        if recorder is not None:  # before the checkpoint: what it lacks can be recorded again, what it has cannot
            recorder.saved(task, history.accuracy[-1])
        checkpoint.save(
            folder.checkpoints, task, identity=folder.identity, learner=learner.state_dict(), history=asdict(history)
        )

    finished = False
    try:
        history = run(
            learner,
            prepared.stream,
            seed=job.seed,
            device=job.device,
            history=history,
            save=save,
            watcher=recorder or watcher,
        )
        finished = True
    finally:
        if recorder is not None:
            recorder.close(finished=finished)
    if recorder is None and folder.replaces:
        files.remove(folder.path / TRACES)  # of the run that this one replaces
    return history


def recording(prepared: Prepared, history: History, watcher: Watcher | None) -> RunRecorder | None:
    """Return what records the run, if it is to be recorded."""
    job, folder = prepared.job, prepared.folder
    if job.record is None:
        return None
    return RunRecorder(
        folder.path,
        prepared.learner,
        selection_from(dict(job.record)),
        folder.description,
        watcher or Nobody(),
        after=len(history.accuracy) - 1 if history.accuracy else None,
        replaces=folder.replaces,
    )


def reopened(job: Job) -> Prepared:
    """Return a finished or interrupted run with its learner as it was after the last task, to look at it again.

    Raises:
        BadInput: If there is no checkpoint of this run.
    """
    prepared = prepare(job)
    found = checkpoint.load(prepared.folder.checkpoints, identity=prepared.folder.identity)
    if found is None:
        raise BadInput(f"{prepared.folder.path} holds no checkpoint of this run: run it first")
    prepared.learner.load_state_dict(found[1])
    return prepared


def resumed(folder: RunFolder, learner: Learner) -> History:
    """Load the newest checkpoint into ``learner`` and return its history; an empty one where there is none."""
    found = checkpoint.load(folder.checkpoints, identity=folder.identity)
    if found is None:
        return History()
    _, state, history = found
    learner.load_state_dict(state)
    return History(**history)
