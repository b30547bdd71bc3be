"""A fact that the inbox has is not written again, whichever process heard it first."""

from typing import Any

import pytest

from tapedeck.connectors.dispatch import once
from tapedeck.connectors.dispatch.inbox import INBOX, Inbox
from tapedeck.connectors.dispatch.once import HAPPENED, READ_BACK_US, Once
from tapedeck.schemas.codec import encode, load_schema
from tapedeck.streams.protocol import Message

SECOND = 1_000_000


def record(body: dict[str, Any], headers: Any = None) -> Message:
    """``body`` as it is in the log; with its id in a header unless ``headers`` are given."""
    told = (("ce_id", body["event_id"].encode()),) if headers is None else headers
    return Message(INBOX, 0, 0, 0, body["account_id"].encode(), encode(INBOX, body), told)


def control(account: str, state: str, now: int) -> dict[str, Any]:
    said = {"event_id": "c" * 24, "scope": "all", "state": state, "person": "ann", "reason": "lunch"}
    return Inbox(account).control(said, now)


@pytest.mark.parametrize("headers", [None, (), (("ce_id", None),)], ids=["a header", "none", "a null one"])
def test_what_the_log_has_is_dropped_though_it_is_heard_at_another_time(headers: Any) -> None:
    paused, again = control("large", "PAUSED", SECOND), control("large", "PAUSED", 9 * SECOND)
    assert paused["event_id"] == again["event_id"] and paused != again
    known = Once("large")
    known.learn([record(paused, headers)])
    resumed = control("large", "RUNNING", 9 * SECOND)
    assert known.fresh([again, resumed, resumed]) == [resumed]
    assert known.fresh([resumed]) == []


def test_how_things_stand_is_said_again_as_an_event_of_its_own() -> None:
    """A process that starts counts its connections anew: the account must learn that its stream is back."""
    inbox, known = Inbox("large"), Once("large")
    before, lost = inbox.stream(True, "connection 1", SECOND), inbox.stream(False, "OSError", 2 * SECOND)
    known.learn([record(before), record(lost)])
    back, lost_again = (
        inbox.stream(True, "connection 1", 9 * SECOND),
        inbox.stream(False, "OSError", 11 * SECOND),
    )
    assert (back["event_id"], lost_again["event_id"]) == (before["event_id"], lost["event_id"])
    written = known.fresh([back, lost_again, lost_again])
    assert [body["payload"] for body in written] == [back["payload"], lost_again["payload"]]
    assert len({body["event_id"] for body in (before, lost, *written)}) == 4


def test_every_kind_that_happens_once_is_a_kind_of_the_inbox() -> None:
    (payload,) = [field for field in load_schema(INBOX)["fields"] if field["name"] == "payload"]
    kinds = {f"tapedeck.{each['name'] if isinstance(each, dict) else each}" for each in payload["type"]}
    assert {kind.replace("tapedeck.tapedeck.", "tapedeck.") for kind in kinds} > HAPPENED


def test_other_accounts_and_what_cannot_be_read_teach_nothing() -> None:
    paused = control("large", "PAUSED", SECOND)
    known = Once("large")
    known.learn([record(control("tiny", "PAUSED", SECOND)), record(paused, ())._replace(value=b"?")])
    known.learn([record(paused)._replace(key=b"tiny")])
    assert known.fresh([paused]) == [paused]


def test_the_oldest_of_very_many_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "_MOST", 10)
    ticks = [Inbox("large").tick(second * SECOND) for second in range(21)]
    known = Once("large")
    assert known.fresh(ticks[:20]) == ticks[:20]
    assert known.fresh(ticks[:20]) == [], "twenty are known"
    assert known.fresh(ticks[20:]) == ticks[20:]
    assert known.fresh(ticks[10:]) == [] and known.fresh(ticks[:10]) == ticks[:10], "the first ten are gone"


@pytest.mark.parametrize("days", [9, 10, 11])
def test_what_is_more_than_ten_days_old_is_forgotten_and_nothing_newer(days: int) -> None:
    """As it would be by a process that starts now: it reads the inbox of ten days."""
    day = READ_BACK_US // 10
    known, old = Once("large"), control("large", "PAUSED", SECOND)
    known.learn([record(old)._replace(timestamp=SECOND // 1000)])
    for since in (days, 2 * days):
        assert known.fresh([Inbox("large").tick(SECOND + since * day)])
    assert known.fresh([old]) == ([old] if days > 10 else [])
