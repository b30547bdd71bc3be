"""``tape exchange``: the paper exchange over a tape's market, on loopback, until it is stopped."""

import asyncio
import json
import os
import signal
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from tapedeck.agents.settings import tell_ready
from tapedeck.connectors.clock import TapeClock
from tapedeck.connectors.credentials import credentials
from tapedeck.connectors.paper.book import TIER_CASH, PaperAccount
from tapedeck.connectors.paper.exchange import PaperExchange
from tapedeck.connectors.paper.expiry import Listed
from tapedeck.connectors.paper.saved import Saved
from tapedeck.connectors.paper.server import PaperServer
from tapedeck.connectors.tapes.player import Pace
from tapedeck.connectors.tapes.source import TapeSource, session_date
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.accounts import EMBEDDED
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.sessions import xnys
from tapedeck.tape.local.state import EXCHANGE_URL
from tapedeck.tape.local.where import look


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
    """Serve the configured accounts over the market of a tape. The player moves its clock.

    If the folder already has an exchange, it continues with that market, time, accounts and orders.
    """
    config = _document()
    saved = Saved(folder) if folder else None
    source = TapeSource(tape=tape, session=session_date(session), feed=config.bars.feed)
    if market is not None:
        source = TapeSource.described(_described(market))
    if saved is not None and saved.market:
        source = TapeSource.described(saved.market)
    played = source.load()
    paper = PaperExchange(
        played.market,
        xnys(),
        open_accounts(config, _amounts(cash or [])),
        now=played.first_live,
        seed=seed,
        listed=activities,
    )
    clock = TapeClock(Pace.parse(speed).speed)
    if saved is not None:
        saved.market = source.description()
        if saved.restore(paper):
            clock.advance(paper.now - paper.now % MINUTE_US - MINUTE_US)
    server = PaperServer(paper, clock, port=_port(port), market=source, saved=saved)
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
        opened.append(PaperAccount(account.broker_account_id, keys.key, keys.secret, money))
    return opened


async def _serve(server: PaperServer, config: Config) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await server.start()
    try:
        typer.echo(f"paper exchange on {server.url}")
        tell_ready()
        for account in config.accounts:
            if account.base_url not in (EMBEDDED, server.url):
                typer.echo(
                    f"note: account {account.account_id} trades at {account.base_url}, not here", err=True
                )
        await stop.wait()
    finally:
        await server.stop()


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
