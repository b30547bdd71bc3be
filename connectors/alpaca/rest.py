"""Requests through alpaca-py: one call is one request, bounded in time, and every outcome has a name.

alpaca-py repeats a POST blindly on 429 and 504, and has no timeouts. Both are fixed here through private
names (``_retry``, ``_session``) that a test pins.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from requests.adapters import HTTPAdapter

from tapedeck.connectors.alpaca.replies import UNREADABLE
from tapedeck.connectors.broker import Doubt, NotFound, NotUnderstood, RateLimited, Refused
from tapedeck.connectors.waits import asked_wait_s, seconds_in
from tapedeck.streams.config.accounts import is_loopback
from tapedeck.streams.protocol import SECOND_US

T = TypeVar("T")

CONNECT_S = 0.9
WRITE_S = 2.0
READ_S = 10.0


class BoundedAdapter(HTTPAdapter):
    """Limits every request in time and repeats none.

    A write gets connect + answer < 3 s, which is the least remaining lease with which it may begin.
    """

    def __init__(self, connect_s: float | None = None, read_s: float | None = None) -> None:
        super().__init__()
        self._connect_s, self._read_s = connect_s, read_s

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        answer = (self._read_s or READ_S) if request.method == "GET" else WRITE_S
        kwargs["timeout"] = (self._connect_s or CONNECT_S, answer)
        return super().send(request, *args, **kwargs)


def bounded(client: RESTClient, base_url: str) -> None:
    """Let ``client`` send each request once and in time, and read no credentials but its own.

    Beyond this machine it goes through the proxy that the environment names for ``base_url``.
    """
    client._retry = 0
    client._session.trust_env = False  # a .netrc would replace the credentials, and loopback needs no proxy
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, BoundedAdapter())
    if not is_loopback(base_url):
        client._session.proxies.update(requests.utils.get_environ_proxies(base_url))


def asked(parse: Callable[[Any], T], call: Callable[..., Any], *args: Any) -> T:
    """Parse the answer of one call with ``parse``. Raises Refused, NotFound, RateLimited or Doubt."""
    remedy = "ask for the outcome"
    try:
        return parse(call(*args))
    except APIError as error:
        raise _named(error) from error
    except requests.exceptions.JSONDecodeError as error:
        raise NotUnderstood("the broker's answer is not JSON", remedy=remedy) from error
    except requests.RequestException as error:
        raise Doubt(f"no answer from the broker: {type(error).__name__}", remedy=remedy) from error
    except UNREADABLE as error:
        raise NotUnderstood(f"the broker's answer was not understood: {error!r}", remedy=remedy) from error


def _named(error: APIError) -> Refused | NotFound | RateLimited | Doubt:
    status = error.status_code
    message, code = _words(str(error))
    if status == requests.codes.not_found:
        return NotFound(f"the broker does not know it: {message}")
    if status == requests.codes.too_many_requests:
        limited = RateLimited(
            f"the broker did not take the call: {message}", remedy="wait before the next one"
        )
        limited.wait_s = _reset_s(error.response)
        return limited
    if status is None or status >= requests.codes.server_error or status == requests.codes.request_timeout:
        return Doubt(f"the broker answered {status}: {message}", remedy="ask for the outcome")
    return Refused(message, status=status, code=code)


def _reset_s(answer: requests.Response) -> float | None:
    """The seconds that a 429 asks to wait: Retry-After, else Alpaca's X-RateLimit-Reset after its Date."""
    sent = asked_wait_s(answer.headers.get("Date"), 0)
    after = asked_wait_s(answer.headers.get("Retry-After"), int((sent or 0.0) * SECOND_US))
    if after is not None:
        return after
    reset = seconds_in(answer.headers.get("X-RateLimit-Reset"))
    return None if reset is None or sent is None else max(0.0, reset - sent)


def _words(text: str) -> tuple[str, int | None]:
    """(message, code) of an error body; a body that is not Alpaca's JSON is truncated."""
    try:
        body = json.loads(text)
        return str(body["message"]), body.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:200] or "an empty body", None
