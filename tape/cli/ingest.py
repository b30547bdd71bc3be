"""``tape ingest``: the processes that bring the world in, and files that are read once."""

import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapedeck.agents import journal
from tapedeck.agents.settings import code_version, from_environment
from tapedeck.connectors.alpaca.market.endpoints import DATA_URL
from tapedeck.connectors.kafka.acls import INGEST
from tapedeck.connectors.tapes.writers import LIVE, LIVE_NEWS, LIVE_POSTS
from tapedeck.tape.cli.pipeline import Bootstrap, Prefix, pipeline_of, told
from tapedeck.tape.serving import serving

if TYPE_CHECKING:
    from tapedeck.agents.settings import Settings

DataUrl = Annotated[
    str, typer.Option(envvar="TAPE_DATA_URL", help="Alpaca's market data, or `tape exchange` here.")
]
KeyReference = Annotated[
    str, typer.Option(envvar="TAPE_DATA_KEY_REF", help="Where the key is: a variable, or a file's path.")
]
SecretReference = Annotated[
    str, typer.Option(envvar="TAPE_DATA_SECRET_REF", help="Where the secret is, likewise.")
]

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def ingest() -> None:
    """Bring the world in: one process a source; files are read once."""


@app.command()
def bars(
    *,
    data_url: DataUrl = DATA_URL,
    key: KeyReference = "APCA_API_KEY_ID",
    secret: SecretReference = "APCA_API_SECRET_KEY",
) -> None:
    """Write Alpaca's live bars, quotes and halts of bars.feed into the source topics until SIGTERM."""
    from tapedeck.tape.ingest.live import run  # noqa: PLC0415 - it loads for long

    settings: Settings = from_environment(told())
    journal.set_up()
    stop = _stopped_by_signals()
    with ExitStack() as ending:
        started = serving(LIVE, settings)
        run(settings, data_url, (key, secret), stop, ending, started=started, version=code_version())


@app.command()
def news(
    *,
    alpaca: Annotated[
        bool | None, typer.Option(help="Alpaca's news beside the feeds; by default if its keys are set.")
    ] = None,
    data_url: DataUrl = DATA_URL,
    key: KeyReference = "APCA_API_KEY_ID",
    secret: SecretReference = "APCA_API_SECRET_KEY",
) -> None:
    """Write the articles of [[news.feeds]] and of Alpaca into the topic news until SIGTERM."""
    from tapedeck.tape.ingest.news_live import keys_of, run  # noqa: PLC0415 - it loads for long

    settings: Settings = from_environment(told())
    journal.set_up()
    references = keys_of((key, secret), alpaca)
    started = serving(LIVE_NEWS, settings)
    run(settings, data_url, references, _stopped_by_signals(), started=started, version=code_version())


@app.command()
def posts() -> None:
    """Write posts and comments of reddit.subreddits into the topic posts until SIGTERM (extra reddit)."""
    from tapedeck.tape.ingest.posts_live import run  # noqa: PLC0415 - it loads for long

    settings: Settings = from_environment(told())
    journal.set_up()
    started = serving(LIVE_POSTS, settings)
    run(settings, _stopped_by_signals(), started=started, version=code_version())


@app.command()
def regime(
    file: Annotated[Path, typer.Argument(help="CSV: at,available_at,value.")],
    *,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Write the values of a volatility index from FILE into the topic regime; what it has is left out."""
    _bring("regime", file, bootstrap, prefix)


@app.command()
def earnings(
    file: Annotated[Path, typer.Argument(help="CSV: symbol,report_date,report_time,available_at.")],
    *,
    bootstrap: Bootstrap = "",
    prefix: Prefix = None,
) -> None:
    """Write the dates of coming earnings from FILE into the topic earnings; what it has is left out."""
    _bring("earnings", file, bootstrap, prefix)


def _bring(name: str, file: Path, bootstrap: Bootstrap, prefix: Prefix) -> None:
    """The records of a file into its topic. A bad line is refused before a broker is asked for."""
    from tapedeck.connectors.outlook.files import READERS  # noqa: PLC0415 - see below
    from tapedeck.tape.ingest.outlook import run  # noqa: PLC0415 - it loads for long

    records = READERS[name](file)
    print(run(name, records, file, pipeline_of(bootstrap, prefix, INGEST)))


def _stopped_by_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
