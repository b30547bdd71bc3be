"""A simulated day in the audit: what the views say of its trades is what its executions add up to."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from tapedeck.connectors.postgres.database import downgrade, upgrade
from tests.support.audit_tables import Schema
from tests.support.paths import OUTPUTS, bodies, whole_day

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def day(postgres: Any, prefix: str) -> Iterator[Schema]:
    upgrade(postgres.url, prefix)
    store = Schema(postgres.url, prefix)
    for name in ("signals", *OUTPUTS):
        if rows := bodies(whole_day().log, name):
            store.put(name, *rows)
    yield store
    downgrade(postgres.url, prefix)


def test_pnl_of_a_day_is_what_its_executions_add_up_to(day: Schema) -> None:
    log = whole_day().log
    cash, fees, cost = defaultdict[Any, D](D), defaultdict[Any, D](D), defaultdict[Any, D](D)
    held = defaultdict[Any, D](D)
    for each in bodies(log, "executions"):
        key = (each["account_id"], each["instrument"])
        signed = each["qty"] if each["side"] == "BUY" else -each["qty"]
        held[key] += signed
        cash[key] -= signed * each["price"] * each["multiplier"]
        fees[key] += each["fee"]
        cost[key] += max(signed, D(0)) * each["price"] * each["multiplier"]
    closed = {key for key, qty in held.items() if not qty}
    assert len(closed) > 2, "the day has trades that ended"

    rows = day.read(
        "SELECT account_id, instrument, realised, fees, entry_cost, mode::text FROM closed_positions"
    )
    found = {(account, instrument): tuple(rest) for account, instrument, *rest in rows}
    assert found == {key: (cash[key], fees[key], cost[key], "PAPER") for key in closed}

    totals = dict(day.read("SELECT account_id, sum(net) FROM v_pnl GROUP BY 1"))
    assert totals == {
        account: sum((cash[key] - fees[key] for key in closed if key[0] == account), D(0))
        for account in {key[0] for key in closed}
    }
    exits = {each["chosen"] for each in bodies(log, "exits")}
    assert {row[0] for row in day.read("SELECT exit_reason FROM v_pnl")} <= exits
    assert len(day.read("SELECT * FROM signal_outcomes")) == len(closed), "each was opened by a signal"
    funnel = dict(
        day.read("SELECT stage, sum(n) FROM v_funnel WHERE stage IN ('executions', 'exits') GROUP BY 1")
    )
    assert funnel["executions"] == len(bodies(log, "executions"))
