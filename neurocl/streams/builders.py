"""The builders of streams by kind, and their options read from text."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.streams.blurry import blurry_stream
from neurocl.streams.episodic import episodic_stream
from neurocl.streams.labelled_data import LabelledData
from neurocl.streams.permuted import permuted_stream
from neurocl.streams.preparation import Preparation
from neurocl.streams.recurring import recurring_stream
from neurocl.streams.rotated import rotated_stream
from neurocl.streams.split import split_stream
from neurocl.streams.stream import Stream

BUILDERS: dict[str, Callable[..., Stream]] = {
    "split": split_stream,
    "permuted": permuted_stream,
    "rotated": rotated_stream,
    "blurry": blurry_stream,
    "recurring": recurring_stream,
    "episodic": episodic_stream,
}


def build(
    kind: str, data: LabelledData, *, setting: str | None, seed: int, name: str = "", options: Mapping[str, Any]
) -> Stream:
    """Build a stream of one kind over ``data``; option values may be text, as from the command line."""
    builder = BUILDERS[check_name("kind of stream", kind, BUILDERS)]
    chosen = read_options(builder, options)
    return builder(data, seed=seed, name=name, **chosen, **({} if setting is None else {"setting": setting}))


def option_names(builder: Callable[..., Stream]) -> tuple[str, ...]:
    """Names of a builder's own options and of those common to all, sorted."""
    own = [name for name, parameter in inspect.signature(builder).parameters.items() if parameter.kind != _REST]
    return tuple(sorted({*own, *Preparation.__annotations__} - {"data", "setting", "seed", "name"}))


def read_options(builder: Callable[..., Stream], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as typed values.

    Raises:
        BadInput: An option the builder does not have (close matches named), or a value of another kind.
    """
    known = option_names(builder)
    return {name: _READERS[check_name("option", name, known)](name, value) for name, value in options.items()}


def _number(name: str, value: Any) -> float:
    """Read a number."""
    try:
        return check_number(name, float(value) if isinstance(value, str) else value)
    except BadInput:
        raise
    except ValueError:
        raise BadInput(f"{name} must be a number; got {value!r}") from None


def _whole(name: str, value: Any) -> int | None:
    """Read a whole number of at least 1, or nothing."""
    if value is None or value == "none":
        return None
    try:
        return check_count(name, int(value) if isinstance(value, str) else value)
    except BadInput:
        raise
    except ValueError:
        raise BadInput(f"{name} must be a whole number; got {value!r}") from None


def _word(name: str, value: Any) -> str:
    """Read a word."""
    if not isinstance(value, str):
        raise BadInput(f"{name} must be a word; got {value!r}")
    return value


def _parts(name: str, value: Any) -> list[Any]:
    """Cut text at its commas; take other sequences as they are."""
    if isinstance(value, str):
        return [part.strip() for part in value.strip("()[]").split(",") if part.strip()]
    try:
        return list(value)
    except TypeError:
        raise BadInput(f"{name} must be a list, or text with commas; got {value!r}") from None


def _numbers(name: str, value: Any) -> tuple[float, ...] | None:
    """Read several numbers, or nothing."""
    return None if value is None or value == "none" else tuple(_number(name, part) for part in _parts(name, value))


def _names(name: str, value: Any) -> tuple[str, ...] | None:
    """Read several words, or nothing."""
    return None if value is None or value == "none" else tuple(_word(name, part) for part in _parts(name, value))


def _word_or_names(name: str, value: Any) -> str | tuple[str, ...]:
    """Read one word, or several names."""
    if isinstance(value, str) and "," not in value:
        return value
    return tuple(str(part) for part in _parts(name, value))


def _word_or_pair(name: str, value: Any) -> Any:
    """Read one word, or a mean and a deviation."""
    if isinstance(value, str) and "," in value:
        return _numbers(name, value)
    return value


def _word_or_wholes(name: str, value: Any) -> str | tuple[int, ...]:
    """Read one word, or several whole numbers from 0."""
    if isinstance(value, str) and not value[:1].isdigit():
        return value
    numbers = [_number(name, part) for part in _parts(name, value)]
    return tuple(check_count(name, number, at_least=0) for number in numbers)


_REST = inspect.Parameter.VAR_KEYWORD

_READERS: dict[str, Callable[[str, Any], Any]] = {
    "angles": _numbers,
    "blur": _number,
    "class_order": _word_or_names,
    "classes_per_task": _whole,
    "datasets": _names,
    "disjoint": _number,
    "first_task_classes": _whole,
    "judged_on": _word,
    "normalise": _word_or_pair,
    "novel": _number,
    "permutation": _word_or_wholes,
    "sample_order": _word,
    "samples_per_class": _whole,
    "share": _number,
    "skew": _number,
    "spread": _word,
    "subset": _word,
    "tasks": _whole,
    "test_per_class": _whole,
    "train_per_class": _whole,
    "validation": _number,
}
