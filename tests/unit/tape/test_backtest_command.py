"""``tape backtest`` and ``td.backtest``: bad input is refused, frames are typed, pages are whole."""

import json
import re
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import tapedeck as td
from tapedeck.connectors.paper.fills import ALPACA, NO_FEES
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import ConfigInvalid, Fatal, TapeError
from tapedeck.streams.config.document import Config
from tapedeck.streams.sessions import xnys
from tapedeck.tape.backtest import command
from tapedeck.tape.backtest.frames import Result
from tapedeck.tape.backtest.source import Days, sessions_of
from tapedeck.tape.cli.main import app
from tapedeck.topics.catalogue import Layout
from tests.bench.year_tape import write_file

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions of four symbols: 2026-02-12, 13 and 17."""
    path = tmp_path_factory.mktemp("backtest") / "bars.parquet"
    write_file(path, 3, ("AMD", "BAC", "NVDA", "WMT"))
    return path


_RESULTS: dict[Path, Result] = {}


@pytest.fixture
def found(bars: Path) -> Result:
    if bars not in _RESULTS:
        _RESULTS[bars] = td.backtest(bars, since="2026-02-13", accounts="large", zone="America/New_York")
    return _RESULTS[bars]


def refused(*arguments: str) -> TapeError:
    ran = RUNNER.invoke(app, ["backtest", *arguments])
    assert isinstance(ran.exception, TapeError), ran.output
    return ran.exception


def test_a_range_that_ends_before_it_begins_is_refused_with_the_range_meant(bars: Path) -> None:
    error = refused(str(bars), "--from", "2026-02-17", "--to", "2026-02-12")
    assert "ends before it begins" in str(error)
    assert "--from 2026-02-12 --to 2026-02-17" in str(error)


def test_a_range_without_a_session_says_what_the_tape_has(bars: Path) -> None:
    error = refused(str(bars), "--from", "2026-02-14", "--to", "2026-02-16")
    assert "no session to play in this range" in str(error)
    assert "the exchange is closed on all of these days" in str(error)
    error = refused(str(bars), "--from", "2026-01-05", "--to", "2026-01-06")
    assert "2026-02-12, 2026-02-13, 2026-02-17" in str(error)


def test_an_unknown_account_is_refused_with_the_nearest_one(bars: Path) -> None:
    error = refused(str(bars), "--accounts", "lage")
    assert "there is no such account" in str(error)
    assert "did you mean large?" in str(error)
    assert "accounts: large, tiny" in str(error) or "accounts: tiny, large" in str(error)
    assert "no account is named" in str(refused(str(bars), "--accounts", ","))


def test_a_document_without_accounts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no account, so nothing can be traded"):
        command.document_of(Config())
    path = tmp_path / "tape.toml"
    path.write_text(Config().to_toml())
    with pytest.raises(ConfigInvalid, match=re.escape(str(path))):
        command.document_of(path)


def test_what_excludes_what_is_said(bars: Path, tmp_path: Path) -> None:
    two = ("--compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert "--compare excludes --check-lookahead" in str(refused(str(bars), *two, "--check-lookahead"))
    assert "--compare excludes --config" in str(refused(str(bars), *two, "--config", str(tmp_path / "c")))


def test_fees_are_named_or_read_from_a_file(tmp_path: Path) -> None:
    assert command.fees_of("alpaca") == ALPACA
    assert command.fees_of("none") == NO_FEES
    path = tmp_path / "fees.toml"
    path.write_text("per_contract = 0.65\nper_million_sold = 27\n")
    assert command.fees_of(str(path)) == NO_FEES._replace(per_contract=D("0.65"), per_million_sold=D(27))
    for text, words in (
        ("per_contrct = 1", "no such rate.*per_contract"),
        ("per_contract = -1", "not an amount of 0 or more"),
        ("per_contract = true", "not an amount"),
        ("per_contract = ", "not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(Fatal, match=words):
            command.fees_of(str(path))
    with pytest.raises(Fatal, match=r"no such fee schedule.*write alpaca, none"):
        command.fees_of("robinhood")


@pytest.mark.parametrize("pair", ["large", "large=", "=5", "large=-1", "large=inf", "large=x"])
def test_cash_is_an_amount_of_an_account(pair: str) -> None:
    assert command.cash_of(["large=1000.50"]) == {"large": D("1000.50")}
    with pytest.raises(Fatal, match="write --cash large=100000"):
        command.cash_of([pair])


def test_a_file_read_by_columns_gives_the_records_of_one_read_row_by_row(bars: Path) -> None:
    sources = sessions_of(TapeSource(tape=str(bars)), None, None, xnys(), lambda line: None)
    days = Days(sources, Layout(), xnys())
    names = ("bars", "universe")
    fast, slow = list(days(names)), list(days.apart()(names))
    assert len(fast) == len(slow) == 3
    for ours, theirs in zip(fast, slow, strict=True):
        assert _told(ours) == _told(theirs)
        for name in ("bars", "universe"):
            assert _records(ours, name) == _records(theirs, name)
        for at in (ours.first + 30_000_000, ours.first + 100 * 60_000_000 + 7_654_321, ours.last):
            assert ours.market.stock_quote("AMD", at) == theirs.market.stock_quote("AMD", at)
            assert ours.market.chain("AMD", at) == theirs.market.chain("AMD", at)
        assert len(ours.market.chain("AMD", ours.last)) > 100
        assert ours.market.stock_quote("AMD", ours.first) is None


def _told(day: Any) -> tuple[object, ...]:
    market = day.market
    return (
        day.date,
        day.first,
        day.last,
        day.bars,
        day.symbols,
        day.origin,
        market.origin,
        market.quote_origin,
    )


def _records(day: Any, name: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for block in day.blocks:
        if block.topic == name:
            wanted = (m for m in block.messages() if name == "bars" or m.value is not None)
            found.setdefault(block.partition, []).extend(m._replace(offset=0) for m in wanted)
    return found


def test_a_file_with_revisions_is_left_to_the_reader_of_rows(bars: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(bars)
    again = frame.tail(1).with_columns(revision=pl.lit(1), close=pl.col("high"))
    path = tmp_path / "revised.parquet"
    pl.concat([frame.with_columns(revision=pl.lit(0)), again]).write_parquet(path)
    sources = sessions_of(TapeSource(tape=str(path)), None, None, xnys(), lambda line: None)
    days = Days(sources, Layout(), xnys())
    fast, slow = list(days(("bars",))), list(days.apart()(("bars",)))
    assert [_records(each, "bars") for each in fast] == [_records(each, "bars") for each in slow]
    assert fast[-1].bars == fast[0].bars + 1


def test_frames_are_typed_and_times_are_in_the_zone(found: Result) -> None:
    zone = pl.Datetime("us", "America/New_York")
    assert found.trades.schema["opened_at"] == found.equity.schema["at"] == zone
    assert found.accounts.schema["net"] == found.trades.schema["net"] == pl.Decimal(38, 6)
    assert found.sessions.schema["date"] == pl.Date()
    assert found.sessions["date"].to_list() == [date(2026, 2, 13), date(2026, 2, 17)]
    assert found.accounts["account_id"].to_list() == ["large"]
    first = found.equity["at"][0]
    assert (first.hour, first.minute) == (9, 35)
    assert found.funnel.filter(pl.col("step") == "bars")["units"].to_list() == [4 * 390 * 2]
    proposals = found.records("proposals")
    assert proposals.schema["verdict"] == pl.Enum(["APPROVED", "REFUSED", "NOT_SIZED", "SHADOWED"])
    assert proposals.height == found.funnel.filter(pl.col("step") == "proposals")["units"].sum()
    with pytest.raises(Fatal, match=r"accounts do not write this topic.*orders"):
        found.records("bars")


def test_bad_dates_and_zones_are_refused_in_a_notebook(bars: Path) -> None:
    with pytest.raises(Fatal, match="since is not a session's date"):
        td.backtest(bars, since="yesterday")
    with pytest.raises(Fatal, match="did you mean"):
        td.backtest(bars, zone="America/NewYork")


def test_the_page_loads_nothing_and_holds_every_figure(found: Result, tmp_path: Path) -> None:
    page = found.report(tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)\s*=\s*['\"]?(https?:)?//", page)
    assert page.count("<svg") >= 4
    assert "option chains are synthetic" in page
    assert "NaN" not in page and "nan" not in re.findall(r'points="[^"]*"', page)
    for text in ("expectancy a trade", "Sharpe / Sortino", "Fees, USD", "Fills:", "turnover"):
        assert text in page
    assert "found.html" not in page


def test_the_document_is_json_with_nulls_where_a_figure_says_nothing(found: Result) -> None:
    told = json.loads(json.dumps(found.document()))
    assert told["sessions"] == 2
    assert told["fees"]["per_contract"] == 0.05145
    assert set(told["digests"]) >= {"large proposals", "large account_inbox"}
    assert told["accounts"][0]["account_id"] == "large"
    assert told["days"][0]["date"] == "2026-02-13"
    assert told["samples"]["large"][0]["at"].endswith("Z")


def test_the_command_prints_the_figures_and_writes_the_page(bars: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ["--from", "2026-02-17", "--accounts", "large", "--workers", "1", "--report", str(page)]
    ran = RUNNER.invoke(app, ["backtest", str(bars), *arguments])
    assert ran.exit_code == 0, ran.output
    assert "WARNING: option chains are synthetic" in ran.output
    assert "1 session, 2026-02-17 to 2026-02-17" in ran.output
    assert "a contract sold" in ran.output and "fills:" in ran.output
    assert "UNEXPLAINED" not in ran.output
    assert page.read_text().startswith("<!doctype html>")
    missing = tmp_path / "no" / "page.html"
    ran = RUNNER.invoke(app, ["backtest", str(bars), *arguments[:-1], str(missing)])
    assert "cannot be written" in str(ran.exception)
