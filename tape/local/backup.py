"""The backup of a stopped stack: its files with their checksums, in a folder that is complete or absent."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tapedeck.agents.settings import code_version
from tapedeck.connectors.clock import SystemClock
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.sessions import iso_utc
from tapedeck.tape.local import state
from tapedeck.tape.local.disk import LEAST_BYTES, free_bytes
from tapedeck.tape.local.kafka import known_cluster_id
from tapedeck.tape.local.logins import SECRETS
from tapedeck.tape.local.places import in_words
from tapedeck.tape.local.postgres import EmbeddedPostgres, check_version, data_folder
from tapedeck.tape.local.process import is_running

MANIFEST = "manifest.json"
CONFIGURATION = "configuration.toml"
FORMAT = 1
_DATABASE = "postgres/data"
_PIECE = 1 << 20
_OWNER_ONLY = 0o700


class Manifest(NamedTuple):
    """What a backup holds. ``files``: SHA-256 and size by path; ``folders``: all, empty ones included."""

    format: int
    release: str
    made: str
    stack: str
    cluster_id: str
    prefix: str
    folders: list[str]
    files: dict[str, tuple[str, int]]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files.values())

    @property
    def has_database(self) -> bool:
        """Whether it includes the stack's Postgres. A database that DATABASE_URL names is not included."""
        return _DATABASE in self.folders


def backup(folder: Path, target: Path) -> Manifest:
    """Copy the stopped stack in ``folder`` to ``target``, which must not exist yet.

    Raises Fatal if the stack runs, if its Kafka is not embedded, or if there is not enough space.
    """
    if target.exists():
        remedy = "name a folder that does not exist yet"
        raise Fatal("the backup folder already exists", value=str(target), remedy=remedy)
    if not (folder / "kafka" / "data").is_dir():
        remedy = "name the stack with --name or TAPE_HOME; a broker of your own has tools for its backup"
        raise Fatal("no stack with an embedded Kafka was found there", value=str(folder), remedy=remedy)
    with state.only_stack(folder):
        known = state.read(folder)
        if left := [each.name for each in (known.processes if known else ()) if is_running(each.identity)]:
            remedy = "stop them with `tape down`, then repeat"
            raise Fatal("processes of the stack are still running", value=", ".join(left), remedy=remedy)
        parts = _parts(folder, known)
        sources = {name: path for part in parts.items() for name, path in _files(*part)}
        _demand_room(target.parent, sum(path.stat().st_size for path in sources.values()))
        with _staged(target, _OWNER_ONLY) as staging:
            folders = {name: path for part in parts.items() for name, path in _folders(*part)}
            for name, path in sorted(folders.items()):
                _make_folder(path, staging / name)
            files = {name: _copy(path, staging / name) for name, path in sources.items()}
            manifest = Manifest(
                FORMAT, code_version(), iso_utc(SystemClock().now()), folder.name,
                known_cluster_id(folder / "kafka" / "data"), known.prefix if known else "",
                sorted(folders), files,
            )  # fmt: skip
            (staging / MANIFEST).write_text(json.dumps(manifest._asdict(), indent=1))
    return manifest


def restore(source: Path, folder: Path) -> Manifest:
    """Restore the stack of a backup into ``folder``, after checking every checksum.

    Raises Fatal if ``folder`` is not empty, if the backup is damaged or from another Postgres version, or if
    there is not enough space.
    """
    if folder.exists() and any(folder.iterdir()):
        remedy = "restore under another name (--name NAME), or remove this one with `tape down --purge`"
        raise Fatal("the folder to restore into is not empty", value=str(folder), remedy=remedy)
    manifest = read_manifest(source)
    verify(source, manifest)
    if manifest.has_database:
        check_version(source / _DATABASE)
    _demand_room(folder.parent, manifest.size)
    with _staged(folder) as staging:
        for name in manifest.folders:
            _make_folder(source / name, staging / _moved(name))
        for name in manifest.files:
            _copy(source / name, staging / _moved(name))
        if manifest.has_database:
            EmbeddedPostgres(staging / "postgres").adopt(staging / _moved(_DATABASE))
    return manifest


def read_manifest(source: Path) -> Manifest:
    """Raises Fatal if ``source`` is no backup, or one that this release cannot read."""
    try:
        raw: dict[str, Any] = json.loads((source / MANIFEST).read_text())
        found = Manifest(**raw | {"files": {name: tuple(each) for name, each in raw["files"].items()}})
    except (OSError, ValueError, TypeError, KeyError) as error:
        remedy = "name a folder that `tape backup` created"
        raise Fatal(f"this is not a backup of a stack: {error}", value=str(source), remedy=remedy) from error
    if found.format != FORMAT:
        raise Fatal(
            f"the backup has format {found.format}, but this release reads format {FORMAT}",
            value=str(source),
            remedy=f"restore it with release {found.release}, which created it",
        )
    return found


def verify(source: Path, manifest: Manifest) -> None:
    """Raises Fatal naming the files of a backup that are missing, changed, or not its own."""
    there = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()} - {MANIFEST}
    wrong = sorted(there ^ set(manifest.files))
    wrong += [
        name for name in sorted(there & set(manifest.files)) if _sum(source / name) != manifest.files[name]
    ]
    if wrong:
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise Fatal(
            "the backup is damaged: files are missing, changed or not part of it",
            value=shown,
            remedy="use another backup; nothing was written",
        )


def _parts(folder: Path, known: state.StackState | None) -> dict[str, Path]:
    """What a stack cannot recreate, by its place in a backup. Logs, ports and locks are left out."""
    parts = {
        name: folder / name for name in ("kafka/data", "postgres/password", SECRETS, "state", "snapshots")
    }
    parts[_DATABASE] = data_folder(folder / "postgres")
    parts["tapedeck.toml"] = folder / "tapedeck.toml"
    if known and known.config and not Path(known.config).is_relative_to(folder):
        parts[CONFIGURATION] = Path(known.config)
    return {name: path for name, path in parts.items() if path.exists()}


def _files(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield name, path
    for each in sorted(path.rglob("*")):
        if each.is_file() and not each.is_symlink() and each.name != "postmaster.pid":
            yield f"{name}/{each.relative_to(path)}", each


def _folders(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        yield name, path
        yield from ((f"{name}/{each.relative_to(path)}", each) for each in path.rglob("*") if each.is_dir())


def _moved(name: str) -> str:
    """Where a file of a backup is restored to. The database goes where its user can read it."""
    return name.replace(_DATABASE, "postgres/restored", 1) if name.startswith(_DATABASE) else name


@contextmanager
def _staged(target: Path, mode: int = 0o777) -> Iterator[Path]:
    """A folder that is renamed to ``target`` on success and removed on failure."""
    staging = target.with_name(f"{target.name}.unfinished")
    _remove(staging)
    try:
        staging.mkdir(parents=True, mode=mode)
        yield staging
        staging.rename(target)
    except OSError as error:
        _remove(staging)
        remedy = "check that the folder is writable and has space; nothing was created"
        raise Fatal(f"files cannot be copied: {error}", value=str(target), remedy=remedy) from error
    except BaseException:
        _remove(staging)
        raise


def _remove(staging: Path) -> None:
    if (staging / "postgres").is_dir():
        EmbeddedPostgres(staging / "postgres").remove()
    shutil.rmtree(staging, ignore_errors=True)


def _demand_room(place: Path, size: int) -> None:
    place = next(path for path in (place, *place.absolute().parents) if path.exists())
    if (left := free_bytes(place)) < size + LEAST_BYTES:
        raise Fatal(
            f"not enough disk space: {in_words(size)} needed, {in_words(left)} free",
            value=str(place),
            remedy="free some space, or name a folder on another disk",
        )


def _make_folder(source: Path, target: Path) -> None:
    """Create it with the mode of ``source``: private folders stay private."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copymode(source, target)


def _copy(source: Path, target: Path) -> tuple[str, int]:
    """Copy content and mode; returns checksum and size.

    Runs of zeros, as in Kafka's indexes, become holes.
    """
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        while piece := reader.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if piece.count(0) == len(piece):
                writer.seek(len(piece), 1)
            else:
                writer.write(piece)
        writer.truncate(size)
    shutil.copymode(source, target)
    return digest.hexdigest(), size


def _sum(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size
