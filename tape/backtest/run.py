"""``backtest``: every session through the market stages, and each account beside its own exchange.

The market stages run here, a few sessions at a time. Accounts may have processes of their own: these get the
sessions over pipes, and work on one while the next ones are decided.
"""

import multiprocessing
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from tapedeck.connectors.paper.fills import ALPACA, Fees
from tapedeck.schemas.errors import Fatal, TapeError
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import Calendar, iso_date
from tapedeck.streams.topology import Topology
from tapedeck.tape.backtest.account import AccountRecord, AccountRun, Body
from tapedeck.tape.backtest.days import Day
from tapedeck.tape.backtest.fed import Fed, Shared
from tapedeck.tape.backtest.market import Decided, MarketRun
from tapedeck.topics.catalogue import Layout

TOGETHER = 5
"""Sessions decided at once: more of them take memory, fewer of them time."""
_END_S = 5.0
Tell = Callable[[str], None]


class Plan(NamedTuple):
    """How to run: the accounts, their fees and cash, the exchange's seed, processes, digests to keep.

    ``daily``: keep the digests of each session too, for checks. ``outlook``: records of the topics that are
    optional, by topic, in the order in which they become available.
    """

    accounts: tuple[str, ...]
    fees: Fees = ALPACA
    cash: Mapping[str, Decimal] = {}
    seed: int = 0
    workers: int = 1
    digested: tuple[str, ...] = ()
    daily: bool = False
    layout: Layout = Layout()
    outlook: tuple[tuple[str, Body], ...] = ()


class Setting(NamedTuple):
    """Under which stages, rules, plan and calendar a tape is run."""

    topology: Topology
    config: Config
    plan: Plan
    calendar: Calendar

    def without_accounts(self) -> "Setting":
        """The market stages alone."""
        return self._replace(plan=self.plan._replace(accounts=()))


class Session(NamedTuple):
    """What was played of one session."""

    date: int
    name: str
    bars: int
    symbols: tuple[str, ...]
    origin: str
    quote_origin: str
    chain_origin: str
    synthetic: tuple[str, ...]
    notes: tuple[str, ...]


class Ran(NamedTuple):
    """A run: its sessions, what the market stages decided, what each account did."""

    sessions: tuple[Session, ...]
    decided: Decided
    accounts: tuple[AccountRecord, ...]


def run(
    setting: Setting,
    days: Callable[[Sequence[str]], Iterable[Day]],
    *,
    tell: Tell = lambda line: None,
    together: int = TOGETHER,
) -> Ran:
    """Run ``days``, which is asked for sessions with the records of the topics it is given.

    ``together``: how many sessions are decided at once.

    Raises what a stage, a dispatcher or the reading of the tape raises; Fatal if there is no session.
    """
    topology, config, plan, calendar = setting
    market = MarketRun(topology, config, calendar, plan.layout, digested=plan.digested, daily=plan.daily)
    desks = _desks(setting)
    sessions: list[Session] = []
    try:
        for some in _together(days(market.reads), together):
            for day, fed in zip(some, market.run(some), strict=True):
                for desk in desks:
                    desk.day(fed)
                sessions.append(_session(day))
            tell(f"{len(sessions)} sessions, to {iso_date(sessions[-1].date)}")
        if not sessions:
            raise Fatal("there is no session to run", remedy="name another range with --from and --to")
        done = {each.account_id: each for desk in desks for each in desk.finish()}
        return Ran(tuple(sessions), market.decided, tuple(done[each] for each in plan.accounts))
    finally:
        for desk in desks:
            desk.close()


def _session(day: Day) -> Session:
    market = day.market
    return Session(
        day.date, day.name, day.bars, day.symbols, day.origin, market.quote_origin, market.origin,
        day.made_up, day.notes,
    )  # fmt: skip


def _together(days: Iterable[Day], n: int) -> Iterator[list[Day]]:
    left = iter(days)
    while some := list(islice(left, n)):
        yield some


class Desks:
    """Some accounts, each beside its own exchange, on one market."""

    def __init__(self, runs: Sequence[AccountRun]) -> None:
        self._runs = runs

    def day(self, fed: Fed) -> None:
        """Let every account live through one session."""
        shared = replace(fed, market=Shared(fed.market))
        for each in self._runs:
            each.day(shared)

    def finish(self) -> list[AccountRecord]:
        """What they did."""
        return [each.finish() for each in self._runs]

    def close(self) -> None:
        """Nothing is open."""


class _There:
    """Accounts in a process of their own, which ends with this one."""

    def __init__(self, made: Callable[[], Desks]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self._pipe, made), daemon=True
        )
        self._process.start()
        theirs.close()

    def day(self, fed: Fed) -> None:
        try:
            self._pipe.send(fed)
        except OSError:
            self._answer()  # it says why it ended
            raise

    def finish(self) -> list[AccountRecord]:
        with suppress(OSError):
            self._pipe.send(None)
        found: list[AccountRecord] = self._answer()
        return found

    def close(self) -> None:
        self._pipe.close()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_END_S)

    def _answer(self) -> Any:
        try:
            found = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(_END_S)
            raise Fatal(
                "the process of the accounts ended before its time",
                value=f"exit code {self._process.exitcode}",
                remedy="run it again with --workers 1; if memory is short, give it fewer sessions",
            ) from None
        if isinstance(found, BaseException):
            raise found
        return found


def _serve(pipe: "Connection[Any, Any]", parents: "Connection[Any, Any]", made: Callable[[], Desks]) -> None:
    """Some accounts, session by session, until there are no more."""
    parents.close()  # otherwise the end of the parent would not be seen
    try:
        desks = made()
        while (fed := pipe.recv()) is not None:
            desks.day(fed)
        pipe.send(desks.finish())
    except (EOFError, KeyboardInterrupt):
        return
    except TapeError as error:
        pipe.send(error)
    except Exception:
        told = traceback.format_exc()
        pipe.send(Fatal("the process of the accounts failed", value=told, remedy="report it with this text"))


def _desks(setting: Setting) -> list[Desks] | list[_There]:
    """The accounts, in this process or in as many others as ``workers`` leaves."""
    topology, config, plan, calendar = setting

    def made(accounts: Sequence[str]) -> Desks:
        return Desks(
            [
                AccountRun(
                    topology, config, account_id, calendar, fees=plan.fees, cash=plan.cash.get(account_id),
                    seed=plan.seed, layout=plan.layout, daily=plan.daily, outlook=plan.outlook,
                )
                for account_id in accounts
            ]
        )  # fmt: skip

    if plan.workers <= 1 or not plan.accounts:
        return [made(plan.accounts)]
    others = min(plan.workers - 1, len(plan.accounts))
    return [_There(partial(made, plan.accounts[n::others])) for n in range(others)]
