"""Alpaca's market-data JSON as typed values. Pure, and tolerant: nothing in a frame raises.

A message of a stream is one of: a ``Bar``, ``Quote`` or ``Status``; a ``Success``, ``Refusal`` or
``Acknowledged`` of the protocol; ``NotOurs`` (a known kind that is not used here, such as a trade);
``Unrecognised`` (a kind that is not known); or ``Unread`` (what cannot be read, with its bytes). So the
counts of these add up to the messages that came.

A bar's ``t`` is the left edge of its minute. Times are UTC microseconds; digits beyond them are cut off.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple

from tapedeck.connectors.alpaca.replies import UNREADABLE, micros, must

Json = dict[str, Any]

NOT_OURS = {
    "t": "trades",
    "c": "corrections",
    "x": "cancelErrors",
    "d": "dailyBars",
    "l": "lulds",
    "i": "imbalances",
    "o": "orderbooks",
    "n": "news",
}
"""Kinds of messages that Alpaca documents and that are not used here, with their channel's name."""
CHANNELS = ("bars", "updatedBars", "quotes", "statuses")
NEWS_CHANNELS = ("news",)
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./\-]{0,23}")
_BROKEN = (*UNREADABLE, RecursionError, OverflowError)
_LARGEST = 2**63
_LONGEST = 200


class Bar(NamedTuple):
    """One minute bar. ``updated``: it replaces the one that was sent before for the same minute.

    ``origin``: the label of a market that is not Alpaca's, which a data server over a tape sends.
    """

    symbol: str
    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    updated: bool = False
    origin: str = ""


class Quote(NamedTuple):
    """The best bid and ask. A side that is missing, or stated as 0, is None. ``origin``: as a bar's."""

    symbol: str
    time: int
    bid: Decimal | None
    ask: Decimal | None
    bid_size: int | None
    ask_size: int | None
    origin: str = ""


class Status(NamedTuple):
    """A trading status: ``code`` and ``reason`` are the words of the exchange's tape."""

    symbol: str
    time: int
    code: str
    message: str
    reason: str


class Success(NamedTuple):
    """``connected`` or ``authenticated``."""

    message: str


class Refusal(NamedTuple):
    """An error that the server states in the stream."""

    code: int
    message: str


class Acknowledged(NamedTuple):
    """What the server says it will send: symbols by channel."""

    channels: dict[str, frozenset[str]]


class NotOurs(NamedTuple):
    """A message of a kind that is not used here."""

    channel: str


class Unrecognised(NamedTuple):
    """A message of a kind that is not known."""

    kind: str
    raw: bytes


class Unread(NamedTuple):
    """What cannot be read: why, and its bytes."""

    error: str
    raw: bytes


Value = Bar | Quote | Status | Success | Refusal | Acknowledged | NotOurs | Unrecognised | Unread


def read(frame: str | bytes) -> list[Value]:
    """Every message of one frame, in order. A frame that is no JSON list of objects is one ``Unread``."""
    raw = frame.encode(errors="surrogatepass") if isinstance(frame, str) else bytes(frame)
    try:
        found = _json(raw)
    except _BROKEN as error:
        return [_unread(error, raw)]
    messages = found if isinstance(found, list) else [found]
    values = [_message(each) for each in messages]
    if any(isinstance(value, Unread | Unrecognised) for value in values):
        return [_with_bytes(value, part) for value, part in zip(values, _parts(raw, messages), strict=True)]
    return values


def bars(answer: Any) -> list[Bar | Unread]:
    """The bars of a REST answer: ``{"bars": {"AAPL": [...]}}``, or one bar in the place of the list."""
    return list(_rows(answer, "bars", bar))


def quotes(answer: Any) -> list[Quote | Unread]:
    """The quotes of a REST answer, in the same forms."""
    return list(_rows(answer, "quotes", quote))


def next_page(answer: Any) -> str | None:
    """The token of the page after this one."""
    token = answer.get("next_page_token") if isinstance(answer, dict) else None
    return str(token) if token else None


def bar(symbol: Any, raw: Json, updated: bool = False) -> Bar:
    """One bar. Raises an error of ``replies.UNREADABLE`` for one that cannot be read."""
    opened, high, low, close, volume = (_float(raw[name]) for name in ("o", "h", "l", "c", "v"))
    return Bar(_symbol(symbol), _time(raw["t"]), opened, high, low, close, volume, updated, _origin(raw))


def quote(symbol: Any, raw: Json) -> Quote:
    """One quote; raises likewise."""
    return Quote(
        _symbol(symbol),
        _time(raw["t"]),
        _price(raw.get("bp")),
        _price(raw.get("ap")),
        _size(raw.get("bs")),
        _size(raw.get("as")),
        _origin(raw),
    )


def status(symbol: Any, raw: Json) -> Status:
    """One trading status; raises likewise."""
    return Status(_symbol(symbol), _time(raw["t"]), *(_text(raw.get(name)) for name in ("sc", "sm", "rc")))


def _message(raw: Any) -> Value:
    try:
        kind = raw["T"]
        read_one = _READERS.get(kind)
        if read_one is not None:
            return read_one(raw)
        if kind in NOT_OURS:
            return NotOurs(NOT_OURS[kind])
        if not isinstance(kind, str):
            raise ValueError(f"the kind of a message is {kind!r}")
    except _BROKEN as error:
        return _unread(error, b"")
    return Unrecognised(kind, b"")


def _with_bytes(value: Value, raw: bytes) -> Value:
    return value._replace(raw=raw) if isinstance(value, Unread | Unrecognised) else value


def _parts(raw: bytes, messages: list[Any]) -> list[bytes]:
    """The bytes of each message as they came."""
    frame = raw.decode(json.detect_encoding(raw), "surrogatepass").lstrip()
    decoder, found, at = json.JSONDecoder(), [], int(frame.startswith("["))
    for _ in messages:
        while frame[at] in " \t\r\n,":
            at += 1
        _, end = decoder.raw_decode(frame, at)
        found.append(frame[at:end].encode(errors="surrogatepass"))
        at = end
    return found


def _acknowledged(raw: Json) -> Acknowledged:
    named = {channel: raw.get(channel) or [] for channel in CHANNELS}
    named |= {channel: raw[channel] for channel in NEWS_CHANNELS if raw.get(channel)}
    return Acknowledged({channel: frozenset(map(str, symbols)) for channel, symbols in named.items()})


_READERS: dict[Any, Callable[[Json], Value]] = {
    "b": lambda raw: bar(raw["S"], raw),
    "u": lambda raw: bar(raw["S"], raw, updated=True),
    "q": lambda raw: quote(raw["S"], raw),
    "s": lambda raw: status(raw["S"], raw),
    "success": lambda raw: Success(_text(raw["msg"])),
    "error": lambda raw: Refusal(int(raw["code"]), _text(raw.get("msg"))),
    "subscription": _acknowledged,
}


def _rows(answer: Any, name: str, parse: Callable[[Any, Json], Any]) -> Iterator[Any]:
    try:
        by_symbol: Iterable[tuple[Any, Any]] = (answer[name] or {}).items()
    except _BROKEN as error:
        yield _unread(error, _bytes(answer))
        return
    for symbol, found in by_symbol:
        for raw in found if isinstance(found, list) else [found]:
            try:
                yield parse(symbol, raw)
            except _BROKEN as error:
                yield _unread(error, _bytes({symbol: raw}))


def _json(raw: bytes) -> Any:
    return json.loads(raw, parse_float=Decimal, parse_constant=_refused)


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _unread(error: Exception, raw: bytes) -> Unread:
    return Unread(f"{type(error).__name__}: {error}"[:500], raw)


def _bytes(raw: Any) -> bytes:
    """A part of a frame as bytes again: the same JSON, not the same spacing."""
    try:
        return json.dumps(raw, default=str).encode(errors="surrogatepass")
    except _BROKEN:
        return repr(type(raw)).encode()


def _origin(raw: Json) -> str:
    return _text(raw.get("tape_origin"))


def _symbol(value: Any) -> str:
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise ValueError(f"not a symbol: {str(value)[:40]!r}")
    return value


def _text(value: Any) -> str:
    """A word of the server, in characters that can be stored."""
    return str("" if value is None else value)[:_LONGEST].encode(errors="replace").decode()


def _time(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(f"not a time: {str(value)[:40]!r}")
    return micros(value)


def _float(value: Any) -> float:
    """A number, however it is written. Raises ValueError for one that is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError(f"not a number: {str(value)[:40]!r}")
    found = float(value)
    if not isfinite(found):
        raise ValueError(f"not a finite number: {str(value)[:40]!r}")
    return found


def _price(value: Any) -> Decimal | None:
    if isinstance(value, bool):
        raise ValueError(f"not a price: {value}")
    price = None if value is None else must(value)
    return price or None


def _size(value: Any) -> int | None:
    """Whole shares or lots; a fraction counts as not stated."""
    if value is None or isinstance(value, bool):
        return None
    found = must(value)
    return int(found) if found == int(found) and 0 <= found < _LARGEST else None
