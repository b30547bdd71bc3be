"""Kill-switch changes: the records of ``controls`` that gate 2 obeys."""

from typing import Any

from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.identity import event_id
from tapedeck.streams.stages.account.rules.gate_types import KillState

EVERY_ACCOUNT = "*"


def control(scope: str, state: KillState, *, person: str, reason: str, now: int) -> dict[str, Any]:
    """The body of one change. ``scope`` is an account id or ``*``; ``now`` in UTC microseconds.

    Raises Fatal without a named person or a reason: the audit exists to record them.
    """
    for what, text in (("person", person), ("reason", reason)):
        if not text.strip():
            raise Fatal(f"a change of the kill switch needs a {what}", value=text, remedy=f"give --{what}")
    return {
        "event_id": event_id("controls", (scope, now)),
        "event_time": now,
        "scope": scope,
        "seq": now,
        "state": str(state),
        "person": person.strip(),
        "reason": reason.strip(),
    }


def write_control(writer: LogWriter, body: dict[str, Any]) -> None:
    """Append one change and wait until the broker has it."""
    writer.send("controls", body)
    writer.flush()
