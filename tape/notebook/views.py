"""The topics to tap: the catalogue as a frame, a topic's columns as a page."""

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

import polars as pl

from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.blocks import Source, first_record, last_record
from tapedeck.streams.protocol import Message
from tapedeck.tape.notebook.fields import columns_of
from tapedeck.tape.notebook.query import nearest, one_topic
from tapedeck.tape.notebook.types import UTC, Kind, dtype
from tapedeck.topics.catalogue import CATALOGUE, FOREVER, Cleanup, Layout, Topic


class Field(NamedTuple):
    """One column of a topic: name, polars type, whether it may be null, what it means."""

    name: str
    type: Kind
    nullable: bool
    doc: str


class Schema:
    """The columns of one topic; shows itself as a table. Iterates over its Fields."""

    def __init__(self, name: str) -> None:
        chosen = one_topic(name)
        if chosen.schema is None:
            raise Fatal("this topic has no columns", value=name, remedy="its records are bytes: raw=True")
        self.name, self.topic = name, chosen
        self.doc: str = load_schema(chosen.schema).get("doc", "")
        self.fields = tuple(
            Field(each.name, dtype(each.node), each.nullable, each.doc) for each in columns_of(chosen.schema)
        )

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise Fatal(f"topic {self.name} has no such column", value=name, remedy=nearest(name, self.columns))

    def _ipython_key_completions_(self) -> list[str]:
        return [field.name for field in self.fields]

    @property
    def columns(self) -> list[str]:
        """The names of the columns, as ``td.tap(..., columns=[...])`` takes them."""
        return [field.name for field in self.fields]

    def _heading(self) -> str:
        keyed = ", ".join(self.topic.key) or "one key"
        return f"{self.doc} Keyed by {keyed}; written by {self.topic.owner}."

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(f.name, f"{brief(f.type)}{' or null' if f.nullable else ''}", f.doc) for f in self.fields]

    def __repr__(self) -> str:
        rows = self._rows()
        first, second = (max(len(row[at]) for row in rows) for at in (0, 1))
        lines = [f"  {name:{first}}  {kind:{second}}  {doc}".rstrip() for name, kind, doc in rows]
        return "\n".join([f"{self.name}: {self._heading()}", *lines])

    def _repr_html_(self) -> str:
        cells = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{escape(text)}</td>' for text in row) + "</tr>"
            for row in self._rows()
        )
        head = "".join(f'<th style="text-align:left">{each}</th>' for each in ("column", "type", "meaning"))
        return (
            f"<b>{escape(self.name)}</b>: {escape(self._heading())}"
            f"<table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"
        )


def brief(kind: Kind) -> str:
    """A polars type in short form."""
    match kind:
        case pl.Datetime():
            return "Datetime, us"
        case pl.Enum():
            return f"Enum({', '.join(kind.categories)})"
        case pl.List():
            return f"List({brief(kind.inner)})"
        case pl.Struct():
            return f"Struct({', '.join(f'{each.name}: {brief(each.dtype)}' for each in kind.fields)})"
        case pl.Decimal():
            return f"Decimal, scale {kind.scale}"
    return str(kind)


_LISTED: dict[str, Kind] = {
    "topic": pl.String(),
    "records": pl.Int64(),
    "first": pl.Datetime("us", UTC),
    "last": pl.Datetime("us", UTC),
    "partitions": pl.Int64(),
    "key": pl.String(),
    "kept": pl.String(),
    "written_by": pl.String(),
    "doc": pl.String(),
}


def listed(source: Source) -> pl.DataFrame:
    """The catalogue's topics with the cluster's content; a missing topic has null records.

    ``records`` counts offsets, watermarks included; ``first`` and ``last`` are the Kafka times of the first
    and last record.
    """
    rows = [(each.name, *_held(source, each.name), *_said(each, source.layout)) for each in CATALOGUE]
    made = pl.DataFrame(rows, schema={**_LISTED, "first": pl.Int64(), "last": pl.Int64()}, orient="row")
    return made.with_columns(
        pl.from_epoch(pl.col(each), "ms").cast(_LISTED[each]) for each in ("first", "last")
    )


def _held(source: Source, name: str) -> tuple[int | None, int | None, int | None]:
    try:
        ends = source.ends([name])
    except Fatal:
        return None, None, None
    firsts, lasts = [], []
    for part, (low, end) in ends.items():
        firsts += _time(first_record(source, part, low, end))
        lasts += _time(last_record(source, part, low, end))
    return sum(end - low for low, end in ends.values()), min(firsts, default=None), max(lasts, default=None)


def _time(record: Message | None) -> list[int]:
    return [] if record is None else [record.timestamp]


def _said(each: Topic, layout: Layout) -> tuple[int, str, str, str, str]:
    key = ", ".join(each.key) or ("one key" if each.schema else "bytes")
    return layout.partitions(each.name), key, kept(each, layout), each.owner, each.doc


def kept(each: Topic, layout: Layout) -> str:
    """How long the catalogue keeps a topic, in words."""
    if each.cleanup is Cleanup.COMPACT:
        days = "" if each.keep_days == FOREVER else f", all for {each.keep_days} days"
        return f"newest per key{days}"
    forever = layout.topic_config(each.name)["retention.ms"] == str(FOREVER)
    return "for ever" if forever else f"{each.keep_days} days"
