"""Credentials are named, found, and never shown."""

from pathlib import Path

import pytest

from tapedeck.connectors.credentials import credentials, resolve
from tapedeck.schemas.errors import Fatal


def test_environment_variable_is_read_by_its_name() -> None:
    found = credentials(
        "TAPE_TINY_KEY", "TAPE_TINY_SECRET", {"TAPE_TINY_KEY": "k1", "TAPE_TINY_SECRET": "s1"}
    )
    assert (found.key, found.secret) == ("k1", "s1")
    assert "s1" not in repr(found) and "k1" not in repr(found)


def test_missing_variable_is_named() -> None:
    with pytest.raises(Fatal, match="TAPE_TINY_KEY"):
        resolve("TAPE_TINY_KEY", {})


def test_secret_file_is_read_where_only_its_owner_can(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    assert resolve(str(file), {}) == "s3cret"
    file.chmod(0o644)
    with pytest.raises(Fatal, match="chmod 600") as refused:
        resolve(str(file), {})
    assert "s3cret" not in str(refused.value)


def test_secret_file_that_is_absent_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="absent"):
        resolve(str(tmp_path / "absent"), {})
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    with pytest.raises(Fatal, match="is empty"):
        resolve(str(empty), {})


def test_a_variable_may_name_a_file_instead(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k1\r\n")
    file.chmod(0o600)
    assert resolve("TAPE_TINY_KEY", {"TAPE_TINY_KEY_FILE": str(file)}) == "k1"
    with pytest.raises(Fatal, match="TAPE_TINY_KEY and TAPE_TINY_KEY_FILE are both set"):
        resolve("TAPE_TINY_KEY", {"TAPE_TINY_KEY": "k1", "TAPE_TINY_KEY_FILE": str(file)})
    file.unlink()
    with pytest.raises(Fatal, match=r"the secret file of TAPE_TINY_KEY cannot be read: No such file"):
        resolve("TAPE_TINY_KEY", {"TAPE_TINY_KEY_FILE": str(file)})


def test_a_secret_of_several_lines_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("first\nsecond\n")
    file.chmod(0o600)
    with pytest.raises(Fatal, match="more than one line") as refused:
        resolve(str(file), {})
    assert "first" not in str(refused.value)
