"""Where a minute ends at the signals stage: the decision holds."""

from tapedeck.streams.config.accounts import Action
from tapedeck.streams.config.document import Config
from tapedeck.streams.misses import Judged
from tapedeck.streams.stages.signals.misses import detail, miss
from tapedeck.streams.stages.signals.reasons import SignalReason, Unstated
from tapedeck.streams.trail import Blames, Ended, Trail

_PLACE = "decisions"


def _ended(at: Judged, config: Config) -> Ended | Blames | None:
    if at.record["action"] != Action.HOLD:
        return None
    reason = SignalReason(at.record["reason"])
    ended = Ended(_PLACE, reason, miss(reason, at, config), detail(reason, at, config))
    return Blames("memberships", ended) if reason is SignalReason.NOT_ON_WATCHLIST else ended


TRAIL = Trail(topic="decisions", places=(_PLACE,), nothing=Unstated.NO_DECISION, ended=_ended)
