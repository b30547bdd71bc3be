"""Alpaca's market-data messages, for REST (ISO times) and for the websockets (JSON or msgpack).

A tape has no trade counts and no volume-weighted prices: ``n`` and ``vw`` are made from volume and prices.
``tape_origin`` is a field that Alpaca does not have; it keeps synthetic data labeled.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import isnan
from typing import Any

import msgpack
import orjson

from tapedeck.connectors.paper.data.articles import Article
from tapedeck.connectors.paper.data.rows import BarRow, QuoteRow
from tapedeck.streams.sessions import iso_utc

Json = dict[str, Any]


class Moment(int):
    """UTC microseconds, written as the encoding writes times."""


def bar(row: BarRow, origin: str) -> Json:
    typical = round((row.high + row.low + row.close) / 3, 6)
    prices = {"o": row.open, "h": row.high, "l": row.low, "c": row.close}
    count = {"v": _whole(row.volume), "n": 1 + int(row.volume // 100), "vw": typical}
    return {"t": Moment(row.t)} | prices | count | {"tape_origin": origin}


def quote(row: QuoteRow, origin: str) -> Json:
    bid = {"bx": "V", "bp": _known(row.bid), "bs": int(_known(row.bid_size))}
    ask = {"ax": "V", "ap": _known(row.ask), "as": int(_known(row.ask_size))}
    return {"t": Moment(row.t)} | ask | bid | {"c": ["R"], "z": "C", "tape_origin": origin}


def trade(row: BarRow, origin: str) -> Json:
    """A trade at the close of a bar: a tape has no trades of its own."""
    at = Moment(row.t + 59_999_999)
    return {"t": at, "x": "V", "p": row.close, "s": 100, "c": ["@"], "i": 1, "z": "C", "tape_origin": origin}


def status(code: str, message: str, reason: str, at: int) -> Json:
    return {"t": Moment(at), "sc": code, "sm": message, "rc": reason, "rm": "", "z": "C"}


def article(each: Article, *, content: bool = True, images: bool = False) -> Json:
    told: Json = {
        "id": each.id, "headline": each.headline, "summary": each.summary, "author": each.author,
        "created_at": Moment(each.created_at), "updated_at": Moment(each.updated_at), "url": each.url,
        "content": each.content if content else "", "symbols": list(each.symbols), "source": each.source,
    }  # fmt: skip
    return told | {"images": []} if images else told


def written(message: Json) -> Json:
    """``message`` with its times as ISO 8601 in UTC."""
    return {name: _iso(value) if isinstance(value, Moment) else value for name, value in message.items()}


@lru_cache(maxsize=1024)
def _iso(t: int) -> str:
    """The bars of one minute share their time."""
    return iso_utc(t)


class Message:
    """One websocket message. Each encoding is made once, however many clients get it."""

    __slots__ = ("_encoded", "_told")

    def __init__(self, told: Json) -> None:
        self._told = told
        self._encoded: dict[bool, bytes] = {}

    def encoded(self, packed: bool) -> bytes:
        found = self._encoded.get(packed)
        if found is None:
            found = self._encoded[packed] = _packed(self._told) if packed else _json(self._told)
        return found


def frame(messages: Iterable[Message], packed: bool) -> bytes:
    """An array of messages: msgpack if ``packed``, else JSON."""
    items = [message.encoded(packed) for message in messages]
    if not packed:
        return b"[" + b",".join(items) + b"]"
    header: bytes = msgpack.Packer().pack_array_header(len(items))
    return header + b"".join(items)


def read(data: str | bytes, packed: bool) -> Any:
    """What a client sent. Raises ValueError for anything that cannot be read."""
    try:
        return msgpack.unpackb(data) if packed and isinstance(data, bytes) else orjson.loads(data)
    except (msgpack.UnpackException, msgpack.ExtraData) as error:
        raise ValueError(str(error)) from None


def _json(told: Json) -> bytes:
    return orjson.dumps(written(told))


def _packed(told: Json) -> bytes:
    stamped = {
        name: msgpack.Timestamp(value // 1_000_000, value % 1_000_000 * 1_000)
        if isinstance(value, Moment)
        else value
        for name, value in told.items()
    }
    packed: bytes = msgpack.packb(stamped)
    return packed


def _whole(value: float) -> float:
    return int(value) if value.is_integer() else value


def _known(value: float) -> float:
    """0 for a missing side, as in Alpaca's answers."""
    return 0.0 if isnan(value) else value
