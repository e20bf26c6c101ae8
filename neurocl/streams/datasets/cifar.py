"""CIFAR-10 and CIFAR-100 in their published binary version, whole or in part.

A record is one label byte (CIFAR-100: superclass, then class), then 1024 red, 1024 green and 1024 blue bytes, row by
row. Files may be packed as ``.gz`` or ``.xz``. Of CIFAR-10 either all five training files are there, or only
``data_batch_1`` with any number of records: a subset.
"""

from pathlib import Path

import numpy as np

from neurocl.primitives.checks import BadInput
from neurocl.streams.datasets.files import find, read
from neurocl.streams.datasets.sources import CIFAR10, CIFAR100, Source
from neurocl.streams.labelled_data import LabelledData, labelled_data

PIXELS = 3 * 32 * 32
BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_CONSTANTS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100_CONSTANTS = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


def load_cifar10() -> LabelledData:
    """Return CIFAR-10: 50,000 and 10,000 colour images of 32 x 32, or the subset at hand."""
    first = _records(CIFAR10, BATCHES[0], (10,))
    missing = [name for name in BATCHES[1:] if find(CIFAR10, name) is None]
    if missing and len(missing) < 4:
        raise BadInput(
            f"CIFAR-10 is incomplete: {', '.join(missing)} missing; place all five training files, or only the first"
        )
    parts = [first] + [_records(CIFAR10, name, (10,)) for name in BATCHES[1:] if not missing]
    x_train, y_train = (np.concatenate(column) for column in zip(*parts, strict=True))
    x_test, y_test = _records(CIFAR10, "test_batch.bin", (10,))
    return labelled_data(
        x_train, y_train[:, 0], x_test, y_test[:, 0], name="cifar10", layout="channels-first",
        class_names=CIFAR10_NAMES, published=CIFAR10_CONSTANTS,
    )  # fmt: skip


def load_cifar100() -> LabelledData:
    """Return CIFAR-100 with its 100 classes: 50,000 and 10,000 colour images of 32 x 32, or the subset at hand."""
    return _cifar100("cifar100", 1, "fine_label_names.txt")


def load_cifar100_superclasses() -> LabelledData:
    """Return CIFAR-100 with its 20 superclasses of five classes each."""
    return _cifar100("cifar100-superclasses", 0, "coarse_label_names.txt")


def _cifar100(name: str, column: int, names_file: str) -> LabelledData:
    """Read CIFAR-100 under one of its two labels."""
    x_train, y_train = _records(CIFAR100, "train.bin", (20, 100))
    x_test, y_test = _records(CIFAR100, "test.bin", (20, 100))
    names = read(CIFAR100, names_file)[1].decode(errors="replace").split() if find(CIFAR100, names_file) else None
    return labelled_data(
        x_train, y_train[:, column], x_test, y_test[:, column], name=name, layout="channels-first",
        class_names=names, published=CIFAR100_CONSTANTS,
    )  # fmt: skip


def _records(source: Source, name: str, classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Read images ``[n, 3, 32, 32]`` and labels ``[n, kinds of label]``."""
    path, content = read(source, name)
    return parse_cifar(path, content, classes)


def parse_cifar(path: Path, content: bytes, classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Cut a binary file into records; ``classes`` holds the number of classes of each label byte.

    Raises:
        BadInput: No record, a broken last record, or a label outside its range.
    """
    length = len(classes) + PIXELS
    if not content or len(content) % length:
        raise BadInput(
            f"{path} must hold records of {length} bytes; it has {len(content)} bytes: replace it by a fresh copy"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    labels = records[:, : len(classes)]
    if (labels >= classes).any():
        raise BadInput(
            f"{path} holds a label outside its range (0 to {classes[-1] - 1}): it is another file, or corrupted"
        )
    return records[:, len(classes) :].reshape(-1, 3, 32, 32), labels
