"""Decisions and signals in words."""

import re

from tapedeck.streams.misses import number
from tapedeck.streams.stages.signals.stage import SNAPSHOT
from tapedeck.streams.telling import Body, Named, Telling, Told


def _decision(body: Body) -> str:
    strategy = f" as {body['strategy']}" if body["strategy"] else ""
    confidence = number(body["confidence"])
    return f"{body['symbol']} {body['action']}{strategy}: {body['reason']}, confidence {confidence}"


def news(body: Body) -> str:
    """The sentiment that a decision was based on, empty without any."""
    n, avg = body["sentiment_n"], body["sentiment_avg"]
    return f"news {avg:+.2f} of {n} {'item' if n == 1 else 'items'}" if n else ""


def _decision_details(body: Body) -> list[str]:
    known = {name: number(value) for name, value in body["factors"].items() if value is not None}
    factors = ", ".join(f"{name} {value}" for name, value in known.items())
    figures = ", ".join(f"{name} {number(body[name])}" for name in SNAPSHOT)
    listed = "not on the watchlist" if body["watchlist_rank"] is None else f"rank {body['watchlist_rank']}"
    told = "; ".join(filter(None, (figures, listed, news(body))))
    return [f"figures  {told}", *([f"factors  {factors}"] if factors else [])]


def _signal_id(body: Body) -> str:
    return str(body["signal_id"])


SIGNAL = Named("signal", re.compile(r"sg_[0-9a-f]*"), "a signal_id (sg_...)", _signal_id)

TOLD: Telling = {
    "decisions": Told(_decision, _decision_details),
    "signals": Told(_decision, because="decisions", names=(SIGNAL,)),
}
OWN_SIGNALS = Told(_decision, _decision_details, names=(SIGNAL,))
"""What a stage of a user's own tells of its signals, which no other record explains."""
