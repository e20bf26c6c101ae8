"""USPS zip-code digits: text, one row an image, the label and then 256 values from -1 to 1."""

import io
import warnings

import numpy as np

from neurocl.primitives.checks import BadInput
from neurocl.streams.datasets.files import read
from neurocl.streams.datasets.sources import USPS
from neurocl.streams.labelled_data import LabelledData, labelled_data


def load_usps() -> LabelledData:
    """Return USPS: 7,291 and 2,007 digits of 16 x 16, grey values -1 to 1 (kept as float32)."""
    x_train, y_train = _rows("zip.train")
    x_test, y_test = _rows("zip.test")
    return labelled_data(x_train, y_train, x_test, y_test, name="usps", value_range=(-1.0, 1.0))


def _rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read images ``[n, 16, 16]`` and labels."""
    path, content = read(USPS, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an empty file only warns
            table = np.loadtxt(io.BytesIO(content), dtype=np.float32, ndmin=2)
    except (ValueError, UserWarning) as error:
        raise BadInput(f"{path} is no table of numbers ({error}): replace it by a fresh copy") from error
    labels = table[:, 0]
    if table.shape[1] != 257 or not np.isin(labels, np.arange(10)).all() or not (np.abs(table[:, 1:]) <= 1).all():
        raise BadInput(
            f"{path} must hold rows of a label (0 to 9) and 256 values from -1 to 1: replace it by a fresh copy"
        )
    return table[:, 1:].reshape(-1, 16, 16), labels.astype(np.int64)
