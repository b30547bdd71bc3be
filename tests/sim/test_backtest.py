"""A backtest decides as the simulator does, digest by digest; its checks fire, and its figures add up."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal as D
from functools import cache
from typing import Any

import pytest

from tapedeck.connectors.paper.fills import Fees
from tapedeck.connectors.tapes.generator import days
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.errors import DeadLetter, Fatal
from tapedeck.streams.digests import of_state
from tapedeck.streams.protocol import Row
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.streams.stages.account.stage import AccountStage
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.topology import make
from tapedeck.tape.backtest import checks
from tapedeck.tape.backtest.account import AccountRun
from tapedeck.tape.backtest.compare import compared
from tapedeck.tape.backtest.days import Day, days_of
from tapedeck.tape.backtest.held import HeldStage, made
from tapedeck.tape.backtest.market import MarketRun
from tapedeck.tape.backtest.result import Backtest, result_of
from tapedeck.tape.backtest.run import Plan, Ran, Setting, run
from tapedeck.tape.backtest.texts import stages_of_texts
from tapedeck.tape.sim.simulation import Simulation
from tapedeck.topics.catalogue import Layout
from tests.support.paths import INBOX, cut, inbox_of
from tests.support.wide import wide_config

TUESDAY, THURSDAY = date(2026, 2, 17), date(2026, 2, 19)
SYMBOLS = ("AMD", "BAC", "WMT")
CONFIG = wide_config()
LARGE = "large"
MARKET = tuple(
    name
    for spec in TOPOLOGY.market
    if spec not in stages_of_texts(TOPOLOGY)
    for name in spec.outputs
    if name != "bars.late"
)
UNTIL = 160


@cache
def tapes() -> tuple[Tape, ...]:
    return tuple(cut(t, slice(UNTIL)) for t in days(7, first=TUESDAY, last=THURSDAY, symbols=SYMBOLS))


class Tapes:
    """Tapes as ``run`` asks for them."""

    def __init__(self, *given: Tape) -> None:
        self.given = given

    def __call__(self, names: Collection[str]) -> Iterable[Day]:
        return days_of(self.given, names, Layout())

    def apart(self) -> "Tapes":
        return self


def setting(**plan: Any) -> Setting:
    return Setting(TOPOLOGY, CONFIG, Plan(**({"accounts": (LARGE,), "fees": Fees()} | plan)), xnys())


@cache
def backtest() -> Ran:
    return run(setting(digested=MARKET, daily=True), Tapes(*tapes()), together=2)


@cache
def simulated() -> Simulation:
    first, *later = tapes()
    found = Simulation(TOPOLOGY, first, CONFIG, accounts=(LARGE,))
    return found.play(*later).rest(1)


def test_every_topic_of_three_sessions_has_the_simulators_digest() -> None:
    expected = simulated().digests()
    found = {name: rows.hexdigest() for name, rows in backtest().decided.rows.items()}
    found |= backtest().accounts[0].digests
    assert found == {name: expected[name] for name in found}
    counts = {name: len(rows) for name, rows in backtest().decided.rows.items()}
    assert min(counts[name] for name in ("decisions", "signals", "scores", "watchlist")) > 0
    assert len(backtest().accounts[0].records["executions"]) > 0


@pytest.mark.long
def test_an_account_does_the_same_beside_others_and_in_another_process() -> None:
    alone = backtest().accounts[0]
    both = run(setting(accounts=(LARGE, "tiny"), workers=2), Tapes(*tapes()))
    assert [each.account_id for each in both.accounts] == [LARGE, "tiny"]
    assert both.accounts[0].digests == alone.digests
    assert both.accounts[0].samples == alone.samples
    assert both.accounts[1].digests != alone.digests


def test_the_state_held_in_memory_is_the_one_that_the_stage_packs() -> None:
    market = MarketRun(TOPOLOGY, CONFIG, xnys(), Layout())
    account = AccountRun(TOPOLOGY, CONFIG, LARGE, xnys(), fees=Fees())
    for day in Tapes(*tapes())(market.reads):
        (fed,) = market.run([day])
        account.day(fed)
    account.settle()
    task = simulated().dispatchers[0].task
    state = account.state()
    assert state is not None
    values = dict(task.disk.items())
    ours = {key: _with_body(value, state) for key, value in values.items()}
    assert of_state(ours) == of_state(values)


def _with_body(value: bytes, body: bytes) -> bytes:
    from tapedeck.streams.frame import pack, unpack

    known = unpack(value)
    return pack(known.epoch, known.cursors, body, known.logs) if known.body else value


def test_a_record_that_raises_leaves_the_held_state_as_it_was() -> None:
    plain = make(TOPOLOGY.account, CONFIG, xnys(), LARGE)
    held = made(TOPOLOGY.account, CONFIG, xnys(), LARGE)
    assert isinstance(held, HeldStage) and type(plain) is AccountStage
    rows = list(_rows())
    bad = rows[5]._replace(body=rows[5].body | {"payload": ("tapedeck.InboxNothing", {})})
    state: bytes | None = None
    mark: bytes | None = None
    for at, row in enumerate(rows):
        if at == len(rows) // 2:
            with pytest.raises(DeadLetter):
                held.step(LARGE.encode(), mark, [bad])
        step, other = plain.step(LARGE.encode(), state, [row]), held.step(LARGE.encode(), mark, [row])
        state, mark = step.state, other.state
        assert other.outs == step.outs
    assert held.packed() == state


def _rows() -> Iterator[Row]:
    from tapedeck.schemas.codec import decode

    for message in inbox_of(simulated().log, LARGE):
        body = decode(INBOX, message.value)
        yield Row(INBOX, message.key or b"", body, 0, int(body["event_time"]))


def test_figures_add_up_to_what_the_exchange_holds() -> None:
    found = results()
    (summary,) = found.summaries
    assert summary.unexplained == D("0.00")
    assert sum((each.pnl for each in found.days), D(0)) == found.days[-1].equity - summary.start
    assert len(found.trades) == summary.closed.trades + summary.still_open
    assert {each.account_id for each in found.groups} == {LARGE}
    funnel = {(each.account_id, each.step, each.reason): each.units for each in found.funnel}
    assert funnel["", "bars", ""] == sum(len(m.bars) for tape in tapes() for m in tape)
    signals = sum(n for (_, step, _), n in funnel.items() if step == "signals")
    held = sum(n for (_, step, _), n in funnel.items() if step == "held")
    assert funnel["", "decisions", ""] == signals + held
    assert funnel[LARGE, "proposals", ""] == signals


@cache
def results() -> Backtest:
    return result_of(backtest(), setting().plan, CONFIG, xnys(), tape="synthetic", took_s=1.0)


def test_synthetic_prices_are_told_and_never_mixed_silently() -> None:
    assert [each.split(" are ")[0] for each in results().warnings] == [
        "bars",
        "stock quotes",
        "option chains",
    ]
    ran = backtest()
    recorded = ran.sessions[0]._replace(synthetic=("option chains",), origin="iex", quote_origin="iex")
    mixed = ran._replace(sessions=(recorded, *ran.sessions[1:]))
    found = result_of(mixed, setting().plan, CONFIG, xnys(), tape="x", took_s=1.0)
    assert [each for each in found.warnings if each.startswith("MIXED: stock quotes are synthetic in 2 of 3")]
    assert not [each for each in found.warnings if each.startswith("MIXED: option chains")]


def test_the_look_ahead_check_passes_on_an_honest_tape() -> None:
    found = checks.lookahead(setting(daily=True), Tapes(*tapes()), backtest())  # type: ignore[arg-type]
    assert found.passed, str(found)
    assert "3 sessions decide the same" in str(found)


def test_the_look_ahead_check_finds_a_tape_whose_past_depends_on_what_comes_later() -> None:
    """With the future cut off, the first session's bars are others: as if they had been adjusted later."""
    first, *later = tapes()
    minute = first.minutes[60]
    bars = tuple(bar | {"close": bar["low"]} for bar in minute.bars)
    unadjusted = replace(
        first, minutes=(*first.minutes[:60], minute._replace(bars=bars), *first.minutes[61:])
    )
    found = checks.lookahead(setting(daily=True), Tapes(unadjusted, *later), backtest())  # type: ignore[arg-type]
    assert not found.passed
    assert found.details[0].startswith("2026-02-17: decisions")


@pytest.mark.long
def test_the_start_up_check_tells_sessions_whose_decisions_need_more_warm_up(tmp_path: Any) -> None:
    from tests.bench.year_tape import write_file

    path = tmp_path / "bars.parquet"
    write_file(path, 3, ("AMD", "BAC"))
    from tapedeck.connectors.tapes.source import TapeSource
    from tapedeck.tape.backtest import command

    asked = command.Asked(
        source=TapeSource(tape=str(path)), since=date(2026, 2, 13), accounts=(LARGE,), daily=True
    )
    found = command.run_one(TOPOLOGY, asked, CONFIG)
    (check,) = command.check(TOPOLOGY, asked, found, command.Wanted(warm_up=1))
    # the first session has only the one before it as warm-up, which 1 more session of signals can change
    assert check.name == "start-up"
    assert ("1 more sessions" in check.said) and (check.passed or check.details)
    whole = replace(asked, since=None)
    every = command.run_one(TOPOLOGY, whole, CONFIG)
    with pytest.raises(Fatal, match=r"no session before the first one.*name a later --from"):
        command.check(TOPOLOGY, whole, every, command.Wanted(warm_up=1))


def test_the_start_up_check_fires_without_any_warm_up() -> None:
    first, second, _ = tapes()
    cold = Tapes(replace(second, history=()))
    whole = run(setting(daily=True, accounts=()), cold)
    longer = run(setting(daily=True, accounts=()), Tapes(first, replace(second, history=())))
    session = day_number(date(2026, 2, 18))
    ours, theirs = (each.decided.daily[session]["decisions"] for each in (whole, longer))
    assert len(list(ours.differences(theirs))) > 0


def test_two_runs_are_paired_session_by_session() -> None:
    same = compared(results(), results(), ("a.toml", "b.toml"))
    assert (same.paired[0].total, same.paired[0].verdict) == (0, "no difference")
    fees = run(setting(fees=Fees(per_contract=D(5))), Tapes(*tapes()))
    dear = result_of(fees, setting().plan, CONFIG, xnys(), tape="x", took_s=1.0)
    found = compared(results(), dear, ("a.toml", "b.toml"))
    assert found.paired[0].total < 0
    assert found.paired[0].worse > 0 == found.paired[0].better
    short = result_of(run(setting(), Tapes(tapes()[0])), setting().plan, CONFIG, xnys(), tape="x", took_s=1.0)
    with pytest.raises(Fatal, match="other sessions"):
        compared(results(), short, ("a", "b"))
    nobody = replace(dear, summaries=(dear.summaries[0]._replace(account_id="other"),))
    with pytest.raises(Fatal, match="no account in common"):
        compared(results(), nobody, ("a", "b"))


def test_a_range_without_a_session_is_refused() -> None:
    with pytest.raises(Fatal, match="no session to run"):
        run(setting(), Tapes())
