"""Known datasets, one file a format: what each is, where its files lie, and how they are read."""

from neurocl.streams.datasets.digits import load_digits

__all__ = ["load_digits"]
