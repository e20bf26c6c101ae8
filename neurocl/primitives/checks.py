"""Checks on what the user gives, and the one kind of error they raise.

Every message names the argument, the rule, the value and the way out, on one line, so that the
command line can print it as it stands.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Real

import torch
from torch import Tensor

LARGEST_NUMBER = 3.4028234663852886e38  # of a float32, which every number meets sooner or later
LARGEST_COUNT = 2**63 - 1  # of a size, to torch


class BadInput(ValueError):
    """Something the user gave cannot be used; the message is one line and says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(re.sub(r"\s+", " ", message).strip())


class UnknownName(BadInput, LookupError):
    """A name that is not among the known ones."""


def check_name(what: str, name: object, known: Iterable[str]) -> str:
    """Return ``name`` if it is one of ``known``; otherwise raise :class:`UnknownName` with close matches."""
    known = sorted(known)
    if isinstance(name, str) and name in known:
        return name
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
    raise UnknownName(f"no {what} named {name!r}; {hint}")


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return ``value`` as a float if it is a finite number inside the stated range."""
    rules = [
        ("greater than", above, lambda v, b: v > b),
        ("at least", at_least, lambda v, b: v >= b),
        ("less than", below, lambda v, b: v < b),
        ("at most", at_most, lambda v, b: v <= b),
    ]
    active = [(word, bound, holds) for word, bound, holds in rules if bound is not None]
    number = as_float(value)
    if not abs(number) <= LARGEST_NUMBER or not all(holds(number, bound) for _, bound, holds in active):
        rules = [f"{word} {bound:g}" for word, bound, _ in active]
        rules += ["within float32's range, ±3.4e+38"] if LARGEST_NUMBER < abs(number) < math.inf else []
        raise BadInput(f"{' '.join([name, 'must be a finite number', ' and '.join(rules)]).strip()}; got {value!r}")
    return number


def as_float(value: object) -> float:
    """Return a number as a float, infinite where it is too large for one; NaN for what is no number."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf


def check_count(name: str, value: object, *, at_least: int = 1) -> int:
    """Return ``value`` if it is a whole number of at least ``at_least``, and small enough for torch."""
    number = as_float(value)
    if not number.is_integer() or number < at_least:
        raise BadInput(f"{name} must be a whole number of at least {at_least}; got {value!r}")
    count = value if isinstance(value, int) else int(number)  # a float has 53 bits, a seed may have more
    if count > LARGEST_COUNT:
        raise BadInput(f"{name} must be a whole number of at most {LARGEST_COUNT}; got {value!r}")
    return count


def check_counts(name: str, values: Iterable[object], *, at_least: int = 1) -> tuple[int, ...]:
    """Return ``values`` if there are some and every one is a count."""
    counts = tuple(check_count(f"{name}[{place}]", value, at_least=at_least) for place, value in enumerate(values))
    if not counts:
        raise BadInput(f"{name} must hold at least one number; got none: give one for each layer")
    return counts


@contextmanager
def named_as(prefix: str = "", /, **names: str) -> Iterator[None]:
    """Within, errors about an argument give it the name that the user knows: its own after ``prefix``, or as stated.

    ``named_as("replay_", size="memory_size")`` turns ``size`` into ``memory_size`` and ``epochs`` into
    ``replay_epochs``. Also a decorator: ``named_as("replay_")(make)(epochs=config.replay_epochs)``.
    """
    try:
        yield
    except BadInput as error:
        found = re.match(r"([a-z]\w*)((?:\[\d+\])?[ ,](?:.* )?must .*)", str(error))
        if not found:
            raise
        raise type(error)(names.get(found[1], prefix + found[1]) + found[2]) from error


def check_finite(name: str, tensor: Tensor) -> Tensor:
    """Return ``tensor`` if it holds no NaN and no infinity; integer tensors always pass."""
    if not tensor.is_floating_point():
        return tensor
    # a sum is finite only if every value is, and takes one pass instead of five; it may overflow, hence the second look
    if not bool(torch.isfinite(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise BadInput(
            f"{name} must be finite; {bad} of {tensor.numel()} values are NaN or infinite: clean them before use"
        )
    return tensor
