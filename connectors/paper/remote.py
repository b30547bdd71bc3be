"""The paper exchange as a client that plays a tape sees it: which market it serves, and its time."""

import time
from collections.abc import Callable

import requests

from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal

_PATIENCE_S = 60.0
_AGAIN_S = 0.2
_ADVANCE_S, _MARKET_S = 10.0, 600.0
_REMEDY = "see the log of the exchange"


def _nothing() -> None:
    pass


class RemoteExchange:
    """The exchange at ``url``. If it dies, its supervisor restarts it, and calls wait for that.

    ``meanwhile`` is called repeatedly during such a wait, and may raise to end it. Any call may be made
    twice. Raises Fatal if the exchange stays away.
    """

    def __init__(self, url: str, meanwhile: Callable[[], None] = _nothing) -> None:
        self._url, self._meanwhile = url, meanwhile
        self._session = requests.Session()

    def open_market(self, source: TapeSource) -> None:
        """Make it continue with the market of ``source``. Raises Fatal if it cannot."""
        answer = self._told("market", source.description(), _MARKET_S)
        if not answer.ok:
            raise Fatal(
                f"the paper exchange cannot serve this tape: {answer.text}",
                value=self._url,
                remedy="it must see the same files as this command; see the log of the exchange",
            )

    def advance(self, label: int) -> None:
        """Move its clock to the end of a minute. Raises Fatal if it does not follow."""
        answer = self._told("advance", {"label": label}, _ADVANCE_S)
        if not answer.ok:
            words = f"the paper exchange did not move its clock: {answer.text}"
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
