"""What DATABASE_URL may hold: whatever is no address of a database is refused, and no password is shown."""

import traceback
from pathlib import Path

import pytest

from tapedeck.agents.settings import Settings
from tapedeck.connectors.dispatch.lease import PostgresLeases
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.connection import open_database, without_password
from tapedeck.connectors.postgres.database import upgrade
from tapedeck.connectors.postgres.sink import SinkSettings
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.postgres import check_database

NO_URLS = (
    "nonsense",
    "127.0.0.1:5432",
    "mysql://tapedeck:s3cret@127.0.0.1/audit",
    "postgresql+psycopg://tapedeck:s3cret@127.0.0.1/audit",
    "postgresql://tapedeck:s3cret%zz@127.0.0.1/audit",
    "postgresql://tapedeck:s3cret@127.0.0.1:port/audit",
    "postgresql://127.0.0.1/audit?passwort=s3cret",
    "postgresql://127.0.0.1/audit?nothing=1&password=s3cret",
    "host=127.0.0.1 password='s3 cret' nothing=1",
    "tapedeck:s3cret@127.0.0.1/audit",
)
OPENERS = (open_database, upgrade, check_database, lambda url: PostgresLeases(url).take("tiny", "me", 10))


@pytest.mark.parametrize("url", NO_URLS)
@pytest.mark.parametrize("opened", OPENERS, ids=["sink", "migrations", "stack", "lease"])
def test_a_url_that_is_none_is_refused_with_the_form_and_without_its_password(opened, url: str) -> None:
    with pytest.raises(Fatal, match="postgresql://USER:PASSWORD@HOST:PORT/DATABASE") as refused:
        opened(url)
    told = "".join(traceback.format_exception(refused.value, chain=True))
    assert "DATABASE_URL" in told
    assert "s3cret" not in str(refused.value) and "cret'" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://me:pw@host:5/db", "postgresql://me:***@host:5/db"),
        ("postgresql://me:p@w:x/y@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db?user=me&password=pw", "postgresql://host/db?user=me&password=***"),
        ("host=h password = 'p w@' user=me", "host=h password = *** user=me"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_url_is_shown_without_its_password(given: str, shown: str) -> None:
    assert without_password(given) == shown


def test_no_value_that_holds_an_address_shows_its_password() -> None:
    url, cluster = "postgresql://me:s3cret@host/db", Cluster("127.0.0.1:1")
    for shown in (
        Settings(cluster=cluster, config_path=Path("tape.toml"), home=Path(), database_url=url),
        SinkSettings(cluster=cluster, url=url, topics=("bars",)),
    ):
        assert "s3cret" not in repr(shown)
