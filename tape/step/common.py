"""What the adapters share: reading a line's fields, and reporting a bad line in its place."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypeVar

from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.sessions import micros
from tapedeck.topics.catalogue import topic

Line = Mapping[str, Any]
T = TypeVar("T")


class BadLine(TapeError):
    """A line that cannot be judged; later lines still are."""


def judged(
    lines: Iterable[Line],
    judge: Callable[[Line], Iterable[dict[str, Any]]],
    known: Collection[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """What ``judge`` gives for each line, or ``{"error": ...}`` in a bad line's place.

    A key that is not in ``known`` is refused: a misspelled key would count as absent.
    """
    for line in lines:
        try:
            for key in line if known is not None else ():
                refuse_unknown(key, known)
            outputs = list(judge(line))
        except TapeError as error:
            outputs = [{"error": str(error)}]
        yield from outputs


def fields_of(name: str) -> frozenset[str]:
    """The fields of a record of topic ``name``."""
    return frozenset(field["name"] for field in load_schema(topic(name).schema or "")["fields"])


def refuse_unknown(key: str, known: Collection[str] | None) -> None:
    """Raise BadLine, with the nearest name, if ``key`` is not in ``known``."""
    names = sorted(known or ())
    if key not in names:
        near = get_close_matches(key.lower(), names, n=3, cutoff=0.5)
        nearest = " or ".join(map(repr, near)) or f"none; the keys are {', '.join(names)}"
        raise BadLine(f"unknown key {key}", remedy=f"the nearest is {nearest}")


def number(line: Line, key: str) -> float | None:
    """A finite number, None if it is null or absent."""
    value = line.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadLine(f"{key} is not a finite number", value=value, remedy="write null if it is unknown")
    return float(value)


def whole(line: Line, key: str) -> int | None:
    """A whole number, None if it is null or absent."""
    value = number(line, key)
    if value is None:
        return None
    if not value.is_integer():
        raise BadLine(f"{key} is not a whole number", value=value)
    return int(value)


def flag(line: Line, key: str) -> bool | None:
    """true or false, None if it is null or absent."""
    value = line.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadLine(f"{key} is neither true, false nor null", value=value)
    return value


def text(line: Line, key: str) -> str:
    """A text that must be there."""
    value = line.get(key)
    if not isinstance(value, str) or not value:
        raise BadLine(f"{key} is missing or not a text", value=value)
    return value


def time(line: Line, key: str) -> int | None:
    """An ISO 8601 time with its zone, as UTC microseconds; None if it is null or absent."""
    value = line.get(key)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadLine(
            f"{key} is not an ISO 8601 time", value=value, remedy="write it as 2026-01-29T15:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise BadLine(f"{key} has no time zone", value=value, remedy="end it with Z for UTC")
    return micros(moment)


def required(value: T | None, key: str) -> T:
    """``value``; None is refused."""
    if value is None:
        raise BadLine(f"{key} is missing", remedy="this stage needs it")
    return value
