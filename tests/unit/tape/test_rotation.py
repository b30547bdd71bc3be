"""Logs of a bounded size: a full one is begun anew under the process that writes it."""

from pathlib import Path

import pytest

from tapedeck.tape.local import rotation
from tapedeck.tape.local.rotation import rotate


def test_log_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "features.log"
    log.write_text("0123456789")
    assert not rotate(log, 10)
    assert not rotate(tmp_path / "none.log", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["features.log"]


def test_full_log_is_begun_anew_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "features.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(1, 6):
            writer.write(f"line {number} is here\n".encode())
            assert rotate(log, 10, kept=3)
            assert log.read_text() == ""
        writer.write(b"last\n")
    assert log.read_text() == "last\n"
    found = {path.name: path.read_text() for path in tmp_path.iterdir() if path != log}
    assert found == {f"features.log.{n}": f"line {6 - n} is here\n" for n in (1, 2, 3)}


def test_full_log_on_a_full_disk_is_cut_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left on device")

    log = tmp_path / "features.log"
    log.write_text("01234567890")
    monkeypatch.setattr(rotation.shutil, "copyfile", refuse)
    assert rotate(log, 10)
    assert log.read_text() == ""
