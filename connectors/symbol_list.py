"""A file of symbols: one a line, ``#`` comments."""

import re
from pathlib import Path

from tapedeck.schemas.errors import Fatal

SYMBOL = re.compile(r"[A-Z][A-Z0-9.\-]{0,9}")


def read_symbols(path: Path) -> frozenset[str]:
    """The symbols in the file at ``path``, in capitals; what follows a ``#`` and empty lines are left out.

    Raises Fatal where the file cannot be read, a line is no symbol, or none is left.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(
            f"the list of symbols cannot be read: {error}", remedy="give a text file with one symbol a line"
        ) from None
    found = set[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        symbol = line.partition("#")[0].strip().upper()
        if not symbol:
            continue
        if SYMBOL.fullmatch(symbol) is None:
            raise Fatal(
                "this line is no symbol",
                value=line[:80],
                remedy="write one symbol a line, as NVDA or BRK.B, and comments behind #",
                place=f"{path}:{number}",
            )
        found.add(symbol)
    if not found:
        raise Fatal("the list has no symbols", value=str(path), remedy="write one symbol a line")
    return frozenset(found)
