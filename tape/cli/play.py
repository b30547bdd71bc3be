"""``tape play``: plays a tape into the source topics of a running stack."""

from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.connectors.kafka.acls import INGEST
from tapedeck.connectors.paper.remote import RemoteExchange
from tapedeck.connectors.tapes.market_files.options import Duplicates
from tapedeck.connectors.tapes.openings import ABSENT_AFTER_S
from tapedeck.connectors.tapes.player import Pace
from tapedeck.connectors.tapes.source import TapeSource, session_date, session_range
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.file_options import (
    Columns,
    News,
    Quotes,
    Repeated,
    Scale,
    Symbols,
    Zone,
    progress,
    reading_of,
)
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of
from tapedeck.tape.playing import each_session, play_tape, unless_played
from tapedeck.tape.serving import begin
from tapedeck.tape.topology import topology_in_use

if TYPE_CHECKING:
    pass


def play(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Minute bars: a file, a folder or pattern of files, or a folder of `tape record`."
        ),
    ] = None,
    *,
    speed: Annotated[str, typer.Option(help="1x, 60x, any Nx, or max: in lock-step.")] = "max",
    session: Annotated[
        str | None, typer.Option(help="New York date, YYYY-MM-DD; default: the newest.")
    ] = None,
    sessions: Annotated[
        str | None,
        typer.Option(metavar="FIRST..LAST", help="Several sessions, one after the other, between two dates."),
    ] = None,
    quotes: Quotes = None,
    news: News = None,
    zone: Zone = None,
    columns: Columns = None,
    symbols: Symbols = None,
    scale: Scale = None,
    duplicates: Repeated = Duplicates.REFUSE,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Generate a session instead of reading a file.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the synthetic session.")] = None,
    exchange: Annotated[
        str | None, typer.Option(envvar="TAPE_EXCHANGE_URL", help="A paper exchange whose clock to move.")
    ] = None,
    wait_for: Annotated[
        list[str] | None, typer.Option(help="At max, wait for this stage's heartbeat too; may be repeated.")
    ] = None,
    absent_after: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Silence after which an input is absent.")
    ] = ABSENT_AFTER_S,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Play FILE, or a synthetic market, into the topics of bars, quotes, universe, news and posts."""
    pace = Pace.parse(speed)
    named = TapeSource(
        tape=_named(file, synthetic, seed),
        session=session_date(session),
        quotes=quotes,
        news=news,
        reading=reading_of(zone, columns, symbols, scale, duplicates),
    )
    days = _range(sessions, named)
    pipeline = pipeline_of(bootstrap, prefix, INGEST)
    config = pipeline.document()
    begin("play", config.digest)()
    moved = exchange or pipeline.exchange
    dispatchers = [f"dispatch-{each.account_id}" for each in config.accounts] if moved else []
    for source in each_session(replace(named, feed=config.bars.feed), days, pipeline.cluster):
        tape = unless_played(source, pipeline.cluster) if days else source.load(progress())
        if tape is None:
            print(f"{source.session}: already played")
            continue
        if moved:
            RemoteExchange(moved).open_market(source)
        play_tape(
            topology_in_use(),
            tape,
            pace,
            pipeline.cluster,
            Origin("play", version("tapedeck"), config.digest),
            exchange=moved,
            stages=tuple(wait_for or dispatchers),
            absent_after_s=absent_after,
        )


def _range(sessions: str | None, source: TapeSource) -> tuple[date, date] | None:
    if sessions and source.session:
        raise Fatal(
            "--session and --sessions exclude each other", value=sessions, remedy="leave one of them out"
        )
    return session_range(sessions) if sessions is not None else None


def _named(file: Path | None, synthetic: bool, seed: int | None) -> str:
    if (file is None) != synthetic:
        raise Fatal(
            "name a FILE or --synthetic, not both" if synthetic else "there is nothing to play",
            remedy="`tape play FILE --session DATE`, or `tape play --synthetic --seed N`",
        )
    if file is not None and seed is not None:
        raise Fatal("--seed applies only to --synthetic", value=seed, remedy="leave out --seed")
    return str(file) if file is not None else "synthetic" if seed is None else f"synthetic:{seed}"
