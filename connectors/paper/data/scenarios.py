"""Scenarios: what Alpaca's market data has been seen to do, by name. Each records when it fired.

Durations are in seconds of the exchange's clock, so that a tape at 60x meets them sixty times as fast and a
test need not wait.
"""

import difflib
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from tapedeck.schemas.errors import Fatal

_REMEMBERED = 1_000
_ALIKE = 0.4
_WORDS = ("symbol", "endpoint")
_SETTINGS = {*_WORDS, "limit", "code"}


class Scenario(StrEnum):
    GHOST_SESSION = "ghost-session"
    SECOND_CONNECTION = "second-connection"
    HANDSHAKE_429 = "handshake-429"
    MUTE = "mute"
    BURST = "burst"
    SLOW_CLIENT_CUT = "slow-client-cut"
    SYMBOL_LIMIT = "symbol-limit"
    AUTH_TIMEOUT = "auth-timeout"
    AUTH_FAILED = "auth-failed"
    INSUFFICIENT_SUBSCRIPTION = "insufficient-subscription"
    CONNECTION_LIMIT = "connection-limit"
    LATE_REVISION = "late-revision"
    DOUBLE_BAR = "double-bar"
    MISSING_MINUTES = "missing-minutes"
    NO_TRADE_MINUTES = "no-trade-minutes"
    LATE_REST = "late-rest"
    MISSING_DAY = "missing-day"
    HALT = "halt"
    SIP_15MIN_403 = "sip-15min-403"
    NULL_UPDATES = "null-updates"
    STREAM_CUT = "stream-cut"
    STREAM_ERROR = "stream-error"
    UNKNOWN_FRAME = "unknown-frame"
    REST_429 = "rest-429"
    REST_500 = "rest-500"
    REDIRECTS = "redirects"
    REVOKED_KEYS = "revoked-keys"
    NEWS_CORRECTION = "news-correction"
    NEWS_NULL_SYMBOLS = "news-null-symbols"
    NEWS_REPEAT = "news-repeat"
    NEWS_MISSING = "news-missing"


class Plan(NamedTuple):
    """``case``: its id in the field's list. ``times`` it fires; 0: until it is disarmed."""

    case: str
    line: str
    times: int = 1
    seconds: int = 0


PLANS: dict[Scenario, Plan] = {
    Scenario.GHOST_SESSION: Plan(
        "D1", "cuts the stream; the old session blocks the key with 406 for `seconds`", 1, 90
    ),
    Scenario.SECOND_CONNECTION: Plan("D2", "a second connection is refused with 406, and drops the first"),
    Scenario.HANDSHAKE_429: Plan("D3", "the next `count` websocket handshakes are answered 429", 3),
    Scenario.MUTE: Plan("D4", "open connections stay open, and get no data for `seconds`", 1, 1140),
    Scenario.BURST: Plan("D5", "holds all messages back for `seconds`, then sends them at once", 1, 300),
    Scenario.SLOW_CLIENT_CUT: Plan("D6", "the next message is 407 slow client, and the connection closes"),
    Scenario.SYMBOL_LIMIT: Plan("D7", "a subscription of more than `limit` symbols is refused with 405", 0),
    Scenario.AUTH_TIMEOUT: Plan("D8", "the next log-in is answered 404 auth timeout"),
    Scenario.AUTH_FAILED: Plan("D8", "the next log-in is answered 402 auth failed"),
    Scenario.INSUFFICIENT_SUBSCRIPTION: Plan("D8", "the next log-in is answered 409, which does not pass"),
    Scenario.CONNECTION_LIMIT: Plan("D8", "the next log-in is answered 406 connection limit exceeded"),
    Scenario.LATE_REVISION: Plan(
        "D9", "the next `count` bars come preliminary, and as updated bars `seconds` later", 1, 30
    ),
    Scenario.DOUBLE_BAR: Plan(
        "D10", "the next `count` bars come preliminary, and again as bars `seconds` later", 1, 30
    ),
    Scenario.MISSING_MINUTES: Plan("D11", "the next `count` bars are not streamed; REST has them", 3),
    Scenario.NO_TRADE_MINUTES: Plan("D11", "the next `count` bars are neither streamed nor in REST", 3),
    Scenario.LATE_REST: Plan("D12", "the next `count` REST answers are `seconds` old", 3, 60),
    Scenario.MISSING_DAY: Plan("D13", "the next `count` REST answers lack the session before", 2),
    Scenario.HALT: Plan(
        "D14", "halts `symbol` for `seconds`: statuses, and no bars or quotes in between", 1, 300
    ),
    Scenario.SIP_15MIN_403: Plan("D16", "REST refuses SIP data of the last 15 minutes with 403", 0),
    Scenario.NULL_UPDATES: Plan("D25", "the data of the next `count` trade updates is null", 1),
    Scenario.STREAM_CUT: Plan("", "cuts the stream without a close frame; nothing blocks the key"),
    Scenario.STREAM_ERROR: Plan("D8", "an error frame with `code` between the data"),
    Scenario.UNKNOWN_FRAME: Plan("", "a message of an unknown type between the data, `count` times"),
    Scenario.REST_429: Plan("", "the next `count` REST requests are answered 429", 3),
    Scenario.REST_500: Plan("", "the next `count` REST requests are answered 500", 3),
    Scenario.REDIRECTS: Plan("", "the next `count` REST requests are redirected to another address"),
    Scenario.REVOKED_KEYS: Plan("D8", "cuts the streams; REST answers 401, and log-ins 402", 0),
    Scenario.NEWS_CORRECTION: Plan("", "the next `count` articles are corrected `seconds` later", 1, 30),
    Scenario.NEWS_NULL_SYMBOLS: Plan("", "the symbols of the next `count` streamed articles are null"),
    Scenario.NEWS_REPEAT: Plan("", "the next `count` articles are streamed twice"),
    Scenario.NEWS_MISSING: Plan("", "the next `count` articles are not streamed; REST has them"),
}


@dataclass
class Armed:
    """A scenario that waits. ``left`` 0 or less with ``lasting``: until it is disarmed."""

    scenario: Scenario
    left: int
    lasting: bool
    seconds: int
    symbol: str | None = None
    endpoint: str | None = None
    limit: int = 30
    code: int = 500

    @property
    def microseconds(self) -> int:
        return self.seconds * 1_000_000


class Scenarios:
    """Armed scenarios, taken in the order they were armed, and the record of those that fired.

    ``names``: those to arm at once, each with settings if need be: ``halt:symbol=NVDA,seconds=60``.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._armed: list[Armed] = []
        self.counts: Counter[Scenario] = Counter()
        self.fired: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        for text in names:
            name, settings = _parsed(text)
            self.arm(name, **settings)

    def arm(self, name: str, **changes: Any) -> Armed:
        """Arm by name; ``count``, ``seconds``, ``symbol``, ``endpoint``, ``limit``, ``code`` change its plan.

        Raises Fatal for an unknown name or change.
        """
        scenario = known(name)
        plan = PLANS[scenario]
        count, seconds = changes.pop("count", plan.times), changes.pop("seconds", plan.seconds)
        if unknown := sorted(set(changes) - _SETTINGS):
            remedy = f"it takes count, seconds, {', '.join(sorted(_SETTINGS))}"
            raise Fatal(f"{name} has no such setting", value=unknown[0], remedy=remedy)
        wrong = [v for k, v in ({"count": count, "seconds": seconds} | changes).items() if not _fits(k, v)]
        if wrong:
            remedy = "symbol and endpoint are text, the others are whole numbers, 0 or more"
            raise Fatal(f"not a setting of {name}", value=wrong[0], remedy=remedy)
        armed = Armed(scenario, count, count == 0, seconds, **changes)
        self._armed.append(armed)
        return armed

    def disarm(self, name: str | None = None) -> None:
        """Disarm one scenario, or all; the record stays."""
        gone = set(Scenario) if name is None else {known(name)}
        self._armed = [each for each in self._armed if each.scenario not in gone]

    def waits(
        self, scenario: Scenario, symbol: str | None = None, endpoint: str | None = None
    ) -> Armed | None:
        """The scenario if it is armed for this symbol and endpoint, where it names one; it is not taken."""
        for armed in self._armed:
            if (
                armed.scenario is scenario
                and armed.symbol in (None, symbol)
                and armed.endpoint in (None, endpoint)
            ):
                return armed
        return None

    def take(
        self,
        scenario: Scenario,
        at: int,
        detail: str = "",
        symbol: str | None = None,
        endpoint: str | None = None,
    ) -> Armed | None:
        """The scenario if it happens now, recorded; None if it is not armed."""
        armed = self.waits(scenario, symbol, endpoint)
        if armed is not None:
            self.record(armed, at, detail)
        return armed

    def record(self, armed: Armed, at: int, detail: str) -> None:
        """It fires at ``at``."""
        if not armed.lasting:
            armed.left -= 1
            if armed.left <= 0:
                self._armed = [each for each in self._armed if each is not armed]
        self.counts[armed.scenario] += 1
        self.fired.append({"scenario": armed.scenario, "at": at, "detail": detail})

    def told(self) -> dict[str, Any]:
        """What ``/_paper/state`` shows."""
        armed = [{"scenario": each.scenario, "left": each.left or None} for each in self._armed]
        return {"armed": armed, "fired": list(self.fired), "counts": dict(self.counts)}


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """A name and its settings. Raises Fatal for a setting without a value."""
    name, _, settings = text.partition(":")
    found: dict[str, Any] = {}
    for each in settings.split(",") if settings else ():
        key, equals, value = each.partition("=")
        if not equals or not value:
            raise Fatal("not a setting", value=each, remedy=f"write {name}:seconds=60")
        found[key] = int(value) if value.isdigit() else value
    return name, found


def known(name: str) -> Scenario:
    """The scenario of that name. Raises Fatal with the nearest names for an unknown one."""
    try:
        return Scenario(name)
    except ValueError:
        near = difflib.get_close_matches(str(name), list(Scenario), n=3, cutoff=_ALIKE)
        remedy = f"did you mean {' or '.join(near)}?" if near else "`tape exchange --scenarios` lists them"
        raise Fatal("no such scenario", value=name, remedy=remedy) from None


def listed() -> list[str]:
    """One line per scenario: its name, its case and what happens."""
    width = max(map(len, Scenario))
    return [f"{name:{width}}  {plan.case:3}  {plan.line}{_defaults(plan)}" for name, plan in PLANS.items()]


def _defaults(plan: Plan) -> str:
    told = [f"{plan.times} times"] if "`count`" in plan.line else []
    told += [f"{plan.seconds} s"] if "`seconds`" in plan.line else []
    told += [] if plan.times else ["until disarmed"]
    return f" ({', '.join(told).replace('1 times', 'once')})" if told else ""


def _fits(name: str, value: Any) -> bool:
    if name in _WORDS:
        return value is None or isinstance(value, str)
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
