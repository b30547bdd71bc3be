"""The catalogue: every topic, how it is keyed, partitioned, kept and who owns it.

The only place that names a topic. Cluster creation, stages, sinks and docs all read it.
"""

import difflib
import re
from collections.abc import Mapping
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
from tapedeck.topics.topic import Cleanup, Spread, Topic

__all__ = [
    "CATALOGUE", "DAY_MS", "FOREVER", "NEVER_MS", "RANK", "WATERMARK_KEY", "Cleanup", "Layout", "Spread",
    "Topic", "topic",
]  # fmt: skip

WATERMARK_KEY = b"~watermark"
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_PARTITIONS = "4"


def _s(
    name: str,
    owner: str,
    doc: str,
    *natural: str,
    key: tuple[str, ...] = ("symbol",),
    part: str = "symbol",
    **kw: Any,
) -> Topic:
    defaults: dict[str, Any] = {"schema": name, "watermarked": True} | kw
    return Topic(
        name=name,
        spread=Spread.SYMBOL,
        key=key,
        part=part,
        natural_key=natural,
        owner=owner,
        doc=doc,
        **defaults,
    )


def _a(
    name: str,
    owner: str,
    doc: str,
    *natural: str,
    key: tuple[str, ...] = ("account_id",),
    part: str = "account_id",
    **kw: Any,
) -> Topic:
    return Topic(
        name=name,
        spread=Spread.ACCOUNT,
        key=key,
        part=part,
        natural_key=natural,
        owner=owner,
        doc=doc,
        schema=name,
        **kw,
    )


def _1(name: str, owner: str, doc: str, *natural: str, key: tuple[str, ...] = (), **kw: Any) -> Topic:
    defaults: dict[str, Any] = {"schema": name} | kw
    return Topic(
        name=name,
        spread=Spread.ONE,
        key=key,
        part=None,
        natural_key=natural,
        owner=owner,
        doc=doc,
        **defaults,
    )


def _changelog(stage: str, spread: Spread) -> Topic:
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


COMPACT = Cleanup.COMPACT

CATALOGUE: tuple[Topic, ...] = (
    _s("bars", "play", "closed minute bars with feed and revision", "feed", "symbol", "t", keep_days=400),
    _s(
        "bars.late",
        "features",
        "bars deeper than the roll-back depth",
        "feed",
        "symbol",
        "t",
        schema="bars",
        watermarked=False,
        keep_days=90,
    ),
    _s(
        "quotes",
        "play",
        "newest stock and option quotes",
        "feed",
        "instrument",
        "quote_time",
        key=("instrument",),
        part="underlying",
        keep_days=2,
    ),
    _1(
        "universe",
        "play",
        "the whole list of tradable symbols",
        "version",
        cleanup=COMPACT,
        keep_days=400,
        watermarked=True,
    ),
    _s("features", "features", "feature vector per bar and revision", "feed", "symbol", "t", keep_days=400),
    _1(
        "scores",
        "scores",
        "watch score and components per evaluation",
        "symbol",
        "evaluation",
        key=("symbol",),
        watermarked=True,
        keep_days=30,
    ),
    _1(
        "watchlist",
        "watchlist",
        "whole ranked list per evaluation",
        "evaluation",
        cleanup=COMPACT,
        keep_days=30,
        watermarked=True,
    ),
    _s(
        "memberships",
        "watchlist",
        "a symbol's place in the list, for the signal stage",
        "symbol",
        "evaluation",
        cleanup=COMPACT,
        keep_days=30,
    ),
    _s("decisions", "signals", "every evaluation incl. HOLD with reason", "symbol", "bar_t", keep_days=400),
    _s("signals", "signals", "actions to consider, never HOLD", "signal_id", keep_days=400),
    _s(
        "revision_audit",
        "signals",
        "revisions that would have changed an action",
        "symbol",
        "bar_t",
        "revision",
        keep_days=90,
    ),
    _a("account_inbox", "dispatcher", "everything that reaches the account, in order", "account_id"),
    _a(
        "proposals",
        "account",
        "sized order plan, all gate results, verdict",
        "account_id",
        "signal_id",
        key=("account_id", "signal_id"),
        keep_days=400,
    ),
    _a(
        "orders",
        "account",
        "order state changes, INTENT first",
        "account_id",
        "client_order_id",
        "seq",
        key=("account_id", "client_order_id"),
    ),
    _a(
        "executions",
        "account",
        "one per broker execution",
        "account_id",
        "execution_id",
        key=("account_id", "execution_id"),
    ),
    _a(
        "positions",
        "account",
        "signed fold of executions",
        "account_id",
        "position_id",
        "seq",
        key=("account_id", "instrument"),
        cleanup=COMPACT,
        keep_days=400,
    ),
    _a(
        "accounts",
        "account",
        "equity, buying power, identity state",
        "account_id",
        "event_time",
        cleanup=COMPACT,
        keep_days=30,
    ),
    _a(
        "controls",
        "operators",
        "kill-switch changes and releases",
        "scope",
        "seq",
        key=("scope",),
        part="scope",
    ),
    _1(
        "heartbeats",
        "every stage",
        "last success, lag, last watermark",
        "stage",
        "partition",
        key=("stage", "partition"),
        cleanup=COMPACT,
        audited=False,
    ),
    Topic(
        name="dead_letters",
        spread=Spread.SYMBOL,
        key=(),
        part=None,
        schema=None,
        natural_key=(),
        keep_days=30,
        owner="every stage",
        doc="raw bytes, error, reason; record key = source topic, partition = source partition",
    ),
    _changelog("features", Spread.SYMBOL),
    _changelog("scores", Spread.SYMBOL),
    _changelog("watchlist", Spread.ONE),
    _changelog("signals", Spread.SYMBOL),
    _changelog("account", Spread.ACCOUNT),
)

_BY_NAME = {topic.name: topic for topic in CATALOGUE}
RANK = {topic.name: rank for rank, topic in enumerate(CATALOGUE)}


def topic(name: str) -> Topic:
    """The topic called ``name`` (without prefix). Raises Fatal for a name the catalogue does not have."""
    try:
        return _BY_NAME[name]
    except KeyError:
        near = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]!r}?" if near else "run `tape topics` for the list"
        raise Fatal("no such topic in the catalogue", value=name, remedy=remedy) from None


@dataclass(frozen=True)
class Layout:
    """How the catalogue lies on one cluster: name prefix and partition counts, fixed at creation.

    ``keep``: how long, in the words of TAPE_KEEP; ``replication``: copies, 0 where the cluster's size says.
    Raises Fatal for a prefix that cannot stand in a topic's name, for counts below one, and for a ``keep``
    that names no topic of the audit.
    """

    prefix: str = ""
    symbol_partitions: int = 4
    account_partitions: int = 4
    keep: str = ALL_FOREVER
    replication: int = 0

    def __post_init__(self) -> None:
        if self.prefix and not _PREFIX.fullmatch(self.prefix):
            raise Fatal(
                "the topic prefix cannot stand in a topic's name",
                value=self.prefix,
                remedy="use up to 40 letters, digits, dots, dashes and underscores, a letter or digit first",
            )
        for count in (self.symbol_partitions, self.account_partitions):
            if count < 1:
                raise Fatal("a topic needs at least one partition", value=count, remedy="name 1 or more")
        for name in named_days(self.keep):
            if not topic(name).audited:
                raise Fatal(f"{KEEP} cannot name a topic of state", value=name, remedy="leave it out")

    @classmethod
    def described(cls, prefix: str, environment: Mapping[str, str]) -> "Layout":
        """The layout that TAPE_SYMBOL_PARTITIONS, _ACCOUNT_PARTITIONS, TAPE_KEEP and TAPE_REPLICATION say.

        Topics are kept as the catalogue says, those of a prefix for ever: it holds tapes of the past.
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
        """The variables of which ``described`` makes this layout again."""
        return {
            "TAPE_PREFIX": self.prefix,
            "TAPE_SYMBOL_PARTITIONS": str(self.symbol_partitions),
            "TAPE_ACCOUNT_PARTITIONS": str(self.account_partitions),
            KEEP: self.keep,
            REPLICATION: str(self.replication or ""),
        }

    def under(self, prefix: str) -> "Layout":
        """The same under another prefix, which keeps for ever: what is written there may be of any age."""
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

        The broker measures that lag from the record's own time, so an old tape would have none: where
        everything is kept, facts are not compacted at all. Changelogs always are, or they fill the disk.
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
