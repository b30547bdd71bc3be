"""``python -m tapedeck``: the same as the ``tape`` command, for processes that start one another."""

from tapedeck.tape.cli.main import run

if __name__ == "__main__":
    run()
