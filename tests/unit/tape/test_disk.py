"""The disk of a stack: what takes it, and what is said before it is full."""

from pathlib import Path

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.disk import LEAST_BYTES, LOW_BYTES, Room, usage, usage_in_words

GIB = 1 << 30


def test_usage_counts_each_part_and_the_database_that_lies_elsewhere(tmp_path: Path) -> None:
    stack, elsewhere = tmp_path / "stack", tmp_path / "elsewhere"
    for folder, size in ((stack / "kafka", 3), (stack / "logs", 1), (elsewhere / "data", 2)):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * (size << 20))
    (stack / "postgres").mkdir()
    (stack / "postgres" / "elsewhere").write_text(f"{elsewhere}\n")
    sizes = usage(stack)
    assert {name: size >> 20 for name, size in sizes.items()} == {
        "kafka": 3, "postgres": 2, "state": 0, "logs": 1,
    }  # fmt: skip
    assert usage_in_words(sizes) == "kafka 3 MiB, postgres 2 MiB, state 0 MiB, logs 1 MiB"


def test_start_is_refused_with_the_bytes_left_where_no_session_has_room(tmp_path: Path) -> None:
    Room(tmp_path, lambda folder: LEAST_BYTES).demand()
    with pytest.raises(Fatal, match="255 MiB free") as refused:
        Room(tmp_path, lambda folder: LEAST_BYTES - (1 << 20)).demand()
    assert str(tmp_path) in str(refused.value) and "tape down" in str(refused.value)


def test_disk_of_the_database_counts_as_well(tmp_path: Path) -> None:
    elsewhere, stack = tmp_path / "elsewhere", tmp_path / "stack"
    elsewhere.mkdir()
    (stack / "postgres").mkdir(parents=True)
    (stack / "postgres" / "elsewhere").write_text(str(elsewhere))
    room = Room(stack, lambda folder: GIB if folder == elsewhere else 9 * GIB)
    assert room.left() == (GIB, elsewhere)
    assert f"the disk of {elsewhere} is nearly full: 1.0 GiB free" in (room.warning() or "")


def test_running_stack_says_it_once_and_again_at_each_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [9 * GIB, LOW_BYTES - 1, LOW_BYTES - 2, LOW_BYTES // 2 - 1, LOW_BYTES // 2 - 2, 9 * GIB, 9 * GIB]
    room = Room(tmp_path, lambda folder: left.pop(0))
    said = []
    while left:
        room.watch()
        said.append(capsys.readouterr().err)
    assert [bool(words) for words in said] == [False, True, False, True, False, True, False]
    assert "nearly full" in said[1] and "has space again" in said[5]
