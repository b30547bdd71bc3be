"""Toy stages and hand-made log records: for the tests of the shell and the wire."""

from collections.abc import Iterable, Iterator
from typing import Any

from tapedeck.connectors.tapes.tape import bar_body
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.logs import NO_IDS, TopicIds
from tapedeck.streams.merge import Item, Mark, Record
from tapedeck.streams.protocol import REQUESTS, Batch, Drop, Join, Message, Out, Row, StageSpec, Step, Values
from tapedeck.streams.shell import Effects, Forward, Produced, Shell
from tapedeck.streams.sim.task import MemoryStore
from tapedeck.streams.watermarks import headers_for
from tapedeck.topics.catalogue import WATERMARK_KEY

MINUTE = 60_000_000
T0 = 1_700_000_040_000_000
COUNTER = StageSpec(name="features", trigger="bars", outputs=("features", "bars.late"), doc="a toy")
PERIODIC = StageSpec(
    name="scores", trigger="bars", joins=(Join("universe"),), outputs=("scores",), scale="single", period=60,
    doc="a toy",
)  # fmt: skip


class Counter:
    """Counts bars per symbol and passes each on as a late bar. Certain volumes make it misbehave."""

    dead_letter_reasons = frozenset({"TOO_DEEP"})

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def key(self, row: Row) -> bytes:
        if row.body["volume"] == 404:
            raise KeyError("no key")
        return row.body["symbol"].encode()  # type: ignore[no-any-return]

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        assert state != b"", "a key without state has None"
        self.rows += batch
        count = int(state or b"0")
        outs, drops = [], []
        for cause, row in enumerate(batch):
            match row.body["volume"]:
                case 13:
                    raise ValueError("thirteen")
                case 14:
                    raise DeadLetter("fourteen", reason="FOURTEEN")
                case 15:
                    raise Fatal("fifteen")
                case 16:
                    drops.append(Drop(cause, "TOO_DEEP"))
                case 17:
                    drops.append(Drop(cause, "QUIET"))
                case 18:
                    outs.append(Out(cause, REQUESTS, key, "r", {"kind": "ASK"}))
            count += 1
            outs.append(Out(cause, "bars.late", key, row.body["event_id"], row.body))
        return Step(str(count).encode(), outs, drops)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        seen = b",".join(key + b"=" + body for key, body in values.items())
        own = (values.own or b"") + b"|" + seen
        out = Out(-1, "bars.late", b"~", f"w{watermark}", {"seen": seen})
        return Step(own, [out], [Drop(-1, "EVALUATED")])


def bar(symbol: str, t: int = T0, volume: float = 100, revision: int = 0) -> dict[str, Any]:
    return bar_body(symbol, t, (10.0, 11.0, 9.0, 10.5), volume, feed="iex", origin="test", revision=revision)


def message(body: dict[str, Any], offset: int, partition: int = 0, **changes: Any) -> Message:
    fields = {
        "topic": "bars", "partition": partition, "offset": offset, "timestamp": body["event_time"] // 1000,
        "key": body["symbol"].encode(), "value": encode("bars", body), "headers": (),
    } | changes  # fmt: skip
    return Message(**fields)


def record(
    symbol: str, offset: int, volume: float = 100, *, partition: int = 0, minute: int | None = T0
) -> Record:
    return Record(message(bar(symbol, T0 + offset * MINUTE, volume), offset, partition), minute)


def mark_message(label: int, offset: int, partition: int = 0, name: str = "bars") -> Message:
    return Message(name, partition, offset, 0, WATERMARK_KEY, None, tuple(headers_for(label)))


def mark(label: int, offset: int, *partitions: int) -> Mark:
    return Mark(label, tuple(mark_message(label, offset, p) for p in partitions or (0,)))


class Bench:
    """A shell over a table in memory: ``apply`` performs the writes as a driver would."""

    def __init__(self, spec: StageSpec = COUNTER, home: int = 0, ids: TopicIds = NO_IDS) -> None:
        self.stage, self.store = Counter(), MemoryStore()
        self.shell = Shell(spec, self.stage, self.store, home, ids)

    def apply(self, *items: Item) -> Effects:
        effects = self.shell.apply(items)
        for write in effects.writes:
            self.store.put(write.partition, write.key, write.value)
        return effects


def shown(outputs: Iterable[Produced | Forward]) -> Iterator[str]:
    """Outputs as text: symbol and offset of the cause, or W and the minutes since T0."""
    for each in outputs:
        if isinstance(each, Forward):
            yield f"W{(each.label - T0) // MINUTE}"
        elif each.cause is None:
            yield "evaluation"
        else:
            yield f"{each.out.record_key.decode()}{each.cause.offset}"
