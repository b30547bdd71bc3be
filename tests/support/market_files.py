"""Small market files for tests, in common forms."""

from pathlib import Path

from tapedeck.connectors.tapes.files import read_tape
from tapedeck.connectors.tapes.tape import Body, Tape

HEADER = "symbol,ts,open,high,low,close,volume"
TIMES = [f"2026-02-13T20:{minute}:00Z" for minute in (57, 58, 59)] + [
    f"2026-02-17T14:{minute}:00Z" for minute in (30, 31, 32, 33)
]
"""Three minutes of warm-up and four of the session of 2026-02-17, Tuesday after a holiday."""


def rows(
    symbol: str = "BAC", *, times: list[str] | None = None, price: float = 50.0, step: float = 0.02
) -> list[str]:
    """A bar a time around ``price``."""
    found = []
    for number, ts in enumerate(TIMES if times is None else times):
        close = price + step * (number % 2)
        cells = (close, close + 2 * step, close - step, close)
        found.append(",".join([symbol, ts, *(f"{cell:.10g}" for cell in cells), str(1000 + number)]))
    return found


def text(lines: list[str] | None = None, header: str = HEADER) -> str:
    """A whole CSV."""
    return "\n".join([header, *(rows() if lines is None else lines)]) + "\n"


def put(folder: Path, content: str | bytes, name: str = "bars.csv") -> Path:
    """``content`` as a file."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def played(tape: Tape) -> list[Body]:
    return [body for minute in tape for body in minute.bars]


def plain(folder: Path) -> Tape:
    (folder / "plain").mkdir(exist_ok=True)
    return read_tape(put(folder / "plain", text()))


def same(tape: Tape, folder: Path) -> None:
    """The file plays the same as the plain one, down to the digest."""
    assert tape.digest() == plain(folder).digest()
