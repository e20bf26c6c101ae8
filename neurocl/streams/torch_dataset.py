"""Streams from torch datasets."""

from typing import Any

import numpy as np
from torch import Tensor

from neurocl.primitives.checks import BadInput
from neurocl.streams.builders import build
from neurocl.streams.labelled_data import labelled_data
from neurocl.streams.stream import Stream


def from_dataset(
    train: Any,
    test: Any,
    *,
    kind: str = "split",
    setting: str | None = None,
    seed: int = 0,
    name: str = "",
    layout: str = "auto",
    **options: Any,
) -> Stream:
    """Make a stream from two map-style torch datasets whose items are ``(input, label)``.

    Every item is read once, with the dataset's own transforms, and kept in memory. Labels may be numbers, tensors of
    one number, or strings; where items are inputs alone, the dataset's ``targets`` are taken.

    Args:
        train: Training samples.
        test: Test samples.
        kind: ``"split"``, ``"permuted"``, ``"rotated"``, ``"blurry"``, ``"recurring"`` or ``"episodic"``.
        setting: As for the builder of that kind; default: the builder's.
        seed: Decides sample order and every seeded choice.
        name: What the stream is called in results.
        layout: See :mod:`neurocl.streams.labelled_data`.
        **options: As for the builder of that kind.

    Raises:
        BadInput: No map-style dataset, no labels, samples of several shapes, or options that cannot make a stream.
    """
    (x_train, y_train), (x_test, y_test) = read_dataset("train", train), read_dataset("test", test)
    classes = getattr(train, "classes", None)
    names = [str(label) for label in classes] if isinstance(classes, list | tuple) else None
    data = labelled_data(x_train, y_train, x_test, y_test, name=name or "data", layout=layout, class_names=names)
    return build(kind, data, setting=setting, seed=seed, name=name, options=options)


def read_dataset(argument: str, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and labels of every item of a map-style dataset."""
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise BadInput(f"{argument} must be a map-style dataset with a length and items; got {type(dataset).__name__}")
    if not len(dataset):
        raise BadInput(f"{argument} must hold at least one sample; it is empty")
    items = [dataset[index] for index in range(len(dataset))]
    if all(isinstance(item, tuple | list) and len(item) == 2 for item in items):
        inputs, labels = [_array(item[0]) for item in items], [_array(item[1]) for item in items]
    else:
        targets = getattr(dataset, "targets", None)
        if targets is None or any(isinstance(item, tuple | list | dict) for item in items):
            raise BadInput(f"{argument} must give items (input, label), or inputs alone beside an attribute 'targets'")
        inputs, labels = [_array(item) for item in items], [_array(label) for label in targets]
    shapes = sorted({array.shape for array in inputs})
    if len(shapes) > 1:
        raise BadInput(
            f"{argument} must hold samples of one shape; got {shapes[0]} and {shapes[1]}: crop, pad or resize them"
        )
    if any(label.size != 1 for label in labels):
        raise BadInput(f"{argument} must hold one label a sample; got labels of shape {labels[0].shape}")
    return np.stack(inputs), np.array([label.reshape(-1)[0] for label in labels])


def _array(value: Any) -> np.ndarray:
    """Return an item's part as an array."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
