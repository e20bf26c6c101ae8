"""Randomness as an argument: one seed, many named and independent generators.

``generator(seed, "replay")`` does not depend on what else has drawn numbers, so adding a consumer never moves
another one's draws, and a run resumed at a task boundary continues bit for bit.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from neurocl.primitives.checks import check_count


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on ``seed`` and on every name, and on nothing else."""
    check_count("seed", seed, at_least=0)
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator of its own for ``names``."""
    return torch.Generator().manual_seed(derive(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator of its own for ``names``."""
    return np.random.default_rng(derive(seed, *names))


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Run a block under torch's global CPU generator set for ``names``; the outer state returns afterwards.

    For initialisers of torch modules, which accept no generator.
    """
    state = torch.random.get_rng_state()
    torch.random.default_generator.manual_seed(derive(seed, *names))
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
