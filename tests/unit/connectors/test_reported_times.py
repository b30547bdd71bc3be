"""Times and sessions of files as people reported them (F10 to F17, F23), and their kin."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from tapedeck.connectors.tapes.files import read_tape
from tapedeck.connectors.tapes.market_files.options import Reading
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import CalendarUnknown, day_number
from tests.support.market_files import TIMES, plain, put, rows, same, text

NY = Reading(zone="America/New_York")


ZONES = ["+00", " UTC", "z", "Z", "+00:00", "+0000", " +00", " GMT", "-00:00", "[UTC]"]


def in_minutes(first: str, count: int = 4) -> list[str]:
    start = datetime.fromisoformat(first)
    stamp = int(start.timestamp())
    return [
        datetime.fromtimestamp(stamp + 60 * n, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for n in range(count)
    ]


@pytest.mark.parametrize(
    ("first", "count"),
    [("2026-02-17T09:30:00Z", 4), ("2026-02-17T09:30:00Z", 390), ("2026-02-17T04:00:00Z", 960)],
)
def test_f10_new_yorks_clock_called_utc_gets_a_note_with_the_zone(
    tmp_path: Path, first: str, count: int
) -> None:
    tape = read_tape(put(tmp_path, text(rows(times=in_minutes(first, count)))))
    [note] = [note for note in tape.notes if note.startswith("session")]
    assert "2026-02-17T14:30:00Z to 2026-02-17T21:00:00Z" in note
    assert "read as America/New_York time" in note and "--zone America/New_York" in note


@pytest.mark.parametrize(
    ("first", "count"),
    [("2026-02-17T14:30:00Z", 390), ("2026-02-17T09:00:00Z", 960), ("2026-02-17T20:00:00Z", 5)],
)
def test_f10_a_right_clock_gets_no_note(tmp_path: Path, first: str, count: int) -> None:
    tape = read_tape(put(tmp_path, text(rows(times=in_minutes(first, count)))))
    assert not [note for note in tape.notes if note.startswith("session")]


def test_f11_daily_bars_get_a_note(tmp_path: Path) -> None:
    tape = read_tape(put(tmp_path, text(rows(times=[f"2026-02-1{n}T00:00:00Z" for n in range(4)]))))
    assert any("no bar is in its hours" in note and "daily bars" in note for note in tape.notes)


def test_f11_days_without_a_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Fatal, match=r"line 2, column ts: a day without a time.*'2026-02-10'.*one row a minute"
    ):
        read_tape(put(tmp_path, text(rows(times=["2026-02-10", "2026-02-11"]))))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("middle", ["T", " "])
def test_f13_every_way_to_say_utc_is_read(tmp_path: Path, zone: str, middle: str) -> None:
    times = [ts.replace("T", middle).replace("Z", zone) for ts in TIMES]
    same(read_tape(put(tmp_path, text(rows(times=times)))), tmp_path)


@pytest.mark.parametrize(
    "zone",
    [" US/Eastern", " America/New_York", "[America/New_York]", "-05:00", "-05", "-0500", " EST", " utc-5"],
)
def test_f13_other_zones_are_read(tmp_path: Path, zone: str) -> None:
    times = [f"{ts[:11]}{int(ts[11:13]) - 5:02}{ts[13:16]}{zone}" for ts in TIMES]
    same(read_tape(put(tmp_path, text(rows(times=times)))), tmp_path)


def test_f13_an_unknown_zone_is_named_and_never_called_absent(tmp_path: Path) -> None:
    with pytest.raises(
        Fatal, match=r"line 2, column ts.*got '2026-02-13T20:57:00 Mars/Base'.*zone 'Mars/Base' is not known"
    ) as caught:
        read_tape(put(tmp_path, text(rows(times=[f"{ts[:-1]} Mars/Base" for ts in TIMES]))))
    assert "without a time zone" not in str(caught.value)


@pytest.mark.parametrize("session", [None, date(2031, 2, 18)])
def test_f15_a_session_beyond_the_calendar_is_refused_in_those_words(
    tmp_path: Path, session: date | None
) -> None:
    path = put(
        tmp_path,
        text(rows(times=[ts.replace("2026-02-17", "2031-02-18").replace("2026", "2031") for ts in TIMES])),
    )
    with pytest.raises(CalendarUnknown, match=r"covers 2010-01-01 to 2030-12-31 only; got '2031-02-18'"):
        read_tape(path, session=session)


def test_f15_days_beyond_the_calendar_beside_others_are_left_out_with_a_note(tmp_path: Path) -> None:
    tape = read_tape(put(tmp_path, text([*rows(), *rows(times=["2031-02-18T14:30:00Z"])])))
    assert tape.session == day_number(date(2026, 2, 17))
    assert any(
        "covers only 2010-01-01 to 2030-12-31: rows" in note and "2031-02-18" in note for note in tape.notes
    )


def test_f16_offsets_that_change_within_a_column_are_read(tmp_path: Path) -> None:
    times = [
        f"{ts[:11]}{int(ts[11:13]) - 5:02}{ts[13:19]}-05:00" if n % 2 else ts for n, ts in enumerate(TIMES)
    ]
    times[0], times[2] = "2026-02-13 20:57Z", "2026-02-13T16:59:00.000000000-0400"
    same(read_tape(put(tmp_path, text(rows(times=times)))), tmp_path)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_f17_epochs_are_recognized_and_their_unit_is_said(
    tmp_path: Path, unit: str, factor: int, ending: str
) -> None:
    stamps = [int(datetime.fromisoformat(ts).timestamp()) * factor for ts in TIMES]
    path = put(tmp_path, text(rows(times=[str(stamp) for stamp in stamps])))
    if ending == "parquet":
        pl.read_csv(path).write_parquet(tmp_path / "bars.parquet")
        path = tmp_path / "bars.parquet"
    tape = read_tape(path)
    assert any(f"ts is read as {unit} since 1970" in note for note in tape.notes)
    assert tape.first_live == plain(tmp_path).first_live
    if ending == "csv":
        same(tape, tmp_path)


def test_f17_epochs_of_two_units_are_refused_with_the_first_other_line(tmp_path: Path) -> None:
    stamps = [
        str(int(datetime.fromisoformat(ts).timestamp()) * (1000 if n == 3 else 1))
        for n, ts in enumerate(TIMES)
    ]
    with pytest.raises(Fatal, match=r"line 5, column ts: no time.*count seconds since 1970"):
        read_tape(put(tmp_path, text(rows(times=stamps))))


def test_f17_naive_times_need_a_zone_and_get_it(tmp_path: Path) -> None:
    times = [f"{ts[:11]}{int(ts[11:13]) - 5:02}{ts[13:19]}" for ts in TIMES]
    path = put(tmp_path, text(rows(times=times)))
    with pytest.raises(Fatal, match=r"line 2, column ts: times without a time zone.*--zone America/New_York"):
        read_tape(path)
    same(read_tape(path, reading=NY), tmp_path)


def test_f17_a_time_that_the_clock_change_skips_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, text(rows(times=["2026-03-06 09:30:00", "2026-03-08 02:30:00"])))
    with pytest.raises(Fatal, match=r"line 3, column ts: America/New_York has this time never, or twice"):
        read_tape(path, reading=NY)


def test_f23_labels_of_the_right_edge_get_a_note(tmp_path: Path) -> None:
    tape = read_tape(put(tmp_path, text(rows(times=in_minutes("2026-02-17T14:31:00Z", 390)))))
    [note] = [note for note in tape.notes if note.startswith("session")]
    assert "labeled with the end of their minute" in note
