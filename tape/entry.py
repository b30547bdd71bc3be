"""The entry point of ``tape``: a probe's question is answered before anything heavy is imported."""

import sys


def run() -> None:
    """Run the command of the arguments."""
    if sys.argv[1:2] == ["health"]:
        from tapedeck.connectors.health.asked import main  # noqa: PLC0415 - see above

        sys.exit(main(sys.argv[2:]))
    from tapedeck.tape.cli.main import run as run_command  # noqa: PLC0415 - see above

    run_command()
