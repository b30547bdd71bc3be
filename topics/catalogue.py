"""The catalogue: every topic that this process knows, and its layout on a cluster.

The shipped ones are in ``topics.shipped``. Cluster creation, stages, sinks and docs all read the catalogue.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tapedeck.schemas.errors import Fatal
from tapedeck.topics.keeping import (
    ALL_FOREVER,
    BY_CATALOGUE,
    DAY_MS,
    FOREVER,
    KEEP,
    NEVER_MS,
    REPLICATION,
    named_days,
)
from tapedeck.topics.shipped import SHIPPED
from tapedeck.topics.topic import Cleanup, Spread, Topic

__all__ = [
    "CATALOGUE", "DAY_MS", "FOREVER", "NEVER_MS", "WATERMARK_KEY", "Cleanup", "Layout", "Spread", "Topic",
    "changelog_of", "declare", "topic",
]  # fmt: skip

WATERMARK_KEY = b"~watermark"
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_PARTITIONS = "4"


def changelog_of(stage: str, spread: Spread) -> Topic:
    """The topic that stores the table of ``stage``, partitioned like its trigger."""
    return Topic(
        name=f"{stage}.changelog",
        spread=spread,
        key=(),
        part=None,
        schema=None,
        natural_key=(),
        cleanup=Cleanup.COMPACT,
        keep_days=1,
        audited=False,
        owner=stage,
        doc=f"state of the {stage} stage",
    )


class Catalogue:
    """The topics by name, in order: the shipped ones, then those declared since."""

    def __init__(self, *topics: Topic) -> None:
        self._topics: dict[str, Topic] = {}
        self.declare(*topics)

    def __iter__(self) -> Iterator[Topic]:
        return iter(tuple(self._topics.values()))

    def __len__(self) -> int:
        return len(self._topics)

    def __contains__(self, name: object) -> bool:
        return name in self._topics

    def __getitem__(self, name: str) -> Topic:
        return self._topics[name]

    @property
    def audited(self) -> tuple[Topic, ...]:
        """The topics with facts, which the audit store keeps: all but state and heartbeats."""
        return tuple(each for each in self if each.audited)

    def rank(self, name: str) -> int:
        """The position of topic ``name``, which orders inputs of equal age."""
        return list(self._topics).index(name)

    def declare(self, *topics: Topic) -> None:
        """Add topics. An existing one must be the same. Raises Fatal for a different one of its name."""
        for each in topics:
            if self._topics.setdefault(each.name, each) != each:
                raise Fatal(
                    "two topics have the same name",
                    value=each.name,
                    remedy="give the topic another name: the catalogue already has this one",
                )

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Topics declared inside are forgotten afterwards."""
        before = dict(self._topics)
        try:
            yield
        finally:
            self._topics = before


CATALOGUE = Catalogue(*SHIPPED)
"""The topics that this process knows. A topology declares the changelogs of its stages."""


def declare(*topics: Topic) -> None:
    """Add topics to the catalogue: a package with stages of its own calls this on import.

    Raises Fatal if another topic has the name.
    """
    CATALOGUE.declare(*topics)


def topic(name: str) -> Topic:
    """The topic called ``name`` (without prefix). Raises Fatal for a name the catalogue does not have."""
    try:
        return CATALOGUE[name]
    except KeyError:
        near = difflib.get_close_matches(name, [each.name for each in CATALOGUE], n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]!r}?" if near else "run `tape topics` for the list"
        raise Fatal("no such topic in the catalogue", value=name, remedy=remedy) from None


@dataclass(frozen=True)
class Layout:
    """The catalogue's layout on one cluster: name prefix and partition counts, fixed at creation.

    ``keep``: how long, as in TAPE_KEEP; ``replication``: copies, 0 to go by the cluster's size.
    Raises Fatal for a prefix that is invalid in a topic's name, for counts below one, and for a ``keep``
    that names a topic outside the audit.
    """

    prefix: str = ""
    symbol_partitions: int = 4
    account_partitions: int = 4
    keep: str = ALL_FOREVER
    replication: int = 0

    def __post_init__(self) -> None:
        if self.prefix and not _PREFIX.fullmatch(self.prefix):
            raise Fatal(
                "the topic prefix is not valid in a topic name",
                value=self.prefix,
                remedy="use up to 40 letters, digits, dots, dashes and underscores, a letter or digit first",
            )
        for count in (self.symbol_partitions, self.account_partitions):
            if count < 1:
                raise Fatal("a topic needs at least one partition", value=count, remedy="name 1 or more")
        for name in named_days(self.keep):
            if not topic(name).audited:
                raise Fatal(f"{KEEP} cannot name a state topic", value=name, remedy="leave it out")

    @classmethod
    def described(cls, prefix: str, environment: Mapping[str, str]) -> "Layout":
        """The layout given by TAPE_SYMBOL_PARTITIONS, _ACCOUNT_PARTITIONS, TAPE_KEEP and TAPE_REPLICATION.

        Topics are kept as the catalogue says, those with a prefix forever: a prefix holds tapes of the past.
        """

        def count(name: str, default: str, what: str) -> int:
            text = environment.get(name) or default
            if not text.isdecimal():
                raise Fatal(f"{name} is not a number of {what}", value=text, remedy="set it to 1 or more")
            return int(text)

        return cls(
            prefix,
            count("TAPE_SYMBOL_PARTITIONS", _PARTITIONS, "partitions"),
            count("TAPE_ACCOUNT_PARTITIONS", _PARTITIONS, "partitions"),
            environment.get(KEEP) or (ALL_FOREVER if prefix else BY_CATALOGUE),
            count(REPLICATION, "0", "copies"),
        )

    def environment(self) -> dict[str, str]:
        """The variables from which ``described`` makes this layout again."""
        return {
            "TAPE_PREFIX": self.prefix,
            "TAPE_SYMBOL_PARTITIONS": str(self.symbol_partitions),
            "TAPE_ACCOUNT_PARTITIONS": str(self.account_partitions),
            KEEP: self.keep,
            REPLICATION: str(self.replication or ""),
        }

    def under(self, prefix: str) -> "Layout":
        """The same under another prefix, which keeps forever: what is written there may be of any age."""
        return self if prefix == self.prefix else replace(self, prefix=prefix, keep=ALL_FOREVER)

    def wire_name(self, name: str) -> str:
        """The name on the cluster."""
        return f"{self.prefix}.{name}" if self.prefix else name

    def catalogue_name(self, wire_name: str) -> str:
        """The catalogue's name of a topic on the cluster."""
        return wire_name.removeprefix(f"{self.prefix}.") if self.prefix else wire_name

    def group(self, member: str) -> str:
        """The consumer group of a stage, or of an account's dispatcher."""
        return f"{self.prefix or 'tapedeck'}-{member}"

    def partitions(self, name: str) -> int:
        spread = topic(name).spread
        return {
            Spread.SYMBOL: self.symbol_partitions,
            Spread.ACCOUNT: self.account_partitions,
            Spread.ONE: 1,
        }[spread]

    def partition(self, name: str, body: dict[str, Any]) -> int:
        """The partition that ``body`` goes to in topic ``name``."""
        return topic(name).partition(body, self.partitions(name))

    def topic_config(self, name: str) -> dict[str, str]:
        """The cluster's settings of a topic. "compact + X" is a compaction lag of X, never a deletion.

        The broker measures that lag from the record's own time, so it would not protect an old tape. Where
        everything is kept, facts are therefore not compacted at all. Changelogs always are, or they fill the
        disk.
        """
        found, days = topic(name), named_days(self.keep).get(name)
        if days is None and self.keep == ALL_FOREVER and found.audited:
            days = FOREVER
        retention, lag = FOREVER, 0
        if found.cleanup is Cleanup.DELETE:
            kept = found.keep_days if days is None else days
            retention = FOREVER if kept == FOREVER else kept * DAY_MS
        elif days == FOREVER:
            lag = NEVER_MS
        else:
            lag = max(found.keep_days if days is None else days, 0) * DAY_MS
        return {
            "cleanup.policy": str(found.cleanup),
            "retention.ms": str(retention),
            "min.compaction.lag.ms": str(lag),
            "message.timestamp.type": "CreateTime",
        }
