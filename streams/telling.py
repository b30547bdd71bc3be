"""Records in words: how a stage describes its topics' records, and how times and fields are written.

A stage describes its outputs and the sources that it reads, because nothing else in the pipeline owns those.
A record that no stage describes is shown by its scalar fields.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tapedeck.schemas.readable import readable
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import NEW_YORK
from tapedeck.topics.catalogue import topic

Body = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDENTITY = {"event_id", "event_time", "config_digest", "rules_version", "inputs", "feed"}
_LONGEST = 140


class Named(NamedTuple):
    """An id besides the event_id by which people know records of a topic.

    ``kind`` says what it names, ``form`` matches all of its ids, ``example`` is shown where an id is asked
    for. ``name`` returns a record's id, empty if it has none; ``needle`` the part of an id that its bytes
    contain. Where a record is one of several, ``whole`` is the field that they have in common, here and in
    the topics ``beside``. A ``bare`` id may start like an event_id.
    """

    kind: str
    form: re.Pattern[str]
    example: str
    name: Callable[[Body], str]
    needle: Callable[[str], str] = str
    whole: str = ""
    beside: tuple[str, ...] = ()
    bare: bool = False

    def offered(self, body: Body) -> str:
        """The id of ``body`` to suggest where an unknown one was asked for."""
        return str(body[self.whole]) if self.whole else self.name(body)


class Told(NamedTuple):
    """How a topic's records are described: one line, and more lines below it.

    ``because``: the topic in which the same step gave the reason for a record, from the same inputs.
    ``made_of``: for a source whose records name inputs, the topics that hold those.
    """

    headline: Callable[[Body], str]
    details: Callable[[Body], list[str]] | None = None
    because: str = ""
    made_of: tuple[str, ...] = ()
    names: tuple[Named, ...] = ()


Telling = Mapping[str, Told]
"""A stage's descriptions, by topic."""


def new_york(micros: int) -> str:
    """UTC microseconds as New York's date and time."""
    moment = (_EPOCH + timedelta(microseconds=micros)).astimezone(NEW_YORK)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def clock(micros: int) -> str:
    """UTC microseconds as New York's time of day."""
    return new_york(micros)[11:16]


def utc(micros: int) -> str:
    """UTC microseconds as time of day in UTC, milliseconds where there are any."""
    moment = _EPOCH + timedelta(microseconds=micros)
    millis = micros % SECOND_US // 1000
    return f"{moment:%H:%M:%S}{f'.{millis:03d}' if millis else ''}Z"


def scalars(name: str, body: Body) -> str:
    """The fields of a record that are neither its identity nor nested; for a list, how many items it has."""
    schema = topic(name).schema
    fields = readable(schema, body) if schema else body
    return short(pairs({each: content for each, content in fields.items() if each not in _IDENTITY}))


def pairs(fields: Body) -> str:
    """Fields with their values, empty ones left out."""
    told = []
    for name, content in fields.items():
        if isinstance(content, list):
            told.append(f"{len(content)} {name}")
        elif isinstance(content, dict):
            told.append(pairs(content))
        elif content is not None:
            told.append(f"{name} {content}")
    return ", ".join(told)


def short(text: str) -> str:
    """A text cut to fit on one line."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
