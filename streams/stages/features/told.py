"""Features in words, and the bars that they are computed from."""

from tapedeck.streams.misses import number
from tapedeck.streams.telling import Body, Telling, Told, clock


def _feature(body: Body) -> str:
    ready = "ready" if body["ready"] else "not ready"
    return (
        f"{body['symbol']} bar {clock(body['t'])}, close {number(body['close'])}, "
        f"revision {body['revision']} (of bar revision {body['bar_revision']}), {ready}"
    )


def _bar(body: Body) -> str:
    prices = " ".join(f"{name[0]} {number(body[name])}" for name in ("open", "high", "low", "close"))
    return (
        f"{body['symbol']} bar {clock(body['t'])} revision {body['revision']}: {prices}, volume "
        f"{number(body['volume'])}, {body['feed']} ({body['origin']})"
    )


TOLD: Telling = {"bars": Told(_bar), "bars.late": Told(_bar), "features": Told(_feature)}
