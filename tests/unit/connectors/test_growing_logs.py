"""A log that grows between two questions about its ends is not one whose records somebody withholds."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from tapedeck.agents import consumer as live
from tapedeck.connectors.kafka import transactions
from tapedeck.connectors.kafka.cluster import Cluster

PART = ("bars", 0)


class Growing:
    """A log of plain records: each question about its end finds one record more."""

    def __init__(self) -> None:
        self.end = 10

    def asked(self) -> int:
        self.end += 1
        return self.end


def test_no_transaction_is_named_where_records_are_appended_between_the_questions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, brokers = Growing(), SimpleNamespace(learn=lambda wires: {"bars": 1})
    monkeypatch.setattr(transactions, "list_offsets", lambda *_: {PART: (log.asked(), -1)})
    assert transactions._found(cast(Any, brokers), Cluster("nowhere:9"), {"bars": "bars"}) == []
    assert log.end == 12, "both ends were asked for"


def test_a_transaction_whose_marker_comes_while_its_producer_is_asked_for_is_not_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends, stable, asked = [(10, -1)], [(9, -1), (10, -1)], []
    brokers = SimpleNamespace(
        learn=lambda wires: {"bars": 1},
        leader=lambda part: 1,
        ask=lambda node, question: (
            asked.append(node) or (0, [("bars", [(0, 0, None, [], None)], None)], None)
        ),
    )
    monkeypatch.setattr(
        transactions,
        "list_offsets",
        lambda brokers, parts, when, isolation: {
            PART: (stable if isolation == transactions.READ_COMMITTED else ends).pop(0)
        },
    )
    assert transactions._found(cast(Any, brokers), Cluster("nowhere:9"), {"bars": "bars"}) == []
    assert (asked, ends, stable) == ([1], [], []), "its producer was asked for, and the stable end again"


def test_a_recovery_does_not_wait_where_another_task_appends_to_the_changelog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, tp = Growing(), TP("account.changelog", 0)

    monkeypatch.setattr(
        live, "_log_ends", lambda cluster, partitions: {each: log.asked() for each in partitions}
    )
    monkeypatch.setattr(
        live, "_stable", lambda cluster, partitions: {each: (0, log.asked()) for each in partitions}
    )
    monkeypatch.setattr(
        live, "_behind_records", lambda cluster, spans: {tp: end for tp, (_, end) in spans.items()}
    )
    monkeypatch.setattr(live, "_WITHHELD_S", 60.0)
    thread = cast(Any, live.CommittedThread.__new__(live.CommittedThread))
    thread.app = SimpleNamespace(cluster=Cluster("nowhere:9"))
    assert asyncio.run(asyncio.wait_for(thread.highwaters(tp), 5)) == {tp: 12}
