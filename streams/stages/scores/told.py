"""Scores in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.telling import Body, Telling, Told


def _score(body: Body) -> str:
    names = ("sentiment_pressure", "setup_quality", "vol_score", "trend_alignment")
    parts = ", ".join(f"{name} {number(body[name])}" for name in names)
    news = f"; news {body['sentiment_avg']:+.2f} of {body['sentiment_n']}" if body["sentiment_n"] else ""
    return f"{body['symbol']} {number(body['watch_score'])} ({parts}{news})"


TOLD: Telling = {"scores": Told(_score)}
