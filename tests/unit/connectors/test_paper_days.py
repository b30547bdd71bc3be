"""The paper exchange over several days and several lives: markets change, accounts stay."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.remote import RemoteExchange
from tapedeck.connectors.paper.saved import Saved
from tapedeck.connectors.tapes.generator import days
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import day_number, xnys
from tapedeck.streams.stages.account.rules import occ
from tests.support.paper import CLOSE, LARGE, MINUTE, SECOND, TEN, TINY, StepClock, exchange, order, serving

TUESDAY, FRIDAY = date(2026, 2, 17), date(2026, 2, 20)
HOUR = 60 * MINUTE_US


def week() -> list[Tape]:
    return list(days(first=TUESDAY, last=FRIDAY, symbols=("AMD",)))


def over(tape: Tape, **how: Any) -> PaperExchange:
    return PaperExchange(tape.market, xnys(), [LARGE, TINY], **({"now": tape.first_live} | how))


def buy(paper: PaperExchange, symbol: str, name: str = "td1-a") -> None:
    quote = paper.board.quote(symbol, paper.now)
    assert quote is not None
    paper.submit(LARGE.number, order(name, symbol=symbol, limit_price=str(quote.ask)))


def an_expiry_on(paper: PaperExchange, day: date, *, lowest: bool = False) -> str:
    chain = paper.board.chain("AMD", paper.now).values()
    listed = [each for each in chain if each.expiry == day_number(day) and each.right == "CALL" and each.bid]
    return min(listed, key=lambda each: each.strike if lowest else abs((each.delta or 0) - 0.5)).symbol


def test_a_contract_quoted_alone_is_quoted_as_in_its_chain() -> None:
    tape = week()[0]
    paper, other = over(tape), over(tape)
    names = [*paper.board.chain("AMD", tape.first_live + HOUR)][::97]
    assert len(names) > 2
    for minutes in (60, 61, 200, 380):
        now = tape.first_live + minutes * MINUTE
        whole = other.board.chain("AMD", now)
        assert [paper.board.quote(name, now) for name in names] == [whole[name] for name in names]
    assert paper.board.quote("AMD260220C99999000", now) is None


def test_a_held_contract_stays_quoted_to_its_expiry_wherever_the_market_goes() -> None:
    tapes = week()
    paper = over(tapes[0])
    paper.advance(tapes[0].first_live + HOUR)
    held = an_expiry_on(paper, FRIDAY, lowest=True)
    buy(paper, held)
    for tape in tapes[1:]:
        paper.open_market(tape.market, tape.first_live)
        assert paper.now == tape.first_live
        paper.advance(tape.first_live + HOUR)
        quote = paper.board.chain("AMD", paper.now)[held]
        assert quote.expiry == day_number(FRIDAY) and quote.strike == occ.parse(held).strike
        assert (
            paper.board.listing(held, paper.now) == paper.books[LARGE.number].ledger.positions[held].listing
        )
    (monday,) = days(first=date(2026, 2, 23), last=date(2026, 2, 23), symbols=("AMD",))
    paper.open_market(monday.market, monday.first_live)
    paper.advance(monday.first_live + HOUR)
    assert paper.board.quote(held, paper.now) is None
    assert paper.board.quote(an_expiry_on(paper, date(2026, 2, 27)), paper.now) is not None


def test_a_contract_that_nobody_holds_is_listed_only_where_the_market_lists_it() -> None:
    tapes = week()
    paper = over(tapes[1])
    paper.advance(tapes[1].first_live + HOUR)
    strange = occ.build(occ.Occ("AMD", day_number(FRIDAY), occ.Right.CALL, D("1001.37")))
    assert paper.board.listing(strange, paper.now) is None
    assert tapes[1].market.contract(strange, "AMD", paper.now) is not None


def test_a_day_order_ends_at_its_close_and_not_in_the_next_market() -> None:
    tapes = week()
    paper = over(tapes[0])
    paper.advance(tapes[0].first_live + HOUR)
    symbol = an_expiry_on(paper, FRIDAY)
    paper.submit(LARGE.number, order(symbol=symbol, limit_price="0.01"))
    paper.open_market(tapes[1].market, tapes[1].first_live)
    found = paper.order_by_client_id(LARGE.number, "td1-a")
    assert (found["status"], found["expired_at"]) == ("expired", "2026-02-17T21:00:00.000000Z")


def test_an_exchange_that_nobody_used_takes_an_earlier_markets_time() -> None:
    tapes = week()
    paper = over(tapes[2])
    paper.open_market(tapes[0].market, tapes[0].first_live)
    assert paper.now == tapes[0].first_live
    buy_later = paper.now + HOUR
    paper.advance(buy_later)
    buy(paper, "AMD")
    paper.open_market(tapes[0].market, tapes[0].first_live)
    assert paper.now == buy_later


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["buy", "rest", "cancel"]), st.integers(1, 90)), max_size=8),
    st.integers(0, 8),
)
def test_an_exchange_killed_after_any_call_goes_on_as_the_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, int]], killed_after: int
) -> None:
    folder = tmp_path_factory.mktemp("exchange")
    whole, mortal, saved = exchange(), exchange(), Saved(folder)
    for number, (what, seconds) in enumerate(calls):
        for paper in (whole, mortal):
            call(paper, what, number)
            paper.advance(paper.now + seconds * SECOND)
        saved.keep(mortal)
        saved.keep_time(mortal, {"tape": "synthetic"})
        if number == killed_after:
            mortal, saved = exchange(), Saved(folder)
            saved.restore(mortal)
    for paper in (whole, mortal):
        paper.advance(CLOSE + MINUTE)
    for number in (LARGE.number, TINY.number):
        assert mortal.orders(number, "all") == whole.orders(number, "all")
        assert mortal.positions(number) == whole.positions(number)
        assert mortal.account(number) == whole.account(number)
        assert mortal.activities(number) == whole.activities(number)


def call(paper: PaperExchange, what: str, number: int) -> None:
    if what == "cancel":
        for working in paper.orders(LARGE.number):
            paper.cancel(LARGE.number, working["id"])
    else:
        limit = "2.10" if what == "buy" else "2.06"
        paper.submit(LARGE.number, order(f"td1-{number}", limit_price=limit))


def test_what_is_saved_holds_no_credential(tmp_path: Path) -> None:
    paper, saved = exchange(), Saved(tmp_path)
    paper.submit(LARGE.number, order())
    saved.keep(paper)
    saved.keep_time(paper)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert LARGE.number in text and f'"{LARGE.key}"' not in text and f'"{LARGE.secret}"' not in text


@pytest.mark.parametrize("broken", ["", "{", '{"version":9,"now":1}', "[]"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, broken: str) -> None:
    (tmp_path / "time.json").write_text(broken)
    with pytest.raises(Fatal, match=r"cannot be read.*time\.json"):
        Saved(tmp_path)


def test_a_field_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    paper, saved = exchange(), Saved(tmp_path)
    paper.submit(LARGE.number, order())
    saved.keep(paper)
    saved.keep_time(paper)
    found = json.loads((tmp_path / "books.json").read_text())
    found["books"][LARGE.number]["ledger"]["margin"] = "5"
    (tmp_path / "books.json").write_text(json.dumps(found))
    with pytest.raises(Fatal, match="a Ledger has no margin"):
        Saved(tmp_path).restore(exchange())


def test_player_hands_each_sessions_market_over_and_the_same_one_once() -> None:
    source = TapeSource(tape="synthetic:3", session=FRIDAY, since=TUESDAY)
    paper = exchange()
    with serving(paper, StepClock(TEN)) as url:
        remote = RemoteExchange(url)
        remote.open_market(source)
        opened = paper.board
        assert paper.board.origin == "synthetic/seed-3"
        remote.open_market(replace(source))
        assert paper.board is opened
        state = requests.get(f"{url}/_paper/state", timeout=5).json()
        assert state["market"] == source.description()
        assert xnys().session_date(state["now"]) == day_number(FRIDAY)
        with pytest.raises(Fatal, match=r"cannot serve this tape: no market: .*no session on this date"):
            remote.open_market(TapeSource(session=date(2026, 2, 21)))


def test_player_waits_for_an_exchange_that_died_and_hears_whoever_watches_it() -> None:
    class Ended(Exception):
        pass

    looks = []

    def watch() -> None:
        looks.append(1)
        if len(looks) == 2:
            raise Ended

    with pytest.raises(Ended):
        RemoteExchange("http://127.0.0.1:9", watch).advance(0)
    assert len(looks) == 2
