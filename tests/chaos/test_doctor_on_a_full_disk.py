"""`tape doctor` on a stack whose disk fills: amber, then red, and green again when there is room."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tapedeck.tape.local.disk import LEAST_BYTES, LOW_BYTES, free_bytes
from tapedeck.tape.local.purge import purge
from tests.chaos.stack import Desk, say
from tests.conftest import Broker

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long]
DISK_BYTES = LOW_BYTES + (768 << 20)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk in memory, just large enough for a stack; skipped where this user may mount none."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"this user may mount no disk: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def desk(kafka: Broker, disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A stack on that disk; ``kafka`` has filled the cache."""
    for name in (
        "KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "TAPE_HOME", "TAPE_CONFIG", "TAPE_PREFIX",
        "TAPE_ALERT_WEBHOOK", "TAPE_ALERT_EMAIL",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    made = Desk(disk / "stack")
    try:
        made.start()
        yield made
    finally:
        made.stack.stop()
        purge(made.folder)


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """``disk`` with only ``left`` bytes free."""
    path = disk / "filler"
    with path.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, free_bytes(disk) - left)
    try:
        assert free_bytes(disk) <= left
        yield
    finally:
        path.unlink()


def test_a_disk_that_fills_is_named_before_and_when_it_is_full(desk: Desk, disk: Path) -> None:
    say(desk.until_green())
    with filled(disk, LOW_BYTES // 2):
        say(desk.until_named("disk", "the disk is nearly full: "))
    say(desk.until_green())
    with filled(disk, LEAST_BYTES // 2):
        say(desk.until_named("disk", "the disk is full: "))
    say(desk.until_green())
