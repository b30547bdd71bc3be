"""``python -m tapedeck``: the same as the ``tape`` command, for processes that start one another."""

from tapedeck.tape.entry import run

if __name__ == "__main__":
    run()
