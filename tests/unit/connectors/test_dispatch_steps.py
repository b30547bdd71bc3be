"""The steps of a dispatcher in their order, and where the live and the simulated one differ."""

from collections.abc import Iterable
from typing import Any, cast

import pytest

from tapedeck.connectors.controls import EVERY_ACCOUNT
from tapedeck.connectors.dispatch import steps
from tapedeck.connectors.dispatch.inbox import Newest
from tapedeck.connectors.dispatch.router import Minute
from tapedeck.connectors.dispatch.steps import LIVE, SIMULATED, Append, Call, SelfTest, Settle
from tapedeck.connectors.dispatch.watching import Watching
from tapedeck.connectors.outlook.records import Known
from tapedeck.schemas.codec import encode, load_schema
from tapedeck.schemas.errors import DeadLetter
from tapedeck.schemas.golden import samples_of
from tapedeck.streams.protocol import Message
from tapedeck.streams.sessions import xnys
from tests.support.paper import SECOND, TEN, at

BEFORE_THE_OPEN = at("13:00")
UNREADABLE = Message("signals", 0, 3, 0, b"NVDA", b"?", ())


class Desk:
    """Stands for the dispatcher's core: says what was made of it, and when."""

    def __init__(self) -> None:
        self.working, self.tested = False, True
        self.watching = Watching(xnys())
        self.made: list[str] = []

    def _make(self, name: str) -> dict[str, Any]:
        self.made.append(name)
        return {"made": name}

    def started(self, epoch: int) -> dict[str, Any]:
        return self._make(f"started {epoch}")

    def collect(self, signals: Iterable[Any], newest: dict[str, Newest]) -> list[dict[str, Any]]:
        return [self._make(f"signal {each['symbol']} {newest[each['symbol']].bar_t}") for each in signals]

    def ticks(self) -> list[dict[str, Any]]:
        return [self._make("tick")] if self.working else []

    def bars(self, newest: dict[str, Any]) -> list[dict[str, Any]]:
        return [self._make(f"bar {symbol}") for symbol in newest]

    def outlook(self, known: Known) -> list[dict[str, Any]]:
        regime = [] if known.regime is None else [self._make(f"index {known.regime['value']}")]
        return regime + [self._make(f"earnings {symbol}") for symbol in known.earnings if known.fed]

    def control(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._make(f"control {body['scope']}")

    def market_event(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [self._make(f"{body['kind']} {body['symbol']}")]


class Seen:
    value: float | None = None

    def known(self, now: int, symbols: Iterable[str], /) -> Known:
        regime = None if self.value is None else {"value": self.value}
        return Known(regime, dict.fromkeys(symbols), regime is not None)

    def of(self, symbol: str, known_t: int, /) -> Newest:
        return Newest(known_t + 1, known_t)

    def bars(self, symbols: Iterable[str], /) -> dict[str, Any]:
        return {symbol: {} for symbol in symbols}


class Work:
    """A routine with its desk and its time, and what it does in a minute: one word a step."""

    def __init__(self, manner: steps.Manner, now: int = TEN) -> None:
        self.now, self.desk, self.seen = now, Desk(), Seen()
        self.routine = steps.Routine(
            "large", cast(Any, self.desk), self.seen, now=lambda: self.now, calendar=xnys(), manner=manner
        )

    def minute(self, *symbols: str, after_s: int = 60) -> list[steps.Step]:
        self.now += after_s * SECOND
        signals = [{"symbol": each, "bar_t": 7} for each in symbols]
        dead = [(UNREADABLE, DeadLetter("bad", value="?", remedy="none", reason="MALFORMED"))]
        return list(self.routine.minute(Minute(7, signals, dead, [UNREADABLE])))


@pytest.fixture(params=[LIVE, SIMULATED], ids=["live", "simulated"])
def work(request: pytest.FixtureRequest) -> Work:
    made = Work(request.param)
    list(made.routine.start(1))
    return made


def words(given: Iterable[steps.Step]) -> list[str]:
    def word(step: steps.Step) -> str:
        match step:
            case Append(bodies, _):
                return ", ".join(body["made"] for body in bodies) or "nothing"
            case Call(request):
                return str(request["kind"])
            case _:
                return type(step).__name__

    return list(map(word, given))


def test_a_start_tests_then_is_recorded_then_asks_what_the_broker_holds_then_opens() -> None:
    common = ["SelfTest", "started 4", "Snapshot", "Open"]
    assert words(Work(LIVE).routine.start(4)) == common
    assert words(Work(SIMULATED).routine.start(4)) == [*common, "Settle"]
    assert next(Work(LIVE).routine.start(4)) == SelfTest(starting=True)


def test_a_minute_buries_the_dead_appends_its_signals_settles_and_is_acked_last(work: Work) -> None:
    done = work.minute("NVDA", "TSLA")
    signals, quiet = "signal NVDA 8, signal TSLA 8", ["nothing", "nothing"]
    told = ["nothing", signals, *quiet]
    assert words(done) == ["Reach", "AwaitStart", "Bury", *told, "Settle", "Report", "Ack"]
    assert (done[0], done[-2], done[-1]) == (steps.Reach(7), steps.Report(7), steps.Ack([UNREADABLE]))
    assert isinstance(done[2], steps.Bury) and [message for message, _ in done[2].dead] == [UNREADABLE]


def test_a_tick_follows_the_signals_while_an_order_works(work: Work) -> None:
    work.desk.working = True
    assert words(work.minute("NVDA"))[4:8] == ["signal NVDA 8", "nothing", "tick", "Settle"]


def test_the_bars_of_what_is_watched_follow_the_signals(work: Work) -> None:
    work.desk.watching.set({"symbols": ("NVDA", "TSLA"), "every_s": 10}, 0)
    assert words(work.minute())[4:7] == ["nothing", "bar NVDA, bar TSLA", "nothing"]


def test_what_is_known_of_the_index_and_of_earnings_comes_before_the_signals_that_are_judged_by_it(
    work: Work,
) -> None:
    work.desk.watching.set({"symbols": ("NVDA",), "every_s": 10}, 0)
    assert words(work.minute("TSLA"))[3:5] == ["nothing", "signal TSLA 8"]
    work.seen.value = 31.5
    assert words(work.minute("TSLA"))[3:5] == ["index 31.5, earnings NVDA", "signal TSLA 8"]


def test_every_five_minutes_the_account_is_asked_for_and_once_settled_the_broker_is_compared(
    work: Work,
) -> None:
    before, after = ["nothing"] * 4, ["Settle", "Report", "Ack"]
    quiet = [*before, *after]
    look = [*before, "FETCH_ACCOUNT", "Settle", "FETCH_BROKER", *after]
    assert [words(work.minute())[3:] for _ in range(11)] == [quiet] * 4 + [look] + [quiet] * 4 + [look, quiet]


def test_the_comparison_takes_no_time_of_a_simulation(work: Work) -> None:
    calls = [step for step in work.minute(after_s=300) if isinstance(step, Call)]
    assert [(call.request["kind"], call.takes_time) for call in calls] == [
        ("FETCH_ACCOUNT", True),
        ("FETCH_BROKER", False),
    ]


@pytest.mark.parametrize(
    "manner, now, tested, again",
    [
        (LIVE, TEN, False, True),
        (LIVE, TEN, True, False),
        (LIVE, BEFORE_THE_OPEN, False, False),
        (SIMULATED, TEN, False, False),
    ],
)
def test_a_failed_self_test_is_repeated_live_and_in_session_only(
    manner: steps.Manner, now: int, tested: bool, again: bool
) -> None:
    work = Work(manner, now)
    list(work.routine.start(1))
    work.desk.tested = tested
    done = work.minute(after_s=300)
    place = done.index(Call(steps.FETCH_ACCOUNT)) + 1
    assert done[place] == (SelfTest(starting=False) if again else Settle())


def test_a_step_is_made_only_when_the_one_before_it_has_been_performed(work: Work) -> None:
    minute = work.routine.minute(Minute(7, [{"symbol": "NVDA", "bar_t": 7}]))
    made = []
    for step in minute:
        made.append((type(step).__name__, len(work.desk.made)))
        work.desk.working |= isinstance(step, Append)  # the signal's order works from here on
    assert [name for name, _ in made].count("Append") == 4
    assert dict(made)["AwaitStart"] == 1 and work.desk.made == ["started 1", "signal NVDA 8", "tick"]


@pytest.mark.parametrize(
    "scope, expected",
    [
        ("large", ["AwaitStart", "control large", "Ack"]),
        (EVERY_ACCOUNT, ["AwaitStart", f"control {EVERY_ACCOUNT}", "Ack"]),
        ("tiny", ["AwaitStart", "nothing", "Ack"]),
    ],
)
def test_a_control_is_appended_where_it_is_for_this_account_or_for_all(
    work: Work, scope: str, expected: list[str]
) -> None:
    body: dict[str, Any] = samples_of(load_schema("controls"))[0] | {"scope": scope}
    message = Message("controls", 0, 0, 0, scope.encode(), encode("controls", body), ())
    assert words(work.routine.control(message)) == expected


def market_event(kind: str = "HALTED") -> Message:
    body = samples_of(load_schema("market_events"))[0] | {"kind": kind, "symbol": "NVDA"}
    return Message("market_events", 0, 0, 0, b"NVDA", encode("market_events", body), ())


def test_FLD_D14_a_market_event_is_handed_to_the_desk_behind_the_start(work: Work) -> None:
    assert words(work.routine.market_event(market_event())) == ["AwaitStart", "HALTED NVDA", "Ack"]
    bad = market_event()._replace(value=b"?")
    assert words(work.routine.market_event(bad)) == ["Bury", "Ack"]


def test_a_control_that_cannot_be_read_is_buried(work: Work) -> None:
    message = Message("controls", 0, 0, 0, b"large", b"?", ())
    assert words(work.routine.control(message)) == ["Bury", "Ack"]
