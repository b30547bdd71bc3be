"""What the trade-update stream of one account lets through: everything, unless a fault says otherwise."""

from collections.abc import Callable
from typing import Any

from tapedeck.connectors.paper.engine import Engine
from tapedeck.connectors.paper.faults import Fault
from tapedeck.streams.protocol import SECOND_US

Update = dict[str, Any]


class UpdateGate:
    """Put each update in; ``deliver`` gets those to send now, in order.

    ``cut(seconds)`` ends the connections of the account, which stays unreachable for so long.
    """

    def __init__(
        self,
        engine: Engine,
        account: str,
        deliver: Callable[[Update], None],
        cut: Callable[[float], None],
    ) -> None:
        self._engine = engine
        self._account = account
        self._deliver, self._cut = deliver, cut
        self._held: list[Update] = []
        self._silent_until = 0

    def put(self, update: Update) -> None:
        """An update of this account, while somebody listens."""
        now = self._engine.now
        if now < self._silent_until:
            return
        event = str(update["data"]["event"])
        silence = self._seconds(Fault.STREAM_SILENT, event)
        if silence is not None:
            self._silent_until = now + round(silence * SECOND_US)
            return
        pause = self._seconds(Fault.STREAM_CUT, event)
        if pause is not None:
            self._held.clear()
            self._cut(pause)
            return
        self._pass(update, event)

    def _pass(self, update: Update, event: str) -> None:
        if self._fires(Fault.UPDATE_LOST, event):
            return
        late = self._seconds(Fault.UPDATE_LATE, event)
        if late is not None:
            self._engine.later(late, lambda: self._deliver(update))
            return
        if not self._held and self._fires(Fault.UPDATE_AFTER_NEXT, event):
            self._held.append(update)
            return
        if self._fires(Fault.UPDATE_NULL, event):
            update = update | {"data": None}
        out = [update, update] if self._fires(Fault.UPDATE_TWICE, event) else [update]
        out += self._held
        self._held = []
        for each in out:
            self._deliver(each)

    def _fires(self, fault: Fault, event: str) -> bool:
        return self._seconds(fault, event) is not None

    def _seconds(self, fault: Fault, event: str) -> float | None:
        return self._engine.faults.seconds(fault, "update", self._account, event)
