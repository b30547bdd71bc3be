"""Surges in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.telling import Body, Telling, Told, clock


def _surge(body: Body) -> str:
    found = f"{body['mentions']} mentions, {body['authors']} authors of posts"
    hour = f"{body['symbol']} {body['level']} in the hour of {clock(body['hour'])}: {found}"
    if body["baseline"] is None:
        return f"{hour}; only {body['days']} days to compare with"
    return (
        f"{hour}; {number(body['baseline'])} expected of {body['days']} days, score {number(body['score'])}"
    )


TOLD: Telling = {"surges": Told(_surge)}
