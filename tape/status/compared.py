"""The last comparison of each account with its broker: the broker's list, and our positions then."""

from decimal import Decimal
from typing import Any

from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.schemas.codec import Body
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.tape.doctor.snapshot import ComparedSeen
from tapedeck.tape.status.readers import newest_bodies

_KIND = "InboxBroker"
_SETTLED_US = MINUTE_US
"""A position that moved less than this before the comparison is not judged: a fill may cross the list."""


def compared(cluster: Cluster) -> tuple[ComparedSeen, ...]:
    """By account, from the ends of its inbox and of positions. Raises Retry if the broker is silent."""
    return differing(newest_bodies(cluster, INBOX), newest_bodies(cluster, "positions"))


def differing(inbox: list[Body], positions: list[Body]) -> tuple[ComparedSeen, ...]:
    """The same from records, each account's in log order."""
    lists: dict[str, tuple[int, dict[str, Decimal]]] = {}
    for body in inbox:
        kind, content = body["payload"]
        if kind.rsplit(".", 1)[-1] == _KIND and content["error"] is None:
            held = {each["instrument"]: each["qty"] for each in content["positions"]}
            lists[body["account_id"]] = (body["event_time"], held)
    ours: dict[str, dict[str, Body]] = {account: {} for account in lists}
    for body in positions:
        if body["account_id"] in ours:
            ours[body["account_id"]][body["instrument"]] = body
    return tuple(
        ComparedSeen(account, at, tuple(_differences(at, held, ours[account])))
        for account, (at, held) in sorted(lists.items())
    )


def _differences(at: int, held: dict[str, Decimal], ours: dict[str, Body]) -> list[tuple[str, Any, Any]]:
    found = []
    for name in sorted(held.keys() | ours.keys()):
        mine = ours.get(name)
        if mine is not None and mine["event_time"] > at - _SETTLED_US:
            continue
        pair = (mine["qty"] if mine else Decimal(0), held.get(name, Decimal(0)))
        if pair[0] != pair[1]:
            found.append((name, *pair))
    return found
