"""Naming tapes: descriptions that other processes read, and ranges of sessions."""

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tapedeck.connectors.tapes.source import TapeSource, session_range
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import xnys
from tapedeck.tape.cli.main import app
from tests.support.cases import REPOSITORY

TUESDAY, MONDAY = date(2026, 2, 17), date(2026, 3, 2)
RECORDED = REPOSITORY / "tests" / "tapes" / "signal_morning_of_two_accounts"
DAYS = st.dates(date(2020, 1, 1), date(2027, 1, 1))


@given(st.sampled_from(["synthetic", "synthetic:3", "bars.csv"]), st.none() | DAYS, st.none() | DAYS)
def test_a_description_names_the_same_tape_in_any_process(
    tape: str, session: date | None, since: date | None
) -> None:
    source = TapeSource(tape=tape, session=session, since=since, quotes=Path("q.csv"), feed="sip")
    told = source.description()
    assert TapeSource.described(told).description() == told
    assert Path(told["quotes"]).is_absolute()


def test_one_synthetic_tape_has_one_description() -> None:
    plain = TapeSource().description()
    assert plain == TapeSource(tape="synthetic:7", session=TUESDAY, since=TUESDAY).description()
    assert plain != TapeSource(session=date(2026, 2, 18), since=TUESDAY).description()


def test_a_synthetic_range_has_every_session_of_the_exchange_and_one_first_day() -> None:
    found = TapeSource(tape="synthetic:3").over(*session_range("2026-02-14..2026-03-02"), xnys())
    assert [each.session for each in found if each.session] == [
        *(date(2026, 2, day) for day in (17, 18, 19, 20, 23, 24, 25, 26, 27)),
        MONDAY,
    ]
    assert {each.since for each in found} == {TUESDAY}


def test_a_files_range_has_its_own_sessions(tmp_path: Path) -> None:
    path = bars_on(tmp_path, "2026-02-17", "2026-02-19", "2026-02-20")
    found = TapeSource(tape=str(path)).over(TUESDAY, date(2026, 2, 19), xnys())
    assert [str(each.session) for each in found] == ["2026-02-17", "2026-02-19"]
    assert [str(each.load().session) for each in found] == ["20501", "20503"]
    with pytest.raises(Fatal, match=r"no session to play.*'2026-02-18..2026-02-18'.*2026-02-17, 2026-02-19"):
        TapeSource(tape=str(path)).over(date(2026, 2, 18), date(2026, 2, 18), xnys())


def article(number: int, at: str, headline: str) -> str:
    told = {"id": number, "created_at": at, "updated_at": at, "headline": headline, "symbols": ["BAC"]}
    return json.dumps(told) + "\n"


def test_a_market_file_plays_with_the_news_of_its_session_from_a_file(tmp_path: Path) -> None:
    path, news = bars_on(tmp_path, "2026-02-17"), tmp_path / "news.jsonl"
    said = [
        (1, "2026-02-16T20:00:00+00:00", "Yesterday"),
        (2, "2026-02-17T13:00:00+00:00", "Before the open"),
        (3, "2026-02-17T14:30:10+00:00", "<b>Bank of America</b> raises guidance"),
        (3, "2026-02-17T14:31:10+00:00", "Bank of America corrects guidance"),
        (4, "2026-02-17T23:00:00+00:00", "In the evening"),
    ]
    news.write_text("".join(article(*each) for each in said))
    source = TapeSource(tape=str(path), news=news)
    assert TapeSource.described(source.description()) == source
    tape = source.load()
    found = [(tape.number(minute.label), body["title"]) for minute in tape for body in minute.news]
    assert found == [
        (0, "Before the open"),
        (0, "Bank of America raises guidance"),
        (1, "Bank of America corrects guidance"),
    ]
    assert {body["origin"] for minute in tape for body in minute.news} == {"file/news.jsonl"}
    assert any("3 of 5 articles of news.jsonl are of this session" in note for note in tape.notes)
    assert TapeSource(tape=str(path)).load().digest() != tape.digest()
    with pytest.raises(Fatal, match=r"has its own news.*leave out --news"):
        TapeSource(news=news).load()


def test_a_recorded_tapes_range_has_its_own_sessions() -> None:
    found = TapeSource(tape=str(RECORDED)).over(TUESDAY, MONDAY, xnys())
    assert [each.session for each in found] == [TUESDAY]
    with pytest.raises(Fatal, match="sessions on the tape: 2026-02-17"):
        TapeSource(tape=str(RECORDED)).over(date(2026, 2, 18), MONDAY, xnys())


def test_days_on_which_the_exchange_is_closed_are_no_range() -> None:
    with pytest.raises(Fatal, match="closed on all of these days"):
        TapeSource().over(date(2026, 2, 14), date(2026, 2, 16), xnys())


@pytest.mark.parametrize(
    "text", ["", "2026-02-17", "2026-02-17..", "..2026-02-17", "a..b", "2026-02-17-2026-02-18"]
)
def test_what_is_no_range_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(Fatal, match=r"not a range of sessions.*write 2026-02-17\.\.2026-03-02"):
        session_range(text)


def test_a_range_backwards_is_refused_with_the_one_meant() -> None:
    with pytest.raises(Fatal, match=r"ends before it begins.*write 2026-02-17\.\.2026-03-02"):
        session_range("2026-03-02..2026-02-17")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--sessions", "2026-02-17..2026-02-18", "--session", "2026-02-17"],
            "--session and --sessions exclude each other",
        ),
        (["--sessions", "soon"], "not a range of sessions"),
    ],
)
def test_play_refuses_a_bad_range_before_it_looks_for_a_cluster(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["play", "--synthetic", *words])
    assert isinstance(result.exception, Fatal) and said in str(result.exception)


def bars_on(folder: Path, *days: str) -> Path:
    rows = [f"AMD,{day}T{minute}:00-05:00,10,11,9,10,100" for day in days for minute in ("09:30", "09:31")]
    path = folder / "bars.csv"
    path.write_text("\n".join(["symbol,ts,open,high,low,close,volume", *rows]) + "\n")
    return path
