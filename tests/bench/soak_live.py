"""Live bars and news for a while at 60x, something going wrong every 30 s: is each there, and none twice?

    python -m tests.bench.soak_live [--minutes 20] [--seed 13]

A data server serves synthetic sessions of 28 symbols and their articles; `tape ingest bars`, `tape ingest
news` and a worker of the features stage run beside it. A scenario of docs/exchange.md is armed every 30 s, in
a seeded order. At the end of each session the log is compared with the server, and the features with those of
the plain tape. Left out are refusals that do not pass (the process must be started again after them), and
what takes bars off the tape. A session is six and a half minutes long at 60x: each has topics of its own.
"""

import argparse
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import requests

from tapedeck.connectors.alpaca.market.states import State
from tapedeck.connectors.beats import NOW
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.tapes.profiles import PROFILES
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS
from tests.bench.report import Row, Table, machine
from tests.bench.servers import kafka
from tests.support.data_server import Served
from tests.support.live import Workers, eventually
from tests.support.live_bars import (
    beats,
    check_features,
    check_log,
    ended,
    ingest,
    is_live,
    live_config,
    market,
    short_tape,
    until_reached,
)
from tests.support.live_news import articles_of, check_articles, newest_versions, versions
from tests.support.paper import MINUTE

SPEED, EVERY_S, SESSION = 60, 30.0, 390
_CALM_S = 60.0
"""Nothing new goes wrong at the end: what is cut then has no time to come back."""
_SYMBOLS = tuple(PROFILES)


class Trouble(NamedTuple):
    """Scenarios that are armed together, with their settings. ``lasting`` ones are disarmed after it."""

    arms: tuple[tuple[str, dict[str, Any]], ...]
    lasting: str = ""

    def __str__(self) -> str:
        return " + ".join(name for name, _ in self.arms)


_IEX, _NEWS = {"endpoint": "iex"}, {"endpoint": "news"}
_UNKNOWN = 3
CUT: tuple[str, dict[str, Any]] = ("stream-cut", _IEX)
NEWS_CUT: tuple[str, dict[str, Any]] = ("stream-cut", _NEWS)
TROUBLES = (
    Trouble((("late-revision", {"count": 20}),)),
    Trouble((("double-bar", {"count": 20}),)),
    Trouble((("missing-minutes", {"count": 20}),)),
    Trouble((("burst", {"seconds": 180}),)),
    Trouble((("mute", {"seconds": 300}),)),
    Trouble((("ghost-session", {"seconds": 90} | _IEX),)),
    Trouble((("handshake-429", {"count": 2} | _IEX), CUT)),
    Trouble((("auth-timeout", _IEX), CUT)),
    Trouble((("connection-limit", _IEX), CUT)),
    Trouble((("symbol-limit", {"limit": 20}), CUT), lasting="symbol-limit"),
    Trouble((("slow-client-cut", _IEX),)),
    Trouble((("stream-error", {"code": 500} | _IEX),)),
    Trouble((("unknown-frame", {"count": _UNKNOWN} | _IEX),)),
    Trouble((("rest-429", {"count": 2}), CUT)),
    Trouble((("rest-500", {"count": 2}), CUT)),
    Trouble((("late-rest", {"count": 2}), CUT)),
    Trouble((("redirects", {"count": 1}), CUT)),
    Trouble((("news-correction", {"count": 5}),)),
    Trouble((("news-null-symbols", {"count": 5}),)),
    Trouble((("news-repeat", {"count": 5}),)),
    Trouble((("news-missing", {"count": 5}), NEWS_CUT)),
    Trouble((("rest-500", {"count": 2}), NEWS_CUT)),
    Trouble((("ghost-session", {"seconds": 90} | _NEWS),)),
    Trouble((("handshake-429", {"count": 2} | _NEWS), NEWS_CUT)),
    Trouble((("slow-client-cut", _NEWS),)),
)


class Order:
    """The troubles in a seeded order, each as often as the others."""

    def __init__(self, seed: int) -> None:
        self._rng, self._left = random.Random(seed), list[Trouble]()

    def next(self) -> Trouble:
        if not self._left:
            self._left = list(TROUBLES)
            self._rng.shuffle(self._left)
        return self._left.pop()


def session(bootstrap: str, folder: Path, minutes: int, order: Order) -> Iterator[Row]:
    """One session of ``minutes``; a row for each trouble, then what the log holds. Raises AssertionError."""
    config, tape = live_config(_SYMBOLS), short_tape(_SYMBOLS, minutes)
    last, published = tape.minutes[-1].label, tuple(articles_of(tape, minutes))
    workers = Workers(bootstrap, f"soak{uuid.uuid4().hex[:8]}", folder, config)
    cluster, armed = workers.cluster, Counter[str]()
    try:
        features = workers.start("features")
        with market(tape, published) as (served, clock):
            process, news = ingest(workers, served), ingest(workers, served, "news")
            eventually(lambda: is_live(cluster), "a live stream", 180)
            eventually(lambda: "LIVE" in workers.log_of("ingest", "news"), "the news stream", 180)
            clock.pace(SPEED)
            end = time.monotonic() + minutes * 60 / SPEED - _CALM_S
            while time.monotonic() < end:
                trouble = order.next()
                yield strike(cluster, served, trouble)
                armed.update(name for name, _ in trouble.arms)
                assert process.poll() is None and news.poll() is None, "a process ended"
                if features.poll() is not None:  # a frozen worker ends; a stack starts it again
                    features = workers.start("features")
            served.arm("stream-cut", **_NEWS)  # the last article fires it, and REST is asked for the gap
            until_reached(workers, "bars", last + 4 * MINUTE, 300)
            silent = [name for name in armed if not served.fired(name)]
            assert not silent, f"armed, and never fired: {silent}"
            eventually(lambda: is_complete(cluster, served, tape), "the newest version of every article")
            ended(process)
            ended(news)
            outcome, told = check_log(cluster, served, tape), check_articles(cluster, served, tape)
        until_reached(workers, "features", last + 4 * MINUTE, 300)
        assert len(refused(cluster)) == _UNKNOWN * armed["unknown-frame"]
        digest, count = check_features(cluster, config, tape)
        events = ", ".join(f"{kind} {n}" for kind, n in sorted(outcome.events.items()))
        yield Row("final bars in the log, none twice", outcome.bars, "bars", met=True, note=events)
        yield Row("revisions", outcome.revisions, "bars", note=f"{outcome.late} in bars.late")
        yield Row(
            "versions of articles, none twice",
            told.versions,
            "versions",
            met=True,
            note=f"{told.articles} articles; {told.overtaken} versions corrected before they could be had",
        )
        yield Row(
            "features",
            count,
            "records",
            "equal to the log's and the plain tape's",
            met=True,
            note=digest[:16],
        )
    finally:
        workers.stop()


def strike(cluster: Cluster, served: Served, trouble: Trouble) -> Row:
    """Arm one trouble and watch the reports for half a minute."""
    before, reports = (
        {name: served.fired(name) for name, _ in trouble.arms},
        len(beats(cluster, LIVE, LIVE_NEWS)),
    )
    for name, how in trouble.arms:
        served.arm(name, **how)
    time.sleep(EVERY_S)
    if trouble.lasting:
        answer = requests.post(f"{served.url}/_paper/faults", json={"disarm": trouble.lasting}, timeout=5)
        assert answer.ok, answer.text
        served.arm("stream-cut")
    fired = sum(served.fired(name) - before[name] for name, _ in trouble.arms)
    seen = dict.fromkeys(
        state for beat in beats(cluster, LIVE, LIVE_NEWS)[reports:] for state in states(beat)
    )
    return Row(str(trouble), fired, "times", note=" -> ".join(seen))


def states(beat: dict[str, Any]) -> list[str]:
    """The states of the stream in a heartbeat, as `tape status` names them: ``LIVE``, ``LIVE:alpaca``."""
    known = (name.removeprefix(NOW) for name in beat["counts"] if name.startswith(NOW) or ":" in name)
    return [name for name in known if name.partition(":")[0] in State.__members__]


def is_complete(cluster: Cluster, served: Served, tape: Tape) -> bool:
    """Whether the topic has the newest version of every article."""
    return {*newest_versions(served, tape).items()} <= {*versions(cluster)}


def refused(cluster: Cluster) -> list[bytes]:
    """The dead letters."""
    return [each.value or b"" for each in read_topic(cluster, "dead_letters")]


def measure(minutes: int, seed: int) -> Table:
    """As many sessions as the time has room for."""
    rows: list[Row] = []
    order, left = Order(seed), minutes * SPEED
    with kafka() as bootstrap:
        while left > 0:
            length = min(SESSION, left)
            left -= length
            with tempfile.TemporaryDirectory(prefix="tapedeck-soak-") as folder:
                for row in session(bootstrap, Path(folder), length, order):
                    rows.append(row)
                    print(f"{row.name}: {row.value:g} {row.unit}  {row.note}", flush=True)
    return Table(
        f"live bars and news of {len(_SYMBOLS)} symbols for {minutes} minutes at {SPEED}x, seed {seed}",
        tuple(rows),
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run and print. Fails where a bar is missing, is there twice, or gives other features."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak_live", description=__doc__)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=13)
    told = parser.parse_args(words)
    print(machine(), flush=True)
    print(f"\n{measure(told.minutes, told.seed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
