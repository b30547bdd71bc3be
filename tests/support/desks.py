"""Records of a trading pipeline for the tests of what an operator sees: every field, few of them told."""

from decimal import Decimal as D
from typing import Any

from tapedeck.connectors.controls import Command, command, control
from tapedeck.schemas.codec import load_schema
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.tape.desk.read import Desk

SECOND, MINUTE = 1_000_000, 60_000_000
NOW = 1_771_340_400_000_000
"""2026-02-17 15:00 UTC, half an hour into a session."""
CALL = "NVDA260220C00150000"


def body_of(topic: str, **told: Any) -> dict[str, Any]:
    """A record of ``topic``: what is not told is its default, or empty."""
    found = {field["name"]: _blank(field) for field in load_schema(topic)["fields"]}
    assert told.keys() <= found.keys(), told.keys() - found.keys()
    return found | {"event_time": NOW - MINUTE} | told


def _blank(field: dict[str, Any]) -> Any:
    if "default" in field:
        return field["default"]
    kind = field["type"]
    if isinstance(kind, list):
        return None
    name = kind["type"] if isinstance(kind, dict) else kind
    if name == "enum":
        return kind["symbols"][0]
    blanks: dict[str, Any] = {"string": "", "int": 0, "long": 0, "double": 0.0, "boolean": False, "array": []}
    return blanks.get(name, D(0))


def account(name: str = "tiny", **told: Any) -> dict[str, Any]:
    known = {
        "account_id": name, "tier": name, "mode": "PAPER", "identity": "VERIFIED", "kill_state": "ACTIVE",
        "broker_account_id": f"PAPER-{name.upper()}", "status": "ACTIVE", "equity": D("5012.340000"),
        "buying_power": D("4000.000000"), "session_pnl": D("12.340000"),
    }  # fmt: skip
    return body_of("accounts", **known | told)


def order(name: str = "td1-a", **told: Any) -> dict[str, Any]:
    known = {
        "account_id": "tiny", "client_order_id": name, "state": "ACCEPTED", "reason": "SENT",
        "signal_id": "sg_1", "instrument": CALL, "underlying": "NVDA", "qty": D(2),
        "limit_price": D("2.070000"), "purpose": "OPEN",
    }  # fmt: skip
    return body_of("orders", **known | told)


def position(name: str = "0123456789abcdef01234567", **told: Any) -> dict[str, Any]:
    known = {
        "account_id": "tiny", "position_id": name, "instrument": CALL, "underlying": "NVDA", "kind": "CALL",
        "strategy": "day_trade", "qty": D(2), "average_cost": D("2.000000"), "multiplier": 100,
        "state": "OPEN", "opened_at": NOW - 20 * MINUTE, "peak": D("0.150000"),
    }  # fmt: skip
    return body_of("positions", **known | told)


def quote(bid: str | None, ask: str | None, *, ago_s: int = 5, **told: Any) -> dict[str, Any]:
    """An inbox record of a quote that is ``ago_s`` old."""
    content = {
        "request_id": "", "instrument": CALL, "underlying": "NVDA", "feed": "indicative",
        "quote_time": NOW - ago_s * SECOND, "bid": D(bid) if bid else None, "ask": D(ask) if ask else None,
        "origin": "synthetic/1", "error": None, "trade_price": None, "trade_time": None, "theta": None,
    }  # fmt: skip
    return inbox("InboxQuote", **content | told)


def broker(held: dict[str, int], open_orders: tuple[str, ...] = (), **told: Any) -> dict[str, Any]:
    """An inbox record of what the broker lists."""
    rows = [{"instrument": name, "qty": D(qty), "qty_available": None} for name, qty in held.items()]
    content: dict[str, Any] = {
        "positions": rows, "open_orders": list(open_orders), "request_id": "", "error": None,
        "last_activity": None,
    }  # fmt: skip
    return inbox("InboxBroker", **content | told)


def inbox(kind: str, **content: Any) -> dict[str, Any]:
    return {
        "event_id": f"{kind}-{sorted(map(str, content.items()))}",
        "event_time": NOW - 30 * SECOND,
        "account_id": "tiny",
        "payload": (f"tapedeck.{kind}", content),
    }


def adjustment(name: str = "adj-1", **told: Any) -> dict[str, Any]:
    known = {
        "account_id": "tiny", "execution_id": name, "instrument": CALL, "underlying": "NVDA", "side": "SELL",
        "qty": D(1), "price": None, "multiplier": 100, "source": "RECON", "owner": "EXTERNAL",
        "reason": "RECON_ADJUST",
    }  # fmt: skip
    return body_of("executions", **known | told)


def change(scope: str, state: str, seq: int = 1) -> dict[str, Any]:
    return control(scope, KillState(state), person="ada", reason="quotes look wrong", now=NOW + seq)


def resolved(target: str, price: str | None = "2.05") -> dict[str, Any]:
    return command(
        "tiny", Command.RESOLVE, target, state=KillState.ACTIVE, person="grace", reason="statement",
        now=NOW, price=D(price) if price else None,
    )  # fmt: skip


def desk(**records: list[dict[str, Any]]) -> Desk:
    return Desk(now=NOW, config=Config(accounts=EXAMPLE_ACCOUNTS), records=records)
