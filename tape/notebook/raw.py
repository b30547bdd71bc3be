"""Records as stored in the log: bytes, headers and watermarks."""

from typing import Any

import polars as pl

from tapedeck.streams.blocks import Source
from tapedeck.tape.notebook import frames, times
from tapedeck.tape.notebook.query import Query, bounds, late_us, one_topic, spans
from tapedeck.tape.notebook.times import Zone


def raw_frame(source: Source, name: str, *, since: Any, until: Any, zone: Zone, late: Any) -> pl.DataFrame:
    """Time, key, value and headers of every record between two moments, in time order."""
    chosen = one_topic(name)
    low, high = bounds(source, name, since, until)
    query = Query(
        topic=chosen, columns=(), symbols=None, since=low, until=high, zone=times.known_zone(zone),
        late=late_us(late), repeats=True,
    )  # fmt: skip
    found = [
        message
        for part, (first, end) in spans(source, query).items()
        for block in source.stream(part, first, end)
        for message in block.messages()
        if (low is None or message.timestamp >= low // 1000)
        and (high is None or message.timestamp * 1000 < high)
    ]
    return frames.of_messages(found, query.zone).sort("time", maintain_order=True)
