"""Frames of records as they come."""

import time
from collections.abc import Callable, Iterator

import polars as pl

from tapedeck.streams.blocks import Source
from tapedeck.tape.notebook.query import spans
from tapedeck.tape.notebook.reading import Reader

_REMEMBERED = 100_000
"""A repeat comes soon after its first or not at all: so many event_ids are remembered."""


def follow(
    source: Source,
    reader: Reader,
    close: Callable[[], None],
    poll_s: float,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[pl.DataFrame]:
    """Frames of what ``reader`` asks for, from ``since`` on or from now, until the generator is closed.

    No frame is empty. ``close`` is called at the end, also where a notebook interrupts.
    """
    query = reader.query
    name, seen = query.topic.name, pl.Series(dtype=pl.String)
    try:
        at = {part: first if query.since is not None else end
              for part, (first, end) in spans(source, query).items()}  # fmt: skip
        while True:
            found: list[pl.DataFrame] = []
            ends = source.ends([name])
            for part, first in at.items():
                end = ends[part][1]
                if end > first:
                    found += reader.stretch(part, first, end)
                    at[part] = end
            frame = reader.ordered(found)
            reader.warn()
            if query.identity is not None and not query.repeats:
                frame = frame.filter(~pl.col(query.identity).is_in(seen.implode()))
                seen = pl.concat([seen, frame[query.identity]]).tail(_REMEMBERED)
            if len(frame):
                yield reader.finished(frame)
            if not found:
                wait(poll_s)
    finally:
        close()
