"""Until when a contract trades: most close with their stock, options on some funds 15 minutes later.

Whether a contract ends in the money is decided by its stock's price at the session's own close, either way.
"""

from tapedeck.connectors.paper.market import Listing
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import Calendar, Session

LATE_US = 15 * MINUTE_US
LATE = frozenset(
    {
        "DBA", "DBB", "DBC", "DBO", "DIA", "EEM", "EFA", "FXI", "IWM", "IWN", "IWO", "IWV", "IYR", "KBE",
        "KRE", "LQD", "MDY", "MOO", "OEF", "QQQ", "SLX", "SPY", "SVXY", "TLT", "UNG", "UUP", "UVIX",
        "UVXY", "VIXM", "VIXY", "VXX", "VXZ", "XHB", "XLB", "XLE", "XLF", "XLI", "XLK", "XLP", "XLU",
        "XLV", "XLY", "XME", "XRT",
    }
)  # fmt: skip
"""Underlyings whose options trade until 16:15 ET (13:15 on a half day), on their last day, too."""


def closes_at(listing: Listing, session: Session) -> int:
    """When trading in ``listing`` ends on the day of ``session``, UTC microseconds."""
    late = listing.is_option and listing.underlying in LATE
    return session.close + (LATE_US if late else 0)


def trading_session(listing: Listing, calendar: Calendar, now: int) -> Session | None:
    """The session in which ``listing`` trades at ``now``; None if it does not."""
    session = calendar.session_on(calendar.session_date(now))
    return session if session is not None and session.open <= now < closes_at(listing, session) else None
