"""Mentions over time, from the rows of ``mentions`` and ``sentiment``: by item, and by author.

Hours without a mention are zeros. Times are UTC microseconds.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tapedeck.streams.stages.mentions.items import HOUR_US
from tapedeck.streams.stages.mentions.rule import MICRO, Adds, Counts, Kind, Lean, counted, kind_of, lean

Body = Mapping[str, Any]


class Bucket(NamedTuple):
    """The mentions of ``hours`` hours from ``start`` on."""

    start: int
    counts: Counts

    @property
    def lean(self) -> Lean:
        return lean(self.counts.pos, self.counts.neg, self.counts.neu)


def by_item(mentions: Iterable[Body], first: int, until: int, *, hours: int = 1) -> list[Bucket]:
    """The buckets from ``first`` to ``until`` of one symbol's ``mentions``, whatever their scope.

    The newest record of an hour and scope counts. ``authors`` is the sum over its hours.
    """
    newest: dict[tuple[int, str], Body] = {}
    for body in mentions:
        place = body["hour"], body["scope"]
        if place not in newest or body["as_of"] >= newest[place]["as_of"]:
            newest[place] = body
    buckets: dict[int, list[Body]] = {start: [] for start in _starts(first, until, hours)}
    for (hour, _), body in newest.items():
        start = _start(hour, first, hours)
        if start in buckets:
            buckets[start].append(body)
    return [Bucket(start, _summed(found)) for start, found in buckets.items()]


def _summed(found: list[Body]) -> Counts:
    def total(name: str) -> int:
        return sum(body[name] for body in found)

    score_sum = round(math.fsum(body["score_sum"] for body in found), 6) + 0.0
    return Counts(total("mentions"), total("authors"), total("pos"), total("neg"), total("neu"), score_sum)


def by_author(sentiment: Iterable[Body], first: int, until: int, *, hours: int = 1) -> list[Bucket]:
    """The buckets of one symbol's ``sentiment``, in which each author counts once: with the newest score.

    Items without an author, such as news, are left out. Of an item the newest version counts.
    """
    versions: dict[tuple[str, str], Body] = {}
    for body in sentiment:
        name = body["source"], body["native_id"]
        if name not in versions or body["updated_at"] > versions[name]["updated_at"]:
            versions[name] = body
    buckets: dict[int, dict[str, Body]] = {start: {} for start in _starts(first, until, hours)}
    for body in versions.values():
        start, author = _start(body["event_time"], first, hours), body["author_hash"]
        if start not in buckets or author is None or kind_of(dict(body)) >= Kind.FOLDED:
            continue
        known = buckets[start].get(author)
        if known is None or _order(body) > _order(known):
            buckets[start][author] = body
    return [Bucket(start, counted(map(_adds, found.values()))) for start, found in buckets.items()]


def _starts(first: int, until: int, hours: int) -> range:
    return range(first, until, hours * HOUR_US)


def _start(t: int, first: int, hours: int) -> int:
    return t - (t - first) % (hours * HOUR_US)


def _order(body: Body) -> tuple[int, int, str]:
    return body["event_time"], body["updated_at"], body["native_id"]


def _adds(body: Body) -> Adds:
    score = body["score"]
    return Adds(
        kind_of(dict(body)), 0 if score is None else round(score * MICRO), body["author_hash"].encode()
    )
