"""Delimited text as batches of text columns, each row with the line number that an editor shows.

Only the separator is guessed, from the first line. A record may span lines inside quotes. Blank lines are
skipped and counted. A record with a different number of fields than the first line is refused.
"""

import codecs
import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tapedeck.schemas.errors import Fatal

LINE = "line"
_BLOCK = 4 << 20
_LONGEST = 64 << 20  # a record longer than this has a quote that never closes
_SEPARATORS = ",;\t|"
_GZIP = b"\x1f\x8b"
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EXCERPT = 80
_QUOTE, _NEWLINE = ord('"'), ord("\n")

Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


class Form(NamedTuple):
    """The form of a file: its separator, encoding and compression, in words."""

    separator: str
    words: str


def read_header(path: Path) -> tuple[list[str], Form]:
    """The names in the first line, and the file's form. Raises Fatal for an empty file or no header."""
    blocks = _Blocks(path)
    records = _records(path, blocks)
    try:
        text, line, _ = next(records)
    except StopIteration:
        raise Fatal(
            f"{path} cannot be read: it is empty", remedy="name a file with a header and rows"
        ) from None
    _refuse_foreign(path, text[: int(line.ends[0])], line)
    header = text[: int(line.ends[0])].decode()
    if header.startswith("#"):
        raise Fatal(
            f"{path}, line {line.lines[0]} is a comment",
            value=header[:_EXCERPT],
            remedy="delete the line: the first one names the columns",
        )
    separator = max(_SEPARATORS, key=header.count)
    try:
        names = [name.strip() for name in next(csv.reader(io.StringIO(header), delimiter=separator))]
    except csv.Error:
        what = f"{path}, line {line.lines[0]} does not name the columns"
        raise Fatal(what, value=header[:_EXCERPT], remedy="close or delete the quotes in it") from None
    named = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
    return names, Form(separator, ", ".join(["text with " + named, *blocks.words]))


def read_text(
    path: Path, header: list[str], form: Form, wanted: list[str]
) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """The columns ``wanted`` as text and the line of each row, batch by batch. Raises Fatal with the line."""
    places = [header.index(name) for name in wanted]
    schema = {f"c{n}": pl.String for n in range(len(header))}
    first = True
    for text, found, closed in _records(path, _Blocks(path)):
        _refuse_open(path, text, found, closed)
        whole, kept = _checked(path, text, found, header, form.separator)
        if first:
            cut = int(kept.ends[0]) + 1
            whole, kept, first = whole[cut:], _Found(kept.starts[1:], kept.ends[1:], kept.lines[1:]), False
        if not len(kept.lines):
            continue
        try:
            frame = pl.read_csv(
                whole, has_header=False, schema=schema, separator=form.separator, quote_char='"'
            )
        except pl.exceptions.PolarsError as error:
            raise _unreadable(path, kept, str(error).splitlines()[0]) from None
        if frame.height != len(kept.lines):
            raise _unreadable(path, kept, f"{frame.height} rows in {len(kept.lines)} records")
        texts = [frame[f"c{place}"].alias(name) for place, name in zip(places, wanted, strict=True)]
        yield pl.DataFrame(texts), pl.Series(LINE, kept.lines)


class _Found(NamedTuple):
    """The records of a text: first byte, the newline after the last byte, and line of each."""

    starts: Counts
    ends: Counts
    lines: Counts


class _Blocks:
    """The bytes of a file as UTF-8 with plain newlines, whatever its compression and encoding."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words: list[str] = []

    def __iter__(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as plain:
                packed = plain.read(2) == _GZIP
                plain.seek(0)
                self.words = ["gzip"] if packed else []
                source = gzip.GzipFile(fileobj=plain) if packed else plain
                yield from _plain_newlines(self._decoded(source))
        except (OSError, EOFError, gzip.BadGzipFile) as error:
            raise Fatal(
                f"{self.path} cannot be read: {error}", remedy="copy or compress the file again"
            ) from None

    def _decoded(self, source: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
        block = source.read(_BLOCK)
        wide = next((name for mark, name in _WIDE if block.startswith(mark)), None)
        if wide is None and b"\0" in block[:1024]:
            remedy = "save it as UTF-8, or as UTF-16 with its mark (BOM)"
            raise Fatal(f"{self.path} cannot be read: there are zero bytes in its text", remedy=remedy)
        block = block.removeprefix(codecs.BOM_UTF8)
        decoder = codecs.getincrementaldecoder(wide)() if wide else None
        self.words += [wide.upper()] if wide else []
        while block:
            try:
                yield decoder.decode(block).encode() if decoder else block
            except UnicodeError as error:
                remedy = "save it as UTF-8"
                raise Fatal(f"{self.path} cannot be read: {error}", remedy=remedy) from None
            block = source.read(_BLOCK)


def _plain_newlines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for block in blocks:
        text = held + block
        held = b"\r" if text.endswith(b"\r") else b""
        text = text[: len(text) - len(held)]
        yield text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
    if held:
        yield b"\n"


def _records(path: Path, blocks: _Blocks) -> Iterator[tuple[bytes, _Found, bool]]:
    """Whole records: their bytes, the position of each, and whether every quote is closed."""
    rest, line = b"", 1
    for block in blocks:
        rest += block
        found, lines = _split(rest, line)
        if not len(found.ends):
            if len(rest) > _LONGEST:
                yield rest + b"\n", _Found(np.array([0]), np.array([len(rest)]), np.array([line])), False
                return
            continue
        cut = int(found.ends[-1]) + 1
        yield rest[:cut], found, True
        rest, line = rest[cut:], line + lines
    if rest:
        whole = rest + b"\n"
        found, _ = _split(whole, line)
        if len(found.ends):
            yield whole, found, True
        else:
            yield whole, _Found(np.array([0]), np.array([len(rest)]), np.array([line])), False


def _split(text: bytes, line: int) -> tuple[_Found, int]:
    """The records of ``text``, which starts with one at ``line``, and how many lines the whole ones span."""
    letters = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(letters == _NEWLINE)
    order = np.arange(len(newlines))
    if b'"' in text:
        outside = np.cumsum(letters == _QUOTE, dtype=np.int64)[newlines] % 2 == 0
        newlines, order = newlines[outside], order[outside]
    if not len(newlines):
        return _Found(newlines, newlines, newlines), 0
    starts = np.concatenate([[0], newlines[:-1] + 1])
    lines = line + np.concatenate([[0], order[:-1] + 1])
    return _Found(starts, newlines, lines), int(order[-1]) + 1


def _checked(
    path: Path, text: bytes, found: _Found, header: list[str], separator: str
) -> tuple[bytes, _Found]:
    """The text without its blank records. Raises Fatal for a record with another number of fields."""
    letters = np.frombuffer(text, np.uint8)
    marks = letters == ord(separator)
    if b'"' in text:
        marks &= np.cumsum(letters == _QUOTE, dtype=np.int64) % 2 == 0
    before = np.concatenate([[0], np.cumsum(marks, dtype=np.int64)])
    fields = before[found.ends] - before[found.starts] + 1
    blank = found.ends == found.starts
    for at in np.flatnonzero((fields != len(header)) & ~blank):
        record = text[int(found.starts[at]) : int(found.ends[at])]
        if record.strip():
            raise _ragged(path, int(found.lines[at]), record, int(fields[at]), len(header))
        blank[at] = True
    _refuse_foreign(path, text, found)
    if not blank.any():
        return text, found
    kept = _Found(*(each[~blank] for each in found))
    return b"".join(text[int(a) : int(b) + 1] for a, b in zip(kept.starts, kept.ends, strict=True)), kept


def _ragged(path: Path, line: int, record: bytes, fields: int, named: int) -> Fatal:
    shown = _shown(record)
    if record.lstrip().startswith(b"#"):
        return Fatal(f"{path}, line {line} is a comment", value=shown, remedy="delete the line")
    what = f"{path}, line {line} has {fields} fields where the first line names {named}"
    remedy = 'correct the line; put a field that contains the separator in quotes ("1,234")'
    return Fatal(what, value=shown, remedy=remedy)


def _refuse_foreign(path: Path, text: bytes, found: _Found) -> None:
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        at = int(np.searchsorted(found.ends, error.start))
        record = text[int(found.starts[at]) : int(found.ends[at])]
        what = f"{path}, line {found.lines[at]} is not UTF-8"
        raise Fatal(what, value=_shown(record), remedy="save the file as UTF-8") from None


def _refuse_open(path: Path, text: bytes, found: _Found, closed: bool) -> None:
    if not closed:
        at = int(found.starts[-1])
        what = f"{path}, line {found.lines[-1]}: a quote opens and is never closed"
        raise Fatal(
            what, value=_shown(text[at : at + _EXCERPT].split(b"\n")[0]), remedy="close or delete the quote"
        )


def _unreadable(path: Path, found: _Found, words: str) -> Fatal:
    where = f"lines {found.lines[0]} to {found.lines[-1]}"
    return Fatal(
        f"{path}, {where} cannot be read: {words}", remedy="look for quotes inside fields, and double them"
    )


def _shown(record: bytes) -> str:
    return record.decode(errors="replace").strip()[:_EXCERPT]
