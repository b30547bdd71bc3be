"""The audit tables of a user's topics: made by `tape migrate`, and kept up with their records."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from tapedeck.connectors.postgres.connection import READ_ROLE, connect
from tapedeck.connectors.postgres.database import require_head, upgrade
from tapedeck.connectors.postgres.mapping import maps
from tapedeck.connectors.postgres.store import Store, Written
from tapedeck.schemas import ids
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import Message
from tapedeck.tape import begin
from tapedeck.tape.cli.main import app
from tapedeck.topics.catalogue import CATALOGUE, declare, topic
from tapedeck.topics.topic import Spread, Topic

pytestmark = pytest.mark.integration
TIME = {"type": "long", "logicalType": "timestamp-micros"}
FIRST = {"event_id": "string", "event_time": TIME, "symbol": "string", "mean": "double"}
BODY = {"event_id": "a", "event_time": 1_700_000_040_000_000, "symbol": "AMD", "mean": 0.5}


@contextmanager
def package(name: str, version: int = 1, **fields: Any) -> Iterator[None]:
    """A process that has a package of the user's, with a topic whose records have ``fields``."""
    rows = [{"name": field, "type": kind} for field, kind in fields.items()]
    schema = {"type": "record", "name": name, "namespace": "own", "fields": rows}
    record = f"{name}_{version}"  # what is compiled of a schema is kept by its name
    found = Topic(
        name=name, schema=record, owner="mine", doc="mine", spread=Spread.SYMBOL, key=("symbol",),
        part="symbol", natural_key=("symbol", "event_time"),
    )  # fmt: skip
    with CATALOGUE.scratch(), ids.scratch():
        ids.adopt({ids.FIRST_OWN: (record, schema)})
        declare(found)
        yield


def put(url: str, prefix: str, name: str, offset: int, **body: Any) -> None:
    message = Message(name, 0, offset, 0, b"k", encode(topic(name).schema or "", body), ())
    with connect(url, prefix) as connection, connection.transaction():
        Store(connection).write(maps([name])[name], [message], Written())


def rows(url: str, prefix: str, statement: str) -> list[tuple[Any, ...]]:
    with connect(url, prefix, role=READ_ROLE) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_migrate_makes_them_once_and_outside_of_the_revisions(postgres: Any, prefix: str) -> None:
    migrate = ["migrate", "--database", postgres.url, "--prefix", prefix]
    assert "were created" in CliRunner().invoke(app, migrate).output
    with package("own_moods", **FIRST):
        with connect(postgres.url, prefix) as connection, pytest.raises(Fatal, match=r"'own_moods'.*migrate"):
            require_head(connection)
        assert "were created" in CliRunner().invoke(app, migrate).output
        assert "nothing was changed" in CliRunner().invoke(app, migrate).output
        put(postgres.url, prefix, "own_moods", 0, **BODY)
        upgrade(postgres.url, prefix)
        assert rows(postgres.url, prefix, "SELECT symbol, mean FROM t_own_moods") == [("AMD", 0.5)]
    assert not begin.migrate(postgres.url, prefix), "a process without the package leaves it alone"


def test_a_field_more_is_a_column_more_and_a_field_less_may_be_null(postgres: Any, prefix: str) -> None:
    with package("own_ranks", **FIRST):
        assert begin.migrate(postgres.url, prefix)
        put(postgres.url, prefix, "own_ranks", 0, **BODY)
    less = {name: kind for name, kind in FIRST.items() if name != "mean"}
    with package("own_ranks", 2, **less, rank=["null", "int"], order="int"):
        with connect(postgres.url, prefix) as connection, pytest.raises(Fatal, match="not every column"):
            require_head(connection)
        assert begin.migrate(postgres.url, prefix) and not begin.migrate(postgres.url, prefix)
        body = {name: BODY[name] for name in less} | {"event_id": "b", "rank": 3, "order": 1}
        put(postgres.url, prefix, "own_ranks", 1, **body)
    stored = rows(postgres.url, prefix, 'SELECT event_id, mean, rank, "order" FROM t_own_ranks ORDER BY 1')
    assert stored == [("a", 0.5, None, None), ("b", None, 3, 1)]


def test_a_field_of_another_type_is_refused_and_nothing_is_changed(postgres: Any, prefix: str) -> None:
    with package("own_marks", **FIRST):
        begin.migrate(postgres.url, prefix)
        put(postgres.url, prefix, "own_marks", 0, **BODY)
    words = r"another type in the field mean.*got 'text, and double precision in the table t_own_marks'.*name"
    with (
        package("own_marks", 2, **FIRST | {"more": ["null", "int"], "mean": "string"}),
        pytest.raises(Fatal, match=words),
    ):
        begin.migrate(postgres.url, prefix)
    assert rows(postgres.url, prefix, "SELECT mean FROM t_own_marks") == [(0.5,)]
    with package("own_marks", **FIRST):
        assert not begin.migrate(postgres.url, prefix), "the column more was not made either"


def test_a_topic_whose_table_another_topic_has_is_refused(postgres: Any, prefix: str) -> None:
    with package("bars_late", **FIRST), pytest.raises(Fatal, match=r"same table.*bars.late and bars_late"):
        begin.migrate(postgres.url, prefix)
