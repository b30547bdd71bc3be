"""``tape accounts``, ``orders``, ``positions`` and ``reconcile``: what trades, from the topics alone."""

import json
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.controls import Command, command
from tapedeck.connectors.dispatch.inbox import INBOX
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import iso_utc
from tapedeck.tape.cli.controls import scope_of, state_of, write
from tapedeck.tape.cli.pipeline import Bootstrap, Pipeline, Prefix, found
from tapedeck.tape.desk import screen
from tapedeck.tape.desk.adjustments import AdjustmentRow, comparison
from tapedeck.tape.desk.read import Desk, read_desk
from tapedeck.tape.desk.rows import account_rows, order_rows, position_rows
from tapedeck.tape.local.where import Where
from tapedeck.tape.status.target import target_of

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
One = Annotated[str, typer.Argument(metavar="[ACCOUNT]", help="An account id; default: all.")]
_WIDE = 200
_TIMES = ("at",)
_PLACES = 6


def accounts(*, as_json: AsJson = False, bootstrap: Bootstrap = "", prefix: Prefix = None) -> None:
    """Show each account: mode, identity, kill switch, money, positions and orders against their limits.

    Money is of the newest record in `accounts`; "unknown" is never a zero. Warnings stand below the table.
    """
    rows = account_rows(_desk(found(bootstrap, prefix), ("accounts", "orders", "positions", "controls")))
    _show(rows, screen.account_table(rows), as_json, "no account is configured, and none has a record")


def orders(
    account: One = "",
    *,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Orders that are done, the newest.")] = 20,
    as_json: AsJson = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Show the orders: those that work, the oldest on top, then the newest that are done."""
    desk = _desk(found(bootstrap, prefix), ("orders",))
    rows = order_rows(desk, _account(account, desk))
    working = [row for row in rows if row.works]
    rows = rows[: len(working) + last]
    _show(rows, screen.order_table(rows), as_json, "no order was ever sent")


def positions(
    account: One = "",
    *,
    closed: Annotated[bool, typer.Option("--closed", help="Show those that are closed, too.")] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Show the positions: quantity, cost, newest mark, P&L, highest P&L, why it is being closed.

    The mark is the newest price that the account itself saw; one that is old says how old.
    """
    desk = _desk(found(bootstrap, prefix), ("positions", INBOX))
    rows = position_rows(desk, _account(account, desk), closed=closed)
    _show(rows, screen.position_table(rows), as_json, "no position is held")


def reconcile(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="An account id.")],
    *,
    resolve: Annotated[
        str, typer.Option("--resolve", metavar="ADJUSTMENT", help="Settle this adjustment.")
    ] = "",
    price: Annotated[
        str, typer.Option("--price", help="USD per share that it was executed at; left out: unknown.")
    ] = "",
    person: Annotated[str, typer.Option("--person", help="Who settles it.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it is stored with the command.")] = "",
    as_json: AsJson = False,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Show where an account and its broker differ, and settle an adjustment that was made because of it.

    An adjustment blocks openings in its symbol and leaves P&L unknown until a person settles it.
    """
    where = found(bootstrap, prefix)
    desk = read_desk(target_of(where), ("positions", "orders", "executions", "controls", INBOX))
    seen = comparison(desk, _account(account, desk))
    if resolve:
        row, paid = _unresolved(seen.adjustments, resolve), _price(price)
        body = command(
            account, Command.RESOLVE, row.adjustment, price=paid,
            state=state_of(account, desk.of("controls")),
            person=person, reason=reason, now=SystemClock().now(),
        )  # fmt: skip
        write(body, Pipeline(where.cluster(), where.config))
        shown = "its price stays unknown" if paid is None else f"at {paid}"
        print(f"account {account}: {row.side} {row.qty.normalize():f} {row.instrument} settled, {shown}")
    elif price:
        raise Fatal("a price settles an adjustment", value=price, remedy="name it with --resolve")
    else:
        _print(seen, screen.comparison_tables(seen), as_json)


def _unresolved(rows: Sequence[AdjustmentRow], wanted: str) -> AdjustmentRow:
    for row in rows:
        if row.adjustment == wanted:
            if row.resolved_by is None:
                return row
            words = f"{row.resolved_by} settled it already: {row.resolved_why}"
            raise Fatal(words, value=wanted, remedy="`tape reconcile` shows those that wait")
    waiting = ", ".join(row.adjustment for row in rows if row.resolved_by is None) or "none"
    raise Fatal("the account has no such adjustment", value=wanted, remedy=f"these wait: {waiting}")


def _price(text: str) -> Decimal | None:
    """A price in USD; None where none is given. Raises Fatal for one that no execution can have."""
    if not text:
        return None
    try:
        price = Decimal(text)
        fits = price.is_finite() and price >= 0 and round(price, _PLACES) == price
    except InvalidOperation:
        fits = False
    if not fits:
        remedy = f"write USD per share, such as 2.05, with at most {_PLACES} decimals"
        raise Fatal("that is no price", value=text, remedy=remedy)
    return price


def _desk(where: Where, names: Sequence[str]) -> Desk:
    return read_desk(target_of(where), names)


def _account(name: str, desk: Desk) -> str:
    """``name``, if it is an account. Raises Fatal for one that neither the document nor the topics have."""
    known = {
        body["account_id"] for bodies in desk.records.values() for body in bodies if "account_id" in body
    }
    if name and name not in known and desk.config is not None:
        scope_of(name, desk.config)
    return name


def _show(rows: Sequence[Any], table: RenderableType, as_json: bool, nothing: str) -> None:
    if rows or as_json:
        _print(rows, table, as_json)
    else:
        print(nothing)


def _print(content: Any, table: RenderableType, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_plain(content), indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else _WIDE).print(table, highlight=False)


def _plain(value: Any, name: str = "") -> Any:
    """As JSON: decimals as text, times in ISO 8601."""
    if hasattr(value, "__dataclass_fields__"):
        return {key: _plain(getattr(value, key), key) for key in value.__dataclass_fields__}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if name in _TIMES and isinstance(value, int):
        return iso_utc(value)
    return str(value) if isinstance(value, StrEnum) else value
