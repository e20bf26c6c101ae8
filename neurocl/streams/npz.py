"""Data from an ``.npz`` file with the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``."""

import os
import zipfile
from pathlib import Path

import numpy as np

from neurocl.primitives.checks import BadInput
from neurocl.streams.labelled_data import LabelledData, labelled_data

KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path, *, layout: str = "auto") -> LabelledData:
    """Return the labelled data in a file; see :mod:`neurocl.streams.labelled_data` for layouts.

    Raises:
        BadInput: No such file, no ``.npz`` archive, an array missing, corrupted, of Python objects, or too large.
    """
    if not path.is_file():
        raise BadInput(f"no file {path}; give the path of an .npz file with the arrays {', '.join(KEYS)}")
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive.files]
            if missing:
                held = ", ".join(archive.files[:8]) or "nothing"
                raise BadInput(
                    f"{path} must hold the arrays {', '.join(KEYS)}; {', '.join(missing)} missing, found {held}"
                )
            arrays = [_member(path, archive, key) for key in KEYS]
    except BadInput:
        raise
    except Exception as error:  # a damaged or encrypted archive makes zipfile, its decoders and NumPy raise all sorts
        raise BadInput(
            f"{path} is no readable .npz file ({error}): write it by numpy.savez_compressed(path, x_train=..., ...)"
        ) from error
    return labelled_data(*arrays, name=path.stem, layout=layout)


def _check_sizes(path: Path) -> None:
    """Refuse an archive that unpacks to more than half of the machine's memory."""
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if total > limit:
        raise BadInput(f"{path} unpacks to {total} bytes, more than half of this machine's memory: store fewer samples")


def _member(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    """Read one array; one of Python objects is refused, since reading it could run code."""
    try:
        return archive[key]
    except ValueError as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise BadInput(
                f"{key} in {path} holds Python objects, not numbers or strings: save it as a regular array"
            ) from None
        raise
