"""Expiry, exercise and assignment as Alpaca's account activities report them.

An expired contract is one ``OPEXP`` row. An exercise (``OPEXC``) and an assignment (``OPASN``) are two rows:
the contract's own and an ``OPTRD`` row for the shares, which names the contract by their common ``group_id``
at best. Source: Alpaca's documentation, "Non-Trade Activities for Option Events".
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from tapedeck.connectors.alpaca.replies import Json, must, number, rows
from tapedeck.connectors.broker import ActivityReply, Rows
from tapedeck.streams.sessions import day_number
from tapedeck.streams.stages.account.rules import occ
from tapedeck.streams.stages.account.rules.money import ZERO
from tapedeck.streams.stages.account.rules.positions import OPTION_MULTIPLIER, Kind, describe

EXPIRED, EXERCISED, ASSIGNED, SHARES = "OPEXP", "OPEXC", "OPASN", "OPTRD"
KINDS = (EXPIRED, EXERCISED, ASSIGNED, SHARES)


def read(raw: Iterable[Any]) -> Rows[ActivityReply]:
    """The legs of all rows of these kinds; each share leg names its contract."""
    mine = [row for row in raw if not isinstance(row, dict) or row.get("activity_type") in KINDS]
    found = rows("activities", _leg, mine)
    groups = {str(row["id"]): row.get("group_id") for row in mine if isinstance(row, dict) and row.get("id")}
    contracts = [leg for leg in found if leg.kind in (EXERCISED, ASSIGNED)]
    legs = (
        replace(leg, contract=_behind(leg, contracts, groups)) if leg.kind == SHARES else leg for leg in found
    )
    return Rows(legs, found.unread)


def _leg(raw: Json) -> ActivityReply:
    kind, symbol, qty = str(raw["activity_type"]), str(raw["symbol"]), must(raw["qty"])
    price = ZERO
    if kind == SHARES:
        # the cash that moved is exact: it gives the price, and its sign gives the side where qty has none
        cash = number(raw.get("net_amount")) or ZERO
        price = abs(cash / qty) if cash else must(raw["price"])
        qty = abs(qty) * (1 if cash < 0 else -1) if cash else qty
    elif describe(symbol).kind is Kind.STOCK:
        raise ValueError(f"{symbol} is not an option contract")
    return ActivityReply(
        activity_id=str(raw["id"]),
        kind=kind,
        date=day_number(date.fromisoformat(str(raw["date"])[:10])),
        instrument=symbol,
        qty=qty,
        price=price,
        contract=None,
    )


def _behind(leg: ActivityReply, contracts: Sequence[ActivityReply], groups: dict[str, Any]) -> str | None:
    """The contract behind a share leg: of its group, else the one that fits by date, strike and size."""
    group = groups.get(leg.activity_id)
    for each in contracts:
        if group is not None and groups.get(each.activity_id) == group:
            return each.instrument
    for each in contracts:
        known = occ.parse(each.instrument)
        fits = known.root == leg.instrument and known.strike == leg.price and each.date == leg.date
        if fits and abs(each.qty) * OPTION_MULTIPLIER == abs(leg.qty):
            return each.instrument
    return None
