"""`tape ingest bars` as a process, a data server whose time runs by itself, and what must hold after."""

import signal
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tapedeck.connectors.alpaca.market.frames import Bar
from tapedeck.connectors.alpaca.market.history import History
from tapedeck.connectors.clock import RunningClock
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.paper.data.articles import Article, NewsList
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.connectors.tapes.generator import generate
from tapedeck.connectors.tapes.marks import reached
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.connectors.tapes.writers import LIVE
from tapedeck.schemas.codec import decode
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.groups import Bars, Universe
from tapedeck.streams.digests import of_state
from tapedeck.streams.sessions import xnys
from tapedeck.streams.sim.task import drain, market_tasks
from tapedeck.streams.stages.topology import TOPOLOGY
from tapedeck.streams.watermarks import readable_label
from tapedeck.tape.local.process import tail
from tapedeck.tape.rebuild.whole import live_outputs, live_state, rebuild_stage
from tests.support.data_server import Served
from tests.support.live import Workers, bodies, eventually
from tests.support.paper import LARGE, LARGE_KEYS, MINUTE, exchange, serving
from tests.support.sim_tapes import written

FEATURES = TOPOLOGY.stage("features")
GRACE_S = 30.0
"""Seconds of the market: half a second on the machine at 60x."""
STANDS = 0.001
_VALUES_LEFT_OUT = {"event_id", "event_time", "revision", "origin", "cause", "inputs"}
_TERM_S = 60.0


class PacedClock(RunningClock):
    """A running clock whose speed the test changes: it nearly stands while a process starts."""

    def pace(self, speed: float) -> None:
        now = self.now()
        self._start, self._since, self.runs_at = now, self._monotonic(), speed


def short_tape(symbols: tuple[str, ...], minutes: int, *, without: tuple[str, int] | None = None) -> Tape:
    """The first minutes of a synthetic session; ``without`` the bar of a symbol in its n-th minute."""
    tape = generate(7, symbols=symbols)
    first = next(n for n, minute in enumerate(tape.minutes) if xnys().session_at(minute.label))
    chosen = tape.minutes[first : first + minutes]
    if without is not None:
        symbol, number = without
        gone = (symbol, chosen[0].label + number * MINUTE)
        chosen = tuple(
            minute._replace(bars=tuple(b for b in minute.bars if (b["symbol"], b["t"]) != gone))
            for minute in chosen
        )
    return replace(tape, minutes=chosen)


def live_config(symbols: tuple[str, ...]) -> Config:
    return Config(universe=Universe(symbols=symbols), bars=Bars(grace_s=GRACE_S))


@contextmanager
def market(tape: Tape, news: Iterable[Article] = ()) -> Iterator[tuple[Served, PacedClock]]:
    """A data server over ``tape``. Its time nearly stands at the tape's first minute."""
    paper, clock = exchange(now=tape.first_live), PacedClock(tape.first_live, STANDS)
    service = DataService(tape, xnys(), paper.authenticate, now=tape.first_live, news=NewsList(news))
    with serving(paper, clock, service) as url:
        yield Served(url, clock, service), clock


def ingest(workers: Workers, served: Served, source: str = "bars") -> "subprocess.Popen[bytes]":
    """Start `tape ingest bars`, or of another source."""
    named = {"TAPE_DATA_KEY_REF": "LIVE_KEY", "TAPE_DATA_SECRET_REF": "LIVE_SECRET"}
    keys = {"LIVE_KEY": LARGE.key, "LIVE_SECRET": LARGE.secret, "TAPE_DATA_URL": served.url}
    return workers.tape("ingest", source, extra=named | keys)


def ended(process: "subprocess.Popen[bytes]") -> None:
    """Ask the process to stop; it does so in order."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(_TERM_S) == 0


def beats(cluster: Cluster, *processes: str) -> list[dict[str, Any]]:
    """What the ingest process reported, or each of ``processes``, oldest first."""
    processes = processes or (LIVE,)
    found = (decode("heartbeats", each.value) for each in read_topic(cluster, "heartbeats"))
    return [beat for beat in found if beat["stage"] in processes]


def is_live(cluster: Cluster, reports: int = 0) -> bool:
    """Whether a report after the first ``reports`` says that the stream is live and nothing is waited for."""
    return any("NOW_LIVE" in beat["counts"] and not beat["lag"] for beat in beats(cluster)[reports:])


@dataclass
class Outcome:
    """What the log holds, checked against the server."""

    bars: int
    revisions: int
    late: int
    missing: set[tuple[str, int]]
    """Minutes of the tape without a bar."""
    events: Counter[str]
    no_trade: set[tuple[str, int]]


def check_log(cluster: Cluster, served: Served, tape: Tape) -> Outcome:
    """Each bar that the server holds final is there with its last revision, none twice; time goes on."""
    first = min(body["t"] for body in tape.history)
    last = tape.minutes[-1].label
    history = History(served.url, tape.feed, LARGE_KEYS, clock=served.clock)
    final = {
        (each.symbol, each.t): each
        for each in history.bars(tape.symbols, first, last)
        if isinstance(each, Bar)
    }
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    revisions = 0
    for body in bodies(cluster, "bars"):
        key = (str(body["symbol"]), int(str(body["t"])))
        known = newest.get(key)
        assert body["revision"] == (0 if known is None else known["revision"] + 1), key
        assert body["origin"] == tape.origin
        revisions += known is not None
        newest[key] = body
    assert newest.keys() == final.keys(), sorted(newest.keys() ^ final.keys())[:5]
    for key, body in newest.items():
        values = tuple(body[name] for name in ("open", "high", "low", "close", "volume"))
        assert values == final[key][2:7], key
    check_watermarks(cluster, last)
    events = bodies(cluster, "market_events")
    minutes = {minute.label for minute in tape.minutes}
    return Outcome(
        bars=len(newest),
        revisions=revisions,
        late=len(bodies(cluster, "bars.late")),
        missing={(s, t) for s in tape.symbols for t in minutes} - final.keys(),
        events=Counter(str(body["kind"]) for body in events),
        no_trade={
            (str(e["symbol"]), int(str(e["t"])))
            for e in events
            if e["kind"] == "NO_TRADE" and e["t"] in minutes
        },
    )


def check_watermarks(cluster: Cluster, last: int) -> None:
    """In every partition of the sources they never go back, and end after ``last``."""
    for name in SOURCES:
        labels: dict[int, list[int]] = defaultdict(list)
        for each in read_topic(cluster, name):
            if (label := readable_label(each)) is not None:
                labels[each.partition].append(label)
        assert len(labels) == cluster.layout.partitions(name)
        for partition, found in labels.items():
            assert found == sorted(found), f"{name}/{partition}"
            assert found[-1] >= last


def check_features(cluster: Cluster, config: Config, tape: Tape) -> tuple[str, int]:
    """Live features equal those computed from the log, and end like the plain tape's; their digest and count.

    The plain tape has no late bar and no outage: how often the newest features were given again differs, and
    which bar made the stage give them last. What they say at the end does not.
    """
    source = KafkaSource(cluster)
    rebuilt = rebuild_stage(FEATURES, source, config, xnys())
    eventually(lambda: of_state(live_state(FEATURES, source)) == rebuilt.state, "the features' table", 30)
    digest = live_outputs("features", source)
    assert digest.hexdigest() == rebuilt.digests()["features"]
    ours, theirs = _newest(bodies(cluster, "features")), _newest(_plain(tape, config))
    assert ours.keys() == theirs.keys()
    for symbol, values in theirs.items():
        differ = {
            name: (ours[symbol][name], value) for name, value in values.items() if ours[symbol][name] != value
        }
        assert not differ, (symbol, differ)
    return digest.hexdigest(), len(digest)


def _plain(tape: Tape, config: Config) -> list[dict[str, Any]]:
    """The features of the tape as a player would write it, computed in memory."""
    log = written(tape)
    drain([task for task in market_tasks(TOPOLOGY, log, config, xnys()) if task.spec.name == FEATURES.name])
    return [decode("features", each.value) for each in log.messages("features") if each.value is not None]


def _newest(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The newest features of each symbol, without what tells how often they were given."""
    newest: dict[str, dict[str, Any]] = {}
    for body in found:
        known = newest.get(body["symbol"])
        if known is None or (body["t"], body["revision"]) >= (known["t"], known["revision"]):
            newest[body["symbol"]] = body
    return {
        symbol: {name: value for name, value in body.items() if name not in _VALUES_LEFT_OUT}
        for symbol, body in newest.items()
    }


def until_reached(workers: Workers, name: str, label: int, timeout_s: float = 90.0) -> None:
    """Wait until every partition of ``name`` has watermark(label); a failure shows the logs."""
    try:
        eventually(
            lambda: (reached(workers.cluster, name) or 0) >= label, f"watermark {label} in {name}", timeout_s
        )
    except AssertionError as error:
        logs = "\n".join(f"{log}:\n{tail(log, 30)}" for log in sorted(workers.folder.glob("*.log")))
        raise AssertionError(f"{error}\n{logs}") from None
