"""Bodies and rows for the stage tests, and a fold of any stage over batches."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from tapedeck.schemas.codec import encode_body
from tapedeck.streams.protocol import MINUTE_US, Drop, Out, Row, Stage
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.topics.catalogue import topic

_DAY = day_number(date(2026, 1, 29))
SESSION = next(session for session in [xnys().session_on(_DAY)] if session)
OPEN = SESSION.open


def minute(n: int) -> int:
    """The left edge of the session's n-th minute."""
    return OPEN + n * MINUTE_US


def feature(symbol: str = "NVDA", t: int = OPEN, **changed: Any) -> dict[str, Any]:
    """A ready feature that the default rules answer with BUY_CALL as swing_trade, then ``changed``."""
    revision = changed.get("revision", 0)
    feed = changed.get("feed", "iex")
    body = {
        "event_id": f"f-{feed}-{symbol}-{t}-{revision}",
        "event_time": t + MINUTE_US,
        "symbol": symbol,
        "feed": feed,
        "t": t,
        "as_of": t + MINUTE_US,
        "revision": revision,
        "bar_revision": 0,
        "session_date": SESSION.date,
        "close": 100.0,
        "ready": True,
        "suspect_split": False,
        "sma20": 99.7,
        "sma50": 99.0,
        "distance_sma20": 0.003,
        "trend_state": 1,
        "vol_ratio": 1.0,
        "volume_ratio": 2.0,
        "gap_pct": None,
        "prev_move": None,
    }
    return body | changed


def feature_row(symbol: str = "NVDA", t: int = OPEN, *, now: int | None = None, **changed: Any) -> Row:
    """The row of ``feature``; on time unless ``now`` is given."""
    moment = t if now is None else now
    return Row("features", symbol.encode(), feature(symbol, t, **changed), moment - MINUTE_US, moment)


def membership_row(symbol: str = "NVDA", evaluation: int = OPEN, *, listed: bool = True) -> Row:
    body = {
        "event_id": f"m-{symbol}-{evaluation}",
        "event_time": evaluation,
        "symbol": symbol,
        "evaluation": evaluation,
        "on_watchlist": listed,
        "rank": 1 if listed else None,
        "flag": "BACKFILL" if listed else None,
        "universe_version": 3,
    }
    return Row("memberships", symbol.encode(), body, evaluation - MINUTE_US, evaluation)


def window_row(symbol: str = "NVDA", t: int = OPEN, *, n: int = 5, avg: float = 0.8) -> Row:
    """The 30-minute window that ends at ``t``; the 60-minute one is empty."""
    body = {
        "event_id": f"w-{symbol}-{t}",
        "event_time": t,
        "config_digest": "",
        "rules_version": "",
        "inputs": [],
        "symbol": symbol,
        "t": t,
        "n_30": n,
        "avg_30": avg,
        "pos_30": n,
        "neg_30": 0,
        "neu_30": 0,
        "newest_at_30": t if n else None,
        "n_60": 0,
        "avg_60": 0.0,
        "pos_60": 0,
        "neg_60": 0,
        "neu_60": 0,
        "newest_at_60": None,
    }
    return Row("sentiment_windows", symbol.encode(), body, t - MINUTE_US, t)


def score_row(symbol: str, evaluation: int, score: float | None, *, age_s: int = 0) -> Row:
    body = {
        "event_id": f"s-{symbol}-{evaluation}",
        "event_time": evaluation,
        "symbol": symbol,
        "evaluation": evaluation,
        "as_of": evaluation - age_s * 1_000_000,
        "watch_score": score,
        "sentiment_pressure": 0.0,
        "setup_quality": 1.0,
        "vol_score": 1.0,
        "trend_alignment": 0.5,
    }
    return Row("scores", symbol.encode(), body, evaluation - MINUTE_US, evaluation)


def universe_row(version: int, *symbols: str) -> Row:
    members = [{"symbol": symbol, "score": None, "reason": "MANUAL"} for symbol in symbols]
    body = {"event_id": f"u-{version}", "event_time": OPEN, "version": version, "members": members}
    return Row("universe", b"universe", body, OPEN - MINUTE_US, OPEN)


class Table:
    """A stage with its table in memory. Every output must fit its schema."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.values: dict[bytes, bytes] = {}
        self.own: bytes | None = None
        self.outs: list[Out] = []
        self.drops: list[Drop] = []

    def feed(self, rows: Sequence[Row]) -> list[Out]:
        """One batch: rows by key, in order of first appearance."""
        groups: dict[bytes, list[Row]] = {}
        for row in rows:
            groups.setdefault(self.stage.key(row), []).append(row)
        outs: list[Out] = []
        for key, batch in groups.items():
            step = self.stage.step(key, self.values.get(key), batch)
            self.values[key] = step.state
            outs += self._taken(step.outs)
            self.drops += step.drops
        return outs

    def mark(self, label: int) -> list[Out]:
        """watermark(label) at a period stage."""
        step = self.stage.at_watermark(label, 0, self)
        self.own = step.state
        self.drops += step.drops
        return self._taken(step.outs)

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted((key, body) for key, body in self.values.items() if body)

    def reasons(self) -> list[str]:
        return [str(drop.reason) for drop in self.drops]

    def _taken(self, outs: list[Out]) -> list[Out]:
        for out in outs:
            schema = topic(out.topic).schema
            assert schema is not None
            encode_body(schema, out.body)
            assert out.event_id == out.body["event_id"]
            assert out.record_key == topic(out.topic).record_key(out.body)
        self.outs += outs
        return outs


def bodies(outs: Sequence[Out], name: str) -> list[dict[str, Any]]:
    """The bodies of topic ``name`` among ``outs``."""
    return [out.body for out in outs if out.topic == name]
