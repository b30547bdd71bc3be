"""What an account wants to hear of while it holds or trades something: ticks, and bars of its underlyings."""

from tapedeck.connectors.dispatch.inbox import Body
from tapedeck.streams.protocol import SECOND_US
from tapedeck.streams.sessions import Calendar, CalendarUnknown

WORKING_S = 1
"""The period of a tick while an order is being worked; any longer one is for what is only held."""


class Watching:
    """The newest WATCH of the account, and when it was last ticked."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.symbols: tuple[str, ...] = ()
        self.every_s = 0
        self._ticked: int | None = None
        self._set_at = 0

    def set(self, request: Body, now: int) -> None:
        self.symbols, self.every_s = tuple(request["symbols"]), request["every_s"]
        self._set_at = now

    @property
    def working(self) -> bool:
        """Whether an order is being worked, so that seconds count."""
        return self.every_s == WORKING_S

    def due(self, now: int, *, always: bool = False) -> bool:
        """Whether a tick is due: every second while an order is worked or with ``always``, in session while
        something is held. A second has one tick at most, as that is what tells two ticks apart.
        """
        if self._ticked is not None and now // SECOND_US <= self._ticked // SECOND_US:
            return False
        if always or self.working:
            return True
        since = None if self._ticked is None else now - self._ticked
        late = since is None or since >= self.every_s * SECOND_US
        return bool(self.every_s) and late and self._in_session(now)

    def ticked(self, now: int) -> None:
        self._ticked = now

    def next_due(self, step_s: int) -> int | None:
        """When a driver that steps through time should tick next, if an order is worked: each ``step_s``."""
        since = self._set_at if self._ticked is None else self._ticked
        return since + step_s * SECOND_US if self.working else None

    def _in_session(self, now: int) -> bool:
        try:
            return self._calendar.session_at(now) is not None
        except CalendarUnknown:
            return True
