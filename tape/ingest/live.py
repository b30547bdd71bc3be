"""Makes the parts of ``tape ingest bars`` from a process's settings, and runs them."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial

from tapedeck.agents.settings import Settings
from tapedeck.connectors.alpaca.market.endpoints import connection_name, stream_url
from tapedeck.connectors.alpaca.market.history import History
from tapedeck.connectors.alpaca.market.inbox import FrameQueue
from tapedeck.connectors.alpaca.market.ingest import Ingest, since
from tapedeck.connectors.alpaca.market.states import Health
from tapedeck.connectors.alpaca.market.steps import AHEAD_US, MARKET_EVENTS, Kind
from tapedeck.connectors.alpaca.market.stream import MarketStream
from tapedeck.connectors.beats import about
from tapedeck.connectors.clock import Clock
from tapedeck.connectors.credentials import credentials
from tapedeck.connectors.kafka.acls import demand_rights
from tapedeck.connectors.kafka.admin import check
from tapedeck.connectors.kafka.bulk.source import KafkaSource
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.principals import ingest
from tapedeck.connectors.paper.remote_clock import market_clock
from tapedeck.connectors.tapes.marks import bodies, last_watermarks, newest_universe, optional_inputs
from tapedeck.connectors.tapes.openings import BEHIND_US, Openings
from tapedeck.connectors.tapes.player import SOURCES
from tapedeck.connectors.tapes.writers import ForeignMarks
from tapedeck.schemas.errors import Fatal
from tapedeck.schemas.readable import iso_time
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.account.rules.positions import describe
from tapedeck.tape.begin import symbols_of, universe_of, write_universe
from tapedeck.tape.ingest.asker import Asker
from tapedeck.tape.ingest.bars import STAGE, BarsIngest
from tapedeck.tape.ingest.leases import lease_of
from tapedeck.tape.ingest.threads import StreamThread, teller
from tapedeck.tape.topology import topology_in_use

log = logging.getLogger("tapedeck.ingest.bars")

References = tuple[str, str]


class _Stopped(Exception):
    """The process was asked to stop during a wait."""


def run(
    settings: Settings,
    data_url: str,
    references: References,
    stop: threading.Event,
    ending: ExitStack,
    *,
    started: Callable[[], None],
    version: str,
    clock: Clock | None = None,
) -> None:
    """Ingest until ``stop``; ``ending`` closes what was opened. ``started`` is called when it works.

    Raises Fatal for missing keys, a feed or an address that is none, missing rights or topics.
    """
    cluster, calendar, config = settings.cluster, settings.calendar, settings.config
    feed, topology = config.bars.feed, topology_in_use()
    keys = partial(credentials, *references)
    keys()
    cluster_id_of(cluster)
    demand_rights(cluster, ingest(topology))
    check(cluster)
    clock = clock or market_clock(data_url, stop)
    asker = Asker(lambda sleep: History(data_url, feed, keys(), clock=clock, sleep=sleep), clock)
    health = Health()
    if unknown := asker.probe():
        log.error("it is not known what the plan has: %s", unknown)
    wanted = partial(_wanted, cluster, list(config.universe.symbols))
    symbols, now, last = wanted(), clock.now(), last_watermarks(cluster, SOURCES)
    labels = [label for label in last.values() if label is not None]
    _refuse_later(max(labels, default=0), now)
    with KafkaSource(cluster) as source:
        core = Ingest(
            feed,
            symbols,
            calendar,
            now=now,
            grace_s=config.bars.grace_s,
            recent_s=asker.recent_s,
            last=labels,
            standing=(body for body in bodies(source, "bars", since(calendar, now)) if body["feed"] == feed),
            halted=_halted(source, feed, since(calendar, now)),
        )
    writer = ending.enter_context(KafkaLogWriter(cluster, settings.origin(STAGE)))
    openings: Openings | None = None
    process: BarsIngest | None = None
    if topology.optional:

        def meanwhile() -> None:
            if stop.is_set():
                raise _Stopped
            if process is not None:
                process.beat_if_due()

        inputs = optional_inputs(cluster, topology.optional, meanwhile=meanwhile)
        openings = Openings(ending.enter_context(inputs), SOURCES, writer, since=now - BEHIND_US)
        openings.complete(last)
    queue = FrameQueue()
    lease = lease_of(settings, connection_name(stream_url(data_url, feed), keys().key))
    stream = MarketStream(
        data_url, feed, keys, queue, teller(health), clock=clock, calendar=calendar,
        lease=lease, quiet=lambda: core.quiet,
    )  # fmt: skip
    stream.want(symbols)
    process = BarsIngest(
        core, queue, asker, writer, health, layout=cluster.layout, clock=clock,
        about=about(version, config.digest), openings=openings, wanted=wanted,
        alone=ForeignMarks(cluster).refuse, stream=stream,
    )  # fmt: skip
    process.begin(level=len(labels) == len(last) and set(labels) == {core.ended})
    if universe_of(cluster) is None:
        write_universe(cluster, config, first=core.ended + MINUTE_US)
    asker.start()
    ending.callback(asker.close)
    thread = StreamThread(stream, health)
    thread.start()
    ending.callback(thread.close)
    started()
    with suppress(_Stopped):
        process.run(stop, (asker, thread))


def _refuse_later(last: int, now: int) -> None:
    """Raise Fatal where the topics are at a later time than the market: nothing would be written."""
    if last > now + AHEAD_US:
        raise Fatal(
            "the topics already hold a later market: their watermarks cannot go back",
            value=f"{iso_time(last)}, and the market is at {iso_time(now)}",
            remedy="use another TAPE_PREFIX or a fresh stack",
        )


def _wanted(cluster: Cluster, configured: list[str]) -> list[str]:
    """The underlyings of what is held, then the universe in force: the order in which a plan's limit cuts."""
    held: dict[tuple[str, str], str] = {}
    with KafkaSource(cluster) as source:
        for body in bodies(source, "positions", 0):
            key = (body["account_id"], body["instrument"])
            held.pop(key, None)
            if body["qty"]:
                held[key] = describe(body["instrument"]).underlying
        universe = newest_universe(source)
    members = symbols_of(universe) if universe is not None else configured
    return list(dict.fromkeys((*held.values(), *members)))


def _halted(source: KafkaSource, feed: str, begins: int) -> Iterator[str]:
    """The symbols whose newest trading status is a halt."""
    newest: dict[str, tuple[int, str]] = {}
    for body in bodies(source, MARKET_EVENTS, begins):
        if body["feed"] == feed and body["kind"] in (Kind.HALTED, Kind.RESUMED):
            at = (body["event_time"], body["kind"])
            newest[body["symbol"]] = max(at, newest.get(body["symbol"], at))
    yield from (symbol for symbol, (_, kind) in newest.items() if kind == Kind.HALTED)
