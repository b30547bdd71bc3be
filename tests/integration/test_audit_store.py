"""The audit store's schema on a real server: migrations, privileges, views, and every record stored."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import ENUM

from tapedeck.connectors.postgres.base import table_name
from tapedeck.connectors.postgres.bookkeeping import METADATA, MUTABLE
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import downgrade, sqlalchemy_connection, upgrade
from tapedeck.connectors.postgres.tables import table_of
from tapedeck.schemas.codec import load_schema
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.tape.local.postgres import check_database
from tapedeck.topics.catalogue import CATALOGUE
from tests.support.audit_tables import SECOND, Schema, T, record, schema_of
from tests.support.avro import bodies

pytestmark = pytest.mark.integration

VIEWS = {
    "decision_ledger", "hold_ledger", "order_ledger", "execution_ledger", "position_ledger",
    "universe_ledger", "control_ledger", "revision_audit", "v_watchlist", "v_funnel", "v_gate_refusals",
    "v_stale", "exit_ledger", "recon_ledger", "config_ledger", "closed_positions", "signal_outcomes", "v_pnl",
    "v_confidence_calibration", "v_sentiment_effectiveness",
}  # fmt: skip
RECORD_TOPICS = [each.name for each in CATALOGUE.audited if each.schema is not None]


@pytest.fixture(scope="module")
def store(postgres: Any) -> Iterator[Schema]:
    schema = Schema(postgres.url, "audit-store")
    upgrade(schema.url, schema.prefix)
    yield schema
    downgrade(schema.url, schema.prefix)


@pytest.fixture
def fresh(postgres: Any, prefix: str) -> Iterator[Schema]:
    upgrade(postgres.url, prefix)
    yield Schema(postgres.url, prefix)
    downgrade(postgres.url, prefix)


# -- migrations


def test_upgrade_of_an_empty_schema_gives_the_models(fresh: Schema) -> None:
    with sqlalchemy_connection(fresh.url, fresh.prefix) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_database_enums_are_the_schemas_enums(fresh: Schema) -> None:
    with connect(fresh.url, fresh.prefix, role=None) as connection:
        rows = connection.execute(
            "SELECT typname, array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_type t"
            " JOIN pg_enum e ON e.enumtypid = t.oid"
            " WHERE typnamespace = current_schema()::regnamespace GROUP BY 1"
        ).fetchall()
    wanted = {
        str(column.type.name): list(column.type.enums)
        for table in map(table_of, CATALOGUE.audited)
        for column in table.columns
        if isinstance(column.type, ENUM)
    }
    assert dict(rows) == wanted


def test_downgrade_leaves_only_the_version_table(fresh: Schema) -> None:
    downgrade(fresh.url, fresh.prefix)
    assert fresh.names("r") == {"alembic_version"}
    assert fresh.names("v") == set()
    upgrade(fresh.url, fresh.prefix)
    assert fresh.names("v") == VIEWS


def test_upgrades_at_the_same_moment_do_not_meet(postgres: Any, prefix: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: upgrade(postgres.url, f"{prefix}-{n % 2}"), range(4)))
    for n in range(2):
        assert Schema(postgres.url, f"{prefix}-{n}").names("v") == VIEWS
        downgrade(postgres.url, f"{prefix}-{n}")


def test_two_prefixes_do_not_see_each_other(fresh: Schema, store: Schema) -> None:
    fresh.put("controls", record("controls", scope="*", seq=1))
    assert fresh.read("SELECT scope FROM control_ledger") == [("*",)]
    assert store.read("SELECT scope FROM control_ledger WHERE seq = 1") == []


# -- privileges


@pytest.mark.parametrize("table", [table_name(each.name) for each in CATALOGUE.audited])
@pytest.mark.parametrize("statement", ["UPDATE {} SET event_id = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_sink_role_may_not_change_a_stored_event(store: Schema, table: str, statement: str) -> None:
    with connect(store.url, store.prefix) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.format(table).encode())


@pytest.mark.parametrize("table", MUTABLE)
def test_the_sink_role_may_update_offsets_and_leases_and_delete_neither(store: Schema, table: str) -> None:
    column = "topic" if table == "sink_offsets" else "holder"
    with connect(store.url, store.prefix) as connection:
        connection.execute(f"UPDATE {table} SET {column} = 'x'".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"DELETE FROM {table}".encode())


def test_the_read_role_reads_every_view_and_no_table(store: Schema) -> None:
    assert store.names("v") == VIEWS
    for view in sorted(VIEWS):
        store.read(f"SELECT * FROM {view}")
    for table in sorted(store.names("r")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            store.read(f"SELECT * FROM {table}")


def test_a_login_without_the_role_is_told_so(store: Schema) -> None:
    with pytest.raises(Fatal, match="cannot use the role no_such_role"):
        connect(store.url, store.prefix, role="no_such_role")


def test_a_server_that_does_not_answer_is_asked_again_later() -> None:
    with pytest.raises(Retry, match="does not answer"):
        connect("postgresql://nobody@127.0.0.1:1/none")


def test_a_database_that_cannot_hold_every_text_is_refused_with_the_way_to_make_one(postgres: Any) -> None:
    name = "audit_sql_ascii"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        admin.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0".encode())
        try:
            url = f"{postgres.url.rpartition('/')[0]}/{name}"
            for opened in (connect, upgrade, check_database):
                with pytest.raises(Fatal, match="ENCODING 'UTF8' TEMPLATE template0") as refused:
                    opened(url)
                assert refused.value.value == "SQL_ASCII"
        finally:
            admin.execute(f"DROP DATABASE {name}".encode())


# -- rows


@pytest.mark.parametrize("name", RECORD_TOPICS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_record_is_stored_whole_or_refused_by_itself(
    store: Schema, name: str, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(bodies(load_schema(schema_of(name))), min_size=1, max_size=4))
    for body in rows:
        body["event_id"] = f"{store.offset}-{rows.index(body)}-{body['event_id']}"
    written = store.put(name, *rows)
    assert written.inserted + len(written.bad) == len(rows)
    assert {bad.error.reason for bad in written.bad} <= {"NOT_STORABLE"}


def test_typed_columns_and_payload_say_the_same(fresh: Schema) -> None:
    body = record(
        "orders", event_id="o1", account_id="tiny", client_order_id="td1-o00-x", seq=2, state="PARTIAL",
        side="SELL", qty=Decimal("3"), limit_price=Decimal("2.070000"), filled_qty=Decimal("0.000001"),
    )  # fmt: skip
    fresh.put("orders", body)
    assert fresh.read(
        "SELECT client_order_id, seq, state::text, side::text, qty, limit_price, filled_qty,"
        " extract(epoch FROM event_time)::bigint FROM order_ledger"
    ) == [("td1-o00-x", 2, "PARTIAL", "SELL", Decimal(3), Decimal("2.07"), Decimal("0.000001"), T // SECOND)]
    with connect(fresh.url, fresh.prefix) as connection:
        (payload,) = connection.execute("SELECT payload FROM t_orders").fetchone() or ()
    assert payload["limit_price"] == "2.070000"
    assert payload["event_time"] == T


# -- ledgers and views


def _gate(name: str, passed: bool, reason: str, applies: bool = True) -> dict[str, Any]:
    empty = {"observed": None, "threshold": None, "unit": None}
    return {"gate": name, "applies": applies, "passed": passed, "reason": reason} | empty


def test_the_decision_ledger_joins_the_bar_revision_of_the_same_configuration(fresh: Schema) -> None:
    fresh.put(
        "signals",
        record("signals", signal_id="sg", bar_revision=2, action="BUY_CALL"),
        record("signals", signal_id="sg", bar_revision=9, action="BUY_CALL", config_digest="other"),
    )
    gates = [_gate("kill_switch", True, "PASSED"), _gate("quote", False, "QUOTE_STALE")]
    fresh.put(
        "proposals",
        record("proposals", signal_id="sg", account_id="tiny", verdict="REFUSED", gates=gates,
                primary_reason="QUOTE_STALE", equity=Decimal("5000")),
    )  # fmt: skip
    ((verdict, reason, found, revision, equity),) = fresh.read(
        "SELECT verdict::text, primary_reason, gates, bar_revision, equity FROM decision_ledger"
    )
    assert (verdict, reason, revision, equity) == ("REFUSED", "QUOTE_STALE", 2, Decimal(5000))
    assert [gate["gate"] for gate in found] == ["kill_switch", "quote"]


def test_gate_refusals_count_failed_gates_that_apply(fresh: Schema) -> None:
    refused = [
        _gate("quote", False, "QUOTE_STALE"),
        _gate("drift", False, "DRIFT"),
        _gate("x", False, "N", False),
    ]
    for n, primary in enumerate(("QUOTE_STALE", "QUOTE_STALE", "DRIFT")):
        fresh.put(
            "proposals",
            record("proposals", signal_id=str(n), account_id="tiny", verdict="REFUSED", gates=refused,
                    primary_reason=primary),
        )  # fmt: skip
    assert fresh.read("SELECT gate, reason, refusals, as_primary FROM v_gate_refusals ORDER BY gate") == [
        ("drift", "DRIFT", 3, 1),
        ("quote", "QUOTE_STALE", 3, 2),
    ]


def test_the_funnel_counts_each_stage_by_outcome_and_reason(fresh: Schema) -> None:
    fresh.put(
        "decisions",
        record("decisions", symbol="A", action="HOLD", reason="COOLDOWN"),
        record("decisions", symbol="B", action="HOLD", reason="COOLDOWN"),
        record("decisions", symbol="C", action="BUY_CALL", reason="BREAKOUT"),
    )
    fresh.put(
        "proposals",
        record("proposals", account_id="tiny", verdict="REFUSED", primary_reason="QUOTE_STALE"),
        record("proposals", account_id="large", verdict="APPROVED", primary_reason="ALL_PASSED"),
    )
    order = {"account_id": "large", "client_order_id": "td1", "reason": "SENT"}
    fresh.put(
        "orders",
        record("orders", **order, seq=0, state="INTENT"),
        record("orders", **order, seq=1, state="FILLED"),
    )
    rows = fresh.read(
        "SELECT stage, account_id, outcome, reason, n, session_date::text FROM v_funnel ORDER BY 1, 2, 3"
    )
    assert [row[:5] for row in rows] == [
        ("decisions", None, "HOLD", "COOLDOWN", 2),
        ("decisions", None, "OUT", "BREAKOUT", 1),
        ("orders", "large", "OUT", "SENT", 1),
        ("proposals", "large", "OUT", "ALL_PASSED", 1),
        ("proposals", "tiny", "REFUSED", "QUOTE_STALE", 1),
    ]
    assert {row[5] for row in rows} == {"2023-11-14"}


def test_hold_position_execution_and_revision_ledgers_show_their_records(fresh: Schema) -> None:
    fresh.put("decisions", record("decisions", symbol="A", action="HOLD", reason="NO_RULE", inputs=["x"]))
    fresh.put("positions", record("positions", position_id="p", seq=1, average_cost=Decimal("2.1")))
    fresh.put("executions", record("executions", execution_id="e", price=Decimal("2.1"), source="REST"))
    fresh.put("revision_audit", record("revision_audit", symbol="A", revision=1, old_action="HOLD"))
    assert fresh.read("SELECT symbol, reason, inputs FROM hold_ledger") == [("A", "NO_RULE", ["x"])]
    assert fresh.read("SELECT position_id, average FROM position_ledger") == [("p", Decimal("2.1"))]
    assert fresh.read("SELECT execution_id, price, source FROM execution_ledger") == [
        ("e", Decimal("2.1"), "REST")
    ]
    assert fresh.read("SELECT symbol, revision, old_action FROM revision_audit") == [("A", 1, "HOLD")]


def _universe(version: int, *symbols: str) -> dict[str, Any]:
    members = [{"symbol": symbol, "score": None, "reason": "DEFAULT"} for symbol in symbols]
    return record("universe", version=version, event_id=str(version), members=members)


def test_the_universe_ledger_tells_what_each_version_changed(fresh: Schema) -> None:
    fresh.put("universe", _universe(1, "A", "B"), _universe(2, "B", "C"))
    assert fresh.read("SELECT version, members, added, removed FROM universe_ledger ORDER BY version") == [
        (1, ["A", "B"], ["A", "B"], []),
        (2, ["B", "C"], ["C"], ["A"]),
    ]


def test_the_watchlist_view_has_a_row_per_member(fresh: Schema) -> None:
    member = {
        "symbol": "A",
        "rank": 1,
        "score": 0.7,
        "flag": "SCORED",
        "entered_at": None,
        "reason": "ENTERED",
    }
    fresh.put("watchlist", record("watchlist", event_id="w", evaluation=T, members=[member]))
    assert fresh.read("SELECT symbol, rank, score, flag FROM v_watchlist") == [("A", 1, 0.7, "SCORED")]


def test_what_was_never_seen_is_unknown_and_lateness_counts_from_the_newest_bar(fresh: Schema) -> None:
    fresh.put("universe", _universe(1, "A", "B", "C"))
    bar = {"symbol": "A", "event_id": "a"}
    fresh.put(
        "bars", record("bars", **bar), record("bars", symbol="B", event_id="b", event_time=T - 400 * SECOND)
    )
    rows = fresh.read("SELECT key, status, behind_s FROM v_stale WHERE topic = 'bars' ORDER BY key")
    assert rows == [("A", "RED", 0), ("B", "RED", 400), ("C", "UNKNOWN", None)]
    assert fresh.read("SELECT status FROM v_stale WHERE topic = 'watchlist'") == [("UNKNOWN",)]
