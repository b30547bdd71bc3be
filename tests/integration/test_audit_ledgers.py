"""Ledgers of trading, the role that reads them, and the revision before, on a real server."""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import psycopg
import pytest

from tapedeck.connectors.postgres.connection import READ_ROLE, connect
from tapedeck.connectors.postgres.database import downgrade, upgrade
from tapedeck.connectors.postgres.documents import keep_document
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.config.groups import Signal
from tests.support.audit_tables import CALL, SECOND, Book, Schema, T, record

pytestmark = pytest.mark.integration


@pytest.fixture
def fresh(postgres: Any, prefix: str) -> Iterator[Schema]:
    upgrade(postgres.url, prefix)
    yield Schema(postgres.url, prefix)
    downgrade(postgres.url, prefix)


@pytest.fixture
def book(fresh: Schema) -> Book:
    return Book(fresh)


# -- ledgers


def test_the_exit_ledger_has_every_trigger_of_every_record(fresh: Schema) -> None:
    triggers = [{"rule": "STOP_LOSS", "priority": 2}, {"rule": "MAX_HOLD", "priority": 6}]
    fresh.put(
        "exits",
        record("exits", account_id="tiny", position_id="p", seq=1, triggers=triggers, chosen="STOP_LOSS",
               mark=D("1.2"), pnl=D("-0.4"), eod_window="W1", peak=D(0), worst=D("-0.41")),
    )  # fmt: skip
    ((found, chosen, pnl, window),) = fresh.read('SELECT triggers, chosen, pnl, "window" FROM exit_ledger')
    assert (found, chosen, pnl, window) == (triggers, "STOP_LOSS", D("-0.4"), "W1")


def test_the_recon_ledger_tells_both_quantities_and_who_settled_it(book: Book) -> None:
    adjust = {"reason": "RECON_ADJUST", "owner": "EXTERNAL"}
    book.execution("adj-1", "tiny", CALL, "SELL", 2, None, "0", T, **adjust)
    book.execution("adj-2", "tiny", "AMD", "BUY", 1, None, "0", T, **adjust)
    book.execution("sold", "tiny", CALL, "SELL", 1, "2", "0", T)
    book.store.put(
        "positions",
        record("positions", account_id="tiny", instrument=CALL, position_id="p", seq=3, qty=D(1),
               inputs=["adj-1"], event_id="p3"),
    )  # fmt: skip
    told = {"scope": "tiny", "person": "grace", "reason": "statement", "target": "adj-1", "price": D("2.05")}
    book.store.put(
        "controls",
        record("controls", **told, seq=5, command="RESOLVE"),
        record("controls", **told | {"target": "adj-2", "scope": "large"}, seq=6, command="RESOLVE"),
    )
    rows = book.store.read(
        "SELECT adjustment_id, ours, broker, cause, resolved_by, resolved_price FROM recon_ledger ORDER BY 1"
    )
    assert rows == [
        ("adj-1", D(3), D(1), "RECON_ADJUST", "grace", D("2.05")),
        ("adj-2", None, None, "RECON_ADJUST", None, None),
    ]


def test_the_control_ledger_tells_the_state_before_and_a_command_has_none(fresh: Schema) -> None:
    fresh.put(
        "controls",
        record("controls", scope="*", seq=1, state="ACTIVE"),
        record("controls", scope="*", seq=2, state="HALTED"),
        record("controls", scope="tiny", seq=1, state="REDUCING"),
        record("controls", scope="tiny", seq=2, state="REDUCING", command="CLOSE_POSITION", target="p"),
        record("controls", scope="tiny", seq=3, state="ACTIVE"),
    )
    rows = fresh.read(
        "SELECT scope, seq, former_state::text, state::text, command, target FROM control_ledger"
        " ORDER BY 1, 2"
    )
    assert rows == [
        ("*", 1, None, "ACTIVE", None, None), ("*", 2, "ACTIVE", "HALTED", None, None),
        ("tiny", 1, None, "REDUCING", None, None), ("tiny", 2, None, None, "CLOSE_POSITION", "p"),
        ("tiny", 3, "REDUCING", "ACTIVE", None, None),
    ]  # fmt: skip


def test_the_config_ledger_keeps_each_document_once_with_what_changed_and_no_address(fresh: Schema) -> None:
    first = Config(accounts=EXAMPLE_ACCOUNTS)
    second = first.model_copy(update={"signal": Signal(day_min=0.7)})
    told = {"person": "ada", "reason": "trial"}
    kept = [keep_document(fresh.url, fresh.prefix, each, **told) for each in (first, first, second)]
    assert kept == [True, False, True]
    fresh.put("decisions", record("decisions", symbol="A", config_digest=second.digest))
    rows = fresh.read(
        "SELECT digest, person, change, extract(epoch FROM first_decision)::bigint FROM config_ledger"
        " ORDER BY since"
    )
    assert rows == [
        (first.digest, "ada", None, None), (second.digest, "ada", "signal.day_min: 0.65 -> 0.7", T // SECOND),
    ]  # fmt: skip
    ((text,),) = fresh.read(f"SELECT full_text FROM config_ledger WHERE digest = '{first.digest}'")
    assert "TAPE_TINY_SECRET" in text and "deployment" not in text
    with connect(fresh.url, fresh.prefix) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE config_documents SET person = 'x'")


def test_the_funnel_goes_on_to_signals_executions_and_exits(fresh: Schema) -> None:
    fresh.put("signals", record("signals", signal_id="a", action="BUY_PUT"))
    fresh.put(
        "executions",
        record("executions", execution_id="a", account_id="tiny", owner="TAPEDECK"),
        record("executions", execution_id="b", account_id="tiny", reason="RECON_ADJUST"),
    )
    exits = {"account_id": "tiny", "position_id": "p"}
    fresh.put(
        "exits",
        record("exits", **exits, seq=0, chosen="STOP_LOSS"),
        record("exits", **exits, seq=1, chosen="EXPIRY_CLOSE"),
    )
    assert fresh.read("SELECT stage, account_id, outcome, reason, n FROM v_funnel ORDER BY 1, 4") == [
        ("executions", "tiny", "OUT", "RECON_ADJUST", 1),
        ("executions", "tiny", "OUT", "TAPEDECK", 1),
        ("exits", "tiny", "OUT", "EXPIRY_CLOSE", 1),
        ("signals", None, "OUT", "BUY_PUT", 1),
    ]


# -- the role that reads


def test_the_role_that_reads_writes_nothing_and_is_cut_off_after_its_time(fresh: Schema) -> None:
    with connect(fresh.url, fresh.prefix, role=READ_ROLE) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("5s",)
        connection.execute("SET statement_timeout = '50ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(2)")
        connection.rollback()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TEMPORARY TABLE x (y integer)")


def test_the_views_of_the_revision_before_are_there_after_a_downgrade(fresh: Schema) -> None:
    downgrade(fresh.url, fresh.prefix, "0006")
    assert "v_pnl" not in fresh.names("v") and "config_documents" not in fresh.names("r")
    assert fresh.read("SELECT count(*) FROM v_funnel") == [(0,)]
    upgrade(fresh.url, fresh.prefix)
    assert fresh.read("SELECT count(*) FROM v_pnl") == [(0,)]
