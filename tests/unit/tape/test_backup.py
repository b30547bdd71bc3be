"""A stopped stack's backup: whole, checked before anything is restored, and never over another stack."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.main import app
from tapedeck.tape.local import backup as module
from tapedeck.tape.local import state
from tapedeck.tape.local.backup import MANIFEST, backup, read_manifest, restore
from tapedeck.tape.local.postgres import EmbeddedPostgres, data_folder
from tapedeck.tape.local.process import identity
from tapedeck.tape.local.state import Phase, ProcessState, StackState

FILES = {
    "kafka/data/meta.properties": b"version=1\ncluster.id=tCluster\n",
    "kafka/data/bars-0/00.log": b"bars",
    "kafka/data/bars-0/00.index": bytes(3 << 20),
    "postgres/data/PG_VERSION": b"18\n",
    "postgres/data/base/1/2": b"rows",
    "postgres/password": b"secret",
    "state/features/table": b"ring",
    "tapedeck.toml": b"# defaults\n",
}
LEFT_OUT = ("lock", "stack.json", "logs/up.log", "kafka/kafka.log", "kafka/server.properties", "ready/sink")


def me() -> ProcessState:
    own = identity(os.getpid())
    assert own is not None
    return ProcessState(name="kafka", pid=own.pid, started=own.started, log="")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """What a stopped stack leaves in its folder."""
    folder = tmp_path / "stack"
    for name, content in (FILES | dict.fromkeys(LEFT_OUT, b"x")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "postgres" / "data" / "pg_tblspc").mkdir()
    (folder / "postgres" / "data").chmod(0o700)
    gone = ProcessState(name="supervisor", pid=1, started=1.0, log="")
    state.write(folder, StackState(name="stack", phase=Phase.STOPPED, supervisor=gone, prefix="shadow"))
    return folder


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[Path]:
    """Where to restore; as root the database may lie elsewhere."""
    yield tmp_path / "restored"
    EmbeddedPostgres(tmp_path / "restored" / "postgres").remove()


def test_logins_of_a_secured_stack_stay_closed_to_others(stack: Path, restored: Path, tmp_path: Path) -> None:
    (stack / "secrets").mkdir(mode=0o700)
    (stack / "secrets" / "sink.password").touch(0o600)
    backup(stack, tmp_path / "kept")
    restore(tmp_path / "kept", restored)
    for home in (tmp_path / "kept", restored):
        assert (home / "secrets").stat().st_mode & 0o777 == 0o700
        assert (home / "secrets" / "sink.password").stat().st_mode & 0o777 == 0o600


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("postgres/elsewhere", None)
    data = data_folder(folder / "postgres")
    return found | {
        f"postgres/data/{p.relative_to(data)}": p.read_bytes() for p in data.rglob("*") if p.is_file()
    }


def test_restored_stack_has_every_file_and_folder_of_the_stopped_one(
    stack: Path, restored: Path, tmp_path: Path
) -> None:
    manifest = backup(stack, tmp_path / "kept")
    assert (manifest.cluster_id, manifest.prefix, manifest.stack) == ("tCluster", "shadow", "stack")
    assert set(manifest.files) == set(FILES)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700, "the database's password is in it"
    assert restore(tmp_path / "kept", restored) == manifest == read_manifest(tmp_path / "kept")
    assert contents(restored) == FILES
    assert (data_folder(restored / "postgres") / "pg_tblspc").is_dir()
    assert data_folder(restored / "postgres").stat().st_mode & 0o777 == 0o700


def test_zeros_take_no_disk(stack: Path, tmp_path: Path) -> None:
    backup(stack, tmp_path / "kept")
    status = (tmp_path / "kept" / "kafka/data/bars-0/00.index").stat()
    assert status.st_size == 3 << 20 and status.st_blocks * 512 < 1 << 20


def test_running_stack_is_refused_by_name(stack: Path, tmp_path: Path) -> None:
    with state.only_stack(stack), pytest.raises(Fatal, match="a stack already runs in") as refused:
        backup(stack, tmp_path / "kept")
    assert str(stack) in str(refused.value) and "tape down" in str(refused.value)
    gone = ProcessState(name="supervisor", pid=1, started=1.0, log="")
    state.write(stack, StackState(name="s", phase=Phase.READY, supervisor=gone, processes=(me(),)))
    with pytest.raises(Fatal, match="processes of the stack are still running; got 'kafka'"):
        backup(stack, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_folder_that_is_there_is_never_written_over(stack: Path, restored: Path, tmp_path: Path) -> None:
    backup(stack, tmp_path / "kept")
    with pytest.raises(Fatal, match="already exists"):
        backup(stack, tmp_path / "kept")
    with pytest.raises(Fatal, match="the folder to restore into is not empty") as refused:
        restore(tmp_path / "kept", stack)
    assert "--name NAME" in str(refused.value)


def cut(path: Path) -> None:
    path.write_bytes(b"bar")


def changed(path: Path) -> None:
    path.write_bytes(b"Bars")


def stranger(path: Path) -> None:
    (path.parent / "another").touch()


@pytest.mark.parametrize("damage", [cut, changed, stranger, Path.unlink])
def test_damaged_backup_is_named_and_nothing_is_written(
    stack: Path, restored: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    backup(stack, tmp_path / "kept")
    damage(tmp_path / "kept" / "kafka/data/bars-0/00.log")
    with pytest.raises(Fatal, match=r"the backup is damaged.*kafka/data/bars-0/(00.log|another)"):
        restore(tmp_path / "kept", restored)
    assert not restored.exists()


def test_backup_of_another_format_or_postgres_is_refused(stack: Path, restored: Path, tmp_path: Path) -> None:
    (stack / "postgres/data/PG_VERSION").write_text("17\n")
    backup(stack, tmp_path / "kept")
    with pytest.raises(Fatal, match="another major version of Postgres"):
        restore(tmp_path / "kept", restored)
    raw = json.loads((tmp_path / "kept" / MANIFEST).read_text())
    (tmp_path / "kept" / MANIFEST).write_text(json.dumps(raw | {"format": 9}))
    with pytest.raises(Fatal, match="format 9"):
        restore(tmp_path / "kept", restored)
    with pytest.raises(Fatal, match="not a backup of a stack"):
        restore(tmp_path, restored)


@pytest.mark.parametrize("fails", ["disk", "interrupt"])
def test_backup_that_does_not_end_leaves_nothing(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left on device") if fails == "disk" else KeyboardInterrupt

    monkeypatch.setattr(module.shutil, "copymode", refuse)
    with pytest.raises((Fatal, KeyboardInterrupt)):
        backup(stack, tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]


def test_disk_without_room_is_refused_before_anything_is_copied(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda place: 1 << 20)
    with pytest.raises(Fatal, match="not enough disk space: 3 MiB needed, 1 MiB free"):
        backup(stack, tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["stack"]


def test_configuration_of_another_folder_goes_along(
    stack: Path, restored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPE_HOME", str(stack))
    document = tmp_path / "own.toml"
    document.write_text("# mine\n")
    gone = ProcessState(name="supervisor", pid=1, started=1.0, log="")
    state.write(stack, StackState(name="s", phase=Phase.STOPPED, supervisor=gone, config=str(document)))
    assert CliRunner().invoke(app, ["backup", str(tmp_path / "kept")]).exit_code == 0
    monkeypatch.setenv("TAPE_HOME", str(restored))
    result = CliRunner().invoke(app, ["restore", str(tmp_path / "kept")])
    assert f"next: tape up --config {restored / 'configuration.toml'}" in result.output
    assert (restored / "configuration.toml").read_text() == "# mine\n"
