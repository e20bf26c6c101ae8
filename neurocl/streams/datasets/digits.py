"""Handwritten digits that come with scikit-learn: 1797 images of 8 x 8, values 0 to 16; no file needed."""

from typing import Any, cast

import numpy as np

from neurocl.streams.labelled_data import LabelledData, labelled_data

SPLIT_SEED = 0  # of the published protocol: stratified, a quarter for testing


def load_digits() -> LabelledData:
    """Return the digits, three quarters for training and one for testing, stratified, always the same.

    Source:
        E. Alpaydin and C. Kaynak 1998, Optical Recognition of Handwritten Digits, UCI (CC BY 4.0); its test part.
    """
    from sklearn.datasets import load_digits as bundled_digits
    from sklearn.model_selection import train_test_split

    bunch = cast(Any, bundled_digits())  # a Bunch; the annotation of scikit-learn also allows a tuple
    images, labels = bunch["images"].astype(np.uint8), bunch["target"]
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=SPLIT_SEED
    )
    return labelled_data(x_train, y_train, x_test, y_test, name="digits", value_range=(0.0, 16.0))
