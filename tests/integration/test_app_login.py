"""`tape migrate` for containers: the login of the processes, and tables that a newer version made."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from tapedeck.connectors.postgres.base import table_name
from tapedeck.connectors.postgres.connection import connect
from tapedeck.connectors.postgres.database import require_head, upgrade
from tapedeck.connectors.postgres.logins import grant_login
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.cli.main import app
from tapedeck.tape.local.postgres import EmbeddedPostgres

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A database server of its own: roles belong to the whole of one."""
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    server.start()
    yield server
    server.remove()


def address(server: EmbeddedPostgres, login: str) -> str:
    scheme, _, rest = server.url.partition("://")
    return f"{scheme}://{login}@{rest.rpartition('@')[2]}"


def test_migrate_makes_the_login_and_refuses_a_newer_database(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("it's one\n")
    password.chmod(0o600)
    monkeypatch.setenv("TAPE_APP_PASSWORD_FILE", str(password))
    monkeypatch.delenv("TAPE_PREFIX", raising=False)
    arguments = ["migrate", "--database", server.url, "--app-login", "tape_app"]
    first, again = (CliRunner().invoke(app, arguments) for _ in range(2))
    assert first.exit_code == 0 and "login tape_app: created" in first.output, first.output
    assert "nothing was changed" in again.output and "login tape_app: has its password" in again.output
    with connect(address(server, "tape_app:it%27s%20one")) as connection:
        require_head(connection)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"DROP TABLE {table_name('orders')}".encode())
    with pytest.raises(Fatal, match="name another login"):
        grant_login(server.url, psycopg.conninfo.conninfo_to_dict(server.url)["user"], "x")

    with psycopg.connect(server.url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(Fatal, match=r"migrated by a newer version.*got 'later'; run the version"):
        upgrade(server.url)
    with connect(server.url, role=None) as connection, pytest.raises(Fatal, match="newer version"):
        require_head(connection)


def test_migrate_without_the_password_of_the_login_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAPE_APP_PASSWORD", raising=False)
    done = CliRunner().invoke(app, ["migrate", "--database", "postgresql://x@y/z", "--app-login", "a"])
    assert isinstance(done.exception, Fatal) and "TAPE_APP_PASSWORD_FILE" in str(done.exception)
