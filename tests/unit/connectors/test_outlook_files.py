"""Files of index values and of earnings: what is read, and every way in which a line can be wrong."""

from pathlib import Path

import pytest

from tapedeck.connectors.outlook.files import READERS, read_earnings, read_regime
from tapedeck.connectors.outlook.records import EARNINGS, REGIME
from tapedeck.schemas.codec import decode, encode
from tapedeck.schemas.errors import Fatal
from tests.support.account import at, day

INDEX = "at,available_at,value\n"
DATES = "symbol,report_date,report_time,available_at\n"
GOOD = {
    REGIME: INDEX + "2026-02-17T14:30:00Z,2026-02-17T14:30:05Z,18.42\n",
    EARNINGS: DATES + "NVDA,2026-02-25,AFTER_CLOSE,2026-01-15T12:00:00Z\n",
}


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "given.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_value_of_the_index_is_read_with_the_time_from_which_it_counts(tmp_path: Path) -> None:
    (body,) = read_regime(written(tmp_path, GOOD[REGIME]))
    assert decode(REGIME, encode(REGIME, body)) == body
    assert (body["value"], body["origin"], body["date"]) == (18.42, "file/given.csv", day("2026-02-17"))
    assert body["event_time"] == at("2026-02-17T14:30:00+00:00")
    assert body["available_at"] - body["event_time"] == 5_000_000


def test_the_date_of_a_value_is_new_yorks(tmp_path: Path) -> None:
    late = INDEX + "2026-02-18T02:00:00Z,2026-02-18T02:00:00Z,18\n"
    assert read_regime(written(tmp_path, late))[0]["date"] == day("2026-02-17")


def test_earnings_are_read_with_their_date_and_a_fund_has_none(tmp_path: Path) -> None:
    fund = "SPY,,NONE,2026-01-01T00:00:00-05:00\n"
    first, second = read_earnings(written(tmp_path, GOOD[EARNINGS] + fund))
    assert (first["symbol"], first["report_date"], first["report_time"]) == ("SPY", None, "NONE")
    assert first["available_at"] == at("2026-01-01T05:00:00+00:00"), "what is known first comes first"
    assert (second["symbol"], second["report_date"]) == ("NVDA", day("2026-02-25"))
    assert all(decode(EARNINGS, encode(EARNINGS, each)) == each for each in (first, second))


def test_columns_may_come_in_any_order_with_a_mark_blank_lines_and_windows_ends(tmp_path: Path) -> None:
    text = "value, available_at ,at\r\n\r\n18.42,2026-02-17T14:30:05Z,2026-02-17T14:30:00Z\r\n\r\n"
    found = read_regime(written(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    assert found == read_regime(written(tmp_path, GOOD[REGIME]))


V, E = "2026-02-17T14:30:00Z,2026-02-17T14:30:00Z,18\n", "NVDA,2026-02-25,AFTER_CLOSE,2026-01-15T12:00:00Z\n"
BAD = [
    (REGIME, "", "the file is empty", "begin it with at,available_at,value"),
    (REGIME, INDEX, "has no rows", "one row a line"),
    (REGIME, "at,available,value\n" + V, ":1: .*unknown column", "did you mean available_at"),
    (REGIME, "at,at,value\n" + V, ":1: .*every column once", "name each column once"),
    (REGIME, V, ":1: .*unknown column", "the header is at,available_at,value"),
    (REGIME, INDEX + V + "2026-02-17T14:31:00Z,19\n", ":3: there are 2 fields", "header names 3"),
    (REGIME, INDEX + V + "\n10:30,2026-02-17T14:31:00Z,19\n", ":4: at is no time", "write it as 2026"),
    (REGIME, INDEX + "2026-02-17T14:30:00,2026-02-17T14:30:00Z,1\n", ":2: at names no time zone", "in UTC"),
    (REGIME, INDEX + "1066-02-17T14:30:00Z,2026-02-17T14:30:00Z,1\n", ":2: at is in no year", "1980 to 2099"),
    (
        REGIME,
        INDEX + "2026-02-17T14:30:00Z,2026-02-17T14:29:59Z,1\n",
        ":2: available_at is before",
        "or later",
    ),
    *(
        (REGIME, INDEX + f"2026-02-17T14:30:00Z,2026-02-17T14:30:00Z,{value}\n", ":2: value is no", "18.42")
        for value in ("", "0", "-3", "nan", "inf", "1e9", "1000.5", "high", "1_8")
    ),
    (REGIME, INDEX + V + V, ":3: line 3 says .* as line 2", "delete one of them"),
    (REGIME, INDEX + V + '"18\n', ":3: this is no CSV", "quote"),
    (REGIME, b"\xff\xfe\x00", "cannot be read", "UTF-8"),
    (EARNINGS, DATES + E.replace("NVDA", "nvda"), ":2: this is no symbol", "in capitals"),
    (EARNINGS, DATES + E.replace("AFTER_CLOSE", "AMC"), ":2: report_time is not known", "AFTER_CLOSE"),
    (EARNINGS, DATES + E.replace("2026-02-25", "25/02/2026"), ":2: report_date is no date", "YYYY-MM-DD"),
    (EARNINGS, DATES + E.replace("2026-02-25", "2026-02-30"), ":2: report_date is no date", "YYYY-MM-DD"),
    (EARNINGS, DATES + E.replace("2026-02-25", ""), ":2: report_date is no date", "with NONE"),
    (EARNINGS, DATES + E.replace("AFTER_CLOSE", "NONE"), ":2: report_time NONE has a date", "empty"),
    (EARNINGS, DATES + E.replace("2026-01-15", "2026-02-26"), ":2: available_at is after", "in advance"),
    (EARNINGS, DATES + E + E.replace("25,AFTER", "26,AFTER"), ":3: line 3 says", "available_at of its own"),
]


@pytest.mark.parametrize(("name", "text", "what", "remedy"), BAD)
def test_a_bad_file_is_refused_with_its_line_the_value_and_the_remedy(
    name: str, text: str | bytes, what: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(Fatal, match=what) as told:
        READERS[name](written(tmp_path, text))
    assert remedy in str(told.value) and "given.csv" in str(told.value)


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"cannot be read: .*nowhere\.csv"):
        read_regime(tmp_path / "nowhere.csv")
