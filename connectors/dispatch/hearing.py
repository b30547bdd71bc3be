"""What the stream of trade updates brings, and what is asked where it may have said too little.

A connection asks whose account it is and compares it with the broker's at once, the first one too: what
happened between the start's snapshot and the connection was not heard. An update without content (Alpaca has
sent them for days) says that something happened, and not what: the orders that work are looked up. So is an
order that the broker took and the stream says nothing of. An update about an order that took the place of one
which this process never saw says too little, too: a comparison brings what was executed, and whose it was.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tapedeck.connectors.broker import TradeUpdate, UnreadRow
from tapedeck.connectors.dispatch.inbox import Body
from tapedeck.connectors.dispatch.steps import FETCH_ACCOUNT, FETCH_BROKER

SILENT_S = 2.0
"""How long after its sending, or after an update without content, an order is looked up."""
_LONGEST_S = 60.0
HEARD = "OK:broker"
"""The count of a dispatcher's heartbeat that holds the seconds since its broker was heard."""

Requests = Callable[[], Sequence[Body]]


class Desk(Protocol):
    """What is asked of the dispatcher."""

    def on_trade_update(self, update: TradeUpdate | UnreadRow) -> list[Body] | None: ...

    def stream(self, healthy: bool, detail: str) -> Body: ...

    def look_ups(self, why: str) -> list[Body]: ...

    def unheard(self, client_order_id: str) -> list[Body]: ...


class Hearing:
    """Passes a stream's callbacks on.

    ``append`` takes records for the inbox, in order. ``later(delay_s, requests)`` performs, after a pause of
    the wall clock, the requests that ``requests`` then gives.
    """

    def __init__(
        self,
        desk: Desk,
        append: Callable[[list[Body]], None],
        later: Callable[[float, Requests], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk, self._append, self._later = desk, append, later
        self._planned = self._compares = False
        self._monotonic = monotonic
        self._hears = False
        self._heard_at: float | None = None

    def on_update(self, update: TradeUpdate | UnreadRow) -> None:
        heard = self._desk.on_trade_update(update)
        if heard is not None:
            self._append(heard)
        elif not self._compares:
            self._compares = True
            self._later(0.0, self._comparison)

    def on_health(self, healthy: bool, detail: str) -> None:
        if healthy or self._hears:
            self._heard_at = self._monotonic()
        self._hears = healthy
        self._append([self._desk.stream(healthy, detail)])
        if healthy:
            self._later(0.0, lambda: [FETCH_ACCOUNT, FETCH_BROKER])

    def standing(self, answered: float | None) -> dict[str, int]:
        """What a heartbeat tells of the broker: the seconds since it was heard, nothing if it never was.

        ``answered``: when a call last succeeded, on the monotonic clock. A connection counts as heard while
        it lasts: it is pinged every ten seconds. So nothing is asked for this.
        """
        now = self._monotonic()
        if self._hears:
            return {HEARD: 0}
        known = [at for at in (answered, self._heard_at) if at is not None]
        return {HEARD: int(now - max(known))} if known else {}

    def on_empty(self) -> None:
        """An update without content came."""
        if not self._planned:
            self._planned = True
            self._later(SILENT_S, self._all)

    def sent(self, client_order_id: str, pause_s: float = SILENT_S) -> None:
        """An order was sent: it is looked up, after growing pauses, until the stream speaks of it."""

        def unheard() -> list[Body]:
            requests = self._desk.unheard(client_order_id)
            if requests:
                self.sent(client_order_id, min(2 * pause_s, _LONGEST_S))
            return requests

        self._later(pause_s, unheard)

    def _comparison(self) -> list[Body]:
        self._compares = False
        return [FETCH_BROKER]

    def _all(self) -> list[Body]:
        self._planned = False
        return self._desk.look_ups("EMPTY_UPDATE")
