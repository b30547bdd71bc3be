"""The generated day through the real stages: the rules as they are find calls, puts and stock to buy."""

from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pytest

from tapedeck.connectors.tapes.generator import DEFAULT_SEED, generate
from tapedeck.connectors.tapes.market import ContractQuote as Listed
from tapedeck.connectors.tapes.plants import RUN, plan
from tapedeck.connectors.tapes.player import Pace, Player
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.log import MemoryLog
from tapedeck.streams.sim.task import drain, tasks_of
from tapedeck.streams.stages.account.rules.contracts import ContractQuote, Moment, choose, window
from tapedeck.streams.stages.account.rules.occ import Right
from tapedeck.streams.stages.account.rules.sizing import size_option
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import make
from tapedeck.topics.catalogue import Layout
from tests.support.cases import MARKET_STAGES, few
from tests.support.sim_tapes import NONE_THERE

SEEDS = few((DEFAULT_SEED, 2, 9), 1)
EQUITY = {"large": Decimal(100_000), "tiny": Decimal(5_000)}
CONFIG = Config()


class Day:
    """One seed's tape and everything that the market stages made of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tape: Tape = generate(seed)
        self.log = _market_of(self.tape)

    def records(self, name: str) -> list[dict[str, Any]]:
        return [decode(name, m.value) for m in self.log.messages(name) if m.value is not None]

    def planted(self) -> list[dict[str, Any]]:
        """The signals that came within a planted run."""
        session = xnys().session_on(self.tape.session)
        assert session is not None
        runs = {
            plant.symbol: range(
                session.open + plant.start * MINUTE_US, session.open + (plant.start + RUN) * MINUTE_US
            )
            for plant in plan(np.random.default_rng([self.seed, 1]))
        }
        found = [s for s in self.records("signals") if s["bar_t"] in runs.get(s["symbol"], ())]
        return sorted(found, key=lambda signal: signal["bar_t"])


def _market_of(tape: Tape) -> MemoryLog:
    log = MemoryLog(Layout())
    calendar = xnys()
    tasks = [
        task
        for name in MARKET_STAGES
        for task in tasks_of(TOPOLOGY.stage(name), make(TOPOLOGY.stage(name), CONFIG, calendar), log)
    ]
    player = Player(tape, log.writer(), Pace(None), optional=NONE_THERE)
    player.play(lambda: {("bars", 0): None})
    drain(tasks)
    return log


@cache
def day(seed: int) -> Day:
    return Day(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_find_a_call_a_stock_and_a_put(seed: int) -> None:
    found = [(s["symbol"], s["action"], s["strategy"], s["reason"]) for s in day(seed).planted()]
    assert found == [
        ("AMD", "BUY_CALL", "day_trade", "OPTION_DAY_TRADE"),
        ("WMT", "BUY_STOCK", "day_trade", "STOCK_HIGH_VOL"),
        ("ORCL", "BUY_PUT", "day_trade", "OPTION_DAY_TRADE"),
    ]


def test_most_evaluations_hold_for_a_reason() -> None:
    decisions = day(DEFAULT_SEED).records("decisions")
    holds = {d["reason"] for d in decisions if d["action"] == "HOLD"}
    assert {"NOT_ON_WATCHLIST", "OPTIONS_CONFIDENCE_TOO_LOW", "STALE_BAR"} <= holds
    acting = [d for d in decisions if d["action"] != "HOLD"]
    assert len(acting) == len(day(DEFAULT_SEED).records("signals")) < 0.01 * len(decisions)


def test_late_and_revised_bars_are_applied_and_none_is_too_late() -> None:
    features = day(DEFAULT_SEED).records("features")
    assert any(body["revision"] > 0 for body in features)
    assert day(DEFAULT_SEED).records("bars.late") == []


def test_the_watchlist_is_full_all_day() -> None:
    lists = day(DEFAULT_SEED).records("watchlist")
    assert len(lists) >= 77
    assert sum(len(each["members"]) >= 8 for each in lists) > 0.9 * len(lists)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("account", EXAMPLE_ACCOUNTS, ids=lambda account: account.account_id)
def test_each_account_can_afford_a_good_contract_of_each_planted_option(seed: int, account: Account) -> None:
    for signal in day(seed).planted():
        if signal["action"] == "BUY_STOCK":
            continue
        now = signal["bar_t"] + MINUTE_US + 1_000_000
        session = xnys().session_at(now)
        assert session is not None
        assert now < session.before_close(account.last_entry_day_min)
        right = Right.CALL if signal["action"] == "BUY_CALL" else Right.PUT
        asked = window(
            CONFIG.contract, signal["strategy"], right, Decimal(str(round(signal["close"], 4))), session.date
        )
        choice = choose(
            CONFIG.contract,
            CONFIG.gate.quote_s,
            [_quote(each) for each in day(seed).tape.market.chain(signal["symbol"], now)],
            right=right,
            asked=asked,
            moment=Moment(now, session.date, session.before_close(60)),
        )
        assert choice.contract is not None, choice
        assert choice.refused, "a real chain has contracts that the filters refuse"
        worst = choice.contract.ask
        assert worst is not None
        size = size_option(
            EQUITY[account.account_id], account.risk_day, worst, max_contracts=account.max_contracts
        )
        assert size.quantity >= 1
        assert size.quantity * worst * 100 <= account.max_exposure


def _quote(found: Listed) -> ContractQuote:
    same = ("symbol", "expiry", "strike", "size", "bid", "ask", "volume", "open_interest", "delta")
    fields = {name: getattr(found, name) for name in same}
    return ContractQuote(**fields, right=Right(found.right), quote_time=found.time)
