"""What the job keeps between two runs: threads to look at again, newest versions, and what was not written.

Order of effects: the file holds a batch before it is written, and no longer afterwards. A run that begins
with one writes it again, record for record: a crash repeats records, and adds none.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tapedeck.connectors.news.items import IngestReason
from tapedeck.connectors.reddit.posts import Post
from tapedeck.connectors.reddit.status import DailyStatus
from tapedeck.connectors.state_file import set_aside, typed, write

log = logging.getLogger("tapedeck.reddit")

KNOWN_LIMIT = 100_000
"""Posts and comments that are remembered; the one not seen for the longest time goes first."""
BAD_LIMIT = 10_000
THREADS_LIMIT = 1_000
_VERSION = 1
Body = dict[str, Any]


class Thread(NamedTuple):
    """A discussion thread. Times are UTC microseconds; ``visited`` is 0 before the first visit."""

    subreddit: str
    since: int
    visited: int


class Known(NamedTuple):
    """The newest version of a post or comment. ``state`` is ``Post.state``; times are UTC microseconds."""

    updated_at: int
    state: str
    event_time: int
    time_inferred: bool
    removed: bool
    since: int
    seen: int
    thread_id: str
    subreddit: str


class Letter(NamedTuple):
    """A row that cannot be read: what is wrong, and the row as JSON without its author."""

    name: str
    what: str
    raw: str


@dataclass(kw_only=True)
class Saved:
    """The whole file. ``not_before``: until when Reddit asked to be left alone."""

    next_due: int = 0
    not_before: int = 0
    threads: dict[str, Thread] = field(default_factory=dict)
    known: OrderedDict[str, Known] = field(default_factory=OrderedDict)
    bad: OrderedDict[str, int] = field(default_factory=OrderedDict)
    bodies: list[Body] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    status: DailyStatus = field(default_factory=DailyStatus)

    def judge(self, post: Post, now: int) -> tuple[IngestReason, Post | None]:
        """What to do with ``post``: the version to write, None if its newest one says the same.

        A new version keeps the event time of the first, so that a post counts once.
        """
        known = self.known.get(post.native_id)
        if known is None:
            fresh = replace(post, updated_at=now)
            since = now
        elif known.state == post.state:
            self._remember(post.native_id, known._replace(seen=now))
            return IngestReason.UNCHANGED, None
        else:
            fresh = replace(
                post,
                updated_at=max(now, known.updated_at + 1),
                event_time=known.event_time,
                time_inferred=known.time_inferred,
            )
            since = known.since
        row = Known(
            fresh.updated_at, post.state, fresh.event_time, fresh.time_inferred,
            post.removed, since, now, post.thread_id, post.subreddit,
        )  # fmt: skip
        self._remember(post.native_id, row)
        return IngestReason.ACCEPTED, fresh

    def is_new_letter(self, name: str, now: int) -> bool:
        """Whether a bad row was not refused before."""
        is_new = name not in self.bad
        self.bad[name] = now
        self.bad.move_to_end(name)
        while len(self.bad) > BAD_LIMIT:
            self.bad.popitem(last=False)
        return is_new

    def forget(self, before: int) -> None:
        """Forget what was not seen since ``before``; what is seen again is a new version."""
        for name in [name for name, known in self.known.items() if known.seen < before]:
            del self.known[name]
        for name in [name for name, seen in self.bad.items() if seen < before]:
            del self.bad[name]

    def _remember(self, name: str, known: Known) -> None:
        self.known[name] = known
        self.known.move_to_end(name)
        while len(self.known) > KNOWN_LIMIT:
            self.known.popitem(last=False)


def load(path: Path) -> Saved:
    """What ``path`` holds; nothing where it is absent. A damaged file is put aside and said."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Saved()
    try:
        return _parsed(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        aside = set_aside(path)
        log.error(
            "the state of the Reddit job in %s is damaged (%s): it is kept as %s, and what is still shown is"
            " written once more as new versions",
            path, error, aside.name,
        )  # fmt: skip
        return Saved()


def save(path: Path, saved: Saved) -> None:
    """Replace the file in one step, readable by its owner alone: it may hold texts that were not written."""
    document = {
        "version": _VERSION,
        "next_due": saved.next_due,
        "not_before": saved.not_before,
        "threads": saved.threads,
        "known": saved.known,
        "bad": saved.bad,
        "bodies": saved.bodies,
        "letters": saved.letters,
        "states": saved.states,
        "status": saved.status.document(),
    }
    write(path, json.dumps(document), is_private=True)  # json.dump is ten times slower


def _parsed(document: Any) -> Saved:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']!r}")
    return Saved(
        next_due=typed(int, document["next_due"]),
        not_before=typed(int, document["not_before"]),
        threads={str(name): _row(Thread, row) for name, row in document["threads"].items()},
        known=OrderedDict((str(name), _row(Known, row)) for name, row in document["known"].items()),
        bad=OrderedDict((str(name), typed(int, seen)) for name, seen in document["bad"].items()),
        bodies=[typed(dict, body) for body in document["bodies"]],
        letters=[_row(Letter, row) for row in document["letters"]],
        states={str(name): typed(str, state) for name, state in document["states"].items()},
        status=DailyStatus.parsed(document["status"]),
    )


def _row(kind: Any, row: Any) -> Any:
    """``row`` as the named tuple ``kind``, each field of its type."""
    types: Mapping[str, type] = kind.__annotations__
    if len(row) != len(types):
        raise ValueError(f"a row of {len(row)} values")
    return kind(*(typed(each, value) for each, value in zip(types.values(), row, strict=True)))
