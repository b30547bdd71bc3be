"""The sentiment_windows stage: the mood of each symbol, written at the end of every minute that changed it.

State per symbol: its items of the last hour. The task's own value: of each symbol whose last record is not of
empty windows, a fingerprint of what that record counts.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, WATERMARK_CAUSE, Batch, Drop, Out, Row, Step, Values
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import Body, derived, pack_state, unpack_state
from tapedeck.streams.stages.sentiment_windows.items import KEPT_US, STATE_VERSION, Items, last_at
from tapedeck.streams.stages.sentiment_windows.reasons import SentimentDrop
from tapedeck.streams.stages.sentiment_windows.rule import (
    SIGNALS_MINUTES,
    WATCHLIST_MINUTES,
    Counted,
    Item,
    Label,
    Scope,
    of_signals,
    of_watchlist,
    window_of,
)

_UNSCORED = {"RETRACTED": SentimentDrop.RETRACTED, "EMPTY_TEXT": SentimentDrop.EMPTY_TEXT}
_FINGERPRINT = 16


class _Mood(NamedTuple):
    """The scores that each window of a symbol counts, by event_id."""

    of_signals: Mapping[str, Item]
    of_watchlist: Mapping[str, Item]

    @property
    def inputs(self) -> list[str]:
        return sorted(self.of_signals.keys() | self.of_watchlist.keys())

    @property
    def fingerprint(self) -> str:
        """Empty if both windows are."""
        if not self.inputs:
            return ""
        text = "|".join(",".join(sorted(each)) for each in self)
        return sha256(text.encode()).hexdigest()[:_FINGERPRINT]


class SentimentWindowsStage:
    """Trigger ``sentiment``; a ``sentiment_windows`` record of each symbol whose windows changed."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._digest = config.digest
        self._signals, self._watchlist = of_signals(config), of_watchlist(config)

    def key(self, row: Row) -> bytes:
        return str(row.body["symbol"]).encode()

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        items, drops = Items(state), []
        for cause, row in enumerate(batch):
            reason = self.uncounted(row.body)
            if reason is not SentimentDrop.OUT_OF_SCOPE:
                item = _item(row.body) if reason is None else None
                reason = items.take(row.body, item, row.now) or reason
            drops += [Drop(cause, SentimentDrop.TOO_MANY_ITEMS)] * items.cut()
            if reason is not None:
                drops.append(Drop(cause, reason))
        return Step(items.pack(), [], drops)

    def uncounted(self, body: Body) -> SentimentDrop | None:
        """Why a score never counts; None if it may."""
        scope = Scope(body["scope"].lower())
        windows = [each for each in (self._signals, self._watchlist) if each.has(scope)]
        if not windows:
            return SentimentDrop.OUT_OF_SCOPE
        if body["score"] is None:
            return _UNSCORED.get(body["reason"], SentimentDrop.EMPTY_TEXT)
        if body["folded"]:
            return SentimentDrop.FOLDED
        if not any(each.may_hold(scope, body["confidence"]) for each in windows):
            return SentimentDrop.LOW_CONFIDENCE
        return None

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        t = watermark + MINUTE_US
        before = unpack_state(STATE_VERSION, values.own) if values.own else {}
        current = {
            symbol: state
            for key, state in values.items()
            if (symbol := key.decode()) in before or (state and last_at(state) > t - KEPT_US)
        }
        outs, after = [], {}
        for symbol in sorted(current.keys() | before.keys()):
            mood = self._mood(current.get(symbol), t)
            fingerprint = mood.fingerprint
            if fingerprint != before.get(symbol, ""):
                outs.append(self._record(symbol, t, mood))
            if fingerprint:
                after[symbol] = fingerprint
        return Step(pack_state(STATE_VERSION, after) if after else b"", outs, [])

    def counts(self, body: Body, t: int) -> bool:
        """Whether a score counts in a window that ends at ``t``, if nothing replaces it."""
        item = None if self.uncounted(body) else _item(body)
        return item is not None and any(each.holds(item, t) for each in (self._signals, self._watchlist))

    def _mood(self, state: bytes | None, t: int) -> _Mood:
        counting = Items(state).counting()

        def of(window: Counted) -> dict[str, Item]:
            return {event_id: item for event_id, item in counting.items() if window.holds(item, t)}

        return _Mood(of(self._signals), of(self._watchlist))

    def _record(self, symbol: str, t: int, mood: _Mood) -> Out:
        body: Body = {"event_time": t, "symbol": symbol, "t": t}
        for minutes, items in zip((SIGNALS_MINUTES, WATCHLIST_MINUTES), mood, strict=True):
            body |= {
                f"{name}_{minutes}": value for name, value in window_of(items.values())._asdict().items()
            }
        return derived(WATERMARK_CAUSE, "sentiment_windows", body, self._digest, mood.inputs)


def before_change(symbol: str) -> bytes:
    """An own value after which whatever ``symbol`` has is a change."""
    return pack_state(STATE_VERSION, {symbol: "~"})


def _item(body: Body) -> Item:
    return Item(
        body["event_time"],
        body["score"],
        body["confidence"],
        Label(body["label"]),
        Scope(body["scope"].lower()),
    )
