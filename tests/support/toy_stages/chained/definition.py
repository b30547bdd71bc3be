"""A toy stage whose state shows whether it saw every record of its inputs once and in order."""

from hashlib import sha256

from tapedeck.streams.definition import Definition
from tapedeck.streams.protocol import Batch, Out, Row, Step, Values


class Chained:
    """Chains hashes of what it sees per symbol.

    Each bar is passed on as a late one, with the hash as volume.
    """

    dead_letter_reasons: frozenset[str] = frozenset()

    def key(self, row: Row) -> bytes:
        return str(row.body["symbol"]).encode()

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        outs, chain = [], state or b""
        for cause, row in enumerate(batch):
            seen = f"{row.topic}|{row.body['event_id']}|{row.log_minute}".encode()
            chain = sha256(chain + seen).digest()
            if row.topic == "bars":
                body = row.body | {"volume": float(int.from_bytes(chain[:4], "big"))}
                outs.append(Out(cause, "bars.late", key, row.body["event_id"], body))
        return Step(chain, outs, [])

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        raise NotImplementedError("it has no period")


DEFINITION = Definition(make=lambda *_: Chained(), reads=("bars", "scores"), state_version=1)
