"""The forms in which one tape comes: names, separators, encodings, packing, folders, patterns, options."""

import gzip
import json
import random
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tapedeck.connectors.tapes.files import read_tape, sessions_of_file
from tapedeck.connectors.tapes.market_files import tables
from tapedeck.connectors.tapes.market_files import text as separated
from tapedeck.connectors.tapes.market_files.options import Duplicates, Reading
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import xnys
from tapedeck.tape.cli.main import app
from tests.support.market_files import HEADER, TIMES, put, rows, text


def plain(folder: Path, lines: list[str] | None = None) -> Tape:
    (folder / "plain").mkdir(exist_ok=True)
    return read_tape(put(folder / "plain", text(lines)))


def same(tape: Tape, folder: Path, lines: list[str] | None = None) -> None:
    """The file plays what the plain one plays; its name is its origin, so that may differ."""
    found, wanted = (
        [
            {k: v for k, v in body.items() if k != "origin"}
            for body in (*each.history, *(b for m in each for b in m.bars))
        ]
        for each in (tape, plain(folder, lines))
    )
    assert found == wanted


@pytest.mark.parametrize(
    "header",
    [
        "Symbol,TS,Open,High,Low,Close,Volume",
        "ticker,timestamp,o,h,l,c,v",
        "Ticker,DateTime,OPEN,HIGH,LOW,CLOSE,VOL",
        "sym,window_start,open_price,high_price,low_price,close_price,volume",
        "act_symbol,date,open,high,low,close,volume",
        "S,t,o,h,l,c,v",
        " symbol , time ,open,high,low,close,volume",
        '"symbol","ts_event","open","high","low","close","volume"',
    ],
)
def test_columns_go_by_their_usual_names_in_any_case(tmp_path: Path, header: str) -> None:
    same(read_tape(put(tmp_path, text(header=header))), tmp_path)


def test_our_own_name_goes_before_a_synonym(tmp_path: Path) -> None:
    lines = [f"{line},1,2,XX,2020-01-01" for line in rows()]
    same(read_tape(put(tmp_path, text(lines, f"{HEADER},c,v,ticker,timestamp"))), tmp_path)


@pytest.mark.parametrize("clock", ["%H:%M:%S", "%H:%M", "%H%M", "%H%M%S"])
@pytest.mark.parametrize("day", ["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d"])
def test_date_and_time_may_be_two_columns(tmp_path: Path, day: str, clock: str) -> None:
    lines = []
    for line in rows():
        symbol, ts, rest = line.split(",", 2)
        moment = datetime.fromisoformat(ts)
        lines.append(f"{symbol},{moment.strftime(day)},{moment.strftime(clock)},{rest}")
    path = put(tmp_path, text(lines, HEADER.replace("ts", "Date,Time")))
    same(read_tape(path, reading=Reading(zone="UTC")), tmp_path)


def test_a_clock_without_its_leading_zero_is_read(tmp_path: Path) -> None:
    lines = [
        line.replace(ts, f"{ts[:10]},{int(ts[11:13]) - 5}{ts[14:16]}")
        for line, ts in zip(rows(), TIMES, strict=True)
    ]
    path = put(tmp_path, text(lines, HEADER.replace("ts", "date,time")))
    same(read_tape(path, reading=Reading(zone="America/New_York")), tmp_path)


def test_names_of_ones_own_are_mapped(tmp_path: Path) -> None:
    path = put(tmp_path, text(header="symbol,when,open,high,low,last,volume"))
    with pytest.raises(Fatal, match=r"bars\.csv lacks the column ts and close.*--columns ts=when,close=last"):
        read_tape(path)
    same(read_tape(path, reading=Reading.parse(columns="ts=when, close=Last")), tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": "when"}, r"not a mapping of columns.*'when'"),
        ({"columns": "price=last"}, r"no such column.*'price'.*symbol, ts"),
        ({"columns": "close=lost"}, r"no column with this name.*'lost'.*it has symbol"),
        ({"zone": "New York"}, r"no such time zone.*'New York'.*did you mean America/New_York\?"),
        ({"symbols": " , "}, "no symbol is named"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(Fatal, match=said):
        read_tape(put(tmp_path, text()), reading=Reading.parse(**options))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, text([f"{line},1" for line in rows()], f"{HEADER},close"))
    with pytest.raises(Fatal, match=r"two columns with the same name; got \['close', 'close'\]"):
        read_tape(path)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("packed", [False, True])
def test_separators_encodings_and_packing_are_seen(
    tmp_path: Path, separator: str, encoding: str, packed: bool
) -> None:
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    content = mark + text().replace(",", separator).replace("\n", "\r\n").encode(encoding)
    name = "bars.csv.gz" if packed else "bars.csv"
    same(read_tape(put(tmp_path, gzip.compress(content) if packed else content, name)), tmp_path)


def test_classic_newlines_blank_lines_and_a_missing_last_newline_are_read(tmp_path: Path) -> None:
    lines = text().split("\n")
    same(read_tape(put(tmp_path, "\r".join(lines))), tmp_path)
    same(read_tape(put(tmp_path, "\n\n".join(lines).strip())), tmp_path)


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ("# made by a tool", r"line 4 is a comment; got '# made by a tool'; delete the line"),
        ("BAC,2026-02-13T20:58:00Z,50", r"line 4 has 3 fields where the first line names 7; got 'BAC,2026"),
        ("BAC,2026-02-13T20:58:00Z,1,234,50,50,50,1", r"line 4 has 8 fields.*in quotes"),
        ('BAC,2026-02-13T20:58:00Z,"50,50,50,50,1', r"line 4: a quote opens and is never closed"),
        ("BAC,2026-02-13T20:58:00Z,\xff\xfe,1,1,1,1", r"line 4 is not UTF-8"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("block", [16, 1 << 20])
def test_a_broken_line_is_named_as_an_editor_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoiled: str, said: str, packed: bool, block: int
) -> None:
    monkeypatch.setattr(separated, "_BLOCK", block)
    lines = ['"BAC\n",2026-02-13T20:57:00Z,50,50,50,50,1', spoiled, *rows()[2:]]
    content = text(lines).encode("latin-1")
    name = "bars.csv.gz" if packed else "bars.csv"
    with pytest.raises(Fatal, match=said) as caught:
        read_tape(put(tmp_path, gzip.compress(content) if packed else content, name))
    assert name in str(caught.value)


def test_a_comment_before_the_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"line 1 is a comment.*the first one names the columns"):
        read_tape(put(tmp_path, "# data\n" + text()))


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"\x1f\x8b\x08nonsense", "bars.csv.gz", "cannot be read"),
        (gzip.compress(text().encode())[:-20], "bars.csv.gz", "cannot be read"),
        (text().encode("utf-16-le"), "bars.csv", "zero bytes in its text; save it as UTF-8"),
        (b"\xff\xfe" + text().encode("utf-16-le")[:-1], "bars.csv", "bars.csv"),
        (b"", "bars.csv", "is empty"),
        (HEADER.encode(), "bars.csv", "has no rows"),
        (b"PK\x03\x04", "bars.zip", "is not a tape; got '.zip'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, content: bytes, name: str, said: str) -> None:
    if said == "bars.csv":
        read_tape(put(tmp_path, content, name))  # half a letter at the end is no row
        return
    with pytest.raises(Fatal, match=said.replace(".", r"\.")):
        read_tape(put(tmp_path, content, name))


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_the_size_of_a_block_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    lines = [f'{line},"a ""note"",\nof two lines"' for line in rows()]
    path = put(tmp_path, text(lines, f"{HEADER},note").replace("\n", "\r\n"))
    monkeypatch.setattr(separated, "_BLOCK", block)
    same(read_tape(path), tmp_path)


def folder_of_symbols(folder: Path) -> Path:
    inside = folder / "market"
    inside.mkdir()
    for symbol in ("BAC", "TRUE"):
        lines = [line.split(",", 1)[1] for line in rows(symbol)]
        put(inside, text(lines, HEADER.removeprefix("symbol,")), f"{symbol}.csv")
    put(inside, "read me", "README.txt")
    put(inside, "nothing", ".hidden.csv")
    return inside


def test_a_folder_has_a_file_a_symbol_and_a_pattern_chooses(tmp_path: Path) -> None:
    inside = folder_of_symbols(tmp_path)
    same(read_tape(inside), tmp_path, [*rows(), *rows("TRUE")])
    assert read_tape(inside / "T*.csv").symbols == ["TRUE"]
    assert read_tape(tmp_path / "*" / "B?C.csv").symbols == ["BAC"]
    with pytest.raises(Fatal, match=r"TRUE\.csv lacks the column symbol.*name the folder or a pattern"):
        read_tape(inside / "TRUE.csv")
    with pytest.raises(Fatal, match=r"no tape file matches this pattern.*X\*\.csv"):
        read_tape(inside / "X*.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Fatal, match=r"the folder .*empty holds no tape file; got 'nothing'"):
        read_tape(tmp_path / "empty")


def test_files_of_one_folder_may_differ_and_a_minute_in_two_of_them_is_refused(tmp_path: Path) -> None:
    inside = folder_of_symbols(tmp_path)
    put(inside, text([line.replace(",", ";") for line in rows("AMD")], "ticker;t;o;h;l;c;v"), "day.csv")
    assert read_tape(inside).symbols == ["AMD", "BAC", "TRUE"]
    put(inside, text(["BAC,2026-02-17T14:30:00Z,1,1,1,1,1"]), "more.csv")
    with pytest.raises(Fatal, match=r"BAC\.csv, line 5 and .*more\.csv, line 2: BAC at 2026-02-17T14:30:00Z"):
        read_tape(inside)


def test_only_the_wanted_sessions_are_held_whatever_the_order(tmp_path: Path) -> None:
    days = [session.date for session in xnys().between(20_488, 20_520)]
    stamps = [datetime.fromtimestamp(xnys().session_on(day).open / 1e6).astimezone() for day in days]  # type: ignore[union-attr]
    lines = rows(times=[each.isoformat() for each in stamps])
    random.Random(3).shuffle(lines)
    path = put(tmp_path, text(lines))
    assert sessions_of_file(path, xnys()) == days
    tape = read_tape(path)
    assert tape.session == days[-1] and len(tape.history) == 1


def test_a_parquet_file_of_several_batches_counts_its_rows_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ROWS", 2)
    frame = pl.DataFrame(
        {name: [line.split(",")[n] for line in rows()] for n, name in enumerate(HEADER.split(","))}
    )
    frame = frame.with_columns(pl.when(pl.int_range(7) == 5).then(pl.lit("x")).otherwise("low").alias("low"))
    frame.write_parquet(tmp_path / "bars.parquet", row_group_size=3)
    with pytest.raises(Fatal, match=r"bars\.parquet, row 6, column low: no number; got 'x'"):
        read_tape(tmp_path / "bars.parquet")


OPTIONS = Reading(
    zone="America/New_York",
    columns=(("ts", "when"),),
    duplicates=Duplicates.LAST,
    symbols=("BAC", "AMD"),
    scale=100,
)


def test_a_description_carries_the_options_to_another_process() -> None:
    source = TapeSource(tape="bars.csv", reading=OPTIONS)
    assert TapeSource.described(source.description()).reading == OPTIONS
    assert set(TapeSource(tape="bars.csv").description()) == {"tape", "feed"}


def test_options_of_files_are_refused_for_a_synthetic_tape() -> None:
    with pytest.raises(Fatal, match="--symbols applies only to market files"):
        TapeSource(reading=Reading(symbols=("AMD",))).load()


@pytest.mark.parametrize("command", ["play", "demo", "sim", "check", "exchange"])
def test_every_command_that_reads_a_file_has_the_options(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    wanted = (
        ("--market",)
        if command == "exchange"
        else ("--zone", "--columns", "--duplicates", "--symbols", "--scale")
    )
    assert [name for name in wanted if name not in shown] == []


def test_sim_plays_with_the_options(tmp_path: Path) -> None:
    path = put(tmp_path, text([*rows(), *rows("AMD")], HEADER.replace("close", "last")))
    result = CliRunner().invoke(
        app, ["sim", str(path), "--columns", "close=last", "--symbols", "AMD", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert '"bars": {\n      "records": 7' in result.output


def test_the_exchange_takes_the_description_of_another_command_and_no_other_words() -> None:
    from tapedeck.tape.cli.exchange import _described

    told = TapeSource(tape="bars.csv", reading=OPTIONS).description()
    assert TapeSource.described(_described(json.dumps(told))).description() == told
    with pytest.raises(Fatal, match=r"not the description of a tape; got 'bars\.csv'"):
        _described("bars.csv")
