"""Datasets in the IDX format: MNIST, Fashion-MNIST, notMNIST, Kannada-MNIST and Dig-MNIST.

A file is a magic number (two zero bytes, 8 for unsigned bytes, the number of axes), one big-endian 4-byte size an axis,
then the values. Where no training part is published or at hand, the one part there is gets split by index: within each
class, in file order, every fifth sample is for testing (numbers 4, 9, 14, ... counted from 0).
"""

import struct
from pathlib import Path

import numpy as np

from neurocl.primitives.checks import BadInput
from neurocl.streams.datasets.files import find, read
from neurocl.streams.datasets.sources import FASHION_MNIST, KANNADA, MNIST, NOTMNIST, Source
from neurocl.streams.labelled_data import LabelledData, labelled_data

TEST_EVERY = 5  # of a set without a training part: one in five samples of a class is for testing
FASHION_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
STANDARD = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CLASSES = 10  # of every IDX set known here

Constants = tuple[tuple[float, ...], tuple[float, ...]]


def load_mnist() -> LabelledData:
    """Return MNIST: 60,000 and 10,000 digits of 28 x 28."""
    return _standard(MNIST, "mnist", published=((0.1307,), (0.3081,)))


def load_fashion_mnist() -> LabelledData:
    """Return Fashion-MNIST: 60,000 and 10,000 articles of 28 x 28."""
    return _standard(FASHION_MNIST, "fashion-mnist", names=FASHION_NAMES, published=((0.2860,), (0.3530,)))


def load_notmnist() -> LabelledData:
    """Return notMNIST, letters A to J of 28 x 28; split by index where only its test half is at hand."""
    letters, published = tuple("ABCDEFGHIJ"), ((0.4254,), (0.4501,))
    if find(NOTMNIST, STANDARD[0]) is not None:
        return _standard(NOTMNIST, "notmnist", names=letters, published=published)
    return _divided(NOTMNIST, "notmnist", *STANDARD[2:], names=letters, published=published)


def load_kannada_mnist() -> LabelledData:
    """Return Kannada-MNIST, digits of 28 x 28; split by index where only its test half is at hand."""
    test = ("X_kannada_MNIST_test-idx3-ubyte", "y_kannada_MNIST_test-idx1-ubyte")
    train = ("X_kannada_MNIST_train-idx3-ubyte", "y_kannada_MNIST_train-idx1-ubyte")
    if find(KANNADA, train[0]) is not None:
        return _halves(KANNADA, "kannada-mnist", _pair(KANNADA, *train), _pair(KANNADA, *test))
    return _divided(KANNADA, "kannada-mnist", *test)


def load_dig_mnist() -> LabelledData:
    """Return Dig-MNIST: Kannada digits by other writers, another scanner; no published split, so split by index."""
    return _divided(KANNADA, "dig-mnist", "X_dig_MNIST-idx3-ubyte", "y_dig_MNIST-idx1-ubyte")


def parse_idx(path: Path, content: bytes, axes: int) -> np.ndarray:
    """Return the array of unsigned bytes in an IDX file.

    Raises:
        BadInput: Another magic number, or a length that does not fit the sizes in the header.
    """
    header = 4 + 4 * axes
    if len(content) < header or content[:4] != bytes((0, 0, 8, axes)):
        raise BadInput(
            f"{path} is no IDX file of {axes} axes of bytes (it begins with {content[:4].hex()}): replace it"
        )
    sizes = struct.unpack(f">{axes}I", content[4:header])
    values = np.frombuffer(content, np.uint8, offset=header)
    if len(values) != np.prod(sizes, dtype=object):
        raise BadInput(
            f"{path} must hold {sizes} bytes after its header; it holds {len(values)}: replace it by a fresh copy"
        )
    return values.reshape(sizes)


def _pair(source: Source, images_name: str, labels_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read images and their labels, which must be equally many and lie in range."""
    path, content = read(source, images_name)
    images = parse_idx(path, content, 3)
    path, content = read(source, labels_name)
    labels = parse_idx(path, content, 1)
    if len(labels) != len(images):
        raise BadInput(
            f"{path} must hold one label for each of {len(images)} images; it holds {len(labels)}: replace it"
        )
    if len(labels) and labels.max() >= CLASSES:
        raise BadInput(f"{path} must hold labels from 0 to {CLASSES - 1}; it holds {labels.max()}: replace it")
    return images, labels


def _standard(source: Source, name: str, *, names: tuple[str, ...] | None = None, published: Constants) -> LabelledData:
    """Read the four standard files."""
    train, test = _pair(source, *STANDARD[:2]), _pair(source, *STANDARD[2:])
    return _halves(source, name, train, test, names=names, published=published)


def _divided(
    source: Source,
    name: str,
    images_name: str,
    labels_name: str,
    *,
    names: tuple[str, ...] | None = None,
    published: Constants | None = None,
) -> LabelledData:
    """Read one part and split it by index within each class; the module states the rule."""
    images, labels = _pair(source, images_name, labels_name)
    number = np.zeros(len(labels), np.int64)
    for label in range(CLASSES):
        mine = labels == label
        number[mine] = np.arange(mine.sum())
    test = number % TEST_EVERY == TEST_EVERY - 1
    halves = (images[~test], labels[~test]), (images[test], labels[test])
    return _halves(source, name, *halves, names=names, published=published)


def _halves(
    source: Source,
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    names: tuple[str, ...] | None = None,
    published: Constants | None = None,
) -> LabelledData:
    """Put training and test part together."""
    try:
        return labelled_data(*train, *test, name=name, class_names=names, published=published)
    except BadInput as error:
        raise BadInput(f"the files of {source.title} do not make a dataset: {error}") from error
