"""Streams: ordered sequences of tasks over labelled data, and the datasets they are made from."""

from neurocl.streams.catalogue import open
from neurocl.streams.split import split
from neurocl.streams.stream import Samples, Stream

__all__ = ["Samples", "Stream", "open", "split"]
