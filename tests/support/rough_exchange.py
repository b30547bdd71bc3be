"""Seeded sessions of the simulated dispatchers against an exchange that misbehaves.

A session is a few windows of a synthetic day. Its signals are drawn by the seed, many and wild, in place of
those of the market stages: what is judged is what the accounts do with them. The judge is in ``judge``.
"""

import random
from collections.abc import Sequence
from typing import Any

from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.paper.faults import Faults
from tapedeck.connectors.paper.tempers import Profile, temper
from tapedeck.streams.config.document import Config
from tapedeck.streams.identity import event_id, signal_id
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import iso_utc
from tapedeck.streams.sim.crash import Fuse, Point
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.sim.simulation import Simulation
from tests.support.judge import Watch
from tests.support.paths import CONFIG, cut
from tests.support.sim_tapes import small_tape

WINDOWS = (slice(40, 60), slice(363, 368), slice(380, 400))
"""Minutes of the tape: openings, the broker's own closing of expiring contracts, and the end of the day."""
LAST_SIGNAL = 60
CALM_FROM = 391
"""The minute of the tape at which the exchange calms down, so that what is pending can end."""
BUSY = 3_000
"""Effects of a dispatcher at one moment that no account needs."""
_ACTIONS = ("BUY_CALL", "BUY_CALL", "BUY_PUT", "BUY_PUT", "BUY_STOCK", "SELL_STOCK")
_BULL = ("BUY_CALL", "BUY_STOCK")
_MOST_SIGNALS = 5


class RoughSession(Simulation):
    """One session. ``play`` it, let it ``rest``, then ``judge`` it. ``seed`` draws signals and faults."""

    def __init__(
        self,
        seed: int,
        profile: Profile = Profile.ROUGH,
        config: Config = CONFIG,
        *,
        windows: Sequence[slice] = WINDOWS,
        **options: Any,
    ) -> None:
        self.faults = Faults(temper(profile, seed))
        tape = cut(small_tape(), *windows)
        super().__init__(TOPOLOGY, tape, config, seed=seed, faults=self.faults, **options)
        self.watch = Watch(self.exchange, config.accounts)
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        """What draws the signals."""
        self._rng = random.Random(f"signals|{seed}")
        self._closes = {
            minute.label: {bar["symbol"]: bar for bar in minute.bars} for minute in self.tape.minutes
        }
        minutes = small_tape().minutes
        self._last_signal, self._calm_at = minutes[LAST_SIGNAL].label, minutes[CALM_FROM].label
        self.signals = 0

    @property
    def passed(self) -> list[str]:
        """What passed a limit at any moment."""
        return self.watch.broken

    def _run_stages(self) -> None:
        """Signals are drawn, not computed."""

    def _follow(self, label: int) -> None:
        if label >= self._calm_at:
            self._calm()
        writer = self.log.writer()
        for body in self._drawn(label) if label < self._last_signal else ():
            writer.send("signals", body)
            self.signals += 1
        writer.watermark("signals", label)
        for dispatcher in self.dispatchers:
            self._work(dispatcher)

    def _calm(self) -> None:
        """From here on nothing goes wrong by chance."""
        self.faults.temper = None

    def _work(self, dispatcher: SimDispatcher) -> None:
        """As ever, and an account that asks without a pause fails instead of never ending."""
        dispatcher.fuse = _Guard(BUSY)
        super()._work(dispatcher)

    def _drawn(self, label: int) -> list[dict[str, Any]]:
        """The signals of a minute: none in half of them, up to five in the others."""
        bars = self._closes.get(label, {})
        if self._rng.random() < 0.5 or not bars:
            return []
        chosen = self._rng.sample(sorted(bars), self._rng.randint(1, min(_MOST_SIGNALS, len(bars))))
        return [
            a_signal(bars[symbol], self._rng.choice(_ACTIONS), round(self._rng.uniform(0.4, 0.95), 6))
            for symbol in chosen
        ]


def a_signal(bar: dict[str, Any], action: str, confidence: float) -> dict[str, Any]:
    """A signal of a bar, as a market stage would write it."""
    identity = signal_id(bar["symbol"], iso_utc(bar["t"]))
    return {
        "event_id": event_id("signals", (identity,)),
        "event_time": bar["t"] + MINUTE_US,
        "config_digest": CONFIG.digest,
        "rules_version": "rules-1",
        "inputs": [bar["event_id"]],
        "signal_id": identity,
        "symbol": bar["symbol"],
        "feed": bar["feed"],
        "bar_t": bar["t"],
        "bar_revision": bar["revision"],
        "as_of": bar["t"] + MINUTE_US,
        "action": action,
        "strategy": "day_trade",
        "reason": "DRAWN",
        "confidence": confidence,
        "direction": "BULL" if action in _BULL else "BEAR",
        "factors": dict.fromkeys(("base", "sentiment", "volume", "move", "momentum")),
        "close": bar["close"],
        **dict.fromkeys(("distance_sma20", "trend_state", "vol_ratio", "volume_ratio")),
        "sentiment_n": 0,
        "sentiment_avg": 0.0,
        **dict.fromkeys(("watchlist_rank", "watchlist_flag", "universe_version")),
    }


class _Guard(Fuse):
    """Burns at each effect of a dispatcher, and fails a test in which there are too many."""

    def __init__(self, effects: int) -> None:
        super().__init__()
        self._effects = effects

    def burn(self, point: Point = Point.EFFECT) -> None:
        self._effects -= 1
        assert self._effects > 0, "a dispatcher does not come to rest: it asks without a pause"
        super().burn(point)
