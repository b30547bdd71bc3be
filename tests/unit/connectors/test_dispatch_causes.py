"""What each inbox record came of: its trace goes on from the signal to the answers and the fills."""

from typing import Any

from tapedeck.connectors.dispatch.causes import Causes
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Headers

OWN, SIGNAL, TRACE = "a" * 32, "b" * 32, "c" * 32


def message(event_id: str, topic: str, offset: int) -> Message:
    context = f"00-{TRACE}-{event_id[:16]}-01".encode()
    value = b"\0\0\0\0\1@" + event_id.encode()
    return Message(topic, 2, offset, 0, b"", value, [("traceparent", context)])


def body(**content: object) -> dict[str, Any]:
    return {"event_id": OWN, "payload": ("tapedeck.Any", content)}


def told(headers: Headers) -> tuple[str, bytes | None]:
    """The trace id and the cause."""
    found = dict(headers)
    return (found["traceparent"] or b"")[3:35].decode(), found.get("tape-cause")


ASKED = message("d" * 32, "account_inbox", 7)


def test_a_record_that_passes_a_signal_on_is_of_its_trace() -> None:
    passed = [message("e" * 32, "signals", 3), message(SIGNAL, "signals", 4)]
    assert told(Causes().headers(body(signal_event_id=SIGNAL), passed)) == (TRACE, b"signals/2@4")


def test_an_answer_is_of_the_trace_of_who_asked() -> None:
    assert told(Causes().headers(body(request_id="r"), answered=ASKED)) == (TRACE, b"account_inbox/2@7")


def test_what_is_heard_of_an_order_is_of_the_trace_that_sent_it() -> None:
    causes = Causes()
    causes.asked({"kind": "SUBMIT", "client_order_id": "o-1"}, ASKED)
    causes.asked({"kind": "CANCEL", "client_order_id": "o-2"}, ASKED)
    assert told(causes.headers(body(client_order_id="o-1"))) == (TRACE, b"account_inbox/2@7")
    assert told(causes.headers(body(client_order_id="o-2"))) == (OWN, None)


def test_what_nothing_here_caused_begins_a_trace() -> None:
    passed = [message(SIGNAL, "signals", 4)]
    assert told(Causes().headers(body(lease_epoch=1), passed)) == (OWN, None)
    assert told(Causes().headers(body(client_order_id=None))) == (OWN, None)
