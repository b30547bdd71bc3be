"""Writes docker-compose.yml and the files that it mounts: ``python -m tapedeck.tape.deployment [DOCUMENT]``.

DOCUMENT is a configuration with your accounts; without one, it is the default document with the two example
accounts. Its topology is the one that the document names.
"""

import sys
from pathlib import Path

from tapedeck.connectors.config_file import load, topology_of
from tapedeck.schemas.errors import TapeError
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.tape.deployment.compose import files


def main(arguments: list[str]) -> int:
    """Write the files below the working directory; returns the exit code."""
    document = Path(arguments[0]) if arguments else None
    try:
        topology = topology_of(document)
        config = load(document) if document else Config(accounts=EXAMPLE_ACCOUNTS)
        made = files(topology, config)
    except TapeError as error:
        print(f"tape: {error}", file=sys.stderr)
        return 2
    for name, text in made.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
