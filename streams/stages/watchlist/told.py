"""Lists, and a symbol's place in them, in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.telling import Body, Telling, Told, clock


def _membership(body: Body) -> str:
    place = f"rank {body['rank']} ({body['flag']})" if body["on_watchlist"] else "not on the list"
    return f"{body['symbol']} {place}: {body['reason']}, score {number(body['score'])}"


def _watchlist(body: Body) -> str:
    return (
        f"list of {clock(body['evaluation'])}: {len(body['members'])} members, "
        f"{len(body['events'])} changes, universe {body['universe_version']}"
    )


TOLD: Telling = {"watchlist": Told(_watchlist), "memberships": Told(_membership)}
