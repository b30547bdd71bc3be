"""The newest price that each account saw of an instrument, from its inbox: what its exits are judged on."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from tapedeck.schemas.codec import Body

_KIND = "InboxQuote"


class Mark(NamedTuple):
    """A quote's mid, or a last trade, and its time in UTC micros."""

    price: Decimal
    at: int


def marks_in(inbox: Iterable[Body]) -> dict[tuple[str, str], Mark]:
    """By account and instrument. A quote without a usable mid, and an error, leave the one before."""
    found: dict[tuple[str, str], Mark] = {}
    for body in inbox:
        kind, quote = body["payload"]
        if kind.rsplit(".", 1)[-1] == _KIND and (mark := _mark(quote)) is not None:
            key = (body["account_id"], quote["instrument"])
            if key not in found or mark.at >= found[key].at:
                found[key] = mark
    return found


def _mark(quote: dict[str, Any]) -> Mark | None:
    bid, ask = quote["bid"], quote["ask"]
    if quote["quote_time"] is not None and bid and ask and bid <= ask:
        return Mark((bid + ask) / 2, quote["quote_time"])
    if quote["trade_price"] and quote["trade_time"] is not None:
        return Mark(quote["trade_price"], quote["trade_time"])
    return None
