"""A fact that the inbox has is not written again, whichever process heard it first."""

from typing import Any

import pytest

from tapedeck.connectors.dispatch import once
from tapedeck.connectors.dispatch.inbox import Inbox
from tapedeck.connectors.dispatch.once import INBOX, Once
from tapedeck.schemas.codec import encode
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


def test_other_accounts_and_what_cannot_be_read_teach_nothing() -> None:
    paused = control("large", "PAUSED", SECOND)
    known = Once("large")
    known.learn([record(control("tiny", "PAUSED", SECOND)), record(paused, ())._replace(value=b"?")])
    known.learn([record(paused)._replace(key=b"tiny")])
    assert known.fresh([paused]) == [paused]


def test_the_oldest_of_very_many_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "_MOST", 10)
    ticks = [Inbox("large").tick(second * SECOND) for second in range(11)]
    known = Once("large")
    assert known.fresh(ticks) == ticks
    assert known.fresh(ticks[2:]) == [] and known.fresh(ticks[:1]) == ticks[:1], "one in ten goes"
