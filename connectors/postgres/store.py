"""One transaction of the sink: rows by binary COPY into a staging table, then ``ON CONFLICT DO NOTHING``.

What Postgres refuses (a NUL in a text, a time out of range) is found by halving the batch, so that one
bad record costs a few more statements and never the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from connectors.postgres.mapping import Row, TopicMap
from schemas.errors import DeadLetter
from streams.contract import Message

# A row that can never be stored, as seen by the server or by the client's own encoding.
_REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    OverflowError,
    TypeError,
)

Connection = psycopg.Connection[tuple[Any, ...]]


class Entry(NamedTuple):
    """A row and the record it was built from."""

    row: Row
    message: Message


class Bad(NamedTuple):
    """A record for ``dead_letters``."""

    message: Message
    error: DeadLetter


@dataclass
class Written:
    """What one batch did. ``repeats`` were known by event_id, ``conflicts`` of them with another body."""

    inserted: int = 0
    repeats: int = 0
    conflicts: int = 0
    bad: list[Bad] = field(default_factory=list)


class Store:
    """Writes rows over one connection. The caller owns the transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._staged: dict[str, _Statements] = {}

    def write(self, target: TopicMap, entries: Sequence[Entry], written: Written) -> None:
        """Put the rows of one topic into its table and count into ``written``.

        Raises psycopg.OperationalError where the connection is lost: the transaction is gone then.
        """
        statements = self._statements(target)
        try:
            with self._connection.transaction():
                self._copy(statements, target, entries, written)
        except _REFUSED as error:
            if len(entries) == 1:
                refused = DeadLetter(
                    f"Postgres cannot hold this {target.topic} record: {str(error).strip()}",
                    value=entries[0].row[0][:64],
                    remedy="correct the writer and send the record again",
                    reason="NOT_STORABLE",
                )
                written.bad.append(Bad(entries[0].message, refused))
                return
            middle = len(entries) // 2
            self.write(target, entries[:middle], written)
            self.write(target, entries[middle:], written)

    def _copy(
        self, statements: "_Statements", target: TopicMap, entries: Sequence[Entry], written: Written
    ) -> None:
        with self._connection.cursor() as cursor:
            with cursor.copy(statements.copy) as copy:
                copy.set_types(target.copy_types)
                for entry in entries:
                    copy.write_row(entry.row)
            inserted = cursor.execute(statements.insert).rowcount
            conflicts: list[Bad] = []
            if inserted < len(entries):
                conflicts = self._conflicts(cursor, statements, target, entries)
            cursor.execute(statements.clear)
        written.inserted += inserted
        written.repeats += len(entries) - inserted
        written.conflicts += len(conflicts) // 2
        written.bad.extend(conflicts)

    def _conflicts(
        self,
        cursor: psycopg.Cursor[tuple[Any, ...]],
        statements: "_Statements",
        target: TopicMap,
        entries: Sequence[Entry],
    ) -> list[Bad]:
        """Both sides of every event_id that came again with another body, the newcomer first."""
        found: list[Bad] = []
        rows = cursor.execute(statements.conflicts).fetchall()
        by_place = {(e.message.partition, e.message.offset): e.message for e in entries} if rows else {}
        for event_id, partition, offset, first_partition, first_offset, payload in rows:
            newcomer = by_place[partition, offset]
            stored = Message(
                target.topic,
                first_partition,
                first_offset,
                newcomer.timestamp,
                newcomer.key,
                payload.encode(),
                (),
            )
            for message, side in ((newcomer, "the later one"), (stored, "the stored one, as JSON")):
                error = DeadLetter(
                    f"one event_id with two bodies in {target.topic}; this is {side}",
                    value=event_id[:64],
                    remedy="the stage that wrote it is not deterministic: compare the two",
                    reason="BODY_CONFLICT",
                )
                found.append(Bad(message, error))
        return found

    def _statements(self, target: TopicMap) -> "_Statements":
        known = self._staged.get(target.topic)
        if known is None:
            known = _Statements.of(target)
            with self._connection.transaction():
                self._connection.execute(known.create)
            self._staged[target.topic] = known
        return known


class _Statements(NamedTuple):
    """The statements of one topic's table, composed once."""

    create: sql.Composed
    copy: sql.Composed
    insert: sql.Composed
    conflicts: sql.Composed
    clear: sql.Composed

    @classmethod
    def of(cls, target: TopicMap) -> "_Statements":
        names = {
            "table": sql.Identifier(target.table),
            "stage": sql.Identifier("pg_temp", f"stage_{target.table}"),
            "columns": sql.SQL(", ").join(map(sql.Identifier, target.columns)),
        }

        def composed(text: str) -> sql.Composed:
            return sql.SQL(text).format(**names)

        return cls(
            create=composed("CREATE TEMPORARY TABLE IF NOT EXISTS {stage} (LIKE {table})"),
            copy=composed("COPY {stage} ({columns}) FROM STDIN (FORMAT BINARY)"),
            insert=composed(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage}"
                " ON CONFLICT (event_id) DO NOTHING"
            ),
            conflicts=composed(
                "SELECT s.event_id, s.first_partition, s.first_offset, t.first_partition,"
                " t.first_offset, t.payload::text"
                " FROM {stage} s JOIN {table} t USING (event_id) WHERE s.body_sha <> t.body_sha"
            ),
            clear=composed("TRUNCATE {stage}"),
        )
