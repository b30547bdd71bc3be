"""bars -> features: one feature vector per bar, revision and inserted minute.

The rules are in docs/domain.md#bars and docs/domain.md#features.
"""

from typing import Any

import numpy as np

from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import RULES_VERSION, event_id
from tapedeck.streams.protocol import MINUTE_US, Batch, Drop, Out, Row, Step, Values
from tapedeck.streams.sessions import Calendar, Phase
from tapedeck.streams.stages.features import kernel
from tapedeck.streams.stages.features import layout as L
from tapedeck.streams.stages.features.checks import broken_rule
from tapedeck.streams.stages.features.reasons import FeatureReason
from tapedeck.topics.catalogue import topic

_DAY_US = 24 * 60 * MINUTE_US
FEATURES = topic("features")
LATE_BARS = topic("bars.late")


PRICES = ("open", "high", "low", "close", "volume")
"""The fields of a bar that the kernel reads, in its order."""

Window = tuple[L.Ints, L.Floats]
"""An open window: its slots as integers and as floats over the same memory."""


REASONS = {
    L.BAD: FeatureReason.BAD_BAR,
    L.OUTSIDE: FeatureReason.OUTSIDE_SESSION,
    L.UNKNOWN: FeatureReason.CALENDAR_UNKNOWN,
    L.DUPLICATE: FeatureReason.DUPLICATE_BAR,
}
_NAMES = tuple(L.NUMBERS)
_COLUMNS = np.array(tuple(L.NUMBERS.values()))
_FLAGS = np.array((L.V_TREND, L.V_SURGE, L.V_OR_STATE))


class FeaturesStage:
    """Folds the bars of one (feed, symbol) into its window. State: ``streams.stages.features.layout``.

    A bar newer than the newest gives its feature event (revision 0). A revision, or an inserted minute, at
    most ``bars.rollback_min`` back gives the newest bar's event again with its revision + 1. An inserted
    minute first gives its own event (revision 0). Deeper ones go to ``bars.late``.
    A first open outside [``bars.split_low``, ``bars.split_high``] of the previous close sets
    ``suspect_split``: until the session ends, every feature but ``gap_pct`` and ``prev_move`` ignores the
    previous session's bars.
    """

    dead_letter_reasons = frozenset({FeatureReason.BAD_BAR.value})

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self.config_digest = config.digest
        self._ints, self._floats = L.parameters(config)
        self._fingerprint = L.fingerprint(config)
        self._extended = config.feature.extended_hours
        self._calendar = calendar
        self._dates, self._opens, self._closes = calendar.tables()
        self.fold(self.open(None), np.empty((0, 6), dtype=np.int64), np.empty((0, 5)))  # compiles it

    def key(self, row: Row) -> bytes:
        """``feed|symbol``: feeds are never mixed in a window."""
        return f"{row.body['feed']}|{row.body['symbol']}".encode()

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        """Fold a batch of bars of one key. Raises Fatal if the state is of another format."""
        if not batch:
            return Step(state or b"", [], [])
        bodies = [row.body for row in batch]
        prices = np.array([[body[name] for name in PRICES] for body in bodies], dtype=np.float64)
        times = np.array([(body["t"], body["revision"]) for body in bodies], dtype=np.int64)
        window = self.open(state)
        status, meta, values = self.fold(window, self.in_sessions(times), prices)
        outs = self._events(bodies, meta, values)
        drops = []
        late = False
        for cause, code in enumerate(status.tolist()):
            if code in REASONS:
                detail = broken_rule(bodies[cause]) if code == L.BAD else ""
                drops.append(Drop(cause, REASONS[code], detail))
            elif code == L.LATE:
                late = True
                body = bodies[cause]
                outs.append(Out(cause, LATE_BARS.name, LATE_BARS.record_key(body), body["event_id"], body))
        if late:
            outs.sort(key=lambda out: out.cause)
        touched = len(drops) < len(batch) or state
        return Step(window[0].tobytes() if touched else b"", outs, drops)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        """Nothing: the stage has no period."""
        return Step(values.own or b"", [], [])

    def open(self, state: bytes | None) -> Window:
        """A writable copy of ``state``. Raises Fatal if it is of another format."""
        return L.open_state(state, self._fingerprint)

    def fold(self, window: Window, bars: L.Ints, prices: L.Floats) -> tuple[L.Ints, L.Ints, L.Floats]:
        """The kernel over n bars of one key, in log order, into ``window``.

        ``bars`` int64 (n, 6) as ``in_sessions`` gives them, ``prices`` float64 (n, 5) as in ``PRICES``.
        Returns status per bar, meta and values per feature vector (``streams.stages.features.layout``).
        """
        n = len(bars)
        status = np.empty(n, dtype=np.int64)
        meta = np.empty((2 * n, L.META), dtype=np.int64)
        values = np.empty((2 * n, L.VALUES), dtype=np.float64)
        count = kernel.fold(*window, self._ints, self._floats, bars, prices, status, meta, values)
        return status, meta[:count], values[:count]

    def in_sessions(self, times: L.Ints) -> L.Ints:
        """The kernel's integer columns of each bar. ``times`` int64 (n, 2): t and revision."""
        bars = np.empty((len(times), 6), dtype=np.int64)
        bars[:, :2] = times
        t = bars[:, L.I_T]
        place = np.searchsorted(self._opens, t, side="right") - 1
        inside = (place >= 0) & (t < self._closes[place])
        bars[:, L.I_DATE] = self._dates[place]
        bars[:, L.I_PREV_DATE] = np.where(place > 0, self._dates[place - 1], L.NO_DATE)
        bars[:, L.I_OPEN] = self._opens[place]
        bars[:, L.I_CLOSE] = self._closes[place]
        if not inside.all():
            for row in np.flatnonzero(~inside):
                self._off_hours(bars[row])
        return bars

    def _off_hours(self, bar: L.Ints) -> None:
        """Assign a bar outside every regular session to its date's session, where that is configured."""
        t = int(bar[L.I_T])
        first, last = self._calendar.horizon()
        bar[L.I_DATE] = L.UNKNOWN_DATE
        if not first <= t // _DAY_US <= last:  # a time this far off has no New York date
            return
        date = self._calendar.session_date(t)
        bar[L.I_DATE] = L.NO_DATE
        if self._extended and self._calendar.phase(t) in (Phase.PRE, Phase.POST):
            at = int(np.searchsorted(self._dates, date))
            before = self._dates[at - 1] if at else L.NO_DATE
            bar[L.I_DATE :] = (date, before, self._opens[at], self._closes[at])

    def _events(self, bodies: list[dict[str, Any]], meta: L.Ints, values: L.Floats) -> list[Out]:
        nullable = values.astype(object)
        nullable[np.isnan(values)] = None
        picked = nullable[:, _COLUMNS].tolist()
        flags = nullable[:, _FLAGS].tolist()
        outs = []
        for numbers, (trend, surge, opening), ints in zip(picked, flags, meta.tolist(), strict=True):
            cause, t, revision, bar_revision, date, bars, ready, crosses, split = ints
            source = bodies[cause]
            feed, symbol, inputs = source["feed"], source["symbol"], [source["event_id"]]
            identity = event_id(
                FEATURES.name,
                (feed, symbol, t),
                revision=revision,
                config_digest=self.config_digest,
                inputs=inputs,
            )
            body = dict(zip(_NAMES, numbers, strict=True))
            body |= {
                "event_id": identity,
                "event_time": t + MINUTE_US,
                "config_digest": self.config_digest,
                "rules_version": RULES_VERSION,
                "inputs": inputs,
                "symbol": symbol,
                "feed": feed,
                "t": t,
                "as_of": t + MINUTE_US,
                "revision": revision,
                "bar_revision": bar_revision,
                "session_date": date,
                "bars": bars,
                "ready": bool(ready),
                "crosses_session": bool(crosses),
                "suspect_split": bool(split),
                "trend_state": None if trend is None else int(trend),
                "volume_surge": None if surge is None else surge == 1.0,
                "or_state": None if opening is None else L.OR_STATES[int(opening)],
            }
            outs.append(Out(cause, FEATURES.name, FEATURES.record_key(body), identity, body))
        return outs
