"""What the command and the notebook function share: documents, accounts, fees, runs and checks."""

import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from tapedeck.connectors.config_file import load, topology_of
from tapedeck.connectors.outlook.files import READERS
from tapedeck.connectors.outlook.records import Body
from tapedeck.connectors.paper.fills import ALPACA, NO_FEES, Fees
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import ConfigInvalid, Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.sessions import Calendar, xnys
from tapedeck.streams.topology import Topology
from tapedeck.tape.backtest.checks import Check, lookahead, startup
from tapedeck.tape.backtest.compare import Comparison, compared
from tapedeck.tape.backtest.result import Backtest, result_of
from tapedeck.tape.backtest.run import Plan, Setting, Tell, run
from tapedeck.tape.backtest.source import Days, sessions_of

_MOST_CASH = Decimal(10) ** 12


def _quiet(line: str) -> None:
    del line


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request: the tape, its range (None: no bound), accounts (None: all), and how to run."""

    source: TapeSource
    since: date | None = None
    until: date | None = None
    accounts: tuple[str, ...] | None = None
    fees: Fees = ALPACA
    cash: Mapping[str, Decimal] = field(default_factory=dict)
    seed: int = 0
    workers: int = 1
    daily: bool = False
    outlook: tuple[tuple[str, Body], ...] = ()
    tell: Tell = _quiet
    reading: Callable[[str], None] = _quiet
    calendar: Calendar = field(default_factory=xnys)


def document_of(config: Path | Config | None) -> Config:
    """The document at a path, a document itself, or the default one with the example accounts.

    Raises ConfigInvalid for one that cannot be read, or without an account.
    """
    document = config if isinstance(config, Config) else load(config) if config else None
    if document is None:
        return Config(accounts=EXAMPLE_ACCOUNTS)
    if not document.accounts:
        raise ConfigInvalid(
            "the document has no account, so nothing can be traded",
            value=str(config) if isinstance(config, Path) else document.digest,
            remedy="add an [[accounts]] table: `tape config show` has the keys, `tape init` writes two",
        )
    return document


def plan_of(asked: Asked, config: Config) -> Plan:
    """How to run ``asked`` under ``config``. Raises ConfigInvalid for an account that is not in it."""
    known = [each.account_id for each in config.accounts]
    for name in (*(asked.accounts or ()), *asked.cash):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ConfigInvalid(
                "there is no such account", value=name, remedy=f"{meant}accounts: {', '.join(known)}"
            )
    if asked.accounts is not None and not asked.accounts:
        raise ConfigInvalid("no account is named", value="", remedy=f"accounts: {', '.join(known)}")
    chosen = tuple(name for name in known if asked.accounts is None or name in asked.accounts)
    return Plan(
        accounts=chosen,
        fees=asked.fees,
        cash=asked.cash,
        seed=asked.seed,
        workers=asked.workers,
        daily=asked.daily,
        outlook=asked.outlook,
    )


def days_asked(asked: Asked, config: Config) -> Days:
    """The sessions of ``asked``."""
    source = replace(asked.source, feed=config.bars.feed)
    found = sessions_of(source, asked.since, asked.until, asked.calendar, asked.reading)
    return Days(found, Plan(()).layout, asked.calendar, asked.reading)


def run_one(topology: Topology, asked: Asked, config: Path | Config | None) -> Backtest:
    """One configuration over the sessions of ``asked``."""
    document = document_of(config)
    plan = plan_of(asked, document)
    days = days_asked(asked, document)
    began = time.perf_counter()
    ran = run(Setting(topology, document, plan, asked.calendar), days, tell=asked.tell)
    took = time.perf_counter() - began
    return result_of(ran, plan, document, asked.calendar, tape=asked.source.tape, took_s=took)


def run_both(asked: Asked, a: Path, b: Path) -> Comparison:
    """Two documents over the same sessions, each under the topology that it names."""
    found = []
    for path in (a, b):
        asked.tell(f"running {path}")
        found.append(run_one(topology_of(path), asked, path))
    return compared(found[0], found[1], (str(a), str(b)))


class Wanted(NamedTuple):
    """Which checks: a look into the future, and with how many more sessions of warm-up, 0 for none."""

    lookahead: bool = False
    warm_up: int = 0

    @property
    def any(self) -> bool:
        """Whether a run must keep the digests of its sessions."""
        return self.lookahead or self.warm_up > 0


def check(topology: Topology, asked: Asked, found: Backtest, wanted: Wanted) -> list[Check]:
    """The checks that are wanted of ``found``, which came of ``asked``."""
    checks = []
    setting = Setting(topology, found.config, found.plan, asked.calendar)
    days = days_asked(asked, found.config)
    if wanted.lookahead:
        asked.tell("running again with the future cut off at each session's end")
        checks.append(lookahead(setting, days, found.ran))
    if wanted.warm_up:
        asked.tell(f"running again with up to {wanted.warm_up} more sessions of warm-up")
        checks.append(startup(setting, days, found.ran, wanted.warm_up, asked.reading))
    return checks


def fees_of(text: str) -> Fees:
    """``alpaca``, ``none``, or the rates in a TOML file. Raises Fatal for an unknown rate or a bad value."""
    named = {"alpaca": ALPACA, "none": NO_FEES}
    if text in named:
        return named[text]
    try:
        told = tomllib.loads(Path(text).read_text(), parse_float=Decimal)
    except OSError:
        raise Fatal(
            "there is no such fee schedule", value=text, remedy="write alpaca, none, or name a TOML file"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise Fatal(
            f"the fee schedule is not TOML: {error}", value=text, remedy="correct that line"
        ) from None
    for name, rate in told.items():
        if name not in Fees._fields:
            near = get_close_matches(name, Fees._fields, n=1) or Fees._fields
            raise Fatal(
                "a fee schedule has no such rate", value=name, remedy=f"write one of {', '.join(near)}"
            )
        if isinstance(rate, bool) or not isinstance(rate, int | Decimal) or not 0 <= rate < _MOST_CASH:
            raise Fatal(
                f"the rate {name} is not an amount of 0 or more",
                value=rate,
                remedy="write USD, such as 0.02685",
            )
    return NO_FEES._replace(**{name: Decimal(rate) for name, rate in told.items()})


def outlook_of(files: Mapping[str, str | Path | None]) -> tuple[tuple[str, Body], ...]:
    """The records of files of optional topics, by topic. Raises Fatal with the line of a bad one."""
    read = [(name, body) for name, path in files.items() if path for body in READERS[name](Path(path))]
    return tuple(sorted(read, key=lambda each: each[1]["available_at"]))


def cash_of(pairs: Iterable[str]) -> dict[str, Decimal]:
    """Starting cash from ``ACCOUNT=USD`` each. Raises Fatal for anything else."""
    found = {}
    for pair in pairs:
        name, _, amount = pair.partition("=")
        try:
            usd = Decimal(amount)
        except InvalidOperation:
            usd = Decimal("NaN")
        if not name or not usd.is_finite() or not 0 < usd < _MOST_CASH:
            raise Fatal("not an account's cash", value=pair, remedy="write --cash large=100000")
        found[name] = usd
    return found
