"""Streams by name: ``open("split-digits", setting=..., seed=..., options={...})``."""

from collections.abc import Mapping
from typing import Any

from neurocl.streams.datasets.digits import load_digits
from neurocl.streams.split import split_stream
from neurocl.streams.stream import Stream


def open(spec: str, *, setting: str | None = None, seed: int = 0, options: Mapping[str, Any] | None = None) -> Stream:
    """Return the stream that ``spec`` names; digits only, for now."""
    return split_stream(load_digits(), setting=setting or "class-incremental", seed=seed, **dict(options or {}))
