"""Where our quantities and the broker's differ, and the adjustments that were made because of it."""

from dataclasses import dataclass
from decimal import Decimal

from tapedeck.connectors.controls import Command
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.schemas.codec import Body
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.orders import TERMINAL
from tapedeck.streams.stages.account.rules.positions import ExecutionReason
from tapedeck.tape.desk.read import Desk
from tapedeck.tape.desk.rows import age_s, newest_positions

_KIND = "InboxBroker"


@dataclass(frozen=True, kw_only=True)
class HeldRow:
    """What is held of one instrument: by us now, and by the broker when it was last asked."""

    instrument: str
    ours: Decimal
    broker: Decimal

    @property
    def differs(self) -> bool:
        return self.ours != self.broker


@dataclass(frozen=True, kw_only=True)
class AdjustmentRow:
    """An execution that no broker reported. ``price``: what a person said that it cost, None if unknown."""

    adjustment: str
    instrument: str
    side: str
    qty: Decimal
    at: int
    age_s: int | None
    resolved_by: str | None
    resolved_why: str | None
    price: Decimal | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An account beside its broker. ``at``: when the broker last answered, None if it has not.

    ``strangers``: client order ids that the broker has open and we do not; ``missing``: the reverse.
    """

    account: str
    at: int | None
    age_s: int | None
    held: tuple[HeldRow, ...]
    strangers: tuple[str, ...]
    missing: tuple[str, ...]
    adjustments: tuple[AdjustmentRow, ...]


def comparison(desk: Desk, account: str) -> Comparison:
    """The newest comparison of one account, from its inbox, and all its adjustments, the newest on top."""
    answer = _newest_answer(desk.of(INBOX), account)
    found = answer["payload"][1] if answer else {"positions": [], "open_orders": []}
    theirs = {each["instrument"]: each["qty"] for each in found["positions"]}
    ours: dict[str, Decimal] = {}
    for body in newest_positions(desk.of("positions")):
        if body["account_id"] == account and body["qty"]:
            ours[body["instrument"]] = ours.get(body["instrument"], ZERO) + body["qty"]
    working = _working(desk.of("orders"), account)
    held = (
        HeldRow(instrument=name, ours=ours.get(name, ZERO), broker=theirs.get(name, ZERO))
        for name in sorted(ours.keys() | theirs.keys())
    )
    at = answer["event_time"] if answer else None
    return Comparison(
        account=account,
        at=at,
        age_s=age_s(at, desk.now),
        held=tuple(held) if answer else (),
        strangers=tuple(sorted(set(found["open_orders"]) - working)),
        missing=tuple(sorted(working - set(found["open_orders"]))) if answer else (),
        adjustments=tuple(adjustments(desk, account)),
    )


def adjustments(desk: Desk, account: str) -> list[AdjustmentRow]:
    """The adjustments of an account, the newest on top, each with the command that settled it."""
    settled = {
        body["target"]: body
        for body in desk.of("controls")
        if body["scope"] == account and body["command"] == Command.RESOLVE
    }
    rows = [
        _adjustment(body, settled.get(body["execution_id"]), desk.now)
        for body in desk.of("executions")
        if body["account_id"] == account and body["reason"] == ExecutionReason.RECON_ADJUST
    ]
    return sorted(rows, key=lambda row: (-row.at, row.adjustment))


def _adjustment(body: Body, told: Body | None, now: int | None) -> AdjustmentRow:
    return AdjustmentRow(
        adjustment=body["execution_id"],
        instrument=body["instrument"],
        side=body["side"],
        qty=body["qty"],
        at=body["event_time"],
        age_s=age_s(body["event_time"], now),
        resolved_by=told["person"] if told else None,
        resolved_why=told["reason"] if told else None,
        price=told["price"] if told else None,
    )


def _newest_answer(inbox: list[Body], account: str) -> Body | None:
    found = None
    for body in inbox:
        kind, content = body["payload"]
        is_answer = kind.rsplit(".", 1)[-1] == _KIND and content["error"] is None
        if is_answer and body["account_id"] == account:
            found = body
    return found


def _working(orders: list[Body], account: str) -> set[str]:
    newest: dict[str, Body] = {}
    for body in orders:
        known = newest.get(body["client_order_id"])
        if body["account_id"] == account and (known is None or body["seq"] >= known["seq"]):
            newest[body["client_order_id"]] = body
    return {name for name, body in newest.items() if body["state"] not in TERMINAL}
