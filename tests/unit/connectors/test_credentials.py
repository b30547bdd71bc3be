"""Credentials are named, found, replaced while a process runs, and never shown."""

import logging
import os
from pathlib import Path

import pytest

from tapedeck.connectors.credentials import Credentials, Keys, as_keys, credentials, resolve
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


def _put(file: Path, text: str) -> None:
    """Replace a secret file as a mounted secret is: another file takes its name."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.rename(file)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "key", tmp_path / "secret"
    _put(found[0], "k1\n")
    _put(found[1], "s1\n")
    return found


def test_replaced_files_are_used_from_the_next_look_on(files: tuple[Path, Path]) -> None:
    keys = Keys(str(files[0]), str(files[1]), {})
    assert keys.now() == Credentials(key="k1", secret="s1") and keys.now() is keys.now()
    _put(files[1], "s2\n")
    assert keys.now() == Credentials(key="k1", secret="s2")
    _put(files[0], "k2")
    assert keys.now() == Credentials(key="k2", secret="s2")


def test_replaced_variables_and_the_file_that_one_names_are_seen_too(files: tuple[Path, Path]) -> None:
    environment = {"A_KEY": "k0", "A_SECRET_FILE": str(files[1])}
    keys = Keys("A_KEY", "A_SECRET", environment)
    environment["A_KEY"] = "k9"
    _put(files[1], "s9")
    assert keys.now() == Credentials(key="k9", secret="s9")


def test_a_refusal_makes_it_read_a_file_whose_time_did_not_change(files: tuple[Path, Path]) -> None:
    keys = Keys(str(files[0]), str(files[1]), {})
    stood = files[1].stat()
    files[1].write_text("s2\n")
    os.utime(files[1], ns=(stood.st_atime_ns, stood.st_mtime_ns))
    assert keys.now().secret == "s1", "the same file, size and time"
    assert keys.after_refusal().secret == "s2"
    assert keys.now().secret == "s2"


def test_what_cannot_be_read_is_told_once_and_the_last_ones_stay(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys = Keys(str(files[0]), str(files[1]), {})
    files[1].unlink()
    assert [keys.now().secret, keys.now().secret, keys.after_refusal().secret] == ["s1"] * 3
    assert caplog.text.count("still using the previous credentials") == 1
    _put(files[1], "s2-hush\n")
    assert keys.now().secret == "s2-hush"
    assert "were replaced" in caplog.text and "hush" not in caplog.text
    _put(files[1], "two\nlines\n")
    assert keys.now().secret == "s2-hush"


def test_there_must_be_some_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="A_KEY"):
        Keys("A_KEY", "A_SECRET", {"A_SECRET": "s"})


def test_fixed_credentials_stay_and_neither_form_shows_them(files: tuple[Path, Path]) -> None:
    pair = Credentials(key="k1", secret="hush")
    fixed, keys = as_keys(pair), Keys("A_KEY", "A_SECRET", {"A_KEY": "k1", "A_SECRET": "hush"})
    assert fixed.now() is pair is fixed.after_refusal() and as_keys(keys) is keys
    assert "hush" not in repr(fixed) + repr(keys)


@pytest.mark.parametrize("text", ["xy\nzzy", "xy\rzzy", "xy\x00zzy", "xy\u00e9zzy", "xy zzy"])
def test_a_variable_whose_value_fits_in_no_header_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(Fatal, match="TAPE_TINY_KEY holds a character") as refused:
        resolve("TAPE_TINY_KEY", {"TAPE_TINY_KEY": text})
    assert "zzy" not in str(refused.value)
