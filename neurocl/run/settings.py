"""Typed overrides of a configuration from text: ``--set name=value``."""

import dataclasses
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from neurocl.primitives.checks import BadInput, check_name

STREAM = "stream."  # a setting that begins so goes to the stream, not to the model
RECORD = "record."  # and one that begins so to the recorder
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def split_settings(texts: Iterable[str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return the settings of the model, of the stream and of the recorder, still as text.

    Raises:
        BadInput: If one is not ``name=value``, or a name comes twice.
    """
    places: dict[str, dict[str, str]] = {"": {}, STREAM: {}, RECORD: {}}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name or name in places:
            raise BadInput(
                "--set takes name=value, stream.name=value for the stream, or record.name=value for the recorder; "
                f"got {text!r}"
            )
        start = next((start for start in (STREAM, RECORD) if name.startswith(start)), "")
        key = name.removeprefix(start)
        if key in places[start]:
            raise BadInput(f"--set {name} is given twice; give it once")
        places[start][key] = value.strip()
    return places[""], places[STREAM], places[RECORD]


def typed_settings(config: type, texts: Mapping[str, str], *, owner: str) -> dict[str, Any]:
    """Read ``texts`` as values of the fields of the dataclass ``config``.

    Raises:
        UnknownName: If there is no such field; close matches are named.
        BadInput: If a text is no value of its field's type.
    """
    hints = get_type_hints(config)
    names = [field.name for field in dataclasses.fields(config)]
    values = {}
    for name, text in texts.items():
        check_name(f"setting of {owner}", name, names)
        try:
            values[name] = value_of(text, hints[name])
        except ValueError as error:
            raise BadInput(f"--set {name}={text}: {name} must be {error}") from error
    return values


def value_of(text: str, hint: Any) -> Any:
    """Read ``text`` as a value of the type ``hint``; a :class:`ValueError` says what was expected."""
    origin = get_origin(hint)
    if origin is Literal:
        for choice in get_args(hint):
            if text == str(choice):
                return choice
        raise ValueError(f"one of {', '.join(map(str, get_args(hint)))}")
    if origin in {Union, types.UnionType}:
        return first_that_fits(text, get_args(hint))
    if origin is tuple:
        return tuple_of(text, get_args(hint))
    if hint in READERS:
        return READERS[hint](text)
    raise ValueError(
        f"left as it is: a {getattr(hint, '__name__', hint)} cannot be written here, so copy the model and edit it"
    )


def first_that_fits(text: str, hints: tuple[Any, ...]) -> Any:
    """Read ``text`` as the first of several types that takes it; plain text comes last."""
    reasons = []
    for hint in sorted(hints, key=lambda hint: (hint is not types.NoneType, hint is str)):
        try:
            return value_of(text, hint)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(" or ".join(reasons))


def tuple_of(text: str, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """Read values separated by commas."""
    parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(parts)
    if len(parts) != len(hints):
        raise ValueError(f"{len(hints)} values separated by commas")
    return tuple(value_of(part, hint) for part, hint in zip(parts, hints, strict=True))


def truth(text: str) -> bool:
    """Read yes or no."""
    if text.lower() not in YES + NO:
        raise ValueError("true or false")
    return text.lower() in YES


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def real(text: str) -> float:
    """Read a number."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError("a number") from None
    if math.isnan(number):
        raise ValueError("a number")
    return number


def nothing(text: str) -> None:
    """Read the absence of a value."""
    if text.lower() not in {"none", "null"}:
        raise ValueError("none")


READERS = {bool: truth, int: whole, float: real, str: str, types.NoneType: nothing}
