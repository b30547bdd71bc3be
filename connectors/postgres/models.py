"""The tables of the audit store. One class per shipped topic that is audited; ledgers are views.

A topic's table has the whole body as ``payload``, and next to it the columns that people filter and join
by. Inside ``payload`` everything is as on the wire: times are UTC microseconds, dates are days since
the epoch, decimals are strings of scale 6. The typed columns are real ``timestamptz``, ``date`` and
``numeric``. Column names are the record's field names; a test checks types and enums against the ``.avsc``.

No table names a schema. The connection's search path does, so a prefixed pipeline has its own.
"""

import re
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Date, DateTime, Double, Integer, LargeBinary, MetaData, Numeric, Text
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tapedeck.schemas.codec import load_schema

Long = Annotated[int, mapped_column(BigInteger)]
NAMING = {"pk": "%(table_name)s_pkey", "ix": "%(table_name)s_%(column_0_name)s_idx"}


def table_name(topic: str) -> str:
    """The table of one topic: ``t_bars_late`` for ``bars.late``."""
    return "t_" + topic.replace(".", "_")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: Integer,
        float: Double,
        Decimal: Numeric(28, 6),
        datetime: DateTime(timezone=True),
        date: Date,
        bytes: LargeBinary,
    }


class Audit:
    """The columns of every topic table. ``first_*`` is where the event was first seen.

    ``first_topic_id`` distinguishes a topic from one recreated under its name; null means that the row was
    stored before ids were recorded.
    """

    event_id: Mapped[str] = mapped_column(primary_key=True, sort_order=-9)
    first_topic: Mapped[str] = mapped_column(sort_order=-8)
    first_partition: Mapped[int] = mapped_column(sort_order=-7)
    first_offset: Mapped[int] = mapped_column(BigInteger, sort_order=-6)
    event_time: Mapped[datetime] = mapped_column(sort_order=-5)
    config_digest: Mapped[str | None] = mapped_column(sort_order=-4)
    code_version: Mapped[str | None] = mapped_column(sort_order=-3)
    body_sha: Mapped[str] = mapped_column(sort_order=-2)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB, sort_order=-1)
    first_topic_id: Mapped[bytes | None] = mapped_column(sort_order=1)


COMMON_COLUMNS = tuple(Audit.__annotations__)


@cache
def avro_enum(schema: str, field: str) -> ENUM:
    """The database enum of one record field: the field's Avro enum, ``OrderState`` as ``order_state``."""
    definition = next(f["type"] for f in load_schema(schema)["fields"] if f["name"] == field)
    branches = definition if isinstance(definition, list) else [definition]
    enum = next(b for b in branches if isinstance(b, dict) and b["type"] == "enum")
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", enum["name"]).lower()
    return ENUM(*enum["symbols"], name=name, create_type=False)


def _enum(schema: str, field: str) -> Any:
    return mapped_column(avro_enum(schema, field))


class _Bar(Audit):
    feed: Mapped[str]
    symbol: Mapped[str]
    t: Mapped[datetime]
    revision: Mapped[int]
    open: Mapped[float]
    high: Mapped[float]
    low: Mapped[float]
    close: Mapped[float]
    volume: Mapped[float]
    origin: Mapped[str]


class Bars(_Bar, Base):
    __tablename__ = "t_bars"


class BarsLate(_Bar, Base):
    __tablename__ = "t_bars_late"


class Quotes(Audit, Base):
    __tablename__ = "t_quotes"
    instrument: Mapped[str]
    underlying: Mapped[str]
    feed: Mapped[str]
    quote_time: Mapped[datetime]
    bid: Mapped[Decimal | None]
    ask: Mapped[Decimal | None]
    origin: Mapped[str]


class News(Audit, Base):
    __tablename__ = "t_news"
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    title: Mapped[str]
    url: Mapped[str | None]
    origin: Mapped[str]


class Posts(Audit, Base):
    __tablename__ = "t_posts"
    source: Mapped[str]
    native_id: Mapped[str]
    kind: Mapped[str] = _enum("posts", "kind")
    subreddit: Mapped[str]
    thread_id: Mapped[str]
    updated_at: Mapped[datetime]
    engagement: Mapped[float]
    removed: Mapped[bool]
    origin: Mapped[str]


class _Links(Audit):
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    list_post: Mapped[bool]
    story: Mapped[str | None]
    folded: Mapped[bool]


class Links(_Links, Base):
    __tablename__ = "t_links"


class PostLinks(_Links, Base):
    __tablename__ = "t_post_links"


class Stories(Audit, Base):
    __tablename__ = "t_stories"
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    event_uid: Mapped[str]
    story: Mapped[str]
    folded: Mapped[bool]


class Sentiment(Audit, Base):
    __tablename__ = "t_sentiment"
    symbol: Mapped[str]
    source: Mapped[str]
    native_id: Mapped[str]
    updated_at: Mapped[datetime]
    scope: Mapped[str] = _enum("sentiment", "scope")
    folded: Mapped[bool]
    reason: Mapped[str] = _enum("sentiment", "reason")
    score: Mapped[float | None]
    confidence: Mapped[float | None]
    label: Mapped[str | None] = _enum("sentiment", "label")
    engine: Mapped[str | None]
    model_digest: Mapped[str]


class SentimentWindows(Audit, Base):
    __tablename__ = "t_sentiment_windows"
    symbol: Mapped[str]
    t: Mapped[datetime]
    n_30: Mapped[int]
    avg_30: Mapped[float]
    n_60: Mapped[int]
    avg_60: Mapped[float]


class Mentions(Audit, Base):
    __tablename__ = "t_mentions"
    symbol: Mapped[str]
    hour: Mapped[datetime]
    scope: Mapped[str] = _enum("mentions", "scope")
    as_of: Mapped[datetime]
    mentions: Mapped[int]
    authors: Mapped[int]


class Surges(Audit, Base):
    __tablename__ = "t_surges"
    symbol: Mapped[str]
    hour: Mapped[datetime]
    mentions: Mapped[int]
    level: Mapped[str] = _enum("surges", "level")
    score: Mapped[float | None]


class MarketEvents(Audit, Base):
    __tablename__ = "t_market_events"
    feed: Mapped[str]
    symbol: Mapped[str]
    kind: Mapped[str] = _enum("market_events", "kind")
    t: Mapped[datetime | None]
    detail: Mapped[str]


class Universe(Audit, Base):
    __tablename__ = "t_universe"
    version: Mapped[int]
    created_at: Mapped[datetime]
    source: Mapped[str] = _enum("universe", "source")
    validated: Mapped[bool]
    origin: Mapped[str]


class Features(Audit, Base):
    __tablename__ = "t_features"
    feed: Mapped[str]
    symbol: Mapped[str]
    t: Mapped[datetime]
    as_of: Mapped[datetime]
    revision: Mapped[int]
    bar_revision: Mapped[int]
    session_date: Mapped[date]
    close: Mapped[float]
    volume: Mapped[float]
    bars: Mapped[int]
    ready: Mapped[bool]
    crosses_session: Mapped[bool]
    suspect_split: Mapped[bool]
    sma20: Mapped[float | None]
    sma50: Mapped[float | None]
    trend_state: Mapped[int | None]
    distance_sma20: Mapped[float | None]
    distance_sma50: Mapped[float | None]
    recent_vol: Mapped[float | None]
    baseline_vol: Mapped[float | None]
    vol_ratio: Mapped[float | None]
    volume_ratio: Mapped[float | None]
    volume_surge: Mapped[bool | None]
    rsi14: Mapped[float | None]
    macd: Mapped[float | None]
    macd_signal: Mapped[float | None]
    macd_hist: Mapped[float | None]
    bb_upper: Mapped[float | None]
    bb_lower: Mapped[float | None]
    bb_position: Mapped[float | None]
    atr14: Mapped[float | None]
    vwap: Mapped[float | None]
    momentum_5: Mapped[float | None]
    momentum_15: Mapped[float | None]
    or_high: Mapped[float | None]
    or_low: Mapped[float | None]
    or_state: Mapped[str | None] = _enum("features", "or_state")
    gap_pct: Mapped[float | None]
    prev_move: Mapped[float | None]


class Scores(Audit, Base):
    __tablename__ = "t_scores"
    symbol: Mapped[str]
    evaluation: Mapped[datetime]
    watch_score: Mapped[float | None]
    setup_quality: Mapped[float | None]
    vol_score: Mapped[float]


class Watchlist(Audit, Base):
    """One row per evaluation; ``v_watchlist`` has one per member."""

    __tablename__ = "t_watchlist"
    evaluation: Mapped[datetime]
    universe_version: Mapped[int]


class Memberships(Audit, Base):
    __tablename__ = "t_memberships"
    symbol: Mapped[str]
    evaluation: Mapped[datetime]
    on_watchlist: Mapped[bool]
    rank: Mapped[int | None]
    score: Mapped[float | None]
    flag: Mapped[str | None] = _enum("memberships", "flag")


class Decisions(Audit, Base):
    __tablename__ = "t_decisions"
    symbol: Mapped[str]
    bar_t: Mapped[datetime]
    bar_revision: Mapped[int]
    as_of: Mapped[datetime]
    rules_version: Mapped[str]
    action: Mapped[str] = _enum("decisions", "action")
    strategy: Mapped[str | None]
    reason: Mapped[str]
    confidence: Mapped[float]
    direction: Mapped[str | None] = _enum("decisions", "direction")


class Signals(Audit, Base):
    __tablename__ = "t_signals"
    signal_id: Mapped[str] = mapped_column(index=True)
    symbol: Mapped[str]
    bar_t: Mapped[datetime]
    bar_revision: Mapped[int]
    as_of: Mapped[datetime]
    action: Mapped[str] = _enum("signals", "action")
    strategy: Mapped[str]
    reason: Mapped[str]
    confidence: Mapped[float]


class RevisionAudit(Audit, Base):
    __tablename__ = "t_revision_audit"
    symbol: Mapped[str]
    bar_t: Mapped[datetime]
    revision: Mapped[int]
    would_differ: Mapped[bool]
    old_action: Mapped[str]
    new_action: Mapped[str]


class AccountInbox(Audit, Base):
    """``kind`` names the branch of the payload, for example ``InboxQuote``."""

    __tablename__ = "t_account_inbox"
    account_id: Mapped[str]
    kind: Mapped[str]


class Proposals(Audit, Base):
    __tablename__ = "t_proposals"
    account_id: Mapped[str]
    signal_id: Mapped[str] = mapped_column(index=True)
    symbol: Mapped[str]
    action: Mapped[str]
    strategy: Mapped[str]
    purpose: Mapped[str] = _enum("proposals", "purpose")
    verdict: Mapped[str] = _enum("proposals", "verdict")
    primary_reason: Mapped[str]
    instrument: Mapped[str | None]
    quantity: Mapped[Decimal]
    worst_price: Mapped[Decimal | None]
    equity: Mapped[Decimal | None]
    bar_t: Mapped[datetime]
    universe_version: Mapped[int | None]
    client_order_id: Mapped[str | None]


class Orders(Audit, Base):
    __tablename__ = "t_orders"
    account_id: Mapped[str]
    client_order_id: Mapped[str] = mapped_column(index=True)
    seq: Mapped[int]
    state: Mapped[str] = _enum("orders", "state")
    reason: Mapped[str | None]
    broker_order_id: Mapped[str | None]
    signal_id: Mapped[str]
    instrument: Mapped[str]
    underlying: Mapped[str]
    side: Mapped[str] = _enum("orders", "side")
    intent: Mapped[str] = _enum("orders", "intent")
    purpose: Mapped[str] = _enum("orders", "purpose")
    attempt: Mapped[int]
    qty: Mapped[Decimal]
    limit_price: Mapped[Decimal | None]
    filled_qty: Mapped[Decimal]
    filled_avg_price: Mapped[Decimal | None]


class Executions(Audit, Base):
    __tablename__ = "t_executions"
    account_id: Mapped[str]
    execution_id: Mapped[str]
    client_order_id: Mapped[str]
    instrument: Mapped[str]
    underlying: Mapped[str]
    side: Mapped[str] = _enum("executions", "side")
    qty: Mapped[Decimal]
    price: Mapped[Decimal]
    multiplier: Mapped[int]
    fee: Mapped[Decimal]
    source: Mapped[str]
    owner: Mapped[str] = _enum("executions", "owner")


class Positions(Audit, Base):
    __tablename__ = "t_positions"
    account_id: Mapped[str]
    position_id: Mapped[str]
    seq: Mapped[int]
    instrument: Mapped[str]
    underlying: Mapped[str]
    kind: Mapped[str] = _enum("positions", "kind")
    strategy: Mapped[str | None]
    state: Mapped[str] = _enum("positions", "state")
    qty: Mapped[Decimal]
    average_cost: Mapped[Decimal]
    realised: Mapped[Decimal]
    multiplier: Mapped[int]
    opened_at: Mapped[datetime]


class Accounts(Audit, Base):
    __tablename__ = "t_accounts"
    account_id: Mapped[str]
    tier: Mapped[str]
    mode: Mapped[str] = _enum("accounts", "mode")
    identity: Mapped[str] = _enum("accounts", "identity")
    kill_state: Mapped[str]
    equity: Mapped[Decimal | None]
    cash: Mapped[Decimal | None]
    buying_power: Mapped[Decimal | None]
    options_buying_power: Mapped[Decimal | None]


class Controls(Audit, Base):
    __tablename__ = "t_controls"
    scope: Mapped[str]
    seq: Mapped[Long]
    state: Mapped[str] = _enum("controls", "state")
    person: Mapped[str]
    reason: Mapped[str]


class DeadLetters(Audit, Base):
    """``payload`` has the headers; ``source_*`` is the record that was refused, ``value`` its bytes."""

    __tablename__ = "t_dead_letters"
    source_topic: Mapped[str]
    source_partition: Mapped[int]
    source_offset: Mapped[Long]
    stage: Mapped[str]
    reason: Mapped[str]
    message: Mapped[str]
    record_key: Mapped[bytes | None]
    value: Mapped[bytes | None]
