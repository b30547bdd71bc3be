"""Tapes from Parquet and CSV: what a file becomes, and how each unusable file is refused."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tapedeck.connectors.tapes.files import read_tape
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.source import TapeSource, session_date
from tapedeck.connectors.tapes.tape import Body, Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import day_number, xnys
from tests.support.cases import shared

DAY = datetime(2026, 2, 17, 14, 30, tzinfo=UTC)
BEFORE = datetime(2026, 2, 13, 14, 30, tzinfo=UTC)


def bars(**columns: object) -> pl.DataFrame:
    """Three minutes of BAC on two sessions; ``columns`` replace or add."""
    ts = [start + timedelta(minutes=i) for start in (BEFORE, DAY) for i in range(3)]
    n = len(ts)
    frame = {
        "symbol": ["BAC"] * n,
        "ts": ts,
        "open": [50.0] * n,
        "high": [50.2] * n,
        "low": [49.9] * n,
        "close": [50.1] * n,
        "volume": [1_000] * n,
    }
    return pl.DataFrame(frame | columns)


def written(folder: Path, frame: pl.DataFrame, name: str = "t.parquet") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    return path


def played(tape: Tape) -> list[tuple[int, Body]]:
    return [(minute.label, body) for minute in tape for body in minute.bars]


def test_the_newest_session_plays_and_the_one_before_warms_up(tmp_path: Path) -> None:
    tape = read_tape(written(tmp_path, bars()))
    assert tape.session == day_number(DAY.date())
    assert len(tape.history) == 3
    assert [body["t"] for _, body in played(tape)] == [minute.label for minute in tape]
    assert tape.origin == "file/t.parquet"
    assert tape.universe["source"] == "MANUAL"
    assert tape.universe["validated"] is False
    assert tape.market.origin == "synthetic/chain"
    said = " ".join(tape.notes)
    for words in ("validation was skipped", "warm-up: 3 bars", "synthetic/chain", "synthetic/quotes"):
        assert words in said


def test_a_session_can_be_chosen_and_may_lack_a_warm_up(tmp_path: Path) -> None:
    tape = read_tape(written(tmp_path, bars()), session=BEFORE.date())
    assert tape.session == day_number(BEFORE.date())
    assert tape.history == ()
    assert any("no warm-up" in note for note in tape.notes)


def test_empty_minutes_are_in_the_tape(tmp_path: Path) -> None:
    path = written(tmp_path, bars().filter(pl.col("ts") != DAY + timedelta(minutes=1)))
    assert [len(minute.bars) for minute in read_tape(path)] == [1, 0, 1]


def test_a_revision_arrives_a_minute_later_after_that_minutes_own_bar(tmp_path: Path) -> None:
    frame = bars(revision=[0] * 6)
    again = frame.filter(pl.col("ts") == DAY).with_columns(revision=pl.lit(1, pl.Int64), close=50.05)
    tape = read_tape(written(tmp_path, pl.concat([frame, again])))
    assert [(body["t"] - tape.first_live, body["revision"]) for body in tape.minutes[1].bars] == [
        (MINUTE_US, 0),
        (0, 1),
    ]


def test_rows_that_break_a_market_rule_are_played_so_that_they_are_dead_lettered(tmp_path: Path) -> None:
    off_minute = [*bars()["ts"][:5], DAY + timedelta(minutes=2, seconds=7)]
    frame = bars(ts=off_minute, volume=[1, 1, 1, -5, 1, 1])
    tape = read_tape(written(tmp_path, frame))
    found = [body for _, body in played(tape)]
    assert [body["volume"] for body in found] == [-5.0, 1.0, 1.0]
    assert found[-1]["t"] % MINUTE_US == 7_000_000


def test_every_feed_of_the_file_is_played_and_one_is_wanted(tmp_path: Path) -> None:
    path = written(tmp_path, bars(feed=["iex", "sip"] * 3))
    tape = read_tape(path, feed="sip")
    assert tape.feed == "sip"
    assert {body["feed"] for _, body in played(tape)} == {"iex", "sip"}
    with pytest.raises(Fatal, match=r"column feed.*'boats'.*iex, sip"):
        read_tape(path, feed="boats")


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_synthetic_session_survives_the_file(tmp_path: Path, name: str) -> None:
    made = generate(5, symbols=("AMD", "DE"))
    rows = [*made.history, *(body for _, body in played(made))]
    frame = pl.DataFrame(rows).with_columns(
        pl.from_epoch("t", "us").dt.replace_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("ts")
    )
    if name.endswith("parquet"):
        frame = frame.with_columns(pl.col("ts").str.to_datetime(time_zone="UTC"))
    keep = ["symbol", "ts", "open", "high", "low", "close", "volume", "revision", "feed"]
    tape = read_tape(written(tmp_path, frame.select(keep), name))

    def facts(bodies: list[Body]) -> list[Body]:
        found = [{k: v for k, v in body.items() if k != "origin"} for body in bodies]
        return sorted(found, key=lambda body: (body["symbol"], body["t"], body["revision"]))

    assert facts(list(tape.history)) == facts(list(made.history))
    assert facts([b for _, b in played(tape)]) == facts([b for _, b in played(made)])
    assert [minute.label for minute in tape] == [minute.label for minute in made]


def test_parquet_and_csv_give_the_same_records(tmp_path: Path) -> None:
    frame = bars()
    text = frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"))
    tapes = [read_tape(written(tmp_path, f, name)) for f, name in ((frame, "t.parquet"), (text, "t.csv"))]
    for tape in tapes:
        assert len({body["event_id"] for _, body in played(tape)}) == 3
    ids = [[body["event_id"] for _, body in played(tape)] for tape in tapes]
    assert ids[0] == ids[1]


def test_other_time_zones_and_units_are_read_as_the_same_moment(tmp_path: Path) -> None:
    local = bars().with_columns(pl.col("ts").dt.convert_time_zone("America/New_York").dt.cast_time_unit("ms"))
    assert read_tape(written(tmp_path, local)).first_live == read_tape(written(tmp_path, bars())).first_live


@pytest.mark.parametrize("form", ["plain", "bars"])
def test_recorded_quotes_are_played_at_their_minutes_end(tmp_path: Path, form: str) -> None:
    names = ("bid", "ask") if form == "plain" else ("bid_close", "ask_close")
    quotes = pl.DataFrame(
        {
            "symbol": ["BAC", "BAC", "ELSE"],
            "ts": [DAY, DAY + timedelta(minutes=1), DAY],
            names[0]: [50.0, None, 1.0],
            names[1]: [50.02, 50.03, 1.1],
            "bid_size": [3, 4, 5],
        }
    )
    bars_path = written(tmp_path, bars(), "x_trades.parquet")
    written(tmp_path, quotes, "x_quotes.parquet")
    tape = read_tape(bars_path)
    found = [body for minute in tape for body in minute.quotes]
    assert [(body["bid"], body["ask"], body["bid_size"], body["ask_size"]) for body in found] == [
        (Decimal("50"), Decimal("50.02"), 3, None),
        (None, Decimal("50.03"), 4, None),
    ]
    for minute in tape:
        for body in minute.quotes:
            assert minute.label < body["quote_time"] < minute.label + MINUTE_US
    assert any("x_quotes.parquet" in note for note in tape.notes)


def test_without_recorded_quotes_they_are_made_and_labelled(tmp_path: Path) -> None:
    tape = read_tape(written(tmp_path, bars()))
    found = [body for minute in tape for body in minute.quotes]
    assert {body["origin"] for body in found} == {"synthetic/quotes"}
    assert [(body["bid"], body["ask"]) for body in found[:1]] == [(Decimal("50.09"), Decimal("50.11"))]
    assert tape.market.chain("BAC", tape.first_live + MINUTE_US)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (bars().drop("close", "volume"), r"t\.parquet lacks the column close and volume.*symbol.*needs"),
        (bars().clear(), r"t\.parquet has no rows"),
        (bars(open=["x"] * 6), r"row 1, column open: no number \(6 rows.*'x'"),
        (bars(symbol=[1] * 6), r"column symbol must hold text.*Int64"),
        (bars(revision=[0.5] * 6), r"column revision must hold whole numbers.*Float64"),
        (bars().with_columns(pl.col("ts").dt.replace_time_zone(None)), r"column ts.*without a time zone"),
        (bars(ts=list(range(6))), r"column ts must hold times.*Int64"),
        (
            bars(close=[1.0, 2.0, float("nan"), 1.0, 1.0, 1.0]),
            r"row 3, column close: not a finite value.*nan",
        ),
        (bars(high=[1.0, None, None, 1.0, 1.0, 1.0]), r"row 2, column high.*\(2 rows"),
        (bars(low=[1.0, float("inf"), 1.0, 1.0, 1.0, 1.0]), r"row 2, column low"),
    ],
)
def test_an_unusable_file_is_refused_with_file_column_and_remedy(
    tmp_path: Path, frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(Fatal, match=message) as caught:
        read_tape(written(tmp_path, frame))
    assert "t.parquet" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("ts", "message"),
    [("2026-02-17T14:30:00", "without a time zone.*2026-02-17T14:30:00"), ("noon Z", "ISO 8601.*noon Z")],
)
def test_csv_times_must_be_whole_and_carry_a_zone(tmp_path: Path, ts: str, message: str) -> None:
    with pytest.raises(Fatal, match=message):
        read_tape(written(tmp_path, bars(ts=[ts] * 6), "t.csv"))


def test_an_unknown_session_is_refused_with_those_that_the_file_has(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"2026-02-18.*sessions in the file: 2026-02-13, 2026-02-17"):
        read_tape(written(tmp_path, bars()), session=date(2026, 2, 18))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", b"symbol,ts", "not a tape.*txt.*parquet or .csv"),
        ("t.parquet", b"not parquet at all", "t.parquet cannot be read"),
        ("t.csv", b"", "t.csv cannot be read"),
        ("absent.csv", None, "this tape file does not exist.*absent.csv"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Fatal, match=message):
        read_tape(tmp_path / name)


def test_a_quotes_file_without_prices_is_refused(tmp_path: Path) -> None:
    quotes = written(tmp_path, pl.DataFrame({"symbol": ["BAC"], "ts": [DAY]}), "q.parquet")
    with pytest.raises(Fatal, match=r"q\.parquet lacks the column bid, ask or bid_close, ask_close"):
        read_tape(written(tmp_path, bars()), quotes=quotes)


@pytest.mark.parametrize(("text", "seed"), [("synthetic", 7), ("synthetic:12", 12), ("a/b.csv", None)])
def test_a_tape_is_named_by_a_short_text(text: str, seed: int | None) -> None:
    assert TapeSource(tape=text).seed == seed


def test_a_bad_seed_or_session_is_refused() -> None:
    with pytest.raises(Fatal, match=r"seed.*'x'"):
        TapeSource(tape="synthetic:x").load()
    with pytest.raises(Fatal, match=r"11\.10\.2013"):
        session_date("11.10.2013")
    assert session_date(None) is None


def test_the_real_recording_plays_with_the_session_before_as_warm_up() -> None:
    tape = read_tape(shared("us_equity_trades_1m.parquet"), session=date(2013, 10, 11))
    found = [body for _, body in played(tape)]
    session = xnys().session_on(tape.session)
    assert session is not None
    assert tape.symbols == ["AIG", "BAC", "IBM", "SPY"]
    assert len(found) == 2212
    assert len(tape.history) == 2395
    assert {xnys().session_date(b["t"]) for b in tape.history} == {day_number(date(2013, 10, 10))}
    assert (
        sum(session.open <= body["t"] < session.close for body in found) == 4 * 390 - 1
    )  # one minute without a trade
    assert {body["origin"] for body in found} == {"file/us_equity_trades_1m.parquet"}
    assert len(tape.minutes) == 961
    noon = session.open + 150 * MINUTE_US
    for symbol in tape.symbols:
        quote = tape.market.stock_quote(symbol, noon)
        assert quote is not None
        assert quote.bid is not None
        assert quote.ask is not None
        assert 0 < quote.ask - quote.bid <= Decimal("0.10")
        assert tape.market.chain(symbol, noon)
