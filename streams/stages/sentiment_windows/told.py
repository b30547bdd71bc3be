"""Windows and the scores that they count, in words."""

from tapedeck.streams.misses import number
from tapedeck.streams.stages.sentiment_windows.rule import SIGNALS_MINUTES, WATCHLIST_MINUTES
from tapedeck.streams.telling import Body, Telling, Told, clock, utc

_DIGEST = 12


def _windows(body: Body) -> str:
    told = (f"{_window(body, minutes)} in {minutes} min" for minutes in (SIGNALS_MINUTES, WATCHLIST_MINUTES))
    return f"{body['symbol']} from {clock(body['t'])} on: {', '.join(told)}"


def _window(body: Body, minutes: int) -> str:
    n = body[f"n_{minutes}"]
    return f"mean {number(body[f'avg_{minutes}'])} of {n}" if n else "no item"


def _counts(body: Body) -> list[str]:
    lines = []
    for minutes in (SIGNALS_MINUTES, WATCHLIST_MINUTES):
        newest = body[f"newest_at_{minutes}"]
        if newest is not None:
            counts = ", ".join(f"{body[f'{sign}_{minutes}']} {word}" for sign, word in _SIGNS)
            lines.append(f"{minutes} min: {counts}; the newest of {utc(newest)}")
    return lines


_SIGNS = (("pos", "positive"), ("neg", "negative"), ("neu", "neutral"))


def _score(body: Body) -> str:
    whose = f"{body['source']} {body['native_id']}"
    if body["score"] is None:
        return f"{body['symbol']} {body['reason']}: {whose}"
    folded = ", told before" if body["folded"] else ""
    return f"{body['symbol']} {body['label']} {number(body['score'])}: {whose}{folded}"


def _scored(body: Body) -> list[str]:
    lines = [f"version of {utc(body['updated_at'])}"]
    if body["link_confidence"] is not None:
        lines[0] += f", about {body['symbol']} with confidence {number(body['link_confidence'])}"
    if body["score"] is not None:
        model = f"{body['model_id']} " if body["model_id"] else ""
        lines.append(
            f"scored once by {body['engine']}, model {model}{body['model_digest'][:_DIGEST]}, "
            f"confidence {number(body['confidence'])}"
            + ("" if body["reason"] == "SCORED" else f": {body['reason']}")
        )
    return lines


TOLD: Telling = {
    "sentiment_windows": Told(_windows, _counts),
    "sentiment": Told(_score, _scored, made_of=("links", "post_links")),
}
