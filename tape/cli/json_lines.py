"""JSON lines in: each line's object, or what is wrong with the line, in its place."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tapedeck.schemas.errors import Fatal


def objects(file: str) -> Iterator[dict[str, Any] | str]:
    """Each line's object, or the error of a line that is none; empty lines are passed over.

    ``-`` is standard input. Raises Fatal where the file cannot be read.
    """
    for place, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield f"line {place} is not JSON: {error}"
            continue
        yield value if isinstance(value, dict) else f"line {place} is not an object; got {value!r}"


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        yield from sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as stream:
            yield from stream
    except OSError as error:
        raise Fatal(
            f"the input cannot be read: {error}", remedy="--in takes a file, or - for stdin"
        ) from None
