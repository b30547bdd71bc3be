"""Pages of the paper exchange's REST answers, and the filters of its option chains."""

from datetime import date
from typing import Any

from aiohttp import web

from tapedeck.connectors.tapes.market import ContractQuote
from tapedeck.streams.sessions import day_number

Json = dict[str, Any]
PAGE = 100


def activity_page(found: list[Json], request: web.Request) -> web.Response:
    """One page of activities, given oldest first: newest first unless asked otherwise."""
    query = request.query
    if query.get("direction", "desc") == "desc":
        found.reverse()
    if "page_token" in query:
        ids = [each["id"] for each in found]
        found = found[ids.index(query["page_token"]) + 1 :] if query["page_token"] in ids else []
    return web.json_response(found[: int(query.get("page_size", PAGE))])


def is_dated(contract: ContractQuote, first: str | None, last: str | None) -> bool:
    earliest = contract.expiry if first is None else day_number(date.fromisoformat(first))
    latest = contract.expiry if last is None else day_number(date.fromisoformat(last))
    return earliest <= contract.expiry <= latest


def page_of(
    found: list[ContractQuote], limit: int, request: web.Request
) -> tuple[list[ContractQuote], str | None]:
    """One page and the token of the next: the symbol after which that page starts."""
    token = request.query.get("page_token")
    rest = sorted(
        (each for each in found if token is None or each.symbol > token), key=lambda each: each.symbol
    )
    return rest[:limit], (rest[limit - 1].symbol if len(rest) > limit else None)
