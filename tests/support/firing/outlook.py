"""Sessions with a volatility index and with coming earnings, written from files as ``tape ingest`` does."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tapedeck.connectors.outlook.files import READERS
from tapedeck.connectors.outlook.writing import write
from tapedeck.streams.config.document import Config
from tests.support.firing.exits import before_close
from tests.support.firing.registry import session, with_limits
from tests.support.floor import SWING_CALL, Floor

REGIME = "at,available_at,value\n"
EARNINGS = "symbol,report_date,report_time,available_at\n"


def filled(floor: Floor, name: str, text: str) -> Floor:
    """Write a file of ``name`` into its topic."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.csv"
        path.write_text(text)
        write(floor.log.writer(), name, READERS[name](path), floor.log.messages(name), path)
    return floor


def index(floor: Floor, value: float, clock: str) -> Floor:
    """The index at ``clock``, UTC, known at once."""
    stamp = f"2026-02-17T{clock}Z"
    return filled(floor, "regime", f"{REGIME}{stamp},{stamp},{value}\n")


def with_regime(**groups: Any) -> Config:
    return with_limits({"regime": {"enabled": True}, **groups}, last_entry_swing_min=60)


@session
def the_market_is_calm() -> Floor:
    return index(Floor(config=with_regime()), 18.0, "15:00:00").signal()


@session
def the_market_is_extreme() -> Floor:
    return index(Floor(config=with_regime()), 45.0, "15:00:00").signal()


@session
def nobody_tells_the_index() -> Floor:
    return Floor(config=with_regime()).signal()


@session
def the_market_becomes_extreme_before_the_close() -> Floor:
    floor = index(Floor(now=before_close(93), config=with_regime()), 18.0, "19:27:00")
    floor.opened(strategy="swing_trade")
    assert floor.held().keys() == {SWING_CALL}
    return index(floor, 45.0, "19:29:00").until(before_close(88))


@session
def earnings_come_tonight() -> Floor:
    floor = Floor(now=before_close(63), config=with_limits(last_entry_swing_min=60))
    filled(floor, "earnings", f"{EARNINGS}NVDA,2026-02-17,AFTER_CLOSE,2026-02-17T12:00:00Z\n")
    floor.opened(strategy="swing_trade")
    return floor.until(before_close(58))


@session
def nobody_knows_when_earnings_come() -> Floor:
    floor = Floor(now=before_close(63), config=with_limits(last_entry_swing_min=60))
    filled(floor, "earnings", f"{EARNINGS}AMD,2026-03-17,AFTER_CLOSE,2026-02-17T12:00:00Z\n")
    floor.opened(strategy="swing_trade")
    return floor.until(before_close(50))
