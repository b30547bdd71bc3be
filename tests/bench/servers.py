"""The broker and the database of a bench: those that the environment names, else embedded ones."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tapedeck.tape.local import aot
from tapedeck.tape.local.kafka import EmbeddedKafka
from tapedeck.tape.local.places import cache_dir
from tapedeck.tape.local.postgres import EmbeddedPostgres


@contextmanager
def kafka() -> Iterator[str]:
    """A broker's bootstrap servers."""
    if named := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield named
        return
    aot.prepare(cache_dir())
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder:
        broker = EmbeddedKafka(Path(folder) / "kafka", cache_dir())
        try:
            yield broker.start()
        finally:
            broker.stop()


@contextmanager
def postgres() -> Iterator[str]:
    """A database's URL."""
    if named := os.environ.get("DATABASE_URL"):
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as folder:
        database = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            database.start()
            yield database.url
        finally:
            database.remove()
