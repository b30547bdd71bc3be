"""Where a minute ends at the watchlist stage: its symbol is not on the list."""

from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import Judged
from tapedeck.streams.stages.watchlist.misses import miss
from tapedeck.streams.stages.watchlist.reasons import Unstated, WatchlistDrop, WatchlistReason
from tapedeck.streams.telling import clock
from tapedeck.streams.trail import Blames, Ended, Trail

_PLACE = "watchlist"


def _ended(at: Judged, config: Config) -> Ended | Blames:
    """The list, or what it needs, dropped the symbol."""
    membership = at.beside.get("memberships")
    if membership is None:
        if at.beside.get("universe") is None:
            return Ended(_PLACE, WatchlistDrop.NO_UNIVERSE)
        return Blames("scores", Ended(_PLACE, Unstated.NO_LIST))
    reason = WatchlistReason(membership["reason"])
    if reason is WatchlistReason.NOT_SCORED:
        return Ended("scores", reason)
    far = miss(reason, at._replace(record=membership), config)
    return Ended(_PLACE, reason, far, f"list of {clock(membership['evaluation'])}")


TRAIL = Trail(topic="memberships", places=(_PLACE,), nothing=Unstated.NO_LIST, ended=_ended)
