"""The tables of the audit store. One class per shipped topic that is audited; ledgers are views.

A topic's table has the whole body as ``payload``, and next to it the columns that people filter and join
by. Inside ``payload`` everything is as on the wire: times are UTC microseconds, dates are days since
the epoch, decimals are strings of scale 6. The typed columns are real ``timestamptz``, ``date`` and
``numeric``. Column names are the record's field names; a test checks types and enums against the ``.avsc``.
Those of articles and posts are in ``models_text``.
"""

from datetime import date as day
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from tapedeck.connectors.postgres import models_text  # noqa: F401 - its tables belong to the same metadata
from tapedeck.connectors.postgres.base import Audit, Base, Long, enum_column


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


class MarketEvents(Audit, Base):
    __tablename__ = "t_market_events"
    feed: Mapped[str]
    symbol: Mapped[str]
    kind: Mapped[str] = enum_column("market_events", "kind")
    t: Mapped[datetime | None]
    detail: Mapped[str]


class Regime(Audit, Base):
    __tablename__ = "t_regime"
    date: Mapped[day]
    value: Mapped[float]
    available_at: Mapped[datetime]
    origin: Mapped[str]


class Earnings(Audit, Base):
    __tablename__ = "t_earnings"
    symbol: Mapped[str]
    report_date: Mapped[day | None]
    report_time: Mapped[str] = enum_column("earnings", "report_time")
    available_at: Mapped[datetime]
    origin: Mapped[str]


class Universe(Audit, Base):
    __tablename__ = "t_universe"
    version: Mapped[int]
    created_at: Mapped[datetime]
    source: Mapped[str] = enum_column("universe", "source")
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
    session_date: Mapped[day]
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
    or_state: Mapped[str | None] = enum_column("features", "or_state")
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
    flag: Mapped[str | None] = enum_column("memberships", "flag")


class Decisions(Audit, Base):
    __tablename__ = "t_decisions"
    symbol: Mapped[str]
    bar_t: Mapped[datetime]
    bar_revision: Mapped[int]
    as_of: Mapped[datetime]
    rules_version: Mapped[str]
    action: Mapped[str] = enum_column("decisions", "action")
    strategy: Mapped[str | None]
    reason: Mapped[str]
    confidence: Mapped[float]
    direction: Mapped[str | None] = enum_column("decisions", "direction")


class Signals(Audit, Base):
    __tablename__ = "t_signals"
    signal_id: Mapped[str] = mapped_column(index=True)
    symbol: Mapped[str]
    bar_t: Mapped[datetime]
    bar_revision: Mapped[int]
    as_of: Mapped[datetime]
    action: Mapped[str] = enum_column("signals", "action")
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
    purpose: Mapped[str] = enum_column("proposals", "purpose")
    verdict: Mapped[str] = enum_column("proposals", "verdict")
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
    state: Mapped[str] = enum_column("orders", "state")
    reason: Mapped[str | None]
    broker_order_id: Mapped[str | None]
    signal_id: Mapped[str]
    instrument: Mapped[str]
    underlying: Mapped[str]
    side: Mapped[str] = enum_column("orders", "side")
    intent: Mapped[str] = enum_column("orders", "intent")
    purpose: Mapped[str] = enum_column("orders", "purpose")
    attempt: Mapped[int]
    qty: Mapped[Decimal]
    limit_price: Mapped[Decimal | None]
    filled_qty: Mapped[Decimal]
    filled_avg_price: Mapped[Decimal | None]
    position_id: Mapped[str | None]
    exit_reason: Mapped[str | None]


class Executions(Audit, Base):
    __tablename__ = "t_executions"
    __table_args__ = (Index(None, "account_id", "instrument"),)
    account_id: Mapped[str]
    execution_id: Mapped[str]
    client_order_id: Mapped[str]
    instrument: Mapped[str]
    underlying: Mapped[str]
    side: Mapped[str] = enum_column("executions", "side")
    qty: Mapped[Decimal]
    price: Mapped[Decimal | None]
    multiplier: Mapped[int]
    fee: Mapped[Decimal]
    source: Mapped[str]
    owner: Mapped[str] = enum_column("executions", "owner")
    reason: Mapped[str | None]


class Positions(Audit, Base):
    __tablename__ = "t_positions"
    __table_args__ = (Index(None, "account_id", "position_id"),)
    account_id: Mapped[str]
    position_id: Mapped[str]
    seq: Mapped[int]
    instrument: Mapped[str]
    underlying: Mapped[str]
    kind: Mapped[str] = enum_column("positions", "kind")
    strategy: Mapped[str | None]
    state: Mapped[str] = enum_column("positions", "state")
    qty: Mapped[Decimal]
    average_cost: Mapped[Decimal]
    realised: Mapped[Decimal]
    multiplier: Mapped[int]
    opened_at: Mapped[datetime]
    signal_id: Mapped[str | None]
    exit_reason: Mapped[str | None]
    peak: Mapped[Decimal | None]
    worst: Mapped[Decimal | None]
    needs_review: Mapped[bool]


class Exits(Audit, Base):
    __tablename__ = "t_exits"
    __table_args__ = (Index(None, "account_id", "position_id"),)
    account_id: Mapped[str]
    position_id: Mapped[str]
    seq: Mapped[int]
    instrument: Mapped[str]
    underlying: Mapped[str]
    kind: Mapped[str] = enum_column("exits", "kind")
    strategy: Mapped[str | None]
    chosen: Mapped[str]
    qty: Mapped[Decimal]
    mark: Mapped[Decimal | None]
    pnl: Mapped[Decimal | None]
    peak: Mapped[Decimal]
    worst: Mapped[Decimal]
    held_min: Mapped[float]
    dte: Mapped[int | None]
    eod_window: Mapped[str | None]
    person: Mapped[str | None]


class Accounts(Audit, Base):
    __tablename__ = "t_accounts"
    __table_args__ = (Index(None, "account_id", "event_time"),)
    account_id: Mapped[str]
    tier: Mapped[str]
    mode: Mapped[str] = enum_column("accounts", "mode")
    identity: Mapped[str] = enum_column("accounts", "identity")
    kill_state: Mapped[str]
    equity: Mapped[Decimal | None]
    cash: Mapped[Decimal | None]
    buying_power: Mapped[Decimal | None]
    options_buying_power: Mapped[Decimal | None]
    session_pnl: Mapped[Decimal | None]
    halt_step: Mapped[str | None]


class Controls(Audit, Base):
    __tablename__ = "t_controls"
    scope: Mapped[str]
    seq: Mapped[Long]
    state: Mapped[str] = enum_column("controls", "state")
    person: Mapped[str]
    reason: Mapped[str]
    command: Mapped[str | None]
    target: Mapped[str | None]
    price: Mapped[Decimal | None]


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
