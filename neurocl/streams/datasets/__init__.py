"""Known datasets, one file a format: what each is, where its files lie, and how they are read."""

from neurocl.streams.datasets.known import DATASETS, Dataset, load

__all__ = ["DATASETS", "Dataset", "load"]
