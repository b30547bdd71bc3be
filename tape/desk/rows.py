"""The rows of the operator's tables: pure functions of records. None is unknown, and is never a zero."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tapedeck.connectors.controls import EVERY_ACCOUNT
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.schemas.codec import Body
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.orders import TERMINAL, Purpose
from tapedeck.tape.desk.marks import Mark, marks_in
from tapedeck.tape.desk.read import Desk
from tapedeck.tape.status.readers import newest_changes

ACTIVE = "ACTIVE"
_SIX = Decimal("0.000001")


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    """An account now. Money in USD. ``at``: when its record was written, None without one.

    ``stopped_by``: who set the state, and why, where it is not ACTIVE. ``max_*``: None without a document.
    """

    account: str
    mode: str | None
    tier: str | None
    identity: str | None
    broker_account: str | None
    status: str | None
    kill_state: str | None
    halt_step: str | None
    stopped_by: str
    equity: Decimal | None
    buying_power: Decimal | None
    session_pnl: Decimal | None
    positions: int
    max_positions: int | None
    pending: int
    max_pending: int | None
    warnings: tuple[str, ...]
    at: int | None
    age_s: int | None


@dataclass(frozen=True, kw_only=True)
class OrderRow:
    """An order in its newest state. ``age_s``: since it was first recorded; ``state_s``: since it is so."""

    account: str
    order: str
    instrument: str
    side: str
    purpose: str
    state: str
    works: bool
    qty: Decimal
    filled: Decimal
    limit: Decimal | None
    average: Decimal | None
    attempt: int
    reason: str | None
    exit_reason: str | None
    detail: str | None
    at: int
    age_s: int | None
    state_s: int | None


@dataclass(frozen=True, kw_only=True)
class PositionRow:
    """A position. ``pnl``, ``peak``, ``worst``: fractions of its cost; ``pnl_usd`` without fees.

    ``mark``: the newest price that the account saw; ``mark_s``: its age.
    """

    account: str
    position: str
    instrument: str
    strategy: str | None
    owner: str
    state: str
    qty: Decimal
    average: Decimal
    mark: Decimal | None
    mark_s: int | None
    pnl: Decimal | None
    pnl_usd: Decimal | None
    peak: Decimal | None
    worst: Decimal | None
    realised: Decimal
    held_s: int | None
    exit_reason: str | None
    needs_review: bool


def account_rows(desk: Desk) -> list[AccountRow]:
    """Every configured account, and every other that has a record."""
    newest = {body["account_id"]: body for body in desk.of("accounts")}
    configured = {each.account_id: each for each in (desk.config.accounts if desk.config else ())}
    held = [each["account_id"] for each in newest_positions(desk.of("positions")) if each["qty"]]
    pending = [row.account for row in order_rows(desk) if row.works and row.purpose == Purpose.OPEN]
    changes = newest_changes(desk.of("controls"))
    return [
        _account_row(
            name,
            newest.get(name),
            configured.get(name),
            counts=(held.count(name), pending.count(name)),
            stopped_by=_stopped_by(name, changes),
            now=desk.now,
        )
        for name in sorted(newest.keys() | configured.keys())
    ]


def _account_row(
    name: str,
    body: Body | None,
    account: Account | None,
    *,
    counts: tuple[int, int],
    stopped_by: str,
    now: int | None,
) -> AccountRow:
    told: Mapping[str, Any] = body or {}
    alarm = told.get("alarm")
    return AccountRow(
        account=name,
        mode=told.get("mode") or (str(account.mode) if account else None),
        tier=told.get("tier") or (account.tier if account else None),
        identity=told.get("identity"),
        broker_account=told.get("broker_account_id"),
        status=told.get("status"),
        kill_state=told.get("kill_state"),
        halt_step=told.get("halt_step"),
        stopped_by=stopped_by,
        equity=told.get("equity"),
        buying_power=told.get("buying_power"),
        session_pnl=told.get("session_pnl"),
        positions=counts[0],
        max_positions=account.max_positions if account else None,
        pending=counts[1],
        max_pending=account.max_pending_orders if account else None,
        warnings=(*([alarm] if alarm else []), *told.get("warnings", ())),
        at=told.get("event_time"),
        age_s=age_s(told.get("event_time"), now),
    )


def _stopped_by(account: str, changes: Mapping[str, Body]) -> str:
    found = (changes.get(scope) for scope in (EVERY_ACCOUNT, account))
    return "; ".join(
        f"{each['state']}{' of all' if each['scope'] == EVERY_ACCOUNT else ''} by {each['person']}: "
        f"{each['reason']}"
        for each in found
        if each is not None and each["state"] != ACTIVE
    )


def order_rows(desk: Desk, account: str = "") -> list[OrderRow]:
    """Working orders first, the oldest of them on top; then the others, the newest on top."""
    found: dict[tuple[str, str], list[Body]] = {}
    for body in desk.of("orders"):
        if account in ("", body["account_id"]):
            found.setdefault((body["account_id"], body["client_order_id"]), []).append(body)
    rows = [_order_row(history, desk.now) for history in found.values()]
    first = {(row.account, row.order): found[row.account, row.order][0]["event_time"] for row in rows}
    return sorted(rows, key=lambda row: _place(row, first[row.account, row.order]))


def _place(row: OrderRow, first: int) -> tuple[bool, int, str]:
    return not row.works, first if row.works else -row.at, row.order


def _order_row(history: list[Body], now: int | None) -> OrderRow:
    history = sorted(history, key=lambda body: int(body["seq"]))
    body = history[-1]
    since = body["event_time"]
    for each in reversed(history):
        if each["state"] != body["state"]:
            break
        since = each["event_time"]
    return OrderRow(
        account=body["account_id"],
        order=body["client_order_id"],
        instrument=body["instrument"],
        side=body["side"],
        purpose=body["purpose"],
        state=body["state"],
        works=body["state"] not in TERMINAL,
        qty=body["qty"],
        filled=body["filled_qty"],
        limit=body["limit_price"],
        average=body["filled_avg_price"],
        attempt=body["attempt"],
        reason=body["reason"],
        exit_reason=body["exit_reason"],
        detail=body["detail"],
        at=body["event_time"],
        age_s=age_s(history[0]["event_time"], now),
        state_s=age_s(since, now),
    )


def newest_positions(bodies: Iterable[Body]) -> Iterator[Body]:
    """The newest record of each position."""
    newest: dict[tuple[str, str], Body] = {}
    for body in bodies:
        key = (body["account_id"], body["position_id"])
        if key not in newest or body["seq"] >= newest[key]["seq"]:
            newest[key] = body
    yield from newest.values()


def position_rows(desk: Desk, account: str = "", *, closed: bool = False) -> list[PositionRow]:
    """What is held, by account and instrument; with ``closed`` what was held, too, at the end."""
    marks = marks_in(desk.of(INBOX))
    rows = [
        _position_row(body, marks.get((body["account_id"], body["instrument"])), desk.now)
        for body in newest_positions(desk.of("positions"))
        if account in ("", body["account_id"]) and (closed or body["qty"])
    ]
    return sorted(rows, key=lambda row: (not row.qty, row.account, row.instrument, row.position))


def _position_row(body: Body, seen: Mark | None, now: int | None) -> PositionRow:
    qty, average = body["qty"], body["average_cost"]
    mark = seen if qty else None
    gain = (mark.price - average) * qty * body["multiplier"] if mark and not body["needs_review"] else None
    cost = abs(average * qty * body["multiplier"])
    return PositionRow(
        account=body["account_id"],
        position=body["position_id"],
        instrument=body["instrument"],
        strategy=body["strategy"],
        owner=body["owner"],
        state=body["state"],
        qty=qty,
        average=average,
        mark=mark.price if mark else None,
        mark_s=age_s(mark.at, now) if mark else None,
        pnl=(gain / cost).quantize(_SIX) if gain is not None and cost else None,
        pnl_usd=gain,
        peak=body["peak"],
        worst=body["worst"],
        realised=body["realised"],
        held_s=age_s(body["opened_at"], now),
        exit_reason=body["exit_reason"],
        needs_review=body["needs_review"],
    )


def age_s(at: int | None, now: int | None) -> int | None:
    """Whole seconds since ``at``; None if either time is unknown."""
    return None if at is None or now is None else max(0, now - at) // SECOND_US
