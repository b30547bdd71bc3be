"""The topology that commands run: the shipped one, or the user's."""

import os
from collections.abc import Mapping
from pathlib import Path

from tapedeck.streams.topology import Topology


def topology_in_use(config: Path | None = None, *, environment: Mapping[str, str] = os.environ) -> Topology:
    """The topology that TAPE_TOPOLOGY names, else ``topology`` of the document, else the shipped one.

    The document is ``config`` if given, else the current one. Importing the topology declares
    its records, topics and parameters. Raises Fatal if it cannot be imported or is not sound.
    """
    from tapedeck.tape.local.where import CONFIG, look  # noqa: PLC0415 - it loads what `tape --help` does not need

    typed = {CONFIG: str(config)} if config else None
    return look(typed, environment=environment, is_document_needed=False).topology()
