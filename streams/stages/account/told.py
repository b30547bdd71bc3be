"""What an account received, decided and did, in words."""

import re
from typing import Any

from tapedeck.streams.misses import number
from tapedeck.streams.sessions import iso_date
from tapedeck.streams.telling import Body, Named, Telling, Told, pairs, short

_UNTOLD = ("_id", "_t", "_at", "_time")
"""Suffixes of fields that mean nothing to a person."""


def told_order(body: Body) -> str:
    """An order's state, and what is filled of it."""
    why = f" ({', '.join(filter(None, (body['reason'], body['detail'])))})" if body["reason"] else ""
    price = f" at {number(body['filled_avg_price'])}" if body["filled_avg_price"] is not None else ""
    return (
        f"{body['state']}{why}: {body['side']} {number(body['qty'])} {body['instrument']} "
        f"limit {number(body['limit_price'])}, filled {number(body['filled_qty'])}{price}"
    )


def _proposal(body: Body) -> str:
    return (
        f"{body['account_id']}: {body['verdict']} ({body['primary_reason']}) {body['action']} "
        f"{body['symbol']} as {body['strategy']}, to {body['purpose']}"
    )


def _proposal_details(body: Body) -> list[str]:
    what = body["instrument"] or "no instrument"
    size = (
        f"size  {body['sizing_reason']}: {number(body['quantity'])} x {what} (x{body['multiplier']}), limit "
        f"{number(body['limit_price'])}, worst {number(body['worst_price'])}, equity {number(body['equity'])}"
    )
    return [size, *(_gate(gate) for gate in body["gates"])]


def _gate(gate: Body) -> str:
    mark = "pass" if gate["passed"] else "FAIL"
    mark = mark if gate["applies"] else "n/a "
    text = f"gate  {mark}  {gate['gate']:<22}"
    if not gate["applies"]:
        return text.rstrip()
    seen = gate["observed"] or ("none" if gate["passed"] else "unknown")
    unit = f" {gate['unit']}" if gate["unit"] and gate["observed"] is not None else ""
    limit = "" if gate["threshold"] is None else f" (limit {gate['threshold']})"
    reason = "" if gate["passed"] else f"  {gate['reason']}"
    return f"{text}{seen}{unit}{limit}{reason}"


def _inbox(body: Body) -> str:
    kind, content = body["payload"]
    if kind.endswith("InboxSignal"):
        return f"signal: {content['symbol']} {content['action']}, confidence {number(content['confidence'])}"
    if kind.endswith("InboxHalt"):
        return f"halt: {content['symbol']} {'is halted' if content['halted'] else 'trades again'}"
    if kind.endswith("InboxRegime"):
        return f"regime: the volatility index stood at {number(content['value'])}"
    if kind.endswith("InboxEarnings"):
        return f"earnings: {_report(content)}"
    name = kind.rpartition(".")[2].removeprefix("Inbox").lower()
    told = {each: _plain(value) for each, value in content.items() if not each.endswith(_UNTOLD)}
    return short(f"{name}: {pairs(told)}" if told else name)


def _report(content: Body) -> str:
    """When a symbol reports next, as an inbox record says it."""
    day = content["report_date"]
    if day is None:
        never = content["report_time"] == "NONE"
        return f"{content['symbol']} never reports" if never else f"nothing is known of {content['symbol']}"
    return f"{content['symbol']} reports on {iso_date(day)}, {content['report_time']}"


def _plain(content: Any) -> Any:
    return content if isinstance(content, str | bool | list | dict) or content is None else number(content)


def _execution(body: Body) -> str:
    return (
        f"{body['side']} {number(body['qty'])} {body['instrument']} at {number(body['price'])}, "
        f"fee {number(body['fee'])} ({body['source']})"
    )


def _exit(body: Body) -> str:
    pnl = "P&L unknown" if body["pnl"] is None else f"P&L {number(body['pnl'])}"
    by = f" by {body['person']}" if body["person"] else ""
    return (
        f"{body['account_id']}: {body['chosen']}{by} closes {number(body['qty'])} {body['instrument']}, "
        f"{pnl}, held {number(body['held_min'])} min"
    )


def _exit_details(body: Body) -> list[str]:
    wanted = ", ".join(f"{each['rule']} ({each['priority']})" for each in body["triggers"])
    mark = "unknown" if body["mark"] is None else number(body["mark"])
    return [
        f"wanted by  {wanted}",
        f"mark {mark}, highest P&L {number(body['peak'])}, lowest {number(body['worst'])}, "
        f"window {body['eod_window'] or 'none'}",
    ]


def _position(body: Body) -> str:
    why = f" ({body['exit_reason']})" if body["exit_reason"] else ""
    return (
        f"{body['account_id']}: {body['state']}{why} {number(body['qty'])} {body['instrument']} at "
        f"{number(body['average_cost'])}, realised {number(body['realised'])}"
    )


def _position_id(body: Body) -> str:
    return str(body["position_id"])


def _proposal_id(body: Body) -> str:
    return f"{body['account_id']}|{body['signal_id']}"


def _client_order_id(body: Body) -> str:
    return str(body["client_order_id"])


def _broker_order_id(body: Body) -> str:
    return body["broker_order_id"] or ""


_ORDER = Named(
    "order", re.compile(r"td\d+-[^|]*"), "a client order id (td1-...)", _client_order_id,
    whole="client_order_id", beside=("executions",),
)  # fmt: skip
_AT_BROKER = _ORDER._replace(
    form=re.compile(r"[0-9a-f]{8}-[0-9a-f-]*"), example="a broker order id", name=_broker_order_id, bare=True
)
_POSITION = Named("position", re.compile(r"[0-9a-f]{24}"), "a position_id", _position_id, whole="position_id")
_PROPOSAL = Named(
    "proposal", re.compile(r".*\|.*", re.DOTALL), "ACCOUNT|SIGNAL_ID", _proposal_id,
    needle=lambda asked: asked.split("|")[1],
)  # fmt: skip

TOLD: Telling = {
    "account_inbox": Told(_inbox),
    "orders": Told(told_order, names=(_ORDER, _AT_BROKER)),
    "proposals": Told(_proposal, _proposal_details, names=(_PROPOSAL,)),
    "executions": Told(_execution),
    "positions": Told(_position, names=(_POSITION,)),
    "exits": Told(_exit, _exit_details),
}
