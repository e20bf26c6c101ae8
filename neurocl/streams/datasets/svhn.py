"""SVHN house numbers, cropped digits: MATLAB files, ``X [32, 32, 3, n]`` and ``y [n, 1]``, where 10 stands for 0."""

import hashlib
import io

import numpy as np

from neurocl.primitives.checks import BadInput
from neurocl.streams.datasets.files import read
from neurocl.streams.datasets.sources import SVHN
from neurocl.streams.labelled_data import LabelledData, labelled_data

CONSTANTS = ((0.4377, 0.4438, 0.4728), (0.198, 0.201, 0.197))


def load_svhn() -> LabelledData:
    """Return SVHN: 73,257 and 26,032 colour digits of 32 x 32."""
    train, test = _part("train_32x32.mat"), _part("test_32x32.mat")
    return labelled_data(*train, *test, name="svhn", layout="channels-first", published=CONSTANTS)


def _part(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read images ``[n, 3, 32, 32]`` and labels."""
    from scipy.io import loadmat

    path, content = read(SVHN, name)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != SVHN.hashes[name].removeprefix("md5:"):
        raise BadInput(f"{path} is not the published SVHN file (its checksum differs): replace it by a fresh copy")
    table = loadmat(io.BytesIO(content), variable_names=["X", "y"])
    return table["X"].transpose(3, 2, 0, 1), table["y"][:, 0].astype(np.int64) % 10
