"""``tape ingest regime`` and ``tape ingest earnings``: a file into its optional topic."""

from collections.abc import Sequence
from pathlib import Path

from tapedeck.agents.settings import code_version
from tapedeck.connectors.config_file import load
from tapedeck.connectors.kafka.log import KafkaLogWriter
from tapedeck.connectors.kafka.scan import read_topic
from tapedeck.connectors.outlook.records import REGIME, Body
from tapedeck.connectors.outlook.writing import write
from tapedeck.streams.wire import Origin
from tapedeck.tape.cli.pipeline import Pipeline

SOURCE = "ingest"


def run(name: str, records: Sequence[Body], path: Path, pipeline: Pipeline) -> str:
    """Write the ``records`` of the file at ``path`` into topic ``name``; what was done, in a line.

    Raises Fatal, and writes nothing, if the topic says something else of a moment than the file.
    """
    config = load(pipeline.config) if pipeline.config else None
    there = read_topic(pipeline.cluster, name)
    origin = Origin(SOURCE, code_version(), config.digest if config else "")
    with KafkaLogWriter(pipeline.cluster, origin) as writer:
        done = write(writer, name, records, there, path)
    told = f"{name}: {done.fresh} records written, {done.there} were there"
    off = name == REGIME and config is not None and not config.regime.enabled
    return f"{told}; no account goes by them, as regime.enabled is false" if off else told
