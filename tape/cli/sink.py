"""``tape sink``: copies every audited topic into Postgres, exactly once per event, until it is stopped."""

import signal
import threading
from contextlib import suppress
from typing import Annotated

import typer

from tapedeck.agents import journal
from tapedeck.agents.settings import from_environment
from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.identity import cluster_id_of
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.postgres.documents import keep_document
from tapedeck.connectors.postgres.offsets import DEFAULT_GROUP
from tapedeck.connectors.postgres.resuming import adopt as adopt_logs
from tapedeck.connectors.postgres.sink import Sink, SinkSettings
from tapedeck.schemas.errors import Retry
from tapedeck.tape.cli.pipeline import found, told
from tapedeck.tape.local.where import DATABASE
from tapedeck.tape.serving import serving
from tapedeck.topics.catalogue import CATALOGUE


def sink(
    group: Annotated[
        str, typer.Option(help="The group whose offsets in Postgres to resume from.")
    ] = DEFAULT_GROUP,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="Only this topic; may be repeated.")
    ] = None,
    migrate: Annotated[
        bool,
        typer.Option(help="Bring the tables to the newest revision first; the login must be allowed to."),
    ] = True,
    adopt: Annotated[
        list[str] | None,
        typer.Option(
            help="This topic was recreated or cut: record that the sink reads it from its start, and exit."
            " May be repeated."
        ),
    ] = None,
    moved_from: Annotated[
        str,
        typer.Option(
            help="The Kafka cluster with this id was replaced by the one that answers: record that, and exit."
        ),
    ] = "",
) -> None:
    """Copy every audited topic into Postgres until SIGTERM."""
    if adopt or moved_from:
        where = found()
        url = where.get(DATABASE)
        for line in adopt_logs(url, where.cluster(), adopt or (), group=group, moved_from=moved_from):
            print(line)
        return
    settings = from_environment(told())
    journal.set_up()
    url = settings.database()
    if migrate:
        cluster_id_of(settings.cluster)  # the tables of another cluster's audit are left alone
        upgrade(url, settings.prefix)
    with suppress(Retry):  # the sink itself waits for a database that is away
        keep_document(url, settings.prefix, settings.config, person=group, reason="it started with this one")
    what = SinkSettings(
        cluster=settings.cluster,
        url=url,
        group=group,
        topics=tuple(topics or (topic.name for topic in CATALOGUE.audited)),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    outbox = Outbox(settings.cluster, group)
    try:
        process = Sink(what, outbox, SystemClock(), settings.origin(group))
        started = serving(group, settings, connected=process.lacks, more=process.samples)
        process.run(stop, started=started)
    finally:
        outbox.close()
