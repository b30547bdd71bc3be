"""Files as people reported them of other systems (F1 to F23), and their kin: each with its right value."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tapedeck.connectors.tapes.files import read_tape
from tapedeck.connectors.tapes.market_files.options import Duplicates, Reading
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal, TapeError
from tests.support.market_files import HEADER, TIMES, plain, played, put, rows, same, text


@pytest.mark.parametrize("name", ["row", "line", "day", "file", "index", "place", "~line", "c0", "literal"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_f1_an_extra_column_may_have_any_name(tmp_path: Path, name: str, ending: str) -> None:
    header = f"{name},{HEADER}"
    path = put(tmp_path, text([f"{n},{line}" for n, line in enumerate(rows())], header))
    if ending == "parquet":
        frame = pl.read_csv(path).with_columns(pl.col("ts").str.to_datetime(time_zone="UTC"))
        path = tmp_path / "bars.parquet"
        frame.write_parquet(path)
        assert [b["close"] for b in played(read_tape(path))] == [b["close"] for b in played(plain(tmp_path))]
    else:
        same(read_tape(path), tmp_path)


def twice() -> list[str]:
    """The session's second minute comes first unfinished, then whole."""
    return [*rows()[:4], "BAC,2026-02-17T14:31:00Z,50,50.01,50,50.01,7", *rows()[4:]]


def test_f2_a_minute_with_two_bodies_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(
        Fatal, match=r"bars\.csv, lines 6 and 7: BAC at 2026-02-17T14:31:00Z has two rows"
    ) as caught:
        read_tape(put(tmp_path, text(twice())))
    assert "volume 7 and 1004" in str(caught.value) and "--duplicates last" in caught.value.remedy


def test_f2_also_in_the_warm_up_and_far_apart(tmp_path: Path) -> None:
    late = [*rows(), "BAC,2026-02-13T20:57:00Z,1,1,1,1,1"]
    with pytest.raises(Fatal, match="lines 2 and 9"):
        read_tape(put(tmp_path, text(late)))


def test_f2_the_last_row_counts_where_somebody_said_so(tmp_path: Path) -> None:
    tape = read_tape(put(tmp_path, text(twice())), reading=Reading(duplicates=Duplicates.LAST))
    same(tape, tmp_path)
    assert any("the last counts; 1 rows left out" in note for note in tape.notes)


def test_f2_another_feed_or_revision_of_a_minute_is_no_duplicate(tmp_path: Path) -> None:
    lines = [f"{line},iex,0" for line in rows()]
    lines += [
        "BAC,2026-02-17T14:31:00Z,50,50.01,50,50.01,7,iex,1",
        "BAC,2026-02-17T14:31:00Z,5,5,5,5,5,sip,0",
    ]
    assert len(played(read_tape(put(tmp_path, text(lines, f"{HEADER},feed,revision"))))) == 6


def test_f18_equal_duplicates_play_and_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    whole = rows()
    again = read_tape(put(tmp_path, text([*whole, *reversed(whole)]), "a.csv"))
    assert len(played(again)) == 8
    shuffled = whole[3:] + whole[:3][::-1]
    same(read_tape(put(tmp_path, text(shuffled))), tmp_path)


def scaled(factor: int) -> list[str]:
    found = []
    for line in rows():
        symbol, ts, *prices, volume = line.split(",")
        found.append(",".join([symbol, ts, *(str(int(Decimal(p) * factor)) for p in prices), volume]))
    return found


def test_f3_prices_times_a_billion_are_recognized(tmp_path: Path) -> None:
    tape = read_tape(put(tmp_path, text(scaled(10**9))))
    same(tape, tmp_path)
    assert any("divided by 1,000,000,000" in note for note in tape.notes)


def test_f4_prices_times_ten_thousand_are_refused_by_name_and_play_with_the_scale(tmp_path: Path) -> None:
    path = put(tmp_path, text(scaled(10_000)))
    with pytest.raises(
        Fatal, match=r"bars\.csv, columns open, high, low, close.*LEAN.*'499800 to 500600'"
    ) as caught:
        read_tape(path)
    assert "--scale 10000" in caught.value.remedy and "--scale 1 " in caught.value.remedy
    same(read_tape(path, reading=Reading(scale=10_000)), tmp_path)
    assert played(read_tape(path, reading=Reading(scale=1)))[0]["close"] == 500_200.0


def test_f4_cents_play_with_a_note(tmp_path: Path) -> None:
    tape = read_tape(put(tmp_path, text(scaled(100))))
    assert any("are they cents? then add --scale 100" in note for note in tape.notes)
    same(read_tape(tmp_path / "bars.csv", reading=Reading(scale=100)), tmp_path)


@pytest.mark.parametrize("price", [0.5, 50.0, 745_000.0, 67_890.12])
def test_f4_real_prices_are_not_taken_for_scaled_ones(tmp_path: Path, price: float) -> None:
    tape = read_tape(put(tmp_path, text(rows(price=price, step=0.07))))
    assert not any("divided" in note or "cents" in note for note in tape.notes)


@pytest.mark.parametrize("symbol", ["BRKA", "BRK.A"])
def test_f5_a_price_beyond_every_strike_has_no_chain_and_the_rest_plays(tmp_path: Path, symbol: str) -> None:
    tape = read_tape(put(tmp_path, text([*rows(), *rows(symbol, price=745_000.0, step=9.5)])))
    now = tape.minutes[-1].label + 60_000_000
    assert tape.symbols == ["BAC", symbol] and len(played(tape)) == 8
    assert tape.market.chain("BAC", now) and not tape.market.chain(symbol, now)
    assert any(f"no option chain for {symbol}: " in note for note in tape.notes)


@pytest.mark.parametrize(
    "symbol", ["TRUE", "true", "NA", "NAN", "NULL", "ON", "T", "1E5", "007", "1.0", "inf", "None"]
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_f6_a_symbol_is_text_whatever_it_looks_like(tmp_path: Path, symbol: str, quote: str) -> None:
    tape = read_tape(put(tmp_path, text(rows(f"{quote}{symbol}{quote}"))))
    assert tape.symbols == [symbol]


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["BAC"])])
def test_f7_categories_are_text(tmp_path: Path, kind: pl.DataType) -> None:
    frame = pl.read_csv(put(tmp_path, text())).with_columns(
        pl.col("ts").str.to_datetime(time_zone="UTC"), pl.col("symbol").cast(kind)
    )
    frame.write_parquet(tmp_path / "bars.parquet")
    assert read_tape(tmp_path / "bars.parquet").symbols == ["BAC"]


@pytest.mark.parametrize("unknown", ["NaN", "nan", "null", "None", "N/A", "-", "", "#N/A"])
@pytest.mark.parametrize("column", ["bid", "ask", "bid_size", "ask_size"])
def test_f8_f9_no_value_in_a_quote_is_unknown(tmp_path: Path, unknown: str, column: str) -> None:
    cells = {"bid": "49.99", "ask": "50.01", "bid_size": "3.0", "ask_size": "4"}
    lines = [
        ",".join(["BAC", ts, *(cells | ({column: unknown} if n == 1 else {})).values()])
        for n, ts in enumerate(TIMES[3:])
    ]
    put(tmp_path, text(lines, "symbol,ts,bid,ask,bid_size,ask_size"), "x_quotes.csv")
    tape = read_tape(put(tmp_path, text(), "x_trades.csv"))
    quotes = [body for minute in tape for body in minute.quotes]
    assert [body[column] is None for body in quotes] == [False, True, False, False]
    assert quotes[0]["bid_size"] == 3


def test_f8_a_quote_in_words_is_refused_with_its_line(tmp_path: Path) -> None:
    quotes = put(
        tmp_path,
        "symbol,ts,bid,ask\nBAC,2026-02-17T14:30:00Z,49.99,50.01\nBAC,2026-02-17T14:31:00Z,x,5\n",
        "q.csv",
    )
    with pytest.raises(Fatal, match=r"q\.csv, line 3, column bid: no number; got 'x'"):
        read_tape(put(tmp_path, text()), quotes=quotes)


@pytest.mark.parametrize("cell", ["nan", "null", "None", "N/A", "-", "", "open", "1,234", "50.0x", "inf"])
def test_f12_the_first_cell_that_is_no_number_is_named_with_its_text(tmp_path: Path, cell: str) -> None:
    lines = rows()
    lines[4] = f'BAC,2026-02-17T14:31:00Z,"{cell}",50,50,50,1'
    with pytest.raises(
        Fatal, match=r"bars\.csv, line 6, column open: (no number|not a finite value)"
    ) as caught:
        read_tape(put(tmp_path, text(lines)))
    assert (caught.value.value or "") == cell and caught.value.remedy
    assert "polars" not in str(caught.value).lower()


def test_f12_lines_count_as_an_editor_counts(tmp_path: Path) -> None:
    words = ["one", "two\nlines", *["one"] * 5]
    note = [f'{line},"{said}"' for line, said in zip(rows(), words, strict=True)]
    note[5] = note[5].replace("50.02", "x", 1)
    path = put(tmp_path, text(note, f"{HEADER},note").replace("\n", "\r\n"))
    with pytest.raises(Fatal, match=r"line 8, column open: no number; got 'x'"):
        read_tape(path)
    assert path.read_text().splitlines()[7].split(",")[2] == "x"


@pytest.mark.parametrize("price", [0.006, 0.01, 0.0001, 0.00004])
def test_f14_a_made_quote_has_no_negative_bid(tmp_path: Path, price: float) -> None:
    tape = read_tape(put(tmp_path, text(rows(price=price, step=0.0))))
    for minute in tape:
        for body in minute.quotes:
            assert body["bid"] is None or 0 < body["bid"] < Decimal(str(price))
            assert body["ask"] > Decimal(str(price))


def test_f19_a_flat_file_of_massive_plays_as_it_comes(tmp_path: Path) -> None:
    import gzip

    lines = []
    for line in rows():
        symbol, ts, opened, high, low, close, volume = line.split(",")
        stamp = int(datetime.fromisoformat(ts).timestamp()) * 10**9
        lines.append(f"{symbol},{volume},{opened},{close},{high},{low},{stamp},12")
    content = text(lines, "ticker,volume,open,close,high,low,window_start,transactions")
    (tmp_path / "massive").mkdir()
    tape = read_tape(put(tmp_path / "massive", gzip.compress(content.encode()), "2026-02-17.csv.gz"))
    assert [body["close"] for body in played(tape)] == [body["close"] for body in played(plain(tmp_path))]
    assert any("ts is read as nanoseconds since 1970" in note for note in tape.notes)


@pytest.mark.parametrize("symbol", ["brk.b", "BRK.B", "BRK/B", "^GSPC", "ABCDEFGHIJKLMNOPQRST"])
def test_f20_f21_odd_names_play_and_their_missing_chain_is_said(tmp_path: Path, symbol: str) -> None:
    tape = read_tape(put(tmp_path, text(rows(symbol))))
    assert tape.symbols == [symbol]
    assert f"no option chain for {symbol}: an option symbol cannot hold this name" in tape.notes


def test_f20_bom_crlf_and_fractional_volume_play(tmp_path: Path) -> None:
    content = text([line + ".0" for line in rows()]).replace("\n", "\r\n")
    same(read_tape(put(tmp_path, b"\xef\xbb\xbf" + content.encode())), tmp_path)


def test_f22_only_the_named_symbols_are_read_and_others_are_not_judged(tmp_path: Path) -> None:
    path = put(tmp_path, text([*rows(), "AMD,nonsense,,,,,", *rows("NVDA")]))
    assert read_tape(path, reading=Reading(symbols=("BAC", "NVDA"))).symbols == ["BAC", "NVDA"]
    same(read_tape(path, reading=Reading(symbols=("BAC",))), tmp_path)
    with pytest.raises(Fatal, match=r"no row of these symbols.*'TSLA'"):
        read_tape(path, reading=Reading(symbols=("TSLA",)))


def test_f22_the_reading_says_how_far_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    TapeSource(tape=str(put(tmp_path, text()))).load(said.append)
    assert said == ["bars.csv: 7 rows read", "bars.csv: building the session of 2026-02-17"]


@pytest.mark.parametrize("symbol", ["", " ", '" "'])
def test_an_empty_symbol_is_refused_with_its_line(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(Fatal, match=r"line 9, column symbol: no text"):
        read_tape(put(tmp_path, text([*rows(), f"{symbol},2026-02-17T14:33:00Z,1,1,1,1,1"])))


def test_blanks_around_a_symbol_are_stripped_and_inside_refused(tmp_path: Path) -> None:
    same(read_tape(put(tmp_path, text(rows(" BAC ")))), tmp_path)
    with pytest.raises(Fatal, match=r"line 2, column symbol: a symbol with a blank inside.*'BRK B'.*BRK\.B"):
        read_tape(put(tmp_path, text(rows("BRK B"))))


def test_every_refusal_is_one_of_ours(tmp_path: Path) -> None:
    import random

    whole = text().encode()
    draw = random.Random(5)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            content[draw.randrange(len(content))] = draw.choice(b'",;\n\r\t #x0\xff\x00-')
        try:
            read_tape(put(tmp_path, bytes(content)))
        except TapeError as error:
            assert "bars.csv" in str(error) or "calendar" in str(error)
