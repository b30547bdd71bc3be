"""How a registry is reached: logins, certificates, and the words for each that does not fit."""

import base64
import re
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tapedeck.connectors.registry import Registry, register
from tapedeck.schemas.errors import Fatal, Retry
from tapedeck.topics.catalogue import Layout
from tests.support.certificates import Certificates
from tests.support.registry import running

SECRET = "s3cret:p@ss/word"
QUOTED = "s3cret%3Ap%40ss%2Fword"
BASIC = "Basic " + base64.b64encode(f"ana:{SECRET}".encode()).decode()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secret_file(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / f"secret{len(list(tmp_path.iterdir()))}"
        path.touch(mode=mode)
        path.write_text(text)
        return str(path)

    return write


def described(url, **more):
    found = Registry.described(
        {"SCHEMA_REGISTRY_URL": url, **{f"SCHEMA_REGISTRY_{k}": v for k, v in more.items()}}
    )
    assert found is not None
    return found


def refused(registry, kind=Fatal):
    """The words with which ``registry`` is refused; no part of what is raised shows the secret."""
    with pytest.raises(kind) as caught:
        register(registry, Layout())
    told = "".join(traceback.format_exception(caught.value, chain=True)) + repr(registry)
    assert "s3cret" not in told and BASIC.split()[1] not in told
    return str(caught.value)


LOGINS = {
    "in the address": lambda url, write: described(url.replace("://", f"://ana:{QUOTED}@")),
    "user info": lambda url, write: described(url, BASIC_AUTH_USER_INFO=f"ana:{SECRET}"),
    "user info file": lambda url, write: described(url, BASIC_AUTH_USER_INFO_FILE=write(f"ana:{SECRET}\n")),
    "user and password": lambda url, write: described(url, USERNAME="ana", PASSWORD=SECRET),
    "password file": lambda url, write: described(url, USERNAME="ana", PASSWORD_FILE=write(f"{SECRET}\n")),
    "token": lambda url, write: described(url, BEARER_AUTH_TOKEN="s3cret"),
    "token file": lambda url, write: described(url, BEARER_AUTH_TOKEN_FILE=write("s3cret\n")),
}


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_is_sent_with_every_request_and_shown_nowhere(login, secret_file):
    with running() as server:
        server.authorization = "Bearer s3cret" if "token" in login else BASIC
        registry = LOGINS[login](server.url, secret_file)
        register(registry, Layout())
        assert set(server.asked) == {server.authorization}
        assert "s3cret" not in repr(registry) + registry.url
        server.authorization = "another"
        words = refused(registry)
    assert "refused the login of " + ("the bearer token" if "token" in login else "the user 'ana'") in words


def test_a_registry_that_wants_a_login_says_which_variables_hold_one(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ana password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with running() as server:
        server.authorization = BASIC
        words = refused(described(server.url))
        assert server.asked == [None], "a login that nobody named was sent"
    assert "requires a login" in words and "SCHEMA_REGISTRY_PASSWORD_FILE" in words


def test_a_user_without_the_right_is_named_with_the_subject():
    with running() as server:
        server.status = 403
        words = refused(described(server.url, USERNAME="ana", PASSWORD=SECRET))
    assert "does not let the user 'ana' register the schema of " in words and "-value" in words


@pytest.mark.parametrize("status", [301, 404])
def test_an_address_that_is_no_registrys_is_told_apart_from_a_refused_schema(status):
    with running() as server:
        server.status = status
        words = refused(described(server.url))
    assert "no schema registry API" in words and str(status) in words


def test_a_rotated_secret_file_is_read_again(secret_file):
    path = secret_file("old s3cret")
    with running() as server:
        server.authorization = "Bearer new s3cret"
        refused(described(server.url, BEARER_AUTH_TOKEN_FILE=path))
        Path(path).write_text("new s3cret")
        register(described(server.url, BEARER_AUTH_TOKEN_FILE=path), Layout())


def test_no_variable_is_no_registry():
    assert Registry.described({}) is None and Registry.described({"SCHEMA_REGISTRY_URL": " "}) is None


BAD = {
    "no scheme": ({"URL": "ana:s3cret@registry:8081"}, "SCHEMA_REGISTRY_URL is not the address"),
    "another scheme": ({"URL": "ftp://ana:s3cret@registry"}, "SCHEMA_REGISTRY_URL is not the address"),
    "no port": ({"URL": "http://ana:s3cret@registry:port"}, "SCHEMA_REGISTRY_URL is not the address"),
    "a slash in the password": ({"URL": "http://ana:s3cret/x@registry"}, "percent-encoded"),
    "two addresses": ({"URL": "http://ana:s3cret@a,http://b"}, "address of one registry"),
    "user alone": ({"USERNAME": "ana"}, "is set"),
    "password alone": ({"PASSWORD": "s3cret"}, "is set"),
    "no colon": ({"BASIC_AUTH_USER_INFO": "s3cret"}, "USER:PASSWORD"),
    "two logins": ({"BASIC_AUTH_USER_INFO": "ana:s3cret", "BEARER_AUTH_TOKEN": "s3cret"}, "set twice"),
    "secret and file": ({"BEARER_AUTH_TOKEN": "s3cret", "BEARER_AUTH_TOKEN_FILE": "/x"}, "both set"),
    "no secret file": (
        {"BEARER_AUTH_TOKEN_FILE": "/nowhere/token"},
        "BEARER_AUTH_TOKEN cannot be read",
    ),
    "certificates for http": ({"URL": "http://r", "SSL_CA_LOCATION": "/x"}, "https://"),
    "no authority file": (
        {"SSL_CA_LOCATION": "/nowhere/ca"},
        "the file that SCHEMA_REGISTRY_SSL_CA_LOCATION names does not exist.*/nowhere/ca",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_setting_that_cannot_be_is_refused_by_its_name(case):
    told, words = BAD[case]
    with pytest.raises(Fatal, match=words) as caught:
        described(
            **({"url": "https://registry:8081"} | {("url" if k == "URL" else k): v for k, v in told.items()})
        )
    assert "s3cret" not in str(caught.value)


def test_secret_files_that_are_empty_or_open_are_refused(secret_file):
    with pytest.raises(Fatal, match=r"BEARER_AUTH_TOKEN is empty"):
        described("https://r", BEARER_AUTH_TOKEN_FILE=secret_file("\n"))
    with pytest.raises(Fatal, match="read by others"):
        described("https://r", BEARER_AUTH_TOKEN_FILE=secret_file("s3cret", 0o644))


def test_a_registry_over_tls_is_trusted_by_its_own_authority(certificates, monkeypatch):
    # What requests would rather believe than a session's own setting.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.theirs.authority))
    with running(certificates.serving(certificates.good)) as server:
        server.authorization = BASIC
        registry = described(
            server.url, USERNAME="ana", PASSWORD=SECRET, SSL_CA_LOCATION=certificates.trusted
        )
        assert register(registry, Layout()).to_wire


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("expired", "has expired"),
        ("elsewhere", "for another host name"),
        ("unknown", "not trusted here.*SCHEMA_REGISTRY_SSL_CA_LOCATION"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_says_why(certificates, which, words):
    context = certificates.serving(getattr(certificates, which))
    with running(context) as server:
        found = refused(
            described(server.url, SSL_CA_LOCATION=certificates.trusted, USERNAME="a", PASSWORD=SECRET)
        )
        assert re.search(words, found), found
        assert server.asked == []


def test_a_registry_that_asks_for_a_client_certificate_gets_the_one_that_is_named(certificates):
    context = certificates.serving(certificates.good, asks_client=True)
    client, stranger = certificates.client, certificates.stranger
    with running(context) as server:

        def with_client(**files):
            return described(server.url, SSL_CA_LOCATION=certificates.trusted, **files)

        pair = {"SSL_CERTIFICATE_LOCATION": str(client.certificate), "SSL_KEY_LOCATION": str(client.key)}
        assert register(with_client(**pair), Layout()).to_wire
        assert register(with_client(SSL_CERTIFICATE_LOCATION=str(client.bundle)), Layout()).to_wire
        words = refused(with_client())
        assert "requires a client certificate" in words and "SSL_CERTIFICATE_LOCATION" in words
        assert "does not trust this client" in refused(
            with_client(SSL_CERTIFICATE_LOCATION=str(stranger.bundle))
        )


def test_files_that_are_no_certificate_or_do_not_belong_together_are_refused(certificates, tmp_path):
    client, other = certificates.client, certificates.stranger
    with pytest.raises(Fatal, match="does not hold a PEM certificate"):
        described("https://r", SSL_CA_LOCATION=str(client.key))
    with pytest.raises(Fatal, match="not a certificate and its key: key values mismatch"):
        described(
            "https://r", SSL_CERTIFICATE_LOCATION=str(client.certificate), SSL_KEY_LOCATION=str(other.key)
        )
    with pytest.raises(Fatal, match="SSL_KEY_LOCATION is set without"):
        described("https://r", SSL_KEY_LOCATION=str(client.key))


def test_an_encrypted_key_is_refused_with_the_command_that_opens_it(certificates, tmp_path):
    client, locked = certificates.client, tmp_path / "locked.key"
    key = serialization.load_pem_private_key(client.key.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"x")
    locked.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    )
    with pytest.raises(Fatal, match="openssl pkey -in KEY"):
        described("https://r", SSL_CERTIFICATE_LOCATION=str(client.certificate), SSL_KEY_LOCATION=str(locked))


def test_tls_and_its_absence_are_told_apart(certificates):
    with running(certificates.serving(certificates.good)) as server:
        words = refused(described(server.url.replace("https", "http"), USERNAME="ana", PASSWORD=SECRET))
        assert "uses TLS" in words and "https://" in words
    with running() as server:
        words = refused(described(server.url.replace("http", "https"), USERNAME="ana", PASSWORD=SECRET))
        assert "does not use TLS" in words and "http://" in words


def test_a_registry_that_is_away_is_no_question_of_tls():
    for scheme in ("http", "https"):
        assert "did not answer" in refused(
            described(f"{scheme}://127.0.0.1:1", BEARER_AUTH_TOKEN="s3cret"), Retry
        )
