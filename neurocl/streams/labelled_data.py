"""Labelled training and test samples in memory: how the user's arrays are read and what is refused.

Samples are kept as they came where that is exact (whole numbers from 0 to 255 as one byte each), otherwise as float32;
float32 inputs are produced batch by batch. Layout of one array, ``n`` samples first:

- ``[n, features]``: feature vectors;
- ``[n, height, width]``: grey images;
- ``[n, a, b, c]``: images. Channels first, unless only the last axis has a size that a channel axis usually has
  (1, 3 or 4). Where both ends have, the reading that makes images square is taken; where that does not decide
  either, say ``layout="channels-first"`` or ``layout="channels-last"``;
- with ``layout="sequence"``: ``[n, time]``, ``[n, time, features]`` or ``[n, time, channels, height, width]``.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neurocl.primitives.checks import BadInput, check_finite, check_name

LAYOUTS = ("auto", "channels-first", "channels-last", "sequence")
LARGEST_VALUE = 1.7e38  # half of what float32 holds
CHANNEL_SIZES = (1, 3, 4)  # grey, colour, colour with transparency


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledData:
    """Training and test samples with their classes.

    Attributes:
        name: What the data are called in results.
        train: ``[n, ...]`` uint8 or float32, channels first, time (if any) right after the sample axis.
        train_classes: ``[n]`` int64, index into ``class_names``.
        test: As ``train``.
        test_classes: As ``train_classes``.
        class_names: The classes in their natural order.
        value_range: Smallest and largest value the format can hold (pixels: 0 and 255), ``None`` where unknown.
        published: Mean and deviation after scaling ``value_range`` to 0..1, as published; one number or one a channel.
        sequence: Whether the axis after the sample axis is time.
    """

    name: str
    train: Tensor
    train_classes: np.ndarray
    test: Tensor
    test_classes: np.ndarray
    class_names: tuple[str, ...]
    value_range: tuple[float, float] | None = None
    published: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    sequence: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample without time."""
        return tuple(self.train.shape[2 if self.sequence else 1 :])

    @property
    def time_steps(self) -> int | None:
        """Length of a sample's sequence, ``None`` where samples are static."""
        return int(self.train.shape[1]) if self.sequence else None

    @property
    def largest(self) -> int:
        """Number of samples of the larger part; ids of several datasets in a row stay apart by it."""
        return max(len(self.train), len(self.test))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over values, types, shapes, classes and class names."""
        total = hashlib.sha256(repr((self.class_names, self.value_range, self.sequence)).encode())
        for tensor in (self.train, self.test):
            total.update(repr((str(tensor.dtype), tuple(tensor.shape))).encode())
            total.update(tensor.contiguous().numpy().data.cast("B"))
        for classes in (self.train_classes, self.test_classes):
            total.update(classes.astype("<i8").tobytes())
        return total.hexdigest()


def labelled_data(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    name: str = "data",
    layout: str = "auto",
    class_names: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    published: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> LabelledData:
    """Read four arrays (NumPy, torch, or anything NumPy can read) and refuse what cannot be learned from.

    Args:
        x_train: Training samples; see the module for layouts. Integer or floating point, finite.
        y_train: One label a sample: whole numbers from 0 (gaps allowed) or strings.
        x_test: Test samples of the same shape.
        y_test: Their labels; each must occur in training.
        name: What the data are called in results.
        layout: One of ``LAYOUTS``.
        class_names: Names by whole-number label; default: the labels themselves.
        value_range: Smallest and largest value the format can hold; default: 0 and 255 for bytes, 0 and 1 for truth
            values, unknown for others.
        published: See :class:`LabelledData`.

    Raises:
        BadInput: Naming the array, the rule and the way out.
    """
    layout = check_name("layout", layout, LAYOUTS)
    train, train_range = _read_inputs("x_train", x_train, layout)
    test, test_range = _read_inputs("x_test", x_test, layout)
    if train.shape[1:] != test.shape[1:]:
        raise BadInput(
            f"x_train and x_test must hold samples of one shape; "
            f"got {tuple(train.shape[1:])} and {tuple(test.shape[1:])}"
        )
    if train.dtype != test.dtype or train_range != test_range:
        train, test, train_range = train.float(), test.float(), None
    train_labels = _read_labels("y_train", y_train, "x_train", len(train))
    test_labels = _read_labels("y_test", y_test, "x_test", len(test))
    if train_labels.dtype.kind != test_labels.dtype.kind:
        raise BadInput(f"y_train and y_test must be of one kind; got {train_labels.dtype} and {test_labels.dtype}")
    found, train_classes, test_classes = _number(train_labels, test_labels)
    if len(found) < 2:
        raise BadInput(f"y_train must name at least two classes to tell apart; it holds only {found.tolist()[0]!r}")
    unseen = np.unique(test_labels[test_classes < 0])
    if len(unseen):
        raise BadInput(
            f"every label of y_test must occur in y_train; {_few(unseen)} do not: "
            "drop those test samples or train on them"
        )
    return LabelledData(
        name=name,
        train=train,
        train_classes=train_classes,
        test=test,
        test_classes=test_classes,
        class_names=_names(found, class_names),
        value_range=value_range or train_range,
        published=published,
        sequence=layout == "sequence",
    )


def _number(
    train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, Int64[np.ndarray, " train"], Int64[np.ndarray, " test"]]:
    """Return the labels in natural order, and each sample's place among them; -1 for test labels not in training."""
    found = np.unique(train).tolist()
    if all(isinstance(label, str) and label.isdecimal() for label in found):
        found.sort(key=lambda label: (int(label), label))  # "2" before "10"
    place = {label: at for at, label in enumerate(found)}
    places = [np.array([place.get(label, -1) for label in labels.tolist()], np.int64) for labels in (train, test)]
    return np.array(found, train.dtype), places[0], places[1]


def _few(values: np.ndarray) -> str:
    """Name up to five values of an array."""
    shown = ", ".join(repr(value) for value in values[:5].tolist())
    return shown + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def _names(found: np.ndarray, class_names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes in the order of ``found``."""
    if class_names is None or found.dtype.kind not in "iu" or int(found.max()) >= len(class_names):
        return tuple(str(label) for label in found.tolist())
    return tuple(str(class_names[label]) for label in found.tolist())


def _array(name: str, values: Any, *, words: bool = False) -> np.ndarray:
    """Return ``values`` as a numeric or string array; of Python objects only strings pass, and only as ``words``."""
    if isinstance(values, Tensor):
        if values.layout != torch.strided:
            raise BadInput(f"{name} is a sparse tensor ({values.layout}): give it as {name}.to_dense()")
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).resolve_conj().resolve_neg().numpy()
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{name} must be a regular array with every sample of one shape; NumPy says: {error}") from None
    if words and array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        return array.astype(np.str_)  # as tables give them
    if array.dtype.kind == "O":
        raise BadInput(
            f"{name} holds Python objects, not numbers of one shape: pad or crop the samples, or encode the values"
        )
    return array


def _read_inputs(name: str, values: Any, layout: str) -> tuple[Tensor, tuple[float, float] | None]:
    """Return samples ``[n, ...]`` channels first, as bytes where exact, and the range their type stands for."""
    array = _array(name, values)
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{name} must hold integers or floating-point numbers; got dtype {array.dtype}")
    if array.ndim == 0 or array.shape[0] == 0:
        raise BadInput(f"{name} must hold at least one sample; got shape {array.shape}")
    if array.ndim < 2 or array.size == 0:
        raise BadInput(f"{name} must be [samples, features] or images [samples, ...]; got shape {array.shape}")
    array = _channels_first(name, array, layout)
    if array.dtype == np.uint8 or array.dtype == np.bool_:
        top = 1.0 if array.dtype == np.bool_ else 255.0
        return torch.from_numpy(np.array(array, np.uint8, order="C")), (0.0, top)
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
        return torch.from_numpy(np.array(array, np.uint8, order="C")), None
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused by name on the next line
        tensor = torch.from_numpy(np.array(array, np.float32, order="C"))
    least, most = torch.aminmax(check_finite(name, tensor))
    if max(-float(least), float(most)) > LARGEST_VALUE:
        raise BadInput(
            f"{name} must hold values within ±{LARGEST_VALUE:g}, whose differences fit into float32; "
            f"got {float(least):g} to {float(most):g}: rescale them"
        )
    return tensor, None


def _channels_first(name: str, array: np.ndarray, layout: str) -> np.ndarray:
    """Bring samples to ``[n, features]``, ``[n, channels, height, width]`` or, for sequences, ``[n, time, ...]``."""
    if layout == "sequence":
        if array.ndim not in (2, 3, 5):
            raise BadInput(
                f"{name} as sequences must be [n, time], [n, time, features] or [n, time, channels, height, width]; "
                f"got shape {array.shape}"
            )
        return array[:, :, None] if array.ndim == 2 else array
    if array.ndim == 2:
        return array
    if array.ndim == 3:
        return array[:, None]
    if array.ndim != 4:
        raise BadInput(f"{name} must have 2 to 4 axes; got shape {array.shape}: for sequences say layout='sequence'")
    first, last = array.shape[1] in CHANNEL_SIZES, array.shape[3] in CHANNEL_SIZES
    if first and last:
        square_first, square_last = array.shape[2] == array.shape[3], array.shape[1] == array.shape[2]
        first, last = square_first or not square_last, square_last or not square_first
    if layout == "auto" and first and last:
        raise BadInput(
            f"{name} of shape {array.shape} could have channels first or last: "
            "say layout='channels-first' or layout='channels-last'"
        )
    if layout == "channels-last" or (layout == "auto" and last):
        return array.transpose(0, 3, 1, 2)
    return array


def _read_labels(name: str, values: Any, inputs_name: str, size: int) -> np.ndarray:
    """Return ``[n]`` whole-number or string labels, one for each of ``size`` samples."""
    array = _array(name, values, words=True)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise BadInput(
            f"{name} must hold one label a sample; got shape {array.shape}: turn one-hot rows into numbers by argmax"
        )
    if len(array) != size:
        raise BadInput(
            f"{inputs_name} and {name} must have the same length; got {size} samples and {len(array)} labels"
        )
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind in "US":
        try:
            return array.astype(np.str_)
        except UnicodeDecodeError:
            raise BadInput(f"{name} holds bytes that are no ASCII text: convert by numpy.char.decode") from None
    if array.dtype.kind not in "iu":
        raise BadInput(f"{name} must hold whole numbers or strings; got dtype {array.dtype}: convert with .astype(int)")
    if array.min() < 0:
        raise BadInput(f"{name} must hold labels from 0; got {int(array.min())}: drop unlabelled samples or renumber")
    if array.max() > np.iinfo(np.int64).max:
        raise BadInput(f"{name} must hold labels below 2**63; got {int(array.max())}: renumber them")
    return array.astype(np.int64)
