"""The signals stage's fold over the rows of one symbol: live one row at a time, in columns many.

Columns and codes are named in ``streams.stages.signals.fold_kernel``.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import NEW_YORK, Calendar, iso_date, micros
from tapedeck.streams.stages.base import Body, pack_state, unpack_state
from tapedeck.streams.stages.sentiment_windows.rule import SIGNALS_MINUTES
from tapedeck.streams.stages.signals import fold_kernel as kernel
from tapedeck.streams.stages.signals import rule_kernel as rule
from tapedeck.streams.stages.signals.fold_kernel import (
    ANSWER,
    CONFIDENCES,
    DECIDED_BAR,
    FLOATS,
    HEAD,
    INTS,
    MEMBER,
    MILLIONTHS,
    WINDOW,
)
from tapedeck.streams.stages.signals.rule import ACTIONS
from tapedeck.streams.stages.signals.rule_kernel import NONE, NULL, Floats, Ints

STATE_VERSION = 2
FIRST_VERSION = 1
"""Without a sentiment window and what decisions were based on of one: still written where there is none."""
WINDOW_US = SIGNALS_MINUTES * MINUTE_US
"""A sentiment window counts so long after its T: then each of its items has left it."""
ALLOWED_LATENESS_BARS = 16
"""Decided bars are kept this far beyond the roll-back depth, to recognize records redelivered late."""

_FRESH: Body = {"membership": None, "decided": {}, "last_signal_t": None, "gap_fade_date": None}
_NO_NEWS = (0, 0)
_CODES = {str(action): code for code, action in enumerate(ACTIONS)}


class Answers(NamedTuple):
    """The result of a fold.

    ``joined`` int64 (m): what each membership row did; ``windowed`` int64 (w): what each window row did.
    ``rows`` int64 (n, ANSWER). ``numbers`` float64 (n, CONFIDENCES): confidence and its five factors, NaN =
    null.
    """

    joined: Ints
    windowed: Ints
    rows: Ints
    numbers: Floats


@dataclass(slots=True)
class SignalsState:
    """One symbol's state as arrays.

    ``membership``: the newest one when the state value was read, None if there is none; ``window``: the
    event_id of the newest sentiment window then. ``feeds``: names in the order of ``counts`` int64 (f) and
    ``rings`` int64 (f, kept, DECIDED_BAR): decided bars, by time.
    """

    membership: Body | None
    window: str | None
    selected: str
    head: Ints
    feeds: list[str]
    counts: Ints
    rings: Ints

    def place_of(self, feed: str) -> int:
        """The number of ``feed`` for ``I_FEED``; a new feed gets one."""
        if feed not in self.feeds:
            self.feeds.append(feed)
            self.counts = np.append(self.counts, 0)
            self.rings = np.concatenate((self.rings, np.zeros((1, *self.rings.shape[1:]), dtype=np.int64)))
            self.select()
        return self.feeds.index(feed)

    def select(self) -> None:
        """Tell the kernel which feed gives signals."""
        place = self.feeds.index(self.selected) if self.selected in self.feeds else NONE
        self.head[kernel.H_SELECTED] = place


class SignalsFold:
    """The fold with its parameters; the constructor compiles it before the first bar."""

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._parameters = rule.parameters(config)
        self._selected = config.bars.feed
        self._kept = config.bars.rollback_min + ALLOWED_LATENESS_BARS
        first, last = calendar.horizon()
        limits = (self._kept, _midnight(first), _midnight(last + 1), WINDOW_US)
        self._tables = (np.array(limits, dtype=np.int64), *calendar.tables())
        empty = (np.empty((0, columns), dtype=np.int64) for columns in (INTS, MEMBER, WINDOW))
        bars, members, windows = empty
        self.fold(self.open(None), bars, np.empty((0, FLOATS), dtype=np.float64), members, windows)

    def open(self, state: bytes | None) -> SignalsState:
        """The arrays of a state value, fresh ones where there is none. Raises Fatal for another format."""
        fields = unpack_state(STATE_VERSION, state, FIRST_VERSION) if state else _FRESH
        member, window = fields["membership"], fields.get("window")
        decided: dict[str, list[Any]] = fields["decided"]
        counts = [len(bars) for bars in decided.values()]
        rings = np.zeros((len(counts), max(self._kept, *counts, 0) + 1, DECIDED_BAR), dtype=np.int64)
        for ring, bars in zip(rings, decided.values(), strict=True):
            rows = [
                (
                    t, revision, _CODES[action],
                    now, listed, NULL if last is None else last, NULL if fade is None else fade,
                    *(news or _NO_NEWS),
                )
                for t, revision, action, (now, listed, last, fade, *news) in bars
            ]  # fmt: skip
            size = len(rows) * DECIDED_BAR
            ring.reshape(-1)[:size] = np.fromiter(chain.from_iterable(rows), np.int64, size)
        head = np.empty(HEAD, dtype=np.int64)
        head[kernel.H_LAST_SIGNAL] = _or_null(fields["last_signal_t"])
        head[kernel.H_FADE_DATE] = _or_null(fields["gap_fade_date"])
        head[kernel.H_MEMBER] = NULL if member is None else member["event_time"]
        head[kernel.H_LISTED] = member is not None and bool(member["on_watchlist"])
        news = (NULL, *_NO_NEWS) if window is None else (window["event_time"], window["n"], window["avg"])
        head[kernel.H_WINDOW :] = news
        opened = SignalsState(
            member,
            None if window is None else window["event_id"],
            self._selected,
            head,
            [*decided],
            np.array(counts, dtype=np.int64),
            rings,
        )
        opened.select()
        return opened

    def fold(self, state: SignalsState, bars: Ints, values: Floats, members: Ints, windows: Ints) -> Answers:
        """Fold rows of one symbol into ``state``.

        ``bars`` int64 (n, INTS) and ``values`` float64 (n, FLOATS): feature rows in log order. ``members``
        int64 (m, MEMBER) and ``windows`` int64 (w, WINDOW): membership and window rows in log order;
        ``I_MEMBERS`` and ``I_WINDOWS`` give their position among the others. Those after the last feature
        row are joined at the end.
        """
        n = len(bars)
        made = Answers(
            np.empty(len(members), dtype=np.int64),
            np.empty(len(windows), dtype=np.int64),
            np.empty((n, ANSWER), dtype=np.int64),
            np.empty((n, CONFIDENCES), dtype=np.float64),
        )
        arrays = (state.head, state.counts, state.rings, bars, values, members, windows)
        kernel.fold(*self._parameters, *self._tables, *arrays, *made)
        return made

    def close(self, state: SignalsState, membership: Body | None, window: str | None) -> bytes:
        """The state value.

        ``membership``: the body joined last, ``window``: the event_id of the window joined last; those of
        ``state`` where none was.
        """
        columns = kernel.DECIDED_BAR if window is not None else kernel.D_N
        decided = {
            feed: [
                [
                    t, revision, ACTIONS[action],
                    [now, listed == 1, None if last == NULL else last, None if fade == NULL else fade, *news],
                ]
                for t, revision, action, now, listed, last, fade, *news in ring[:count, :columns].tolist()
            ]
            for feed, count, ring in zip(state.feeds, state.counts.tolist(), state.rings, strict=True)
            if count
        }  # fmt: skip
        head = state.head.tolist()
        fields = {
            "membership": membership,
            "decided": decided,
            "last_signal_t": _or_none(head[kernel.H_LAST_SIGNAL]),
            "gap_fade_date": _or_none(head[kernel.H_FADE_DATE]),
        }
        if window is None:
            return pack_state(FIRST_VERSION, fields)
        time, n, avg = head[kernel.H_WINDOW :]
        newest = {"event_id": window, "event_time": time, "n": n, "avg": avg}
        return pack_state(STATE_VERSION, fields | {"window": newest})


def window_rows(t: ArrayLike, n: ArrayLike, avg: ArrayLike) -> Ints:
    """The kernel's rows int64 (w, WINDOW) of windows by their T, items and mean."""
    means = np.clip(np.nan_to_num(np.asarray(avg, dtype=np.float64)), -1.0, 1.0)
    columns = (t, np.maximum(n, 0), np.rint(means * MILLIONTHS))
    return np.stack([np.asarray(column).astype(np.int64) for column in columns], axis=-1).reshape(-1, WINDOW)


def _midnight(day: int) -> int:
    """The first microsecond of a New York date."""
    date = iso_date(day)
    return micros(datetime(date.year, date.month, date.day, tzinfo=NEW_YORK))


def _or_null(x: int | None) -> int:
    return NULL if x is None else x


def _or_none(x: int) -> int | None:
    return None if x == NULL else x
