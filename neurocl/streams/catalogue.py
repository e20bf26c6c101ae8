"""Streams by name: ``open("split-digits", setting=..., seed=..., options={...})``, and the list of known names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurocl.primitives.checks import BadInput, check_name
from neurocl.primitives.tasks import SETTINGS
from neurocl.streams.builders import BUILDERS, build, option_names, read_options
from neurocl.streams.datasets import DATASETS, load
from neurocl.streams.five_datasets import FIVE, five_datasets
from neurocl.streams.npz import read_npz
from neurocl.streams.stream import Stream

ABOUT = {
    "split": "a few classes at a time",
    "permuted": "the same classes, pixels permuted anew in every task",
    "rotated": "the same classes, images turned further in every task",
    "blurry": "as split, with part of each class's samples in other tasks",
    "recurring": "many short tasks of classes drawn at random (SCoLe)",
    "episodic": "few classes at a time, some novel, the others seen before",
}
DEFAULT_SETTINGS = {
    "split": "class-incremental",
    "permuted": "domain-incremental",
    "rotated": "domain-incremental",
    "blurry": "class-incremental",
    "recurring": "class-incremental",
    "episodic": "class-incremental",
    "five-datasets": "task-incremental",
}
BOUNDARIES = {"blurry": "blurry", "recurring": "recurring", "episodic": "recurring"}


@dataclass(frozen=True, kw_only=True)
class KnownStream:
    """What can be told of a stream without opening it.

    Attributes:
        name: What :func:`open` takes.
        about: One line on what it is.
        setting: The default one.
        settings: All it can have.
        boundary: ``"clear"``, ``"blurry"`` or ``"recurring"``.
        options: Names of its options.
        present: Whether its data are at hand, so that nothing has to be downloaded or placed.
    """

    name: str
    about: str
    setting: str
    settings: tuple[str, ...]
    boundary: str
    options: tuple[str, ...]
    present: bool


def open(spec: str, *, setting: str | None = None, seed: int = 0, options: Mapping[str, Any] | None = None) -> Stream:
    """Return the stream that ``spec`` names.

    Args:
        spec: A kind and a dataset (``"split-digits"``, ``"permuted-mnist"``, ``"rotated-fashion-mnist"``,
            ``"blurry-cifar10"``, ``"recurring-mnist"``, ``"episodic-mnist"``), ``"five-datasets"``, or the path of an
            ``.npz`` file.
        setting: ``"class-incremental"``, ``"domain-incremental"`` or ``"task-incremental"``; default: the kind's.
        seed: Decides class order (if seeded), sample order and every seeded choice.
        options: By name, as values or as text; see the builder of the kind. For an ``.npz`` file also ``kind`` and
            ``layout``.

    Raises:
        BadInput: Unknown names (close matches named), missing or corrupted files, or values out of range.
    """
    given = dict(options or {})
    if setting is not None:
        check_name("setting", setting, SETTINGS)
    if _is_path(spec):
        kind, layout = str(given.pop("kind", "split")), str(given.pop("layout", "auto"))
        check_name("kind of stream", kind, BUILDERS)
        _check_options(kind, given, extra=("kind", "layout"))
        data = read_npz(Path(spec).expanduser(), layout=layout)
        return build(kind, data, setting=setting, seed=seed, options=given)
    if spec == "five-datasets":
        chosen = read_options(five_datasets, given)
        return five_datasets(seed=seed, setting=setting or DEFAULT_SETTINGS[spec], **chosen)
    check_name("stream", spec, [*_names(), "five-datasets"])
    kind, _, dataset = spec.partition("-")
    _check_options(kind, given)  # before data are read, which takes time
    return build(kind, load(dataset), setting=setting, seed=seed, options=given)


def known() -> list[KnownStream]:
    """Return every stream that :func:`open` knows by name, ``five-datasets`` last."""
    present = {name: dataset.present for name, dataset in DATASETS.items()}
    streams = [
        KnownStream(
            name=f"{kind}-{dataset}",
            about=f"{DATASETS[dataset].title}, {ABOUT[kind]}",
            setting=DEFAULT_SETTINGS[kind],
            settings=tuple(name for name in SETTINGS if not (kind == "blurry" and name == "task-incremental")),
            boundary=BOUNDARIES.get(kind, "clear"),
            options=option_names(BUILDERS[kind]),
            present=present[dataset],
        )
        for kind in BUILDERS
        for dataset in DATASETS
    ]
    five = KnownStream(
        name="five-datasets",
        about="CIFAR-10, MNIST, SVHN (or a stand-in), Fashion-MNIST, notMNIST, one a task",
        setting=DEFAULT_SETTINGS["five-datasets"],
        settings=SETTINGS,
        boundary="clear",
        options=option_names(five_datasets),
        present=all(present[name] for name in FIVE if name != "svhn"),
    )
    return [*streams, five]


def _names() -> list[str]:
    """Names of all streams over one dataset."""
    return [f"{kind}-{dataset}" for kind in BUILDERS for dataset in DATASETS]


def _is_path(spec: str) -> bool:
    """Whether ``spec`` can only be meant as a path; refuses paths of other files."""
    path = Path(spec)
    if path.suffix == ".npz":
        return True
    if len(path.parts) > 1 or path.suffix or path.is_file():
        raise BadInput(
            f"{spec} is neither the name of a stream nor an .npz file: save your arrays by numpy.savez_compressed"
        )
    return False


def _check_options(kind: str, options: Mapping[str, Any], *, extra: tuple[str, ...] = ()) -> None:
    """Refuse option names that the kind does not have."""
    for name in options:
        check_name("option", name, [*option_names(BUILDERS[kind]), *extra])
