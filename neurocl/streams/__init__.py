"""Streams: ordered sequences of tasks over labelled data, and the datasets they are made from.

Your own arrays become a stream by :func:`split`, :func:`permuted`, :func:`rotated`, :func:`blurry`,
:func:`recurring` or :func:`episodic`; torch datasets by :func:`from_dataset`; known datasets and ``.npz`` files by
:func:`open`. Options that all of these share are described in :mod:`neurocl.streams.preparation`.
"""

from neurocl.streams.blurry import blurry
from neurocl.streams.catalogue import KnownStream, known, open
from neurocl.streams.datasets import DATASETS, Dataset
from neurocl.streams.episodic import episodic
from neurocl.streams.five_datasets import five_datasets
from neurocl.streams.labelled_data import LabelledData, labelled_data
from neurocl.streams.permuted import permuted
from neurocl.streams.recurring import recurring
from neurocl.streams.rotated import rotated
from neurocl.streams.samples import HeldOut, Samples
from neurocl.streams.split import split
from neurocl.streams.stream import Stream
from neurocl.streams.torch_dataset import from_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "HeldOut",
    "KnownStream",
    "LabelledData",
    "Samples",
    "Stream",
    "blurry",
    "episodic",
    "five_datasets",
    "from_dataset",
    "known",
    "labelled_data",
    "open",
    "permuted",
    "recurring",
    "rotated",
    "split",
]
