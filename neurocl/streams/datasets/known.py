"""The table of known datasets, and loading one by name, once a process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from neurocl.primitives.checks import check_name
from neurocl.streams.datasets.cifar import BATCHES, load_cifar10, load_cifar100, load_cifar100_superclasses
from neurocl.streams.datasets.digits import load_digits
from neurocl.streams.datasets.files import data_folder, find
from neurocl.streams.datasets.idx import (
    STANDARD,
    load_dig_mnist,
    load_fashion_mnist,
    load_kannada_mnist,
    load_mnist,
    load_notmnist,
)
from neurocl.streams.datasets.sources import (
    CIFAR10,
    CIFAR100,
    FASHION_MNIST,
    KANNADA,
    MNIST,
    NOTMNIST,
    SVHN,
    USPS,
    Source,
)
from neurocl.streams.datasets.svhn import load_svhn
from neurocl.streams.datasets.usps import load_usps
from neurocl.streams.labelled_data import LabelledData


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What is known of a dataset without opening it.

    Attributes:
        title: Its name as published.
        classes: Number of classes.
        input_shape: Shape of one sample.
        samples: Published sizes of training and test part, in words.
        licence: In short; data/README.md has more.
        load: Reads it.
        source: Its files, ``None`` where none are needed.
        files: Names of the files without which it cannot be read.
    """

    title: str
    classes: int
    input_shape: tuple[int, ...]
    samples: str
    licence: str
    load: Callable[[], LabelledData]
    source: Source | None = None
    files: tuple[str, ...] = ()

    @property
    def present(self) -> bool:
        """Whether every necessary file is at hand, so that nothing has to be downloaded or placed."""
        return self.source is None or all(find(self.source, name) is not None for name in self.files)


NO_LICENCE = "none stated; research use with citation"
GREY, COLOUR = (1, 28, 28), (3, 32, 32)

DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        title="scikit-learn digits", classes=10, input_shape=(1, 8, 8), samples="1,347 + 450",
        licence="CC BY 4.0", load=load_digits,
    ),
    "mnist": Dataset(
        title="MNIST", classes=10, input_shape=GREY, samples="60,000 + 10,000",
        licence="CC BY-SA 3.0", load=load_mnist, source=MNIST, files=STANDARD,
    ),
    "fashion-mnist": Dataset(
        title="Fashion-MNIST", classes=10, input_shape=GREY, samples="60,000 + 10,000",
        licence="MIT", load=load_fashion_mnist, source=FASHION_MNIST, files=STANDARD,
    ),
    "cifar10": Dataset(
        title="CIFAR-10", classes=10, input_shape=COLOUR, samples="50,000 + 10,000, or a subset",
        licence=NO_LICENCE, load=load_cifar10, source=CIFAR10, files=(BATCHES[0], "test_batch.bin"),
    ),
    "cifar100": Dataset(
        title="CIFAR-100", classes=100, input_shape=COLOUR, samples="50,000 + 10,000, or a subset",
        licence=NO_LICENCE, load=load_cifar100, source=CIFAR100, files=("train.bin", "test.bin"),
    ),
    "cifar100-superclasses": Dataset(
        title="CIFAR-100 by superclass", classes=20, input_shape=COLOUR, samples="50,000 + 10,000, or a subset",
        licence=NO_LICENCE, load=load_cifar100_superclasses, source=CIFAR100, files=("train.bin", "test.bin"),
    ),
    "notmnist": Dataset(
        title="notMNIST", classes=10, input_shape=GREY, samples="8,000 + 2,000 (test half, split by index)",
        licence="MIT (repackaged)", load=load_notmnist, source=NOTMNIST, files=STANDARD[2:],
    ),
    "usps": Dataset(
        title="USPS", classes=10, input_shape=(1, 16, 16), samples="7,291 + 2,007",
        licence=NO_LICENCE, load=load_usps, source=USPS, files=("zip.train", "zip.test"),
    ),
    "kannada-mnist": Dataset(
        title="Kannada-MNIST", classes=10, input_shape=GREY, samples="8,000 + 2,000 (test half, split by index)",
        licence=NO_LICENCE, load=load_kannada_mnist, source=KANNADA,
        files=("X_kannada_MNIST_test-idx3-ubyte", "y_kannada_MNIST_test-idx1-ubyte"),
    ),
    "dig-mnist": Dataset(
        title="Dig-MNIST", classes=10, input_shape=GREY, samples="8,200 + 2,040 (split by index)",
        licence=NO_LICENCE, load=load_dig_mnist, source=KANNADA,
        files=("X_dig_MNIST-idx3-ubyte", "y_dig_MNIST-idx1-ubyte"),
    ),
    "svhn": Dataset(
        title="SVHN", classes=10, input_shape=COLOUR, samples="73,257 + 26,032",
        licence="non-commercial use", load=load_svhn, source=SVHN, files=("train_32x32.mat", "test_32x32.mat"),
    ),
}  # fmt: skip


def load(name: str) -> LabelledData:
    """Return a known dataset; read once a process and folder.

    Raises:
        BadInput: Unknown name (close matches named), or files that are missing or corrupted.
    """
    known = check_name("dataset", name, DATASETS)
    return _load(known, "" if DATASETS[known].source is None else str(data_folder()))


@cache  # a process opens few sets, and the largest holds 300 million bytes
def _load(name: str, folder: str) -> LabelledData:
    """Read a dataset; ``folder`` is part of the key only."""
    return DATASETS[name].load()
