"""``python -m tape``: the same as the ``tape`` command, for processes that start one another."""

from tape.cli.main import run

if __name__ == "__main__":
    run()
