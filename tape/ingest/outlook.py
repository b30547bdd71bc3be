"""``tape ingest regime`` and ``tape ingest earnings``: a file into its optional topic."""

from pathlib import Path

from tapedeck.agents.settings import code_version
from tapedeck.connectors.config_file import load
from tapedeck.connectors.kafka.acls import INGEST
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.outlook.files import READERS
from tapedeck.connectors.outlook.records import REGIME
from tapedeck.connectors.outlook.writing import Written, write
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.pipeline import pipeline_of

SOURCE = "ingest"


def run(name: str, path: Path, bootstrap: str, prefix: str | None) -> str:
    """Write the file at ``path`` into topic ``name``; what was done, in a line.

    The file is read whole before anything is written. Raises Fatal for a bad line, with its number.
    """
    records = READERS[name](path)
    pipeline = pipeline_of(bootstrap, prefix, INGEST)
    config = load(pipeline.config) if pipeline.config else None
    there = read_topic(pipeline.cluster, name)
    origin = Origin(SOURCE, code_version(), config.digest if config else "")
    with KafkaLogWriter(pipeline.cluster, origin) as writer:
        done = write(writer, name, records, there, path)
    told = _told(name, done)
    off = name == REGIME and config is not None and not config.regime.enabled
    return f"{told}; no account obeys them: regime.enabled is false" if off else told


def _told(name: str, done: Written) -> str:
    return f"{name}: {done.fresh} records written, {done.there} were there"
