"""``tape exchange``: the paper exchange and a data server over a tape, on loopback, until it is stopped."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from tapedeck.connectors.clock import RunningClock, TapeClock
from tapedeck.connectors.credentials import credentials
from tapedeck.connectors.paper import arming, tempers
from tapedeck.connectors.paper.book import TIER_CASH, PaperAccount
from tapedeck.connectors.paper.data.articles import NewsList
from tapedeck.connectors.paper.data.scenarios import Scenarios, listed
from tapedeck.connectors.paper.data.service import DataService
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.expiry import Listed
from tapedeck.connectors.paper.faults import Faults
from tapedeck.connectors.paper.hands import Liquidates
from tapedeck.connectors.paper.saved import Saved
from tapedeck.connectors.paper.server import MovableClock, PaperServer
from tapedeck.connectors.paper.tempers import Profile
from tapedeck.connectors.tapes.generator import DEFAULT_SESSION
from tapedeck.connectors.tapes.player import Pace
from tapedeck.connectors.tapes.source import TapeSource, session_date
from tapedeck.connectors.tapes.tape import Tape
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import EMBEDDED
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.tape.local.state import EXCHANGE_URL
from tapedeck.tape.local.where import look
from tapedeck.tape.serving import begin


def exchange(
    tape: Annotated[
        str,
        typer.Option(envvar="TAPE_EXCHANGE_TAPE", help="A file, a recorded folder, synthetic[:SEED]."),
    ] = "synthetic",
    *,
    session: Annotated[
        str | None, typer.Option(envvar="TAPE_EXCHANGE_SESSION", help="New York date, YYYY-MM-DD.")
    ] = None,
    market: Annotated[
        str | None,
        typer.Option(envvar="TAPE_EXCHANGE_MARKET", help="Another command's description of its tape, JSON."),
    ] = None,
    speed: Annotated[str, typer.Option(envvar="TAPE_EXCHANGE_SPEED", help="As in `tape play`.")] = "max",
    run: Annotated[
        bool, typer.Option("--run", help="Without a player: the clock runs by itself at --speed (max: 1x).")
    ] = False,
    news: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Articles to publish, JSON lines.")
    ] = None,
    history_from: Annotated[
        str | None, typer.Option(help="First session of the history, YYYY-MM-DD; default: the one before.")
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Arm NAME or NAME:seconds=60,count=2; may be repeated.")
    ] = None,
    scenarios: Annotated[bool, typer.Option("--scenarios", help="List the scenarios and exit.")] = False,
    temper: Annotated[
        Profile, typer.Option(envvar="TAPE_EXCHANGE_TEMPER", help="How often it misbehaves by itself.")
    ] = Profile.CALM,
    fault: Annotated[
        list[str] | None, typer.Option(help="Arm NAME or NAME:operation=cancel,count=2; may be repeated.")
    ] = None,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults and exit.")] = False,
    calls_per_minute: Annotated[
        int | None,
        typer.Option(min=1, help="Calls of an account before 429; Alpaca: 200; default: no limit."),
    ] = None,
    liquidation: Annotated[
        Liquidates, typer.Option(help="Whether it closes expiring contracts itself; Alpaca: UNAFFORDABLE.")
    ] = Liquidates.NEVER,
    hard_to_borrow: Annotated[
        list[str] | None, typer.Option(help="A stock that nobody can sell short; may be repeated.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 picks a free one.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of ids and fill delays.")] = 0,
    cash: Annotated[list[str] | None, typer.Option(help="ACCOUNT=USD; default: by tier.")] = None,
    activities: Annotated[
        Listed, typer.Option(help="When an expiry or exercise is listed; Alpaca's paper: NEXT_SESSION.")
    ] = Listed.AT_ONCE,
    folder: Annotated[
        Path | None,
        typer.Option(
            envvar="TAPE_EXCHANGE_FOLDER", help="Where accounts and time are saved; default: in memory."
        ),
    ] = None,
) -> None:
    """Serve the configured accounts and Alpaca's market data over a tape. The player moves its clock.

    If the folder already has an exchange, it continues with that market, time, accounts and orders.
    """
    if scenarios or faults:
        typer.echo("\n".join(listed() if scenarios else arming.listed()))
        return
    armed, misbehavior = Scenarios(scenario or ()), Faults(tempers.temper(temper, seed))
    arming.arm_all(misbehavior, fault or ())
    config = _document()
    saved = Saved(folder) if folder else None
    source = TapeSource(tape=tape, session=session_date(session), feed=config.bars.feed)
    if market is not None:
        source = TapeSource.described(_described(market))
    if saved is not None and saved.market:
        source = TapeSource.described(saved.market)
    source, earlier = with_history(source, session_date(history_from))
    played = source.load()
    paper = PaperExchange(
        played.market,
        xnys(),
        open_accounts(config, _amounts(cash or [])),
        now=played.first_live,
        seed=seed,
        faults=misbehavior,
        listed=activities,
        liquidates=liquidation,
        calls_per_minute=calls_per_minute,
        hard_to_borrow=hard_to_borrow or (),
    )
    clock = _clock(paper, Pace.parse(speed), saved, source, runs=run)
    data = DataService(
        played,
        paper.calendar,
        paper.authenticate,
        now=paper.now,
        scenarios=armed,
        news=NewsList.read(news) if news else None,
        earlier=earlier,
    )
    server = PaperServer(paper, clock, port=_port(port), market=source, saved=saved, data=data)
    typer.echo(f"market {played.name} ({played.market.origin})")
    asyncio.run(_serve(server, config))


def open_accounts(config: Config, cash: dict[str, Decimal]) -> list[PaperAccount]:
    """The configured accounts with credentials and starting cash. Raises Fatal for one without."""
    unknown = set(cash) - {account.account_id for account in config.accounts}
    if unknown:
        raise Fatal(
            "no such account to give cash to", value=sorted(unknown)[0], remedy="see the configuration"
        )
    opened = []
    for account in config.accounts:
        keys = credentials(account.key_ref, account.secret_ref)
        money = cash.get(account.account_id, Decimal(TIER_CASH[account.tier]))
        number, margin = account.broker_account_id, account.allow_shorting
        opened.append(PaperAccount(number, keys.key, keys.secret, money, margin=margin))
    return opened


def _clock(
    paper: PaperExchange, pace: Pace, saved: Saved | None, source: TapeSource, *, runs: bool
) -> MovableClock:
    """The clock to serve by, at the saved time if there is one."""
    restored = False
    if saved is not None:
        saved.market = source.description()
        restored = saved.restore(paper)
    if runs:
        return RunningClock(paper.now, pace.speed or 1.0)
    clock = TapeClock(pace.speed)
    if restored:
        clock.advance(paper.now - paper.now % MINUTE_US - MINUTE_US)
    return clock


async def _serve(server: PaperServer, config: Config) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    started = begin("exchange", config.digest)
    await server.start()
    try:
        typer.echo(f"paper exchange on {server.url}")
        started()
        for account in config.accounts:
            if account.base_url not in (EMBEDDED, server.url):
                typer.echo(
                    f"note: account {account.account_id} trades at {account.base_url}, not here", err=True
                )
        await stop.wait()
    finally:
        await server.stop()


def with_history(source: TapeSource, first: date | None) -> tuple[TapeSource, Iterator[Tape]]:
    """The source of the session to serve, and the tapes of those from ``first`` on before it.

    Raises Fatal where no session is named, or one before ``first``.
    """
    if first is None:
        return source, iter(())
    last = source.session or (DEFAULT_SESSION if source.seed is not None else None)
    if last is None:
        remedy = "name the session to serve with --session"
        raise Fatal("a history needs a session that it ends at", value=str(first), remedy=remedy)
    if first > last:
        remedy = f"name a date before {last}"
        raise Fatal("the history begins after the session to serve", value=str(first), remedy=remedy)
    *before, served = source.over(first, last, xnys())
    if served.session != last:
        return source, iter(())  # loading it says which sessions the tape has
    return served, (each.load() for each in before)


def _described(market: str) -> dict[str, str]:
    try:
        return dict(json.loads(market))
    except (ValueError, TypeError):
        remedy = "leave it out, and name a tape with --tape and --session"
        raise Fatal("not the description of a tape", value=market, remedy=remedy) from None


def _document() -> Config:
    where = look().say()
    if where.config is None:
        remedy = "set it to the document that has the accounts to serve"
        raise Fatal("the environment variable TAPE_CONFIG is not set", remedy=remedy)
    return where.document()


def _port(port: int | None) -> int:
    if port is not None:
        return port
    named = os.environ.get(EXCHANGE_URL)
    return (urlsplit(named).port or 0) if named else 0


def _amounts(pairs: list[str]) -> dict[str, Decimal]:
    amounts = {}
    for pair in pairs:
        name, _, amount = pair.partition("=")
        try:
            amounts[name] = Decimal(amount)
        except InvalidOperation:
            raise Fatal("not an amount of cash", value=pair, remedy="write --cash tiny=5000") from None
    return amounts
