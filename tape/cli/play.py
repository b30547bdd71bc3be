"""``tape play``: a tape into the source topics of a running stack."""

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
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

from agents.settings import Settings, from_environment
from connectors.clock import SystemClock
from connectors.log import KafkaLogWriter
from connectors.tapes.marks import Follower, last_watermarks
from connectors.tapes.player import SOURCES, Pace, Player, refuse_expired
from connectors.tapes.source import TapeSource, session_date
from connectors.tapes.tape import Tape
from schemas.errors import Fatal
from streams.sessions import NEW_YORK
from streams.topology import MARKET_STAGES, spec_of, watermarked
from tape.local.places import stack_folder
from tape.local.state import running
from topics.admin import describe
from topics.catalogue import FOREVER, Cleanup, Layout, topic


def play(
    file: Annotated[Path | None, typer.Argument(help="Parquet or CSV of minute bars.")] = None,
    *,
    speed: Annotated[
        str, typer.Option(help="1x, 60x, any Nx, or max: as fast as the pipeline follows.")
    ] = "max",
    session: Annotated[
        str | None, typer.Option(help="New York date, YYYY-MM-DD; default: the newest.")
    ] = None,
    quotes: Annotated[Path | None, typer.Option(help="Quotes; default: FILE with trades as quotes.")] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Generate a session instead of a file.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the synthetic session.")] = None,
    feed: Annotated[str | None, typer.Option(help="Feed to play bars as; default: bars.feed.")] = None,
) -> None:
    """Play FILE, or a synthetic session, into the bars, quotes and universe topics."""
    settings = _settings()
    source = TapeSource(
        tape=_named(file, synthetic, seed),
        session=session_date(session),
        quotes=quotes,
        feed=feed or settings.config.bars.feed,
    )
    play_tape(source.load(), Pace.parse(speed), settings)


def play_tape(tape: Tape, pace: Pace, settings: Settings, *, stages: tuple[str, ...] = ()) -> None:
    """Play ``tape`` with a progress bar. At pace max each minute waits for every market stage, and for the
    heartbeats of ``stages``. Raises Fatal for an expired tape, a stall, or topics that are past it."""
    bootstrap, layout = settings.bootstrap, settings.layout
    refuse_expired(tape, _retention(bootstrap, layout), SystemClock().now())
    console = Console(stderr=True)
    console.print(f"{tape.name} ({tape.origin})", *tape.notes, sep="\n  ", highlight=False)
    writer = KafkaLogWriter(bootstrap, layout, settings.origin("play"))
    with closing(writer), ExitStack() as open_while_playing:
        wait_for = None
        if pace.speed is None:
            outputs = tuple(name for stage in MARKET_STAGES for name in watermarked(spec_of(stage).outputs))
            follower = Follower(bootstrap, layout, outputs, stages=stages)
            wait_for = open_while_playing.enter_context(follower).wait_for
        bar = open_while_playing.enter_context(_bar(console))
        line = bar.add_task("play", total=len(tape.minutes), minute="")
        player = Player(
            tape,
            writer,
            pace,
            before_minute=lambda label: bar.update(
                line, minute=_clock_face(label), completed=tape.number(label)
            ),
            wait_for=wait_for or (lambda label: None),
        )
        played = player.play(lambda: last_watermarks(bootstrap, layout, SOURCES))
        bar.update(line, completed=len(tape.minutes))
    resumed = f", resumed after {_clock_face(played.resumed_after)}" if played.resumed_after else ""
    print(f"played {played.minutes} minutes, {played.bars} bars, {played.quotes} quotes{resumed}")


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
    """Tape minutes a second."""

    def render(self, task: Task) -> str:
        return f"{task.speed:.1f}/s" if task.speed else ""


def _clock_face(label: int) -> str:
    return datetime.fromtimestamp(label / 1e6, tz=NEW_YORK).strftime("%Y-%m-%d %H:%M")


def _retention(bootstrap: str, layout: Layout) -> Callable[[str], int]:
    """Each source topic's retention on this cluster in ms, -1 where it never deletes by time."""
    found = describe(bootstrap, layout)

    def of(name: str) -> int:
        wire = layout.wire_name(name)
        if wire not in found:
            raise Fatal("the topic is not there", value=wire, remedy="create it with `tape topics --create`")
        if topic(name).cleanup is Cleanup.COMPACT:
            return FOREVER
        return int(found[wire].config["retention.ms"])

    return of


def _settings() -> Settings:
    """Of the environment where it names a broker, else of the stack that runs here."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return from_environment()
    folder = stack_folder(None)
    stack = running(folder)
    return Settings(
        bootstrap=stack.bootstrap,
        config_path=Path(stack.config),
        home=folder,
        prefix=stack.prefix,
        database_url=stack.database_url,
    )


def _named(file: Path | None, synthetic: bool, seed: int | None) -> str:
    if (file is None) != synthetic:
        raise Fatal(
            "name a FILE or --synthetic, not both" if synthetic else "there is nothing to play",
            remedy="`tape play FILE --session DATE`, or `tape play --synthetic --seed N`",
        )
    if file is not None and seed is not None:
        raise Fatal("a seed is for --synthetic", value=seed, remedy="leave --seed out")
    return str(file) if file is not None else "synthetic" if seed is None else f"synthetic:{seed}"
