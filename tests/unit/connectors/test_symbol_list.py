"""A file of symbols."""

from pathlib import Path

import pytest

from tapedeck.connectors.symbol_list import read_symbols
from tapedeck.schemas.errors import Fatal


def test_symbols_are_read_without_comments_and_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "assets.txt"
    path.write_bytes(b"\xef\xbb\xbf# active\r\nNVDA\r\n\r\n brk.b # class B\r\nNVDA\r\n")
    assert read_symbols(path) == {"NVDA", "BRK.B"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"NVDA\nNVDA,AMD\n", "assets.txt:2: this line is no symbol; got 'NVDA,AMD'"),
        (b"# none\n", "the list has no symbols"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "assets.txt"
    path.write_bytes(content)
    with pytest.raises(Fatal, match=words):
        read_symbols(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"absent\.txt"):
        read_symbols(tmp_path / "absent.txt")
