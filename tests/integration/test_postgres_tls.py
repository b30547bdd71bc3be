"""Postgres over TLS: sslmode and certificates on every way to the database, and words for each refusal.

The embedded server is built without TLS; a proxy before it speaks it.
"""

import traceback
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text

from tapedeck.connectors.dispatch.lease import PostgresLeases
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.postgres.connection import connect, open_database
from tapedeck.connectors.postgres.database import downgrade, require_head, sqlalchemy_connection, upgrade
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.topics.catalogue import Layout
from tests.support import tls_proxy
from tests.support.audit import Pipeline, bar
from tests.support.certificates import Certificates

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("DATABASE_PASSWORD", "DATABASE_PASSWORD_FILE", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)


class Address:
    """The parts of the run's database, put together as a test wants them."""

    def __init__(self, url):
        known = conninfo_to_dict(url)
        self.upstream = (str(known.get("host", "127.0.0.1")), int(known.get("port", 5432)))
        self.user, self.password = str(known["user"]), str(known.get("password", ""))
        self.name = str(known.get("dbname", known["user"]))

    def url(self, port, password=None, host="127.0.0.1", name=None, **parameters):
        password = self.password if password is None else password
        login = f"{self.user}:{quote(password, safe='')}" if password else self.user
        more = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in parameters.items())
        return f"postgresql://{login}@{host}:{port}/{name or self.name}?{more}"


@pytest.fixture(scope="module")
def address(postgres):
    return Address(postgres.url)


@contextmanager
def served(certificates, address, which="good", **parameters):
    """A URL of a server with that certificate, and the proxy."""
    asks = parameters.pop("asks_client", False)
    context = certificates.serving(getattr(certificates, which), asks_client=asks)
    with tls_proxy.running(address.upstream, context) as proxy:
        parameters = {"sslmode": "verify-full", "sslrootcert": certificates.trusted} | parameters
        yield address.url(proxy.port, **parameters), proxy


def refused(url, kind=Fatal):
    with pytest.raises(kind) as caught:
        open_database(url)
    password = conninfo_to_dict(url).get("password")
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert not password or str(password) not in told
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_migrations_and_connections_and_leases_run_over_verify_full(certificates, address, prefix, host):
    with served(certificates, address, host=host) as (url, proxy):
        upgrade(url, prefix)
        with connect(url, prefix) as connection:
            require_head(connection)
            assert connection.pgconn.ssl_in_use
        leases = PostgresLeases(url, prefix)
        assert leases.take("tiny", "me", 10) == 1
        leases.close()
        with sqlalchemy_connection(url, prefix) as connection:
            assert connection.execute(text("SELECT count(*) FROM account_leases")).scalar() == 1
        downgrade(url, prefix)
        assert proxy.sessions >= 5


def test_the_sink_runs_over_verify_full(certificates, address, kafka, prefix):
    with served(certificates, address) as (url, proxy):
        layout = Layout(prefix, symbol_partitions=1, account_partitions=1)
        ensure(Cluster(kafka.bootstrap, layout))
        upgrade(url, prefix)
        pipeline = Pipeline(kafka.bootstrap, url, layout)
        pipeline.send("bars", [bar(n) for n in range(100)])
        before = proxy.sessions
        pipeline.drain()
        assert pipeline.rows("bars") == 100 and proxy.sessions > before
        downgrade(url, prefix)


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("expired", "has expired"),
        ("unknown", "signed by an authority that is not trusted here"),
        ("elsewhere", 'another host name: server certificate for "db.elsewhere.test"'),
    ],
)
def test_a_server_that_cannot_be_trusted_says_why(certificates, address, which, words):
    with served(certificates, address, which) as (url, proxy):
        assert words in refused(url)
        if which != "elsewhere":  # there the handshake comes about, and libpq looks at the name then
            assert proxy.sessions == 0


def test_verify_ca_takes_any_name_and_require_any_authority(certificates, address, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with served(certificates, address, "elsewhere", sslmode="verify-ca") as (url, _):
        open_database(url).close()
    with served(certificates, address, "unknown", sslmode="require") as (url, _):
        open_database(url.partition("&sslrootcert")[0]).close()


def test_a_server_without_tls_is_told_as_that(certificates, address, postgres):
    url = address.url(address.upstream[1], host=address.upstream[0], sslmode="require")
    if _has_tls(postgres.url):
        pytest.skip("the database that DATABASE_URL names speaks TLS")
    words = refused(url)
    assert "does not use TLS" in words and "sslmode" in words


def _has_tls(url):
    with open_database(url) as connection:
        row = connection.execute("SHOW ssl").fetchone()
    return row is not None and row[0] == "on"


def test_a_client_certificate_is_shown_and_the_words_tell_one_that_is_not_there_from_a_strangers(
    certificates, address, tmp_path
):
    ours, stranger = certificates.client, certificates.stranger
    with served(certificates, address, asks_client=True) as (url, _):
        open_database(f"{url}&sslcert={ours.certificate}&sslkey={ours.key}").close()
        assert "asks for a client certificate" in refused(f"{url}&sslcert={tmp_path}/none")
        assert "does not trust this client" in refused(
            f"{url}&sslcert={stranger.certificate}&sslkey={stranger.key}"
        )
        assert "key values mismatch" in refused(f"{url}&sslcert={ours.certificate}&sslkey={stranger.key}")
        readable = tmp_path / "readable.key"
        readable.write_bytes(ours.key.read_bytes())
        readable.chmod(0o644)
        words = refused(f"{url}&sslcert={ours.certificate}&sslkey={readable}")
        assert "has group or world access" in words and "chmod 600" in words


def test_files_and_modes_that_cannot_be_are_named(certificates, address, tmp_path):
    with served(certificates, address, sslrootcert=tmp_path / "none.crt") as (url, _):
        words = refused(url)
        assert "sslrootcert cannot be used" in words and "none.crt" in words
    assert "invalid sslmode value" in refused(address.url(1, sslmode="verify_full"))


def test_a_password_with_an_unquoted_at_sign_is_no_host(address):
    with pytest.raises(Fatal, match="percent-encoded") as caught:
        open_database(f"postgresql://{address.user}:s3cret@more@127.0.0.1:1/audit")
    assert "more" not in str(caught.value) and "s3cret" not in str(caught.value)


def test_a_wrong_password_in_the_url_stops_and_one_from_a_file_waits_for_its_rotation(
    certificates, address, tmp_path, monkeypatch
):
    if not address.password:
        pytest.skip("the database that DATABASE_URL names asks for no password")
    file = tmp_path / "password"
    file.touch(0o600)
    with served(certificates, address) as (url, _):
        right = f":{quote(address.password, safe='')}@"
        words = refused(url.replace(right, ":wr0ng@"))
        assert f"refused the password of the user {address.user!r}" in words
        without = url.replace(right, "@")
        assert "DATABASE_PASSWORD_FILE" in refused(without)
        monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(file))
        file.write_text("wr0ng\n")
        assert "refused the password" in refused(without, Retry)
        file.write_text(f"{address.password}\n")
        open_database(without).close()
        monkeypatch.delenv("DATABASE_PASSWORD_FILE")
        monkeypatch.setenv("DATABASE_PASSWORD", "wr0ng")
        refused(without, Fatal)
        monkeypatch.setenv("DATABASE_PASSWORD", address.password)
        open_database(without).close()


def test_a_database_that_is_not_there_is_named(certificates, address):
    with served(certificates, address, name="tapedeck_no_such") as (url, _):
        words = refused(url)
    assert "no database 'tapedeck_no_such'" in words and "CREATE DATABASE" in words
