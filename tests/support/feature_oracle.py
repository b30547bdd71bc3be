"""A slow, plain computation of every feature from the list of bars: the reference for the kernel."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, Row
from tapedeck.streams.sessions import Session


class Bar(NamedTuple):
    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    revision: int = 0

    def row(self, symbol: str = "SPY", feed: str = "iex") -> Row:
        body = {
            "event_id": f"bar-{symbol}-{self.t}-{self.revision}",
            "event_time": self.t + MINUTE_US,
            "symbol": symbol,
            "feed": feed,
            **self._asdict(),
            "origin": "test",
        }
        return Row("bars", symbol.encode(), body, self.t, self.t + MINUTE_US)


def compute(
    config: Config, session: Session, previous: Sequence[Bar], current: Sequence[Bar]
) -> dict[str, Any]:
    """The features after the last of ``current``; names are those of the features record."""
    p, limits = config.feature, config.bars
    newest = current[-1]
    gap = move = None
    split = False
    if previous:
        gap = (current[0].open - previous[-1].close) / previous[-1].close
        move = previous[-1].close / previous[0].open - 1
        split = not limits.split_low <= current[0].open / previous[-1].close <= limits.split_high
    bars = [*([] if split else previous), *current]
    closes = [bar.close for bar in bars]
    out: dict[str, Any] = {
        "t": newest.t,
        "bar_revision": newest.revision,
        "close": newest.close,
        "volume": newest.volume,
        "bars": len(bars),
        "ready": len(bars) >= p.ready_bars,
        "crosses_session": len(bars) > len(current) and len(current) < p.sma_long,
        "suspect_split": split,
        "gap_pct": gap,
        "prev_move": move,
    }
    out |= _averages(config, bars)
    out |= _volatility(config, bars, len(bars) - len(current))
    gains = [max(b - a, 0.0) for a, b in pairwise(closes)]
    losses = [max(a - b, 0.0) for a, b in pairwise(closes)]
    out["rsi14"] = _rsi(_recursive(gains, p.rsi, 1), _recursive(losses, p.rsi, 1))
    out |= _macd(closes, p.macd_fast, p.macd_slow, p.macd_signal)
    out["atr14"] = (_recursive(_true_ranges(bars, len(bars) - len(current)), p.atr, 1) or [None])[-1]
    out |= _session(config, session, current)
    return out


def _averages(config: Config, bars: Sequence[Bar]) -> dict[str, Any]:
    p = config.feature
    closes = [bar.close for bar in bars]
    out: dict[str, Any] = {}
    for name, window in (("20", p.sma_short), ("50", p.sma_long)):
        mean = sum(closes[-window:]) / window if len(closes) >= window else None
        out[f"sma{name}"] = mean
        out[f"distance_sma{name}"] = None if mean is None else (closes[-1] - mean) / mean
    out["trend_state"] = None
    if out["sma50"] is not None:
        short, long = round(out["sma20"], 10), round(out["sma50"], 10)
        out["trend_state"] = (short > long) - (short < long)
    out |= {"bb_upper": None, "bb_lower": None, "bb_position": None}
    window = p.bollinger
    if len(closes) >= window:
        last = closes[-window:]
        mean = sum(last) / window
        width = p.bollinger_width * math.sqrt(sum((c - mean) ** 2 for c in last) / window)
        out["bb_upper"], out["bb_lower"] = mean + width, mean - width
        if round(mean + width, 10) != round(mean - width, 10):
            out["bb_position"] = (closes[-1] - mean + width) / (2 * width)
    out |= {"volume_ratio": None, "volume_surge": None}
    volumes = [bar.volume for bar in bars[-p.volume_window - 1 : -1]]
    if len(volumes) == p.volume_window and sum(volumes) != 0:
        ratio = bars[-1].volume / (sum(volumes) / len(volumes))
        out |= {"volume_ratio": ratio, "volume_surge": round(ratio, 10) > p.surge}
    return out


def _volatility(config: Config, bars: Sequence[Bar], first_of_session: int) -> dict[str, Any]:
    p = config.feature
    out: dict[str, Any] = {}
    for name, window in (("recent_vol", p.recent), ("baseline_vol", p.baseline)):
        out[name] = None
        if len(bars) < window:
            continue
        returns = []
        for k in range(len(bars) - window + 1, len(bars)):
            near = bars[k].t - bars[k - 1].t <= config.bars.max_return_gap_min * MINUTE_US
            if k != first_of_session and near:
                returns.append(bars[k].close / bars[k - 1].close - 1)
        if len(returns) >= max(2, math.ceil(p.min_return_share * (window - 1) - 1e-9)):
            mean = sum(returns) / len(returns)
            out[name] = math.sqrt(sum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
    recent, baseline = out["recent_vol"], out["baseline_vol"]
    known = recent is not None and baseline is not None and round(recent, 10) and round(baseline, 10)
    out["vol_ratio"] = recent / baseline if known else None
    return out


def _recursive(values: Sequence[float], window: int, take: int) -> list[float]:
    """Seeded by the mean of the first ``window``; element 0 belongs to value number ``window``."""
    if len(values) < window:
        return []
    out = [sum(values[:window]) / window]
    for value in values[window:]:
        out.append(out[-1] + (value - out[-1]) * take / (window - 1 + take))
    return out


def _rsi(gains: list[float], losses: list[float]) -> float | None:
    if not gains:
        return None
    gain, loss = gains[-1], losses[-1]
    if loss == 0:
        return 50.0 if gain == 0 else 100.0
    return 100 - 100 / (1 + gain / loss)


def _macd(closes: list[float], fast: int, slow: int, signal: int) -> dict[str, Any]:
    slow_line = _recursive(closes, slow, 2)
    fast_line = _recursive(closes, fast, 2)[slow - fast :]
    macd = [a - b for a, b in zip(fast_line, slow_line, strict=True)]
    signals = _recursive(macd, signal, 2)
    return {
        "macd": macd[-1] if macd else None,
        "macd_signal": signals[-1] if signals else None,
        "macd_hist": macd[-1] - signals[-1] if signals else None,
    }


def _true_ranges(bars: Sequence[Bar], first_of_session: int) -> list[float]:
    out = []
    for k, bar in enumerate(bars):
        span = bar.high - bar.low
        if k not in (0, first_of_session):
            last = bars[k - 1].close
            span = max(span, abs(bar.high - last), abs(bar.low - last))
        out.append(span)
    return out


def _session(config: Config, session: Session, current: Sequence[Bar]) -> dict[str, Any]:
    p = config.feature
    newest = current[-1]
    volume = math.fsum(bar.volume for bar in current)
    value = math.fsum((bar.high + bar.low + bar.close) / 3 * bar.volume for bar in current)
    out: dict[str, Any] = {"vwap": value / volume if volume else None}
    for name, back in (("momentum_5", p.momentum_short), ("momentum_15", p.momentum_long)):
        out[name] = newest.close / current[-1 - back].close - 1 if len(current) > back else None
    out |= {"or_high": None, "or_low": None, "or_state": None}
    ends = session.open + p.opening_range_min * MINUTE_US
    opening = [bar for bar in current if bar.t < ends]
    if opening and newest.t + MINUTE_US >= ends:
        high, low = max(bar.high for bar in opening), min(bar.low for bar in opening)
        state = "ABOVE" if newest.close > high else "BELOW" if newest.close < low else "INSIDE"
        out |= {"or_high": high, "or_low": low, "or_state": state}
    return out


def assert_agrees(body: dict[str, Any], expected: dict[str, Any]) -> None:
    """Every feature of ``body`` is the oracle's, to the 10th decimal; nulls exactly."""
    for name, value in expected.items():
        if isinstance(value, float):
            assert body[name] is not None, (name, value)
            scale = max(1.0, abs(value))
            assert math.isclose(body[name], value, rel_tol=0, abs_tol=2e-10 * scale), (
                name,
                body[name],
                value,
            )
        else:
            assert body[name] == value, (name, body[name], value)
