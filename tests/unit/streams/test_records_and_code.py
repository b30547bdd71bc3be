"""Whatever an enum of the code says, the record that carries it can hold."""

from collections.abc import Iterable
from enum import StrEnum

import pytest

from tapedeck.schemas.codec import load_schema
from tapedeck.streams.config import accounts
from tapedeck.streams.stages.account.decide import Verdict
from tapedeck.streams.stages.account.rules import gate_types, occ, orders, positions
from tapedeck.streams.stages.signals import rule as signal

ENUMS = {
    "account_inbox.payload.contracts.right": occ.Right,
    "account_inbox.payload.side": orders.Side,
    "account_inbox.payload.state": orders.OrderState,
    "accounts.identity": gate_types.Identity,
    "accounts.mode": accounts.Mode,
    "controls.state": gate_types.KillState,
    "decisions.action": accounts.Action,
    "decisions.direction": signal.Direction,
    "executions.owner": positions.Owner,
    "executions.side": orders.Side,
    "orders.intent": orders.PositionIntent,
    "orders.purpose": orders.Purpose,
    "orders.side": orders.Side,
    "orders.state": orders.OrderState,
    "positions.kind": positions.Kind,
    "positions.owner": positions.Owner,
    "positions.state": positions.PositionState,
    "proposals.purpose": orders.Purpose,
    "proposals.verdict": Verdict,
    "signals.action": accounts.TRADED,
    "signals.direction": signal.Direction,
}


def enums(node, path):
    """(path, symbols) of every enum in a schema node."""
    if isinstance(node, list):
        for branch in node:
            yield from enums(branch, path)
    elif isinstance(node, dict):
        if node["type"] == "enum":
            yield path, node["symbols"]
        for field in node.get("fields", ()):
            yield from enums(field["type"], f"{path}.{field['name']}")
        for inner in (node.get("items"), node.get("values")):
            yield from enums(inner, path)


@pytest.mark.parametrize("path, of_code", ENUMS.items(), ids=ENUMS)
def test_an_enum_of_a_record_holds_every_member_of_the_codes_enum(path, of_code: Iterable[StrEnum]):
    name = path.split(".")[0]
    found = [symbols for at, symbols in enums(load_schema(name), name) if at == path]
    assert found
    for symbols in found:
        assert {str(member) for member in of_code} <= set(symbols)
