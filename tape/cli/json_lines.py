"""JSON lines in: each line's object, or what is wrong with the line, in its place."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tapedeck.schemas.errors import Fatal

_SHOWN = 80
"""Characters of a value that an error shows."""


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
        yield value if isinstance(value, dict) else f"line {place} is not an object; got {shown(value)}"


def shown(value: Any) -> str:
    """A value of a line as JSON, for an error: cut, because a line may be a megabyte."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        for raw in sys.stdin.buffer:
            yield raw.decode("utf-8", errors="replace")
        return
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as stream:
            yield from stream
    except OSError as error:
        raise Fatal(
            f"the input cannot be read: {error}", remedy="--in takes a file, or - for stdin"
        ) from None
