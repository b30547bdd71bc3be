"""A day of one features worker, minute by minute: when its bars were there, and when their features were.

    python -m tests.bench.record_delays FILE

A synthetic session is played at 60x into a real broker. Its minutes have as many symbols as ``crowd`` says: a
burst at the open and a smaller one at the close, more than one worker can do in a second. FILE is a CSV: the
minute in New York, its bars, and the seconds from the start of the play to its watermark in `bars` and to its
watermark in every partition of `features`. tests/unit/deployment/test_keda_day.py feeds it to the chart's
scaling.
"""

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from tapedeck.agents.membership import Membership
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.tapes.generator import DEFAULT_SEED, generate
from tapedeck.connectors.tapes.marks import last_watermarks, optional_inputs
from tapedeck.connectors.tapes.player import PLAYED, Pace, Player
from tapedeck.connectors.tapes.tape import Body, Minute, Tape, bar_body, universe_body
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.wire import Origin
from tests.bench.crew import SPEED, Crew
from tests.bench.report import machine
from tests.bench.servers import kafka
from tests.bench.watching import Marks, now_s
from tests.support.live import Workers, eventually
from tests.support.sim_tapes import CONFIG

HEADER = "minute,bars,written_s,done_s"
_QUIET, _OPEN, _CLOSE, _HALF = 60, 1_200, 500, 10.0
"""Symbols at noon, at the first minute and at the last; minutes in which a burst halves."""
_PATIENCE_S = 240.0
_STEADY = Membership(45.0)
"""A worker that a busy machine starves for a while keeps its partitions."""


def crowd(number: int, minutes: int) -> int:
    """How many symbols have a bar in minute ``number`` of ``minutes``, counted from 0."""
    after, before = 0.5 ** (number / _HALF), 0.5 ** ((minutes - 1 - number) / _HALF)
    return int(_QUIET + (_OPEN - _QUIET) * after + (_CLOSE - _QUIET) * before)


def a_day() -> Tape:
    """Random walks: minute by minute the bars of as many symbols as ``crowd`` says, without a history."""
    whole, rng = generate(DEFAULT_SEED), np.random.default_rng(11)
    labels = [minute.label for minute in whole.minutes if minute.bars][1:]
    names = [f"S{number:05d}" for number in range(max(crowd(n, len(labels)) for n in range(len(labels))))]
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (len(labels) + 1, len(names))), axis=0))

    def bars(number: int, t: int) -> Iterator[Body]:
        for symbol in range(crowd(number, len(labels))):
            opened, close = float(prices[number, symbol]), float(prices[number + 1, symbol])
            ohlc = (opened, max(opened, close), min(opened, close), close)
            yield bar_body(names[symbol], t, ohlc, 1000.0, feed=whole.feed, origin=whole.origin)

    created = labels[0] - MINUTE_US
    return replace(
        whole,
        universe=universe_body(names, source="MANUAL", created_at=created, origin=whole.origin),
        history=(),
        minutes=tuple(Minute(t, tuple(bars(n, t)), ()) for n, t in enumerate(labels)),
    )


def record(bootstrap: str, tape: Tape) -> list[tuple[int, int, float, float]]:
    """(label, bars, written, done) of each minute; seconds from the start of the play."""
    written: dict[int, float] = {}
    playing = [0]

    def pause(seconds: float) -> None:
        """The player sleeps as soon as it has written a minute."""
        assert crew.running[1].poll() is None, workers.log_of("features")
        written.setdefault(playing[0], now_s())
        time.sleep(seconds)

    with tempfile.TemporaryDirectory(prefix="tapedeck-delays-") as folder:
        workers = Workers(bootstrap, f"delay{uuid.uuid4().hex[:8]}", Path(folder), CONFIG)
        cluster, crew = workers.cluster, Crew(workers, "features", membership=_STEADY)
        try:
            crew.start(1)
            with (
                KafkaLogWriter(cluster, Origin("bench", "0", "")) as writer,
                optional_inputs(cluster, TOPOLOGY.optional, absent_after_s=0.0) as news,
                Marks(cluster, "features") as marks,
            ):
                warm = replace(tape, minutes=tape.minutes[:1])
                Player(warm, writer, Pace(None), optional=news).play(lambda: last_watermarks(cluster, PLAYED))
                eventually(lambda: tape.minutes[0].label in marks.at, "the first minute", _PATIENCE_S)
                began = now_s()
                Player(
                    tape, writer, Pace(SPEED), optional=news, sleep=pause,
                    before_minute=lambda label: playing.__setitem__(0, label),
                ).play(lambda: last_watermarks(cluster, PLAYED))  # fmt: skip
                written.setdefault(tape.minutes[-1].label, now_s())
                eventually(lambda: tape.minutes[-1].label in marks.at, "the last minute", _PATIENCE_S)
        finally:
            workers.stop()
    return [
        (minute.label, len(minute.bars), written[minute.label] - began, _done(marks.at, minute.label) - began)
        for minute in tape.minutes[1:]
    ]


def _done(at: dict[int, float], label: int) -> float:
    """A later watermark covers the minutes before it."""
    return min(seconds for found, seconds in at.items() if found >= label)


def main(words: Sequence[str] | None = None) -> int:
    """Play, and write FILE."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.record_delays", description=__doc__)
    parser.add_argument("file", type=Path)
    told = parser.parse_args(words)
    with kafka() as bootstrap:
        found = record(bootstrap, a_day())
    lines = [
        f"# Recorded by python -m tests.bench.record_delays: one features worker, a synthetic day, {SPEED}x",
        f"# {machine()}",
        HEADER,
    ]
    for label, bars, written, done in found:
        at = datetime.fromtimestamp(label / 1e6, UTC).astimezone(ZoneInfo("America/New_York"))
        lines.append(f"{at:%H:%M},{bars},{written:.2f},{done:.2f}")
    told.file.write_text("\n".join(lines) + "\n")
    print(f"{len(found)} minutes, the longest delay {max(done - at for _, _, at, done in found):.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
