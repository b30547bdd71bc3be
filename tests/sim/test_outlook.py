"""The volatility index and coming earnings on the running path: topic, dispatcher, inbox, gates and exits."""

from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from tapedeck.connectors.controls import EVERY_ACCOUNT, control, write_control
from tapedeck.connectors.dispatch.lease import MemoryLeases
from tapedeck.connectors.dispatch.simulated import SimDispatcher
from tapedeck.connectors.outlook.files import READERS
from tapedeck.connectors.outlook.records import EARNINGS, REGIME
from tapedeck.connectors.outlook.writing import write
from tapedeck.streams.blocks import MemorySource
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain
from tapedeck.streams.stages.account.rules.gate_types import KillState
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import watermark_wires
from tapedeck.tape.explain.explanation import explain_from
from tapedeck.tape.sim.simulation import Simulation
from tapedeck.topics.catalogue import CATALOGUE, Layout
from tests.support.paper import FAR_CALL, TEN, TinyMarket, at, exchange, order
from tests.support.paths import CONFIG, INBOX, UNTIL, account_task, bodies, copied, cut, morning
from tests.support.sim_tapes import small_tape

ACCOUNT = "large"
ON = Config.model_validate({"accounts": EXAMPLE_ACCOUNTS, "regime": {"enabled": True}})
INDEX = "at,available_at,value\n"
DATES = "symbol,report_date,report_time,available_at\n"
OUTLOOK = ("InboxRegime", "InboxEarnings")
EXTREME = (
    INDEX + "2026-02-17T19:28:00Z,2026-02-17T19:32:00Z,45.5\n2026-02-17T15:00:00Z,2026-02-17T15:00:00Z,18\n"
)
TONIGHT = DATES + "NVDA,2026-02-17,AFTER_CLOSE,2026-02-17T20:05:00Z\n"


def fill(log: MemoryLog, folder: Path, **files: str) -> None:
    """Write files into their topics, as ``tape ingest`` does."""
    for name, text in files.items():
        path = folder / f"{name}.csv"
        path.write_text(text)
        write(log.writer(), name, READERS[name](path), log.messages(name), path)


def told(log: MemoryLog) -> list[tuple[str, int]]:
    """What reached the account of both topics, and when, in minutes since TEN."""
    return [
        (each["payload"][0].rpartition(".")[2], (each["event_time"] - TEN) // MINUTE_US)
        for each in bodies(log, INBOX)
        if each["payload"][0].endswith(OUTLOOK)
    ]


class Afternoon:
    """One account that holds an option far from its expiry, from minute to minute."""

    def __init__(self, folder: Path, config: Config = CONFIG, **files: str) -> None:
        self.paper, self.log, self.config = exchange(TinyMarket()), MemoryLog(Layout()), config
        start = control(EVERY_ACCOUNT, KillState.ACTIVE, person="sim", reason="start", now=TEN)
        write_control(self.log.writer(), start)
        fill(self.log, folder, **files)
        self.dispatcher = SimDispatcher(
            self.log, config, TOPOLOGY, ACCOUNT, self.paper, calendar=xnys(),
            leases=MemoryLeases(lambda: self.paper.now / 1e6),
        )  # fmt: skip
        self.dispatcher.work()
        number = config.account(ACCOUNT).broker_account_id
        self.paper.submit(number, order("by-hand", symbol=FAR_CALL, limit_price="5.20"))
        self.dispatcher.work()

    def until(self, clock: str) -> list[str]:
        """A minute ends at ``clock``, UTC; the rules that closed something by then."""
        when = at(clock)
        self.paper.advance(when)
        for wire in watermark_wires("signals", when // MINUTE_US * MINUTE_US - MINUTE_US, range(4)):
            self.log.append(wire)
        self.dispatcher.work()
        return [each["chosen"] for each in bodies(self.log, "exits")]

    def explained(self) -> set[str]:
        """The topics in the tree of the newest exit."""
        messages = [m for each in CATALOGUE if each.schema for m in self.log.messages(each.name)]
        exit_ = bodies(self.log, "exits")[-1]["event_id"]
        found = explain_from(TOPOLOGY, MemorySource(Layout(), messages), self.config, exit_)
        return {node.found.topic for root in found.roots for node in root if node.found}


def test_an_extreme_index_closes_an_option_once_it_is_available_and_explains_the_exit(tmp_path: Path) -> None:
    day = Afternoon(tmp_path, ON, regime=EXTREME)
    assert day.until("19:31:00") == [], "measured three minutes ago, and nobody can know it yet"
    assert day.until("19:32:00") == ["EOD_EXTREME_REGIME"]
    assert {REGIME, INBOX, "executions"} <= day.explained()
    values = [
        each["payload"][1]["value"] for each in bodies(day.log, INBOX) if "Regime" in each["payload"][0]
    ]
    assert values == [18.0, 45.5]


def test_earnings_tonight_close_an_option_in_the_second_window_and_explain_the_exit(tmp_path: Path) -> None:
    day = Afternoon(tmp_path, earnings=TONIGHT)
    assert day.until("20:04:00") == [], "the second window has begun, and nobody can know them yet"
    assert day.until("20:05:00") == ["EOD_EARNINGS"]
    assert {EARNINGS, INBOX, "executions"} <= day.explained()


@pytest.mark.parametrize(
    ("config", "files"),
    [
        (ON, {"regime": EXTREME.replace("45.5", "39.5")}),
        (CONFIG, {"regime": EXTREME}),
        (CONFIG, {"earnings": TONIGHT.replace("AFTER_CLOSE", "BEFORE_OPEN")}),
        (CONFIG, {"earnings": TONIGHT.replace("NVDA", "AMD")}),
        (CONFIG, {}),
    ],
    ids=["below extreme", "rules off", "reported this morning", "another symbol", "no file"],
)
def test_nothing_is_closed_otherwise(config: Config, files: dict[str, str], tmp_path: Path) -> None:
    day = Afternoon(tmp_path, config, **files)
    assert day.until("19:40:00") == [] and day.until("20:10:00") == []


def test_the_account_is_told_once_a_session_and_after_a_restart_not_again(tmp_path: Path) -> None:
    early = TONIGHT.replace("2026-02-17T20:05", "2026-02-01T20:05").replace("2026-02-17,", "2026-03-02,")
    day = Afternoon(tmp_path, ON, regime=EXTREME, earnings=early)
    day.until("15:02:00")
    day.until("15:03:00")
    assert told(day.log) == [("InboxRegime", 1), ("InboxEarnings", 1)]
    day.dispatcher.restart(empty_disk=True)
    day.until("15:04:00")
    assert told(day.log) == [("InboxRegime", 1), ("InboxEarnings", 1)]


def test_the_account_comes_out_again_from_its_inbox_alone(tmp_path: Path) -> None:
    day = Afternoon(tmp_path, ON, regime=EXTREME, earnings=TONIGHT)
    day.until("19:32:00")
    refolded = copied(day.log, INBOX)
    again = account_task(refolded, ACCOUNT, ON)
    drain([again])
    assert bodies(refolded, "exits") == bodies(day.log, "exits") != []


def proposals(log: MemoryLog) -> dict[tuple[str, str], tuple[str, D]]:
    return {
        (each["account_id"], each["symbol"]): (each["verdict"], each["quantity"])
        for each in bodies(log, "proposals")
    }


def minutes_of(value: float) -> str:
    """The index at ``value`` in every minute of the morning."""
    stamps = [f"2026-02-17T{14 + n // 60:02d}:{n % 60:02d}:00Z" for n in range(30, 30 + UNTIL)]
    return INDEX + "".join(f"{stamp},{stamp},{value}\n" for stamp in stamps)


def played(folder: Path, config: Config, **files: str) -> Simulation:
    run = Simulation(TOPOLOGY, cut(small_tape(), slice(UNTIL)), config)
    fill(run.log, folder, **files)
    return run.play().rest(2)


@pytest.mark.parametrize(("value", "refused"), [(18.0, False), (40.0, True)])
def test_gate_9_refuses_every_opening_of_a_morning_with_an_extreme_index_and_none_of_a_calm_one(
    value: float, refused: bool, tmp_path: Path
) -> None:
    run = played(tmp_path, ON, regime=minutes_of(value))
    gates: list[dict[str, Any]] = [
        gate
        for each in bodies(run.log, "proposals")
        if each["purpose"] == "OPEN"
        for gate in each["gates"]
        if gate["gate"] == "volatility_regime"
    ]
    assert len(gates) == len(bodies(morning().log, "proposals")) > 0
    assert {(gate["applies"], gate["reason"]) for gate in gates} == {
        (True, "REGIME_EXTREME" if refused else "OK")
    }
    if refused:
        assert not bodies(run.log, "orders")
    else:
        assert proposals(run.log) == proposals(morning().log), "NORMAL is what the rules are without an index"


def test_with_the_rules_off_a_written_index_changes_no_digest(tmp_path: Path) -> None:
    run = played(tmp_path, CONFIG, regime=minutes_of(55.0))
    before, after = morning().digests(), run.digests()
    assert [name for name in before if before[name] != after[name]] == [REGIME]
