"""Plays a tape into the source topics of a running stack, with its progress."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.acls import demand_rights
from tapedeck.connectors.kafka.admin import describe
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.principals import ingest
from tapedeck.connectors.paper.remote import RemoteExchange
from tapedeck.connectors.tapes.generator import DEFAULT_SESSION
from tapedeck.connectors.tapes.marks import (
    Follower,
    first_session,
    last_watermarks,
    optional_inputs,
    standing,
)
from tapedeck.connectors.tapes.openings import ABSENT_AFTER_S
from tapedeck.connectors.tapes.player import (
    PLAYED,
    SOURCES,
    Pace,
    Played,
    Player,
    Standing,
    is_over,
    refuse_expired,
)
from tapedeck.connectors.tapes.source import TapeSource
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.connectors.tapes.writers import LIVE_WRITERS, refuse_beside_live
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import NEW_YORK, Phase, iso_date, xnys
from tapedeck.streams.topology import Topology
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.file_options import (
    progress,
)
from tapedeck.topics.catalogue import FOREVER, Cleanup, topic

if TYPE_CHECKING:
    from tapedeck.connectors.kafka.bulk.source import KafkaSource

_TELL_S = 10.0


def _nothing() -> None:
    pass


def each_session(source: TapeSource, days: tuple[date, date] | None, cluster: Cluster) -> list[TapeSource]:
    """What to play: a synthetic market continues from the day it began in these topics."""
    found = source.over(*days, xnys(), progress()) if days else [source]
    if source.origin is None:
        return found
    begun = _begun(cluster, source.origin)
    return [
        replace(each, since=begun)
        if begun is not None and begun <= (each.session or DEFAULT_SESSION)
        else each
        for each in found
    ]


def _begun(cluster: Cluster, origin: str) -> date | None:
    with _source(cluster) as source:
        return first_session(source, origin, xnys())


def unless_played(source: TapeSource, cluster: Cluster) -> Tape | None:
    """The tape; None if the topics have all of it."""
    last = last_watermarks(cluster, PLAYED)
    ended = min(label or 0 for (name, _), label in last.items() if name in SOURCES)
    if source.session and iso_date(xnys().session_date(ended)) > source.session:
        return None
    tape = source.load(progress())
    return None if is_over(tape, last) else tape


def play_tape(
    topology: Topology,
    tape: Tape,
    pace: Pace,
    cluster: Cluster,
    origin: Origin,
    *,
    exchange: str | None = None,
    stages: tuple[str, ...] = (),
    meanwhile: Callable[[], None] = _nothing,
    absent_after_s: float = ABSENT_AFTER_S,
) -> Played:
    """Play ``tape`` with a progress bar.

    At pace max each minute of the REGULAR phase, and the last one, waits for every market stage and for the
    heartbeats of ``stages``. Minutes outside it do not wait, because nothing trades in them. ``exchange`` is
    the paper exchange whose clock moves with the tape. ``meanwhile`` is called during waits and may raise.
    An optional input is absent once it has been silent for ``absent_after_s``; then only what needs none is
    waited for.
    Raises Fatal for an expired tape, a stall, topics that are past it, or live data that others write there.
    """
    demand_rights(cluster, ingest(topology))
    refuse_beside_live(cluster, SystemClock().now(), LIVE_WRITERS)
    refuse_expired(tape, _retention(cluster), SystemClock().now())
    console = Console(stderr=True)
    for line in (tape.name, *tape.notes):
        console.print(line, highlight=False, markup=False)
    with KafkaLogWriter(cluster, origin) as writer, ExitStack() as while_playing:
        wait_for: Callable[[int], None] = _no_wait
        if pace.speed is None:
            stages_at = Follower(cluster, topology.marked, stages=stages, meanwhile=meanwhile)
            wait_for = _in_session(
                tape, _following(topology, while_playing.enter_context(stages_at), lambda: player.absent)
            )
        optional = None
        if topology.optional:
            inputs = optional_inputs(
                cluster, topology.optional, meanwhile=meanwhile, absent_after_s=absent_after_s
            )
            optional = while_playing.enter_context(inputs)
        bar = while_playing.enter_context(_bar(console))
        minutes = bar.add_task("play", total=len(tape.minutes), minute="")

        tell = _teller(console)
        move = RemoteExchange(exchange, meanwhile).advance if exchange else _no_wait

        def before(label: int) -> None:
            move(label)
            bar.update(minutes, minute=_clock_face(label), completed=tape.number(label))
            tell(f"{_clock_face(label)} New York, {tape.number(label)} of {len(tape.minutes)} minutes")

        player = Player(tape, writer, pace, before_minute=before, wait_for=wait_for, optional=optional)
        played = player.play(lambda: last_watermarks(cluster, PLAYED), lambda t: _standing(cluster, t))
        bar.update(minutes, completed=len(tape.minutes))
    resumed = f", resumed after {_clock_face(played.resumed_after)}" if played.resumed_after else ""
    texts = f", {played.news} articles, {played.posts} posts" if played.news or played.posts else ""
    print(f"played {played.minutes} minutes, {played.bars} bars, {played.quotes} quotes{texts}{resumed}")
    return played


def _following(
    topology: Topology, follower: Follower, absent: Callable[[], tuple[str, ...]]
) -> Callable[[int], None]:
    """Wait for what the stages write; where an input is absent, only for what needs no such input."""
    reached = set(SOURCES)
    for spec in topology.market:
        if reached.issuperset((spec.trigger, *(join.topic for join in spec.joins if not join.optional))):
            reached.update(spec.outputs)
    beside = frozenset(topology.marked) - reached
    return lambda label: follower.wait_for(label, without=beside if absent() else ())


def _standing(cluster: Cluster, since: int) -> Standing:
    with _source(cluster) as source:
        return standing(source, since)


def _source(cluster: Cluster) -> "KafkaSource":
    from tapedeck.connectors.kafka.bulk.source import KafkaSource  # noqa: PLC0415 - its kernels load slowly

    return KafkaSource(cluster)


def _no_wait(label: int) -> None:
    pass


def _in_session(tape: Tape, wait_for: Callable[[int], None]) -> Callable[[int], None]:
    """``wait_for``, but only in the REGULAR phase and at the tape's end."""
    calendar, last = xnys(), tape.minutes[-1].label

    def wait(label: int) -> None:
        if label == last or calendar.phase(label) is Phase.REGULAR:
            wait_for(label)

    return wait


def _teller(console: Console) -> Callable[[str], None]:
    """Prints a line every ``_TELL_S`` where no progress bar can be drawn: in a file or a build log."""
    next_at = time.monotonic() + _TELL_S

    def tell(line: str) -> None:
        nonlocal next_at
        if not console.is_terminal and time.monotonic() >= next_at:
            next_at = time.monotonic() + _TELL_S
            console.print(line, highlight=False)

    return tell


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.fields[minute]} New York"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("minutes"),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )


class _Rate(ProgressColumn):
    """Tape minutes per second."""

    def render(self, task: Task) -> str:
        return f"{task.speed:.1f}/s" if task.speed else ""


def _clock_face(label: int) -> str:
    return datetime.fromtimestamp(label / 1e6, tz=NEW_YORK).strftime("%Y-%m-%d %H:%M")


def _retention(cluster: Cluster) -> Callable[[str], int]:
    """Each source topic's retention on this cluster in ms, -1 if it never deletes by time."""
    found = describe(cluster)

    def of(name: str) -> int:
        wire = cluster.layout.wire_name(name)
        if wire not in found:
            raise Fatal(
                "the topic does not exist", value=wire, remedy="create it with `tape topics --create`"
            )
        if topic(name).cleanup is Cleanup.COMPACT:
            return FOREVER
        return int(found[wire].config["retention.ms"])

    return of
