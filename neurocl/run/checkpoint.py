"""Checkpoints after every task: tensors as safetensors, everything else as JSON, never pickle.

A checkpoint is a pair of files, ``task-3.safetensors`` and ``task-3.json``. The JSON is written last and holds the
digest of the tensors, so a checkpoint exists when its JSON does; older pairs are removed afterwards. A run killed at
any moment therefore finds a whole checkpoint or none.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput

FORMAT = 1  # raised when the layout below changes
KEYS = ("task", "identity", "tensors", "history", "learner")


def save(folder: Path, task: int, *, identity: str, learner: dict[str, Any], history: dict[str, Any]) -> None:
    """Write the checkpoint after ``task`` and remove the older ones.

    Args:
        folder: Where checkpoints lie; created if missing.
        task: Index of the task just learnt.
        identity: What the run is (see :func:`neurocl.run.results.identity_of`); only the same run may resume from it.
        learner: The learner's ``state_dict()``.
        history: What the run has measured so far; strict JSON.
    """
    files.make_folder(folder)
    tensors: dict[str, Tensor] = {}
    tree = flatten(learner, tensors)
    arrays = folder / f"task-{task}.safetensors"
    files.write(arrays, lambda temporary: temporary.write_bytes(serialise(tensors)))
    content = {
        "format": FORMAT,
        "task": task,
        "identity": identity,
        "tensors": digest(arrays),
        "history": history,
        "learner": tree,
    }
    files.write_json(folder / f"task-{task}.json", content)
    for old in folder.glob("task-*"):
        if old.stem != f"task-{task}":
            files.remove(old)


def load(folder: Path, *, identity: str) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    """Return task index, learner state and history of the newest checkpoint, or ``None`` where there is none.

    Raises:
        BadInput: If the checkpoint is damaged, or belongs to another run.
    """
    files.sweep(folder)
    found = newest(folder)
    if found is None:
        return None
    path, content = found
    if content["identity"] != identity:
        raise BadInput(
            f"{path} belongs to another run (model, config, stream or seed differ): use another --out, "
            f"or remove {folder} and run again"
        )
    arrays = path.with_suffix(".safetensors")
    damaged = f"{arrays} is damaged or missing: remove {folder} and run again"
    try:
        if digest(arrays) != content["tensors"]:
            raise BadInput(damaged)
        tensors = load_file(arrays)
    except (OSError, SafetensorError) as error:
        raise BadInput(damaged) from error
    return content["task"], restore(content["learner"], tensors), content["history"]


def learner_state(path: Path) -> dict[str, Any]:
    """Return the learner's state in one checkpoint, whichever run it belongs to: to take layers from it, say.

    Args:
        path: Of the tensors, ``.../checkpoints/task-3.safetensors``; the JSON lies beside them.

    Raises:
        BadInput: If ``path`` is no checkpoint, or it is damaged.
    """
    if path.suffix != ".safetensors":
        raise BadInput(f"a checkpoint is a .safetensors file, in the folder checkpoints of a run; got {path}")
    described = path.with_suffix(".json")
    for needed in (path, described):
        if not needed.is_file():
            raise BadInput(f"no checkpoint at {path}: {needed.name} is missing; run what it is taken from first")
    content = files.read_json(described)
    if content.get("format") != FORMAT:
        raise BadInput(f"{described} has another format than this version of neurocl: run it again")
    files.check_keys(described, content, KEYS)
    try:
        if digest(path) != content["tensors"]:
            raise BadInput(f"{path} is damaged: run what it is taken from again")
        state: dict[str, Any] = restore(content["learner"], load_file(path))
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} is damaged: run what it is taken from again") from error
    return state


def identity(folder: Path) -> str | None:
    """Return the identity of the run that the newest checkpoint belongs to, or ``None`` where there is none."""
    found = newest(folder)
    return None if found is None else found[1]["identity"]


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint's JSON, and where it lies.

    Raises:
        BadInput: If it is damaged, or of another format.
    """
    found = [path for path in folder.glob("task-*.json") if path.stem.removeprefix("task-").isdecimal()]
    if not found:
        return None
    path = max(found, key=lambda path: int(path.stem.removeprefix("task-")))
    content = files.read_json(path)
    if content.get("format") != FORMAT:
        raise BadInput(f"{path} has another format than this version of neurocl: remove {folder} and run again")
    files.check_keys(path, content, KEYS)
    return path, content


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flatten(value: object, tensors: dict[str, Tensor]) -> Any:
    """Return ``value`` as strict JSON from which :func:`restore` makes it again, bit for bit.

    Dicts, lists and tuples may be nested and hold tensors (moved into ``tensors``), strings, whole numbers, floats
    (infinite and NaN included), booleans and ``None``; dict keys may be strings or whole numbers.

    Raises:
        TypeError: If a learner's state holds anything else.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        flat, order = dense(value)
        shared = any(
            flat.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() for other in tensors.values()
        )
        tensors[name] = flat.clone() if shared else flat  # each is written on its own
        return {"tensor": name, "order": order}
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise TypeError(f"keys of a learner's state are strings or whole numbers; got {key!r}")
        return {"dict": [[key, flatten(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [flatten(item, tensors) for item in value]}
    raise TypeError(
        "a learner's state holds tensors, strings, numbers, booleans, None, and dicts, lists and tuples of them; "
        f"got {type(value).__name__}"
    )


def restore(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo :func:`flatten`."""
    if not isinstance(tree, dict):
        return tree
    ((kind, content), *rest) = tree.items()
    if kind == "float":
        return float(content)
    if kind == "tensor":
        # cloned, because memory mapped from a file may be aligned otherwise, and products then round otherwise
        tensor = tensors[content].clone()
        order = rest[0][1]
        return tensor if order is None else tensor.permute([order.index(axis) for axis in range(len(order))])
    if kind == "dict":
        return {key: restore(item, tensors) for key, item in content}
    items = [restore(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)


def dense(tensor: Tensor) -> tuple[Tensor, list[int] | None]:
    """Return a contiguous tensor on the CPU, and the order of axes in memory where it is not the usual one.

    Channels-last weights come back as such: the same numbers in another order in memory may round otherwise.
    """
    tensor = tensor.detach().cpu()
    if not tensor.is_contiguous():
        order = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis))
        if tensor.permute(order).is_contiguous():
            return tensor.permute(order), order
    return tensor.contiguous(), None
