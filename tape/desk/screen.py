"""The operator's tables on a terminal: numbers to the right, what needs a person in color."""

from collections.abc import Sequence
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.stages.account.rules.orders import OrderState
from tapedeck.tape.desk.adjustments import Comparison
from tapedeck.tape.desk.rows import ACTIVE, AccountRow, OrderRow, PositionRow
from tapedeck.tape.doctor.check import clock, lasting

UNKNOWN = Text("unknown", style="red")
_STALE_S = 60
"""Seconds after which a mark is old, and an order in doubt is an alarm."""
_NONE = "-"
_GOOD = {"VERIFIED", ACTIVE}
_DOUBT = {OrderState.UNKNOWN, OrderState.UNRECOGNISED}
_BAD = {OrderState.REJECTED, *_DOUBT}


def account_table(rows: Sequence[AccountRow]) -> RenderableType:
    """Accounts, and below them who stopped one, why, and what a person should look at."""
    table = Table(
        "account", "mode", "tier", "identity", "state", title=f"Accounts ({len(rows)})", title_justify="left"
    )
    for name in ("equity", "buying power", "P&L of the session", "positions", "pending"):
        table.add_column(name, justify="right")
    table.add_column("seen")
    for row in rows:
        table.add_row(
            row.account, row.mode or UNKNOWN, row.tier or UNKNOWN,
            _state(row.identity), _state(_kill(row)),
            _money(row.equity), _money(row.buying_power), _gain(row.session_pnl),
            _of(row.positions, row.max_positions), _of(row.pending, row.max_pending), _ago(row.age_s),
        )  # fmt: skip
    return Group(table, *_notes(rows))


def _kill(row: AccountRow) -> str | None:
    return f"{row.kill_state}, {row.halt_step}" if row.kill_state and row.halt_step else row.kill_state


def _notes(rows: Sequence[AccountRow]) -> list[Text]:
    notes = []
    for row in rows:
        if row.stopped_by:
            notes.append(Text(f"{row.account} is stopped: {row.stopped_by}", style="yellow"))
        notes += [Text(f"{row.account}: {each}", style="yellow") for each in row.warnings]
    return notes


def order_table(rows: Sequence[OrderRow]) -> RenderableType:
    """Orders as they come: the working ones first."""
    working = sum(row.works for row in rows)
    table = Table(title=f"Orders ({working} work, {len(rows) - working} are done)", title_justify="left")
    for name in ("account", "instrument", "side", "for"):
        table.add_column(name)
    for name in ("filled", "limit", "average"):
        table.add_column(name, justify="right")
    for name in ("state", "for how long", "age", "try", "reason"):
        table.add_column(name)
    table.add_column("order", overflow="fold")
    for row in rows:
        table.add_row(
            row.account, row.instrument, row.side, row.exit_reason or row.purpose,
            f"{_number(row.filled)}/{_number(row.qty)}",
            _price(row.limit, "market"), _price(row.average, _NONE),
            _order_state(row), _span(row.state_s), _span(row.age_s), str(row.attempt + 1),
            row.reason or _NONE, row.order, style="" if row.works else "dim",
        )  # fmt: skip
    return table


def _order_state(row: OrderRow) -> Text:
    old = row.state_s is None or row.state_s > _STALE_S
    color = "red" if row.state in _BAD and (old or row.state not in _DOUBT) else ""
    return Text(row.state, style=color or ("yellow" if row.state in _DOUBT else ""))


def position_table(rows: Sequence[PositionRow]) -> RenderableType:
    """Positions; P&L is of the newest price that the account saw."""
    held = [row for row in rows if row.qty]
    table = Table(title=f"Positions ({len(held)} held)", title_justify="left")
    table.add_column("account")
    table.add_column("instrument")
    for name in ("qty", "average", "mark", "P&L", "P&L USD", "peak"):
        table.add_column(name, justify="right")
    for name in ("strategy", "held", "state", "exit"):
        table.add_column(name)
    table.add_column("position", overflow="fold")
    for row in rows:
        table.add_row(
            row.account, row.instrument, _number(row.qty), _price(row.average, _NONE), _mark(row),
            _percent(row.pnl) if row.qty else _NONE, _gain(row.pnl_usd if row.qty else row.realised),
            _percent(row.peak) if row.peak is not None else _NONE,
            f"{row.strategy or _NONE}{'' if row.owner == 'TAPEDECK' else f', {row.owner}'}",
            _span(row.held_s), _position_state(row), row.exit_reason or _NONE, row.position,
            style="" if row.qty else "dim",
        )  # fmt: skip
    return table


def _mark(row: PositionRow) -> Text | str:
    if row.mark is None:
        return UNKNOWN if row.qty else _NONE
    old = row.mark_s is None or row.mark_s > _STALE_S
    return (
        Text(f"{_price(row.mark, _NONE)} ({_span(row.mark_s)})", style="yellow")
        if old
        else _price(row.mark, "")
    )


def _position_state(row: PositionRow) -> Text:
    if row.needs_review:
        return Text(f"{row.state}, NEEDS_REVIEW", style="red")
    return Text(row.state, style="yellow" if row.state == "CLOSING" else "")


def comparison_tables(found: Comparison) -> RenderableType:
    """What we and the broker hold, the orders that only one of the two knows, and the adjustments."""
    if found.at is None:
        head = Text(f"account {found.account} was never compared with its broker", style="red")
    else:
        ago = "" if found.age_s is None else f", {lasting(found.age_s * SECOND_US)} ago"
        head = Text(f"account {found.account}: the broker was last asked at {clock(found.at)}{ago}")
    held = Table("instrument", title="Held", title_justify="left")
    held.add_column("ours", justify="right")
    held.add_column("broker", justify="right")
    held.add_column("")
    for row in found.held:
        word = Text("differs", style="red") if row.differs else Text("same", style="green")
        held.add_row(row.instrument, _number(row.ours), _number(row.broker), word)
    notes = [Text(f"open at the broker alone: {each}", style="yellow") for each in found.strangers]
    notes += [Text(f"open with us alone: {each}", style="yellow") for each in found.missing]
    return Group(head, held, *notes, _adjustments(found))


def _adjustments(found: Comparison) -> Table:
    waiting = sum(row.resolved_by is None for row in found.adjustments)
    table = Table(title=f"Adjustments ({waiting} wait for a person)", title_justify="left")
    table.add_column("adjustment", overflow="fold")
    table.add_column("instrument")
    table.add_column("side")
    table.add_column("qty", justify="right")
    table.add_column("made")
    table.add_column("resolved")
    for row in found.adjustments:
        price = "price unknown" if row.price is None else f"at {_price(row.price, _NONE)}"
        resolved = f"{price} by {row.resolved_by}: {row.resolved_why}"
        shown = Text(resolved) if row.resolved_by else Text("no", style="red")
        table.add_row(
            row.adjustment, row.instrument, row.side, _number(row.qty), clock(row.at), shown
        )  # fmt: skip
    return table


def _state(name: str | None) -> Text:
    if name is None:
        return UNKNOWN
    return Text(name, style="green" if name in _GOOD else "red")


def _ago(seconds: int | None) -> Text:
    return UNKNOWN if seconds is None else Text(f"{_span(seconds)} ago")


def _span(seconds: int | None) -> str:
    return "unknown" if seconds is None else lasting(seconds * SECOND_US)


def _of(number: int, most: int | None) -> str:
    return f"{number}/{most}" if most is not None else str(number)


def _money(amount: Decimal | None) -> Text:
    return UNKNOWN if amount is None else Text(f"{amount:,.2f}")


def _gain(amount: Decimal | None) -> Text:
    return UNKNOWN if amount is None else Text(f"{amount:+,.2f}", style=_side(amount))


def _percent(share: Decimal | None) -> Text:
    return UNKNOWN if share is None else Text(f"{100 * share:+.1f} %", style=_side(share))


def _side(amount: Decimal) -> str:
    return "green" if amount > 0 else "red" if amount < 0 else ""


def _price(price: Decimal | None, otherwise: str) -> str:
    """At least two decimals, and no more zeros than that."""
    if price is None:
        return otherwise
    text = f"{price.normalize():f}"
    return text if len(text.partition(".")[2]) > 2 else f"{price:.2f}"


def _number(qty: Decimal) -> str:
    return f"{qty.normalize():f}"
