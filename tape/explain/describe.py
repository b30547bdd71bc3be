"""One record in words: a headline, and the lines that say how it came out so.

A topic without words of its own is told by its scalar fields.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tapedeck.schemas.readable import readable
from tapedeck.streams.contract import SECOND_US
from tapedeck.streams.misses import number
from tapedeck.streams.sessions import NEW_YORK
from tapedeck.streams.stages.features.window import Window
from tapedeck.tape.explain.lookup import Body, Found
from tapedeck.topics.catalogue import topic

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDENTITY = {"event_id", "event_time", "config_digest", "rules_version", "inputs", "feed"}
_FIGURES = ("close", "distance_sma20", "trend_state", "vol_ratio", "volume_ratio")
_UNTOLD = ("_id", "_t", "_at", "_time")
_LONGEST = 140


def new_york(micros: int) -> str:
    """UTC microseconds as New York's date and time."""
    moment = (_EPOCH + timedelta(microseconds=micros)).astimezone(NEW_YORK)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def clock(micros: int) -> str:
    """UTC microseconds as New York's time of day."""
    return new_york(micros)[11:16]


def utc(micros: int) -> str:
    """UTC microseconds as time of day in UTC, milliseconds where there are any."""
    moment = _EPOCH + timedelta(microseconds=micros)
    millis = micros % SECOND_US // 1000
    return f"{moment:%H:%M:%S}{f'.{millis:03d}' if millis else ''}Z"


def headline(name: str, body: Body) -> str:
    """What a record of topic ``name`` says, in one line."""
    words = _HEADLINES.get(name)
    return words(body) if words else scalars(name, body)


def details(found: Found, window: Window | None = None) -> list[str]:
    """The lines below the headline: a proposal's gates and size, a decision's factors, a feature's window."""
    make = _DETAILS.get(found.topic)
    lines = make(found.body) if make else []
    return lines + ([_window(window)] if window else [])


def scalars(name: str, body: Body) -> str:
    """The fields of any record that are neither its identity nor nested; how many there are of a list."""
    schema = topic(name).schema
    fields = readable(schema, body) if schema else body
    return _short(_pairs({each: content for each, content in fields.items() if each not in _IDENTITY}))


def _pairs(fields: Body) -> str:
    told = []
    for name, content in fields.items():
        if isinstance(content, list):
            told.append(f"{len(content)} {name}")
        elif isinstance(content, dict):
            told.append(_pairs(content))
        elif content is not None:
            told.append(f"{name} {content}")
    return ", ".join(told)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _order(body: Body) -> str:
    why = f" ({', '.join(filter(None, (body['reason'], body['detail'])))})" if body["reason"] else ""
    price = f" at {number(body['filled_avg_price'])}" if body["filled_avg_price"] is not None else ""
    return (
        f"{body['state']}{why}: {body['side']} {number(body['qty'])} {body['instrument']} "
        f"limit {number(body['limit_price'])}, filled {number(body['filled_qty'])}{price}"
    )


def _proposal(body: Body) -> str:
    return (
        f"{body['account_id']}: {body['verdict']} ({body['primary_reason']}) {body['action']} "
        f"{body['symbol']} as {body['strategy']}, to {body['purpose']}"
    )


def _proposal_details(body: Body) -> list[str]:
    what = body["instrument"] or "no instrument"
    size = (
        f"size  {body['sizing_reason']}: {number(body['quantity'])} x {what} (x{body['multiplier']}), limit "
        f"{number(body['limit_price'])}, worst {number(body['worst_price'])}, equity {number(body['equity'])}"
    )
    return [size, *(_gate(gate) for gate in body["gates"])]


def _gate(gate: Body) -> str:
    mark = "pass" if gate["passed"] else "FAIL"
    mark = mark if gate["applies"] else "n/a "
    text = f"gate  {mark}  {gate['gate']:<22}"
    if not gate["applies"]:
        return text.rstrip()
    seen = gate["observed"] or ("none" if gate["passed"] else "unknown")
    unit = f" {gate['unit']}" if gate["unit"] and gate["observed"] is not None else ""
    limit = "" if gate["threshold"] is None else f" (limit {gate['threshold']})"
    reason = "" if gate["passed"] else f"  {gate['reason']}"
    return f"{text}{seen}{unit}{limit}{reason}"


def _inbox(body: Body) -> str:
    kind, content = body["payload"]
    if kind.endswith("InboxSignal"):
        return f"signal: {content['symbol']} {content['action']}, confidence {number(content['confidence'])}"
    name = kind.rpartition(".")[2].removeprefix("Inbox").lower()
    told = {
        each: value for each, value in content.items() if not each.endswith(("_id", "_t", "_at", "_time"))
    }
    return _short(f"{name}: {_pairs(_plain(told))}" if told else name)


def _plain(fields: Body) -> Body:
    return {name: _number_of(content) for name, content in fields.items()}


def _number_of(content: Any) -> Any:
    return content if isinstance(content, str | bool | list | dict) or content is None else number(content)


def _decision(body: Body) -> str:
    strategy = f" as {body['strategy']}" if body["strategy"] else ""
    confidence = number(body["confidence"])
    return f"{body['symbol']} {body['action']}{strategy}: {body['reason']}, confidence {confidence}"


def _decision_details(body: Body) -> list[str]:
    known = {name: number(value) for name, value in body["factors"].items() if value is not None}
    factors = ", ".join(f"{name} {value}" for name, value in known.items())
    figures = ", ".join(f"{name} {number(body[name])}" for name in _FIGURES)
    listed = "not on the watchlist" if body["watchlist_rank"] is None else f"rank {body['watchlist_rank']}"
    return [f"figures  {figures}; {listed}", *([f"factors  {factors}"] if factors else [])]


def _feature(body: Body) -> str:
    ready = "ready" if body["ready"] else "not ready"
    return (
        f"{body['symbol']} bar {clock(body['t'])}, close {number(body['close'])}, "
        f"revision {body['revision']} (of bar revision {body['bar_revision']}), {ready}"
    )


def _window(window: Window) -> str:
    revised = ", ".join(f"{new_york(t)} revision {each}" for t, each in sorted(window.revised.items()))
    return (
        f"window  {window.bars} bars from {new_york(window.first_t)} to {new_york(window.last_t)} New York, "
        f"of {window.listed} in two sessions; {f'revised: {revised}' if revised else 'none revised'}"
    )


def _bar(body: Body) -> str:
    prices = " ".join(f"{name[0]} {number(body[name])}" for name in ("open", "high", "low", "close"))
    return (
        f"{body['symbol']} bar {clock(body['t'])} revision {body['revision']}: {prices}, volume "
        f"{number(body['volume'])}, {body['feed']} ({body['origin']})"
    )


def _membership(body: Body) -> str:
    place = f"rank {body['rank']} ({body['flag']})" if body["on_watchlist"] else "not on the list"
    return f"{body['symbol']} {place}: {body['reason']}, score {number(body['score'])}"


def _watchlist(body: Body) -> str:
    return (
        f"list of {clock(body['evaluation'])}: {len(body['members'])} members, "
        f"{len(body['events'])} changes, universe {body['universe_version']}"
    )


def _score(body: Body) -> str:
    names = ("sentiment_pressure", "setup_quality", "vol_score", "trend_alignment")
    parts = ", ".join(f"{name} {number(body[name])}" for name in names)
    return f"{body['symbol']} {number(body['watch_score'])} ({parts})"


def _execution(body: Body) -> str:
    return (
        f"{body['side']} {number(body['qty'])} {body['instrument']} at {number(body['price'])}, "
        f"fee {number(body['fee'])} ({body['source']})"
    )


_HEADLINES: dict[str, Callable[[Body], str]] = {
    "orders": _order,
    "proposals": _proposal,
    "account_inbox": _inbox,
    "decisions": _decision,
    "signals": _decision,
    "features": _feature,
    "bars": _bar,
    "bars.late": _bar,
    "memberships": _membership,
    "watchlist": _watchlist,
    "scores": _score,
    "executions": _execution,
}
_DETAILS: dict[str, Callable[[Body], list[str]]] = {
    "proposals": _proposal_details,
    "decisions": _decision_details,
}
