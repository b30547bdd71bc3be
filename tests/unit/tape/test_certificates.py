"""The certificates of a secured stack: what OpenSSL takes, and what it refuses and why."""

import socket
import ssl
import threading

import pytest

from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.certificates import Authority


def handshake(server, trusted, host, client=None):
    """Shake hands over a socket pair; returns what the server saw of the client's certificate."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server.certificate, server.key)
    serving.load_verify_locations(trusted)
    serving.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
    asking = ssl.create_default_context(cafile=str(trusted))
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    if client:
        asking.load_cert_chain(client.certificate, client.key)
    ours, theirs = socket.socketpair()
    seen = []

    def serve():
        try:
            with serving.wrap_socket(theirs, server_side=True) as wrapped:
                seen.append(wrapped.getpeercert())
                wrapped.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        with asking.wrap_socket(ours, server_hostname=host) as wrapped:
            wrapped.send(b"x")
    finally:
        ours.close()
        thread.join(10)
    return seen[0]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_is_trusted_under_its_names_alone(authority, host):
    handshake(authority.issue("server"), authority.authority, host)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(authority.issue("elsewhere", ("other.test", "::1")), authority.authority, host)


def test_a_client_shows_its_name(authority):
    client = authority.issue("sink", (), client=True)
    seen = handshake(authority.issue("server"), authority.authority, "localhost", client)
    assert seen["subject"] == ((("commonName", "sink"),),)


def test_an_expired_certificate_is_refused_as_such(authority):
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(authority.issue("late", days=-1), authority.authority, "localhost")


def test_another_authority_is_unknown(authority, tmp_path):
    other = Authority.make(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"verify failed: (?!.*expired)"):
        handshake(other.issue("server"), authority.authority, "localhost")


def test_only_the_owner_may_read_a_key_even_where_a_readable_file_stood(authority):
    authority.folder.joinpath("again.key").touch(mode=0o644)
    again = authority.issue("again")
    for path in (again.key, again.bundle, authority.key):
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert again.bundle.read_bytes() == again.key.read_bytes() + again.certificate.read_bytes()


def test_an_authority_is_found_again_and_a_folder_without_one_is_refused(authority, tmp_path):
    found = Authority.load(authority.folder)
    assert found == authority
    handshake(found.issue("again"), authority.authority, "localhost")
    with pytest.raises(Fatal, match="no certificate authority"):
        Authority.load(tmp_path)
