"""``tape ingest regime`` and ``earnings``, and both topics in a notebook."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tapedeck.connectors.outlook.files import READERS
from tapedeck.schemas.codec import encode
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.protocol import Message
from tapedeck.tape.cli.main import app
from tapedeck.tape.notebook.connection import Connection
from tapedeck.tape.notebook.memory import MemoryTape
from tapedeck.topics.catalogue import Layout, topic

FILES = {
    "regime": "at,available_at,value\n2026-02-17T14:30:00Z,2026-02-17T14:30:05Z,18.42\n",
    "earnings": "symbol,report_date,report_time,available_at\n"
    "NVDA,2026-02-25,AFTER_CLOSE,2026-01-15T12:00:00Z\nSPY,,NONE,2026-01-16T12:00:00Z\n",
}
TIME = pl.Datetime("us", "UTC")
TYPED = {
    "regime": {"date": pl.Date(), "value": pl.Float64(), "available_at": TIME, "event_time": TIME},
    "earnings": {"symbol": pl.String(), "report_date": pl.Date(), "available_at": TIME, "event_time": TIME},
}


def given(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_bad_line_is_refused_before_a_broker_is_asked_for(name: str, tmp_path: Path) -> None:
    path = given(tmp_path, name, FILES[name] + "x\n")
    ran = CliRunner().invoke(app, ["ingest", name, str(path)], env={"KAFKA_BOOTSTRAP_SERVERS": "nowhere:1"})
    line = FILES[name].count("\n") + 1
    assert isinstance(ran.exception, Fatal)
    assert f"{name}.csv:{line}: there are 1 fields" in str(ran.exception)


@pytest.mark.parametrize("name", FILES)
def test_a_backtest_refuses_a_bad_line_likewise(name: str, tmp_path: Path) -> None:
    path = given(tmp_path, name, FILES[name] + "x\n")
    ran = CliRunner().invoke(app, ["backtest", "synthetic", f"--{name}", str(path)])
    assert isinstance(ran.exception, Fatal) and f"{name}.csv:" in str(ran.exception)


@pytest.mark.parametrize("name", FILES)
def test_a_notebook_reads_the_topic_with_typed_columns(name: str, tmp_path: Path) -> None:
    bodies = READERS[name](given(tmp_path, name, FILES[name]))
    messages = [
        Message(
            name, 0, place, body["event_time"] // 1000, topic(name).record_key(body), encode(name, body), ()
        )
        for place, body in enumerate(bodies)
    ]
    frame = Connection(source=MemoryTape(Layout(), messages)).tap(name)
    assert {each: frame.schema[each] for each in TYPED[name]} == TYPED[name]
    if name == "regime":
        assert frame.select("date", "value").rows() == [(date(2026, 2, 17), 18.42)]
    else:
        assert frame.select("symbol", "report_date").rows() == [("NVDA", date(2026, 2, 25)), ("SPY", None)]
    assert frame["available_at"].min() == datetime.fromtimestamp(
        min(body["available_at"] for body in bodies) / 1e6, tz=UTC
    )
