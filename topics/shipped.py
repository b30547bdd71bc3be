"""The shipped topics, named only here: how each is keyed, partitioned and kept, and who owns it."""

from typing import Any

from tapedeck.topics.topic import Cleanup, Spread, Topic


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


COMPACT = Cleanup.COMPACT

SHIPPED: tuple[Topic, ...] = (
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
)
