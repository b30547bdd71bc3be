"""What the watchlist stage's funnel line counts: (symbol, evaluation) in, those on the list out."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.funnel import Funnel, FunnelLine, Recorded, told
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.watchlist.reasons import WatchlistDrop


def _lines(recording: Recorded, config: Config, calendar: Calendar) -> Iterator[FunnelLine]:
    """In: at each evaluation, every symbol that the universe or a score so far names."""
    universes = {
        body["version"]: {member["symbol"] for member in body["members"]}
        for body in recording.bodies("universe")
    }
    scored: dict[int, set[str]] = defaultdict(set)
    for body in recording.bodies("scores"):
        scored[body["evaluation"]].add(body["symbol"])
    lists = {body["evaluation"]: body for body in recording.bodies("watchlist")}
    reasons = Counter(body["reason"] for body in recording.bodies("memberships") if not body["on_watchlist"])
    known: set[str] = set()
    taken = 0
    for evaluation in sorted(scored.keys() | lists.keys()):
        known |= scored[evaluation]
        if evaluation in lists:
            taken += len(known | universes.get(lists[evaluation]["universe_version"], set()))
        else:
            taken += len(known)
            reasons[WatchlistDrop.NO_UNIVERSE] += len(known) * (not universes)
    yield FunnelLine(
        stage="watchlist",
        unit="symbol and evaluation",
        taken=taken,
        given=sum(len(body["members"]) for body in lists.values()),
        reasons=told(reasons),
    )


FUNNEL = Funnel(_lines)
