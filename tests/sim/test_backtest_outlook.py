"""A backtest with an index from a file: each session goes by what was available in it."""

from collections.abc import Collection, Iterable
from datetime import date
from functools import cache
from pathlib import Path

from tapedeck.connectors.paper.fills import Fees
from tapedeck.connectors.tapes.generator import days
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Regime
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.tape.backtest import checks, command
from tapedeck.tape.backtest.account import AccountRecord
from tapedeck.tape.backtest.days import Day, days_of
from tapedeck.tape.backtest.run import Plan, Ran, Setting, run
from tapedeck.topics.catalogue import Layout
from tests.support.paths import cut
from tests.support.wide import wide_config

TUESDAY, WEDNESDAY = date(2026, 2, 17), date(2026, 2, 18)
WIDE = wide_config()
ON = Config(accounts=WIDE.accounts, contract=WIDE.contract, regime=Regime(enabled=True))
UNTIL = 160


@cache
def tapes() -> tuple[Tape, ...]:
    found = days(7, first=TUESDAY, last=WEDNESDAY, symbols=("AMD", "BAC", "WMT"))
    return tuple(cut(tape, slice(UNTIL)) for tape in found)


class Tapes:
    """Both sessions, as ``run`` asks for them."""

    def __call__(self, names: Collection[str]) -> Iterable[Day]:
        return days_of(tapes(), names, Layout())

    def apart(self) -> "Tapes":
        return self


def values(day: date, value: float) -> str:
    """The index in every minute of the morning."""
    stamps = [f"{day}T{n // 60:02d}:{n % 60:02d}:00Z" for n in range(870, 870 + UNTIL)]
    return "".join(f"{stamp},{stamp},{value}\n" for stamp in stamps)


def setting(path: Path, text: str) -> Setting:
    path.write_text("at,available_at,value\n" + text)
    outlook = command.outlook_of({"regime": path, "earnings": None})
    return Setting(TOPOLOGY, ON, Plan(("large",), Fees(), daily=True, outlook=outlook), xnys())


def opened(record: AccountRecord, day: date) -> int:
    """Openings that were decided in a session and approved."""
    return sum(
        each["purpose"] == "OPEN" and each["verdict"] == "APPROVED"
        for each in record.records["proposals"]
        if xnys().session_date(each["event_time"]) == day_number(day)
    )


def test_a_session_knows_nothing_of_an_index_that_is_available_after_it(tmp_path: Path) -> None:
    path, calm = tmp_path / "vix.csv", values(TUESDAY, 18.0)
    wild_setting = setting(path, calm + values(WEDNESDAY, 41.0))
    quiet: Ran = run(setting(path, calm + values(WEDNESDAY, 18.0)), Tapes())
    wild: Ran = run(wild_setting, Tapes())
    (before,), (after,) = quiet.accounts, wild.accounts
    tuesday, wednesday = (day_number(each) for each in (TUESDAY, WEDNESDAY))
    assert before.daily[tuesday] == after.daily[tuesday], "the first session is the same"
    assert before.daily[wednesday] != after.daily[wednesday]
    assert opened(before, TUESDAY) == opened(after, TUESDAY) > 0
    assert opened(before, WEDNESDAY) > 0 == opened(after, WEDNESDAY)
    assert quiet.decided.rows.keys() == wild.decided.rows.keys()
    assert checks.lookahead(wild_setting, Tapes(), wild).passed  # type: ignore[arg-type]
