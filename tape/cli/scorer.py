"""``tape scorer``: scores the linked texts of the pipeline until it is stopped."""

import signal
import threading
from typing import Annotated

import typer

from tapedeck.agents import journal
from tapedeck.agents.settings import code_version, from_environment
from tapedeck.connectors.kafka.acls import SCORER
from tapedeck.streams.metrics import MODEL, Buckets, Sample
from tapedeck.tape.cli.pipeline import told
from tapedeck.tape.serving import serving


def scorer(
    model: Annotated[
        str,
        typer.Option(
            envvar="TAPE_SENTIMENT_MODEL", help="The model's folder or name, for finbert, onnx and hybrid."
        ),
    ] = "",
) -> None:
    """Score the texts of links and post_links with sentiment.engine, into sentiment, until SIGTERM."""
    from tapedeck.tape.ingest.scorer import run  # noqa: PLC0415 - a bad environment is told before

    settings = from_environment(told())
    journal.set_up()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    seconds = Buckets()
    started = serving(SCORER, settings, more=lambda: [Sample(MODEL, seconds)], dead=False)
    run(settings, model, stop, started=started, version=code_version(), seconds=seconds)
