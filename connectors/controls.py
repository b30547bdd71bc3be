"""The records of ``controls``: kill-switch changes, which gate 2 obeys, and a person's commands."""

from decimal import Decimal
from enum import StrEnum
from typing import Any

from tapedeck.connectors.kafka.log import LogWriter
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.identity import event_id
from tapedeck.streams.stages.account.rules.gate_types import KillState

EVERY_ACCOUNT = "*"


class Command(StrEnum):
    """What a person asks of one account; it leaves the kill switch as it is."""

    CLOSE_POSITION = "CLOSE_POSITION"
    RESOLVE = "RESOLVE"


def control(scope: str, state: KillState, *, person: str, reason: str, now: int) -> dict[str, Any]:
    """The body of one change. ``scope`` is an account id or ``*``; ``now`` in UTC microseconds.

    Raises Fatal without a named person or a reason: the audit exists to record them.
    """
    fields = {"person": person, "reason": reason, "command": None, "target": None, "price": None}
    return _body(scope, state, now, fields)


def command(
    scope: str,
    what: Command,
    target: str,
    *,
    state: KillState,
    person: str,
    reason: str,
    now: int,
    price: Decimal | None = None,
) -> dict[str, Any]:
    """The body of one command about ``target``, a position_id or an adjustment's execution_id.

    ``state`` is the one that the scope has: a reader of an older release takes the record for a change to it.
    ``price``: of a RESOLVE, USD; None leaves it unknown. Raises Fatal as ``control`` does.
    """
    fields = {"person": person, "reason": reason, "command": str(what), "target": target, "price": price}
    return _body(scope, state, now, fields)


def _body(scope: str, state: KillState, now: int, fields: dict[str, Any]) -> dict[str, Any]:
    for what in ("person", "reason"):
        fields[what] = fields[what].strip()
        if not fields[what]:
            raise Fatal(f"a change by an operator needs a {what}", value="", remedy=f"give --{what}")
    return {
        "event_id": event_id("controls", (scope, now)),
        "event_time": now,
        "scope": scope,
        "seq": now,
        "state": str(state),
        **fields,
    }


def write_control(writer: LogWriter, body: dict[str, Any]) -> None:
    """Append one record and wait until the broker has it."""
    writer.send("controls", body)
    writer.flush()
