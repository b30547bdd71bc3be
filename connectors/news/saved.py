"""What is known of each feed between two looks, kept in one file that survives restarts."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tapedeck.connectors.news.validators import Mode, Validators
from tapedeck.connectors.state_file import set_aside, typed, write

log = logging.getLogger("tapedeck.news")

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FeedState:
    """One feed's past. Times are UTC microseconds; ``since`` is when it was first configured with ``url``.

    ``failures`` counts the looks in a row without success, ``why`` says what the last one met. ``malformed``
    says what is wrong with the newest document, and ``is_readable`` whether it had anything to read.
    """

    url: str
    since: int
    next_due: int
    validators: Validators = field(default_factory=Validators)
    last_success: int | None = None
    failures: int = 0
    why: str = ""
    malformed: str = ""
    is_readable: bool = True
    moved_to: str | None = None
    is_gone: bool = False


@dataclass(frozen=True)
class Saved:
    """The whole file. ``waits``: until when a host asked to be left alone."""

    feeds: Mapping[str, FeedState] = field(default_factory=dict)
    waits: Mapping[str, int] = field(default_factory=dict)


def load(path: Path) -> Saved:
    """What ``path`` holds; nothing where it is absent.

    A damaged file is put aside and said: each feed is then read whole once, and what is known already is not
    written again.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Saved()
    try:
        return _parsed(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        aside = set_aside(path)
        log.error(
            "the state of the feeds in %s is damaged (%s): it is kept as %s, and all feeds are read anew",
            path, error, aside.name,
        )  # fmt: skip
        return Saved()


def save(path: Path, saved: Saved) -> None:
    """Replace the file in one step: a crash leaves the old one or the new one."""
    document = {
        "version": _VERSION,
        "feeds": {name: asdict(state) for name, state in saved.feeds.items()},
        "waits": dict(saved.waits),
    }
    write(path, json.dumps(document, indent=1))


def _parsed(document: Any) -> Saved:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']!r}")
    waits = {str(host): typed(int, until) for host, until in document["waits"].items()}
    return Saved({str(name): _state(row) for name, row in document["feeds"].items()}, waits)


def _state(row: Mapping[str, Any]) -> FeedState:
    told = dict(row["validators"])
    told["mode"] = Mode(told["mode"])
    validators = Validators(**_checked(Validators, told))
    return FeedState(**_checked(FeedState, {**row, "validators": validators}))


def _checked(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """``row`` with every field of the class ``kind``, each of its type."""
    return {each.name: typed(each.type, row[each.name]) for each in fields(kind)}
