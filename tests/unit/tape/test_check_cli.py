"""``tape check``: what it finds, whether a file plays, and the tidy tape that it writes."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tapedeck.connectors.tapes.files import read_tape
from tapedeck.connectors.tapes.market_files.options import Duplicates, Reading
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.main import app
from tests.support.market_files import HEADER, TIMES, put, rows, text


def checked(*words: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["check", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def found(*words: str | Path, code: int = 0) -> dict[str, object]:
    return dict(json.loads(checked(*words, "--json", code=code)))


def test_it_says_what_a_file_holds_and_how_it_plays(tmp_path: Path) -> None:
    lines = [f"{line},x" for line in [*rows("AMD", price=100.0), *rows("BAC")]]
    lines[4] = "AMD,2026-02-17T14:31:00Z,25,25,25,25,0,x"
    lines[3] = "AMD,2026-02-17T14:30:00Z,25,25,26,25,5,x"
    said = checked(put(tmp_path, text([*lines, lines[-1]], HEADER.replace("symbol", "ticker") + ",venue")))
    for words in (
        "text with commas, 15 rows",
        "2 symbols: AMD, BAC",
        "2 sessions: 2026-02-13 to 2026-02-17; rows are sorted by time within each symbol",
        "symbol from ticker",
        "ignored columns: venue",
        "AMD 2026-02-17: opens at 25 after a close of 100, as after a split of 4 for 1",
        "plays the session of 2026-02-17: 9 bars of 2 symbols in 4 minutes, 6 bars of warm-up",
    ):
        assert words in said


def test_each_session_is_counted(tmp_path: Path) -> None:
    lines = rows()
    lines[4] = "BAC,2026-02-17T14:31:00Z,50,50,51,50,0"
    told = found(put(tmp_path, text([*lines, lines[-1], "BAC,2026-02-14T15:00:00Z,1,1,1,1,1"])))
    sessions = told["sessions"]
    assert isinstance(sessions, list)
    day = {each["date"]: each for each in sessions}["2026-02-17"]
    counts = (
        "bars",
        "in_hours",
        "gaps",
        "equal_duplicates",
        "differing_duplicates",
        "zero_volume",
        "dead_letters",
    )
    assert [day[name] for name in counts] == [5, 5, 386, 1, 0, 1, 1]
    assert any("2026-02-14 has no session (the exchange is closed)" in note for note in told["suspected"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (["BAC,2026-02-17T14:31:00Z,1,1,1,1,1"], "lines 6 and 9: BAC at 2026-02-17T14:31:00Z has two rows"),
        (
            ["BAC,2026-02-12T15:31:00Z,1,1,1,1,1", "BAC,2026-02-12T15:31:00Z,1,1,1,1,2"],
            "2026-02-12: minutes with two different rows",
        ),
    ],
)
def test_a_file_with_two_bodies_of_a_minute_does_not_play(
    tmp_path: Path, spoiled: list[str], words: str
) -> None:
    path = put(tmp_path, text([*rows(), *spoiled]))
    said = checked(path, code=2)
    assert "does not play: " in said and words in said and "--duplicates last" in said
    assert "does not play" not in checked(path, "--duplicates", "last")


def test_scaled_prices_do_not_play_and_are_counted_all_the_same(tmp_path: Path) -> None:
    path = put(tmp_path, text([f"BAC,{ts},500000,500000,500000,500000,1" for ts in TIMES]))
    said = checked(path, code=2)
    assert "2 sessions" in said and "does not play" in said and "--scale 10000" in said
    assert "divided by 10,000" in checked(path, "--scale", "10000")


def test_a_cell_that_is_no_number_is_refused_with_its_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["check", str(put(tmp_path, text([*rows(), "BAC,2026-02-17T14:34:00Z,x,1,1,1,1"])))]
    )
    assert isinstance(result.exception, Fatal) and "line 9, column open" in str(result.exception)


def quoted(folder: Path) -> Path:
    lines = [
        f"BAC,{ts},{bid},50.02,3" for ts, bid in zip(TIMES[3:], ("49.99", "-", "49.98", "50"), strict=True)
    ]
    put(folder, text(lines, "symbol,ts,bid,ask,bid_size"), "x_quotes.csv")
    return put(folder, text([*rows("AMD"), *rows()][::-1], HEADER.replace("close", "c")), "x_trades.csv")


def test_the_tidy_tape_has_the_digest_of_its_source_and_needs_no_note(tmp_path: Path) -> None:
    path, out = quoted(tmp_path), tmp_path / "tidy.parquet"
    assert "wrote" in checked(path, "--write", out)
    source, tidy = read_tape(path), read_tape(out)
    assert tidy.digest() == source.digest()
    assert [b for m in tidy for b in m.quotes] == [b for m in source for b in m.quotes]
    about_the_file = [
        note for note in tidy.notes if "tidy.parquet" in note and not note.startswith("quotes: ")
    ]
    assert about_the_file == [] and not any("no column feed" in note for note in tidy.notes)
    assert found(out)["suspected"] == []


@pytest.mark.parametrize("form", ["epoch", "twice", "scaled", "naive"])
def test_what_needed_an_option_is_written_so_that_it_needs_none(tmp_path: Path, form: str) -> None:
    lines, words, reading = rows(), ["--zone", "UTC"], Reading(zone="UTC")
    if form == "epoch":
        lines = [
            line.replace(ts, str(1_771_016_220_000 + n * 60_000))
            for n, (line, ts) in enumerate(zip(lines, TIMES, strict=True))
        ]
    elif form == "twice":
        lines += ["BAC,2026-02-17T14:31:00Z,50,51,50,50,9"]
        words, reading = ["--duplicates", "last"], Reading(duplicates=Duplicates.LAST)
    elif form == "scaled":
        lines = [f"BAC,{ts},500300,500300,500300,500300,1" for ts in TIMES]
        words, reading = ["--scale", "10000"], Reading(scale=10_000)
    else:
        lines = [line.replace("Z,", ",") for line in lines]
    path, out = put(tmp_path, text(lines)), tmp_path / "tidy.parquet"
    checked(path, "--write", out, *words)
    tidy = read_tape(out)
    assert tidy.digest() == read_tape(path, reading=reading).digest()
    assert not any("tidy.parquet" in note for note in tidy.notes)


def test_the_tidy_tape_is_in_the_order_of_time_with_declared_types(tmp_path: Path) -> None:
    out = tmp_path / "tidy.parquet"
    checked(quoted(tmp_path), "--write", out)
    frame = pl.read_parquet(out)
    assert frame.schema["ts"] == pl.Datetime("us", "UTC") and frame.schema["volume"] == pl.Float64
    assert frame.rows() == frame.sort("ts", "symbol").rows()
    assert frame["feed"].unique().to_list() == ["iex"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x_trades.csv", "ends in .parquet"),
        ("there.parquet", "already exists"),
        ("no/x.parquet", "does not exist"),
    ],
)
def test_nothing_is_overwritten(tmp_path: Path, name: str, said: str) -> None:
    put(tmp_path, "mine", "there.parquet")
    result = CliRunner().invoke(app, ["check", str(quoted(tmp_path)), "--write", str(tmp_path / name)])
    assert isinstance(result.exception, Fatal) and said in str(result.exception)
    assert (tmp_path / "there.parquet").read_text() == "mine"
