"""A shipped stage that listens to moods as well: the newest one of a symbol goes into what it puts out."""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

from tapedeck.streams.protocol import Batch, Out, Row, Stage, Step, Values
from tapedeck.streams.stages.base import derived, pack_state, unpack_state

_VERSION = 1
MOODS = "toy_moods"


class Listening:
    """``inner`` with the newest mood of each symbol beside its state, told in ``topics``."""

    def __init__(self, inner: Stage, config_digest: str, topics: tuple[str, ...]) -> None:
        self._inner, self._digest, self._topics = inner, config_digest, topics
        self.dead_letter_reasons = inner.dead_letter_reasons

    def key(self, row: Row) -> bytes:
        return row.key if row.topic == MOODS else self._inner.key(row)

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        body, mood = _opened(state)
        outs: list[Out] = []
        drops = []
        for cause, row in enumerate(batch):
            if row.topic == MOODS:
                mood = {name: row.body[name] for name in ("event_id", "n", "mean")}
                continue
            step = self._inner.step(key, body, [row])
            body = step.state or None
            outs += [self._told(out._replace(cause=cause), mood) for out in step.outs]
            drops += [drop._replace(cause=cause) for drop in step.drops]
        return Step(_closed(body, mood), outs, drops)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        inside = _Inside(values)
        step = self._inner.at_watermark(watermark, part, inside)
        outs = [self._told(out, inside.moods.get(out.record_key)) for out in step.outs]
        return Step(_closed(step.state, None), outs, step.drops)

    def _told(self, out: Out, mood: dict[str, Any] | None) -> Out:
        if mood is None or out.topic not in self._topics:
            return out
        body = out.body | {"sentiment_n": mood["n"], "sentiment_avg": mood["mean"]}
        inputs = [*body.pop("inputs"), mood["event_id"]]
        for name in ("event_id", "config_digest", "rules_version"):
            del body[name]
        return derived(out.cause, out.topic, body, self._digest, inputs)


class _Inside:
    """The values as the inner stage knows them."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self.own = _opened(values.own)[0]
        self.moods: dict[bytes, dict[str, Any] | None] = {}

    def get(self, key: bytes) -> bytes | None:
        return _opened(self._values.get(key))[0]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, state in self._values.items():
            body, self.moods[key] = _opened(state)
            if body:
                yield key, body


def _opened(state: bytes | None) -> tuple[bytes | None, dict[str, Any] | None]:
    if not state:
        return None, None
    fields = unpack_state(_VERSION, state)
    return b64decode(fields["inner"]) or None, fields["mood"]


def _closed(body: bytes | None, mood: dict[str, Any] | None) -> bytes:
    if not body and mood is None:
        return b""
    return pack_state(_VERSION, {"inner": b64encode(body or b"").decode(), "mood": mood})
