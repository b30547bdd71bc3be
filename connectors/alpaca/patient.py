"""Requests for Alpaca's historical data: one at a time, tried again while that can help.

alpaca-py builds the requests and sends them; it neither repeats nor collects pages here. A refused rate is
waited for as the server says.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient

from tapedeck.connectors.alpaca.rest import BoundedAdapter, asked, bounded
from tapedeck.connectors.broker import Doubt, NotUnderstood, RateLimited
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.waits import asked_wait_s, equal_jitter_s, seconds_in
from tapedeck.streams.protocol import SECOND_US

T = TypeVar("T")

CONNECT_S, READ_S = 5.0, 20.0
ATTEMPTS = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_WAIT_S = 1.0, 30.0, 90.0


class Patient:
    """Sends the requests of one client. Blocking; one instance per thread.

    ``sleep`` waits between tries, and may raise to end them. ``requests`` were sent; ``waited`` counts the
    waits for a refused rate.
    """

    def __init__(
        self,
        client: RESTClient,
        base_url: str,
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        attempts: int = ATTEMPTS,
        rng: Random | None = None,
    ) -> None:
        self._client, self._clock, self._sleep, self._attempts = client, clock, sleep, attempts
        self._rng = rng or Random()
        bounded(client, base_url)
        for scheme in ("http://", "https://"):
            client._session.mount(scheme, BoundedAdapter(CONNECT_S, READ_S))
        self.requests = 0
        self.waited = 0

    def tried(self, parse: Callable[[Any], T], path: str, fields: dict[str, Any]) -> T:
        """One page. Raises Refused for a definite no, RateLimited or Doubt where all tries failed."""
        for attempt in range(1, self._attempts + 1):
            self.requests += 1
            try:
                return asked(parse, self._client.get, path, fields)
            except NotUnderstood:
                raise
            except (RateLimited, Doubt) as error:
                if attempt == self._attempts:
                    raise
                self._wait(error, attempt)
        raise AssertionError("the last attempt raises")

    def _wait(self, error: Exception, attempt: int) -> None:
        pause = equal_jitter_s(attempt, _FIRST_PAUSE_S, _LONGEST_PAUSE_S, self._rng)
        if isinstance(error, RateLimited):
            self.waited += 1
            pause = max(pause, min(self._said(error.__cause__), _LONGEST_WAIT_S))
        self._sleep(pause)

    def _said(self, cause: BaseException | None) -> float:
        """Seconds that the server asks to wait: Retry-After, else Alpaca's own X-RateLimit-Reset."""
        response = cause.response if isinstance(cause, APIError) else None
        if response is None:
            return 0.0
        now = self._clock.now()
        after = asked_wait_s(response.headers.get("Retry-After"), now)
        if after is not None:
            return after
        reset = seconds_in(response.headers.get("X-RateLimit-Reset"))
        return 0.0 if reset is None else reset - now / SECOND_US


def object_of(answer: Any) -> Any:
    """An answer that is a JSON object. Raises ValueError for another, or an empty one."""
    if not isinstance(answer, dict):
        raise ValueError(f"the answer is {type(answer).__name__}")
    return answer


def moment(t: int) -> datetime:
    """UTC microseconds as alpaca-py takes a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t)
