"""The paper exchange as those see it who play a tape: which market it serves, and what time it is there."""

import time
from collections.abc import Callable

import requests

from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal

_PATIENCE_S = 60.0
_AGAIN_S = 0.2
_ADVANCE_S, _MARKET_S = 10.0, 600.0
_REMEDY = "look at the log of the exchange"


def _nothing() -> None:
    pass


class RemoteExchange:
    """The exchange at ``url``. One that died is started again by whoever watches it: calls wait for that.

    ``meanwhile`` is called again and again during such a wait, and may raise to end it. Every call may be
    made twice. Raises Fatal where the exchange stays away.
    """

    def __init__(self, url: str, meanwhile: Callable[[], None] = _nothing) -> None:
        self._url, self._meanwhile = url, meanwhile
        self._session = requests.Session()

    def open_market(self, source: TapeSource) -> None:
        """Have it go on with the market of ``source``. Raises Fatal where it cannot."""
        answer = self._told("market", source.description(), _MARKET_S)
        if not answer.ok:
            raise Fatal(
                f"the paper exchange cannot serve this tape: {answer.text}",
                value=self._url,
                remedy="it must see the same files as this command; look at the log of the exchange",
            )

    def advance(self, label: int) -> None:
        """Move its clock to the end of a minute. Raises Fatal where it does not follow."""
        answer = self._told("advance", {"label": label}, _ADVANCE_S)
        if not answer.ok:
            words = f"the paper exchange does not follow: {answer.text}"
            raise Fatal(words, value=self._url, remedy=_REMEDY)

    def _told(self, what: str, body: object, timeout_s: float) -> requests.Response:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._session.post(f"{self._url}/_paper/{what}", json=body, timeout=timeout_s)
            except requests.RequestException as error:
                if time.monotonic() > until:
                    words = f"the paper exchange does not answer: {error}"
                    raise Fatal(words, value=self._url, remedy=_REMEDY) from None
            self._meanwhile()
            time.sleep(_AGAIN_S)
