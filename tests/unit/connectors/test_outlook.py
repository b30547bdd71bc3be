"""Which index value and which earnings count at a moment, and that a file is written once."""

from pathlib import Path
from typing import Any

import pytest

from tapedeck.connectors.dispatch.freshness import NewestSeen
from tapedeck.connectors.dispatch.inbox import Inbox
from tapedeck.connectors.outlook.records import EARNINGS, REGIME, Known, Outlook, ReportTime, earnings, regime
from tapedeck.connectors.outlook.writing import Written, write
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import Message
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.topics.catalogue import Layout

TEN = 1_771_340_400_000_000
SECOND = 1_000_000
DAY = 20501


def index(value: float, at: int, late: int = 0) -> dict[str, Any]:
    return regime(at=TEN + at * SECOND, available_at=TEN + (at + late) * SECOND, value=value, origin="test")


def report(
    symbol: str, day: int | None, known: int, time: ReportTime = ReportTime.AFTER_CLOSE
) -> dict[str, Any]:
    return earnings(
        symbol=symbol, report_date=day, report_time=time, available_at=TEN + known * SECOND, origin="test"
    )


def message(name: str, body: dict[str, Any]) -> Message:
    return Message(name, 0, 0, body["event_time"] // 1000, b"k", encode(name, body), ())


def outlook(*given: dict[str, Any]) -> Outlook:
    found = Outlook()
    for body in given:
        found.see(message(EARNINGS if "symbol" in body else REGIME, body))
    return found


def value_at(found: Outlook, seconds: int) -> float | None:
    known = found.at(TEN + seconds * SECOND, ()).regime
    return None if known is None else float(known["value"])


@pytest.mark.parametrize("turned", [False, True])
def test_a_value_counts_from_its_own_available_time_on_whatever_the_order(turned: bool) -> None:
    given = [index(18.0, 0), index(19.0, 60, late=900), index(20.0, 120, late=0)]
    found = outlook(*(reversed(given) if turned else given))
    assert [value_at(found, at) for at in (-1, 0, 119, 120)] == [None, 18.0, 18.0, 20.0]
    assert value_at(found, 960) == 20.0, "what was measured before it is not newer for being late"


def test_a_correction_of_the_same_moment_counts_from_when_it_became_known() -> None:
    found = outlook(index(18.0, 0), index(18.5, 0, late=30))
    assert [value_at(found, at) for at in (29, 30)] == [18.0, 18.5]


def test_earnings_are_those_that_were_known_and_fed_says_whether_any_are() -> None:
    found = outlook(report("NVDA", DAY, 0), report("NVDA", DAY + 1, 60), report("AMD", DAY, 120))
    empty = found.at(TEN - SECOND, ("NVDA",))
    assert empty == Known(None, {"NVDA": None}, False)
    days = []
    for at in (0, 59, 60):
        held = found.at(TEN + at * SECOND, ("NVDA", "AMD")).earnings["NVDA"]
        days.append(held and held["report_date"])
    assert days == [DAY, DAY, DAY + 1]
    known = found.at(TEN + 60 * SECOND, ("AMD",))
    assert known.earnings == {"AMD": None} and known.fed


def test_what_cannot_be_read_is_passed_over() -> None:
    seen = NewestSeen()
    seen.see(Message(REGIME, 0, 0, 0, b"k", b"?", ()))
    seen.see(Message(EARNINGS, 0, 0, 0, b"k", None, ()))
    seen.see(message(REGIME, index(18.0, 0)))
    found = seen.known(TEN, ())
    assert found.regime is not None and found.regime["value"] == 18.0 and not found.fed


def test_an_inbox_record_is_the_same_all_session_and_another_one_in_the_next() -> None:
    inbox, known = Inbox("large"), outlook(index(18.0, 0), report("NVDA", DAY, 0)).at(TEN, ("NVDA", "AMD"))
    first = inbox.outlook(known, DAY, TEN)
    again = inbox.outlook(known, DAY, TEN + 60 * SECOND)
    other = inbox.outlook(known, DAY + 1, TEN)
    assert [decode("account_inbox", encode("account_inbox", each))["payload"] for each in first] == [
        each["payload"] for each in first
    ]
    ids = [[each["event_id"] for each in told] for told in (first, again, other)]
    assert ids[0] == ids[1] and not set(ids[0]) & set(ids[2]) and len(ids[0]) == 3
    assert first[2]["payload"][1] == {
        "earnings_event_id": None, "symbol": "AMD", "report_date": None, "report_time": "UNKNOWN",
        "available_at": None,
    }  # fmt: skip


def test_nothing_reaches_the_inbox_where_nobody_writes_the_topics() -> None:
    assert Inbox("large").outlook(Outlook().at(TEN, ("NVDA",)), DAY, TEN) == []


def test_a_file_is_written_once_and_only_what_is_new_the_next_time() -> None:
    log, path = MemoryLog(Layout()), Path("vix.csv")
    given = [index(18.0, 0), index(19.0, 60)]

    def again(*bodies: dict[str, Any]) -> Written:
        return write(log.writer(), REGIME, bodies, log.messages(REGIME), path)

    assert again(*given) == Written(2, 0)
    assert again(*given, index(20.0, 120)) == Written(1, 2)
    elsewhere = [each | {"origin": "file/other.csv"} for each in given]
    assert again(*elsewhere) == Written(0, 2), "who brought it does not matter"
    assert len(list(log.messages(REGIME))) == 3
    assert {each.key for each in log.messages(REGIME)} == {b"20501"}
    with pytest.raises(Fatal, match=r"vix.csv: topic regime says something else .*18\.9.*of its own"):
        again(index(21.0, 180), index(18.9, 0))
    assert len(list(log.messages(REGIME))) == 3, "nothing of the file is written"
