"""One transaction of the sink: rows by binary COPY into a staging table, then ``ON CONFLICT DO NOTHING``.

A record that Postgres refuses (a NUL in a text, a time out of range) is found by halving the batch. So one
bad record costs a few more statements and never the whole batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from tapedeck.connectors.dead_letters import BODY_CONFLICT, CONFLICT_CAUSES
from tapedeck.connectors.kafka.identity import UNKNOWN_ID
from tapedeck.connectors.postgres.mapping import TopicMap
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.protocol import Message

# A row that can never be stored, according to the server or to the client's own encoding.
_REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    OverflowError,
    TypeError,
)

NO_IDS: Mapping[str, bytes] = MappingProxyType({})
Connection = psycopg.Connection[tuple[Any, ...]]


class Bad(NamedTuple):
    """A record for ``dead_letters``."""

    message: Message
    error: DeadLetter


@dataclass
class Written:
    """The result of a batch. ``repeats`` were known by event_id, ``conflicts`` of them with another body."""

    inserted: int = 0
    repeats: int = 0
    conflicts: int = 0
    bad: list[Bad] = field(default_factory=list)

    def add(self, other: "Written") -> None:
        """Add the result of a part of the batch."""
        self.inserted += other.inserted
        self.repeats += other.repeats
        self.conflicts += other.conflicts
        self.bad.extend(other.bad)


class Store:
    """Writes rows over one connection. The caller owns the transaction.

    ``ids`` are the topics' ids, stored with their rows; a topic without one is on a broker without topic ids.
    """

    def __init__(self, connection: Connection, ids: Mapping[str, bytes] = NO_IDS) -> None:
        self._connection = connection
        self._ids = ids
        self._staged: dict[str, _Statements] = {}

    def write(self, target: TopicMap, messages: Sequence[Message], written: Written) -> None:
        """Write the records of one topic into its table and count into ``written``.

        Raises psycopg.OperationalError if the connection is lost; the transaction is then gone too.
        """
        statements = self._statements(target)
        try:
            with self._connection.transaction():
                done = self._copy(statements, target, messages)
        except _REFUSED as error:
            if len(messages) == 1:
                written.bad.append(Bad(messages[0], _not_storable(target, error)))
                return
            middle = len(messages) // 2
            self.write(target, messages[:middle], written)
            self.write(target, messages[middle:], written)
        else:
            written.add(done)

    def _copy(self, statements: "_Statements", target: TopicMap, messages: Sequence[Message]) -> Written:
        """Build rows while the server takes in earlier ones, so that the two overlap."""
        done, staged = Written(), 0
        with self._connection.cursor() as cursor:
            with cursor.copy(statements.copy) as copy:
                copy.set_types(target.copy_types)
                for message in messages:
                    try:
                        row = target.row(message)
                    except DeadLetter as error:
                        done.bad.append(Bad(message, error))
                        continue
                    except Exception as error:
                        unforeseen = DeadLetter(f"the record has no row: {error!r}", reason="NOT_MAPPABLE")
                        done.bad.append(Bad(message, unforeseen))
                        continue
                    copy.write_row(row)
                    staged += 1
            topic_id = self._ids.get(target.topic, UNKNOWN_ID)
            done.inserted = cursor.execute(statements.insert, (topic_id,)).rowcount
            done.repeats = staged - done.inserted
            if done.repeats:
                cursor.execute(statements.relog, {"topic": target.topic, "topic_id": topic_id})
                conflicts = self._conflicts(cursor, statements, target, messages)
                done.conflicts = len(conflicts) // 2
                done.bad.extend(conflicts)
            cursor.execute(statements.clear)
        return done

    def _conflicts(
        self,
        cursor: psycopg.Cursor[tuple[Any, ...]],
        statements: "_Statements",
        target: TopicMap,
        messages: Sequence[Message],
    ) -> list[Bad]:
        """Both versions of every event_id that came again with another body, the newer one first."""
        found: list[Bad] = []
        rows = cursor.execute(statements.conflicts).fetchall()
        by_place = {(each.partition, each.offset): each for each in messages} if rows else {}
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
                    remedy=f"{CONFLICT_CAUSES}: compare the two",
                    reason=BODY_CONFLICT,
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


def _not_storable(target: TopicMap, error: Exception) -> DeadLetter:
    return DeadLetter(
        f"the {target.topic} record has no place in {target.table}: {str(error).strip()}",
        remedy="correct the writer and send the record again",
        reason="NOT_STORABLE",
    )


class _Statements(NamedTuple):
    """The statements of one topic's table, composed once."""

    create: sql.Composed
    copy: sql.Composed
    insert: sql.Composed
    relog: sql.Composed
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
                "INSERT INTO {table} ({columns}, first_topic_id) SELECT {columns}, %s FROM {stage}"
                " ON CONFLICT (event_id) DO NOTHING"
            ),
            relog=composed(
                "INSERT INTO relogged (topic, topic_id, event_id)"
                " SELECT %(topic)s, %(topic_id)s, event_id FROM {stage} s JOIN {table} t USING (event_id)"
                " WHERE coalesce(t.first_topic_id, (SELECT topic_id FROM read_logs"
                "  WHERE topic = %(topic)s AND holds_unmarked)) IS DISTINCT FROM %(topic_id)s"
                " ON CONFLICT DO NOTHING"
            ),
            conflicts=composed(
                "SELECT s.event_id, s.first_partition, s.first_offset, t.first_partition,"
                " t.first_offset, t.payload::text"
                " FROM {stage} s JOIN {table} t USING (event_id) WHERE s.body_sha <> t.body_sha"
            ),
            clear=composed("TRUNCATE {stage}"),
        )
