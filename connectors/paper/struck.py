"""The web answers of faults and refusals."""

import asyncio
import contextlib
import math
from email.utils import formatdate

from aiohttp import web

from tapedeck.connectors.paper.door import Strike
from tapedeck.connectors.paper.faults import Fault
from tapedeck.connectors.paper.orders import TOO_MANY, Refusal
from tapedeck.streams.protocol import SECOND_US

_HALF = '{"id": "'
_CALLS = 200


def refused(refusal: Refusal) -> web.Response:
    return web.json_response(refusal.body(), status=refusal.status)


def too_many(seconds: float, now: int, calls_per_minute: int | None) -> web.Response:
    """A 429. Its date and its reset are of the exchange's clock, so that their difference is the wait."""
    second = now // SECOND_US
    headers = {
        "Date": formatdate(second, usegmt=True),
        "X-RateLimit-Limit": str(calls_per_minute or _CALLS),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(math.ceil(now / SECOND_US + seconds)),
    }
    body = Refusal(429, TOO_MANY, "too many requests.").body()
    return web.json_response(body, status=429, headers=headers)


def before(strike: Strike, request: web.Request, now: int, calls_per_minute: int | None) -> web.Response:
    """The answer to a call that does not reach the exchange."""
    if strike.fault is Fault.RATE_LIMIT:
        return too_many(strike.seconds, now, calls_per_minute)
    if strike.fault is Fault.GATEWAY_TIMEOUT_BEFORE:
        return _gateway_timeout()
    return _dropped(request)


async def after(strike: Strike, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """What the client gets in place of ``answer``."""
    if strike.fault is Fault.DELAY:
        await asyncio.sleep(strike.seconds)
        return answer
    if strike.fault is Fault.GATEWAY_TIMEOUT_AFTER:
        return _gateway_timeout()
    if strike.fault is Fault.DROP_AFTER:
        return _dropped(request)
    body = "null" if strike.fault is Fault.NULL_AFTER else _HALF
    return web.Response(status=200, text=body, content_type="application/json")


def _gateway_timeout() -> web.Response:
    """The answer of a load balancer: not JSON."""
    return web.Response(
        status=504, text="<html><body>504 Gateway Time-out</body></html>", content_type="text/html"
    )


def _dropped(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        with contextlib.suppress(OSError):
            request.transport.abort()
    return web.Response(status=504)
