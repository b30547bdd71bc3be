"""Mentions in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.stages.mentions.rule import lean
from tapedeck.streams.telling import Body, Telling, Told, clock


def _mentions(body: Body) -> str:
    pos, neg, neu = body["pos"], body["neg"], body["neu"]
    label = lean(pos, neg, neu).label.lower()
    by = f" by {body['authors']} authors" if body["authors"] else ""
    return (
        f"{body['symbol']} hour of {clock(body['hour'])}: {body['mentions']} {body['scope']} mentions{by}, "
        f"{label} ({pos} positive, {neg} negative, {neu} neutral, scores {number(body['score_sum'])})"
    )


TOLD: Telling = {"mentions": Told(_mentions)}
