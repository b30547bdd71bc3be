"""`tape fetch`: history into a tape file, over the data server, with interruptions and odd answers."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tapedeck.connectors.alpaca.market.frames import Bar, Unread
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.tape.cli.main import app
from tapedeck.tape.fetch.tape_file import Request, fetch, parts_of, sessions_of
from tests.support.data_server import MINUTES, data_server, made_tape
from tests.support.paper import LARGE

REQUEST = Request(("AMD", "NVDA"), "iex", date(2026, 2, 12), date(2026, 2, 17))
"""Three sessions: the weekend and Presidents' Day lie between."""


class Given:
    """Two bars a session and symbol, newest first; fails in the sessions of ``broken``."""

    def __init__(self, *, broken: Sequence[int] = (), unread: int = 0, empty: Sequence[str] = ()) -> None:
        self.asked: list[tuple[int, int]] = []
        self._broken, self._unread, self._empty = list(broken), unread, empty

    def pages(self, symbols: Sequence[str], first: int, last: int) -> Iterator[list[Bar | Unread]]:
        self.asked.append((first, last))
        yield [Unread(b"{}", "odd")] * self._unread
        for symbol in symbols:
            if symbol not in self._empty:
                yield [Bar(symbol, last - n * MINUTE_US, 2.0, 3.0, 1.0, 2.5, 10.0) for n in range(2)]
        if len(self.asked) in self._broken:
            raise ConnectionError("the line is cut")


def test_sessions_reach_from_four_to_eight_and_leave_out_days_without_trading() -> None:
    found = sessions_of(REQUEST, xnys())
    assert [str(day) for day, _, _ in found] == ["2026-02-12", "2026-02-13", "2026-02-17"]
    _, first, last = found[-1]
    assert (last - first) // MINUTE_US == 16 * 60 - 1


def test_dates_without_a_session_are_refused() -> None:
    with pytest.raises(Fatal, match="no session between these dates; got '2026-02-14 to 2026-02-16'"):
        sessions_of(Request(("AMD",), "iex", date(2026, 2, 14), date(2026, 2, 16)), xnys())


def test_an_interrupted_fetch_asks_only_for_what_is_not_there(tmp_path: Path) -> None:
    out, lines = tmp_path / "made.parquet", []
    with pytest.raises(ConnectionError):
        fetch(Given(broken=[2]), REQUEST, out, xnys(), lines.append)
    assert not out.exists()
    assert sorted(path.name for path in parts_of(out).iterdir()) == ["2026-02-12.parquet", "request.json"]
    again = Given()
    found = fetch(again, REQUEST, out, xnys(), lines.append)
    assert (found.sessions, found.kept, found.bars, len(again.asked)) == (3, 1, 12, 2)
    assert lines == [
        "2026-02-12: 4 bars (1 of 3 sessions)", "2026-02-13: 4 bars (2 of 3 sessions)",
        "2026-02-17: 4 bars (3 of 3 sessions)",
    ]  # fmt: skip
    assert not parts_of(out).exists()
    whole = fetch(Given(), REQUEST, tmp_path / "whole.parquet", xnys(), lines.append)
    assert whole.kept == 0
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "whole.parquet"))


def test_parts_of_another_request_are_never_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "made.parquet"
    with pytest.raises(ConnectionError):
        fetch(Given(broken=[2]), REQUEST, out, xnys(), print)
    other = Request(("AMD",), "iex", REQUEST.first, REQUEST.last)
    with pytest.raises(Fatal, match=r"another fetch into this file was begun.*remove the folder"):
        fetch(Given(), other, out, xnys(), print)


def test_bars_are_in_order_whatever_order_they_came_in_and_play(tmp_path: Path) -> None:
    out = tmp_path / "made.parquet"
    fetch(Given(unread=1), REQUEST, out, xnys(), print)
    frame = pl.read_parquet(out)
    assert frame.columns == ["symbol", "ts", "open", "high", "low", "close", "volume", "feed", "revision"]
    assert frame.equals(frame.sort("ts", "symbol"))
    tape = TapeSource(tape=str(out), session=date(2026, 2, 17)).load(print)
    assert tape.origin.startswith("alpaca/iex")
    assert sum(len(minute.bars) for minute in tape) == 4


def test_what_did_not_come_is_told(tmp_path: Path) -> None:
    found = fetch(Given(unread=2, empty=["AMD"]), REQUEST, tmp_path / "made.parquet", xnys(), print)
    assert (found.without, found.unread) == (("AMD",), 6)
    with pytest.raises(Fatal, match="no bar of these symbols came; got 'AMD, NVDA'"):
        fetch(Given(empty=["AMD", "NVDA"]), REQUEST, tmp_path / "none.parquet", xnys(), print)


def run(*arguments: str, url: str) -> tuple[int, str]:
    keys = {"KEY": LARGE.key, "SECRET": LARGE.secret}
    where = ["--data-url", url, "--key", "KEY", "--secret", "SECRET"]
    result = CliRunner().invoke(app, ["fetch", *arguments, *where], env=keys)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_command_fetches_a_served_tape_and_it_is_the_tape(tmp_path: Path) -> None:
    out = tmp_path / "made.parquet"
    day = ["--from", "2026-02-17", "--to", "2026-02-17", "--out", str(out)]
    tape = made_tape()
    with data_server(tape) as served:
        served.to(MINUTES + 1)
        code, said = run("nvda,AMD", *day, url=served.url)
        assert code == 0
        assert f"wrote {out}: " in said
        with pytest.raises(Fatal, match="this file already exists"):
            run("NVDA", *day, url=served.url)
    newest: dict[tuple[int, str], float] = {}
    for minute in tape:
        newest |= {(body["t"], body["symbol"]): body["close"] for body in minute.bars}
    rows = pl.read_parquet(out).select(pl.col("ts").dt.epoch("us"), "symbol", "close").rows()
    assert {(t, symbol): close for t, symbol, close in rows} == newest


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--from", "2026-02-17", "--to", "2026-02-16"], "the last session is before the first"),
        (["--from", "17.2.2026", "--to", "2026-02-17"], "not a session date"),
        (
            ["--from", "2026-02-17", "--to", "2026-02-17", "--feed", "otc"],
            "no stream of stock bars of this feed",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_before_anything_is_asked(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    with pytest.raises(Fatal, match=words):
        run("NVDA", *arguments, "--out", str(tmp_path / "x.parquet"), url="http://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []
