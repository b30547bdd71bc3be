"""Every mechanism by each of the three transports, and what is said where a connection cannot be made."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import create_server

import aiokafka
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from tapedeck.agents.credentials import credentials, follow_password
from tapedeck.connectors.kafka import renewal
from tapedeck.connectors.kafka.admin import ensure
from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.identity import ask_cluster_id, cluster_id_of, describe_ids
from tapedeck.connectors.kafka.outbox import Outbox
from tapedeck.connectors.kafka.scan import new_consumer, read_topic
from tapedeck.connectors.kafka.security import Security
from tapedeck.connectors.secrets import Secret
from tapedeck.schemas.errors import Fatal
from tapedeck.streams.wire import Wire
from tapedeck.tape.local.certificates import Authority
from tests.support.cases import few
from tests.support.secured import SecuredKafka, unsigned_token

ANSWER_S, REFUSED_S = 5.0, 1.0
LISTENERS = ("SASL_SSL", "SASL_PLAINTEXT")
SCRAM = "SCRAM-SHA-512"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", SCRAM, "OAUTHBEARER")
WAYS = [
    ("SSL", ""),
    ("MUTUAL", ""),
    ("PLAINTEXT", ""),
    *((one, two) for one in LISTENERS for two in MECHANISMS),
]


@pytest.fixture(scope="module")
def kept(secured: SecuredKafka) -> str:
    """The prefix of topics that are there, with three bars in them."""
    cluster = secured.cluster(prefix="transports")
    ensure(cluster)
    outbox = Outbox(cluster, "test")
    outbox.write(Wire("bars", 0, b"K", b"v%d" % n, 1_700_000_000_000 + n, []) for n in range(3))
    outbox.close()
    return "transports"


def way(secured: SecuredKafka, listener: str, mechanism: str, prefix: str, folder: Path) -> Cluster:
    told = {}
    if mechanism == "OAUTHBEARER":
        file = folder / "token"
        file.write_text(unsigned_token("admin"))
        file.chmod(0o600)
        told = {"KAFKA_SASL_OAUTHBEARER_TOKEN_FILE": str(file)}
    return secured.cluster(prefix=prefix, listener=listener, mechanism=mechanism, **told)


@pytest.mark.parametrize(("listener", "mechanism"), few(WAYS, 7))
def test_each_transport_reads_and_writes_by_each_mechanism(
    secured: SecuredKafka, kept: str, tmp_path: Path, listener: str, mechanism: str
) -> None:
    cluster = way(secured, listener, mechanism, kept, tmp_path)
    assert cluster_id_of(cluster, ANSWER_S) == secured.cluster_id
    wire = cluster.layout.wire_name("bars")

    consumer = new_consumer(cluster)
    try:
        assert consumer.list_topics(wire, timeout=ANSWER_S).topics[wire].partitions
    finally:
        consumer.close()
    assert wire in admin_client(cluster, "test").list_topics(timeout=ANSWER_S).topics
    outbox = Outbox(cluster, "test", timeout_s=ANSWER_S)
    outbox.write([Wire("bars", 1, b"K", b"more", 1_700_000_000_000, [])])
    outbox.close()

    assert [m.value for m in read_topic(cluster, "bars") if m.partition == 0] == [b"v0", b"v1", b"v2"]
    assert asyncio.run(_first_by_aiokafka(cluster, wire)) == b"v0"


def auth(security: Security) -> dict[str, object]:
    """What Faust hands to aiokafka."""
    return dict(credentials_to_aiokafka_auth(credentials(security), None))


async def _first_by_aiokafka(cluster: Cluster, wire: str) -> bytes:
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap, **auth(cluster.security))
    await consumer.start()
    try:
        part = aiokafka.TopicPartition(wire, 0)
        consumer.assign([part])
        await consumer.seek_to_beginning(part)
        message = await asyncio.wait_for(consumer.getone(), ANSWER_S)
        return bytes(message.value)
    finally:
        await consumer.stop()


def refusal(cluster: Cluster) -> str:
    """What an operator reads; each transport fails, too, so that there is something to tell."""
    with pytest.raises(KafkaException):
        ask_cluster_id(cluster, 0.5)
    started = time.monotonic()
    with pytest.raises(Fatal) as told:
        cluster_id_of(cluster, REFUSED_S)
    assert time.monotonic() - started < 5 * REFUSED_S
    assert told.value.remedy
    return str(told.value)


def with_file(folder: Path, name: str, content: str) -> str:
    file = folder / name
    file.write_text(content)
    file.chmod(0o600)
    return str(file)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", SCRAM])
def test_a_wrong_password_is_told_with_the_user_and_its_file(
    secured: SecuredKafka, tmp_path: Path, mechanism: str
) -> None:
    file = with_file(tmp_path, "password", "not-the-password")
    said = refusal(
        secured.cluster("sink", listener="SASL_SSL", mechanism=mechanism, KAFKA_SASL_PASSWORD_FILE=file)
    )
    assert f"refused the login of User:sink by {mechanism}" in said
    assert f"check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (read from {file})" in said
    assert "not-the-password" not in said


def test_a_mechanism_that_the_listener_lacks_is_told_with_those_it_offers(secured: SecuredKafka) -> None:
    said = refusal(secured.cluster("sink", mechanism="SCRAM-SHA-256"))
    assert "got 'SCRAM-SHA-256'; set KAFKA_SASL_MECHANISM to one that it offers: SCRAM-SHA-512" in said


def test_a_token_that_has_expired_is_told(secured: SecuredKafka, tmp_path: Path) -> None:
    file = with_file(tmp_path, "token", unsigned_token("sink", lives_s=-60))
    told = {"KAFKA_SASL_OAUTHBEARER_TOKEN_FILE": file}
    with pytest.raises(Fatal) as refused:
        cluster_id_of(secured.cluster(listener="SASL_SSL", mechanism="OAUTHBEARER", **told), REFUSED_S)
    assert "by OAUTHBEARER" in str(refused.value) and "expiry" in str(refused.value)


@pytest.mark.parametrize(
    ("at", "by", "said"),
    [
        ("SASL_SSL", "PLAINTEXT", "uses TLS, but KAFKA_SECURITY_PROTOCOL does not say so; got 'PLAINTEXT'"),
        ("SSL", "PLAINTEXT", "uses TLS, but KAFKA_SECURITY_PROTOCOL does not say so; got 'PLAINTEXT'; set "
         "KAFKA_SECURITY_PROTOCOL to SSL"),
        ("SASL_SSL", "SASL_PLAINTEXT", "uses TLS"),
        ("PLAINTEXT", "SSL", "is not encrypted"),
        ("SASL_PLAINTEXT", "SASL_SSL", "is not encrypted"),
        ("SASL_PLAINTEXT", "PLAINTEXT", "requires a login (OAUTHBEARER, PLAIN, SCRAM-SHA-256, "),
        ("SASL_SSL", "SSL", "requires a login (OAUTHBEARER, PLAIN, SCRAM-SHA-256, "),
        ("PLAINTEXT", "SASL_PLAINTEXT", "does not accept a login"),
        ("SSL", "SASL_SSL", "does not accept a login"),
    ],
)  # fmt: skip
def test_a_listener_of_another_kind_is_told_from_a_frozen_broker(
    secured: SecuredKafka, at: str, by: str, said: str
) -> None:
    cluster = replace(secured.cluster(listener=by), bootstrap=secured.address(at))
    found = refusal(cluster)
    assert said in found and "frozen" not in found


def test_a_server_whose_ca_is_not_known_is_told_with_the_ca_that_was_looked_in(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    other = Authority.make(tmp_path / "other")
    for told in ({"KAFKA_SSL_CA_LOCATION": str(other.authority)}, {"KAFKA_SSL_CA_LOCATION": ""}):
        said = refusal(secured.cluster(**told))
        assert "is signed by an authority that is not trusted here" in said
        assert (told["KAFKA_SSL_CA_LOCATION"] or "the CAs of this machine") in said
        assert "name that authority's certificate in KAFKA_SSL_CA_LOCATION" in said


def test_a_listener_that_wants_a_certificate_says_so(secured: SecuredKafka) -> None:
    cluster = replace(secured.cluster(listener="SSL"), bootstrap=secured.address("MUTUAL"))
    assert "requires a client certificate" in refusal(cluster)


@contextmanager
def serving(certificate: Path, key: Path) -> Iterator[str]:
    """A TLS server that shows ``certificate``; gives its address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("hosts", "days", "said"),
    [
        (("127.0.0.1", "localhost"), -1, "has expired"),
        (("broker.example",), 1, "is for another host name"),
    ],
)
def test_a_server_certificate_that_is_no_good_is_told_apart(
    tmp_path: Path, hosts: tuple[str, ...], days: int, said: str
) -> None:
    ca = Authority.make(tmp_path / "ca")
    issued = ca.issue("server", hosts=hosts, days=days)
    told = {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": str(ca.authority)}
    with serving(issued.certificate, issued.key) as address:
        assert said in refusal(Cluster(address, security=Security.described(told)))


def change_password(secured: SecuredKafka, user: str, password: str) -> None:
    """As an operator does it on the cluster, for the mechanism of ``tape up --secure``."""
    admin = admin_client(secured.server.cluster, "test")
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = [UserScramCredentialUpsertion(user, how, password.encode())]
    for answer in admin.alter_user_scram_credentials(wanted, request_timeout=ANSWER_S).values():
        answer.result(ANSWER_S)


def test_a_password_that_is_replaced_holds_for_the_next_connection_of_each_client(
    secured: SecuredKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that are idle for a moment are closed here, as brokers close them after a while."""
    monkeypatch.setattr(renewal, "LOOK_S", 0.2)
    user = "rotating"
    file = with_file(tmp_path, "password", secured.password(user))
    cluster = secured.cluster(user, KAFKA_SASL_PASSWORD_FILE=file)
    idle = {"connections.max.idle.ms": 1000}
    client = admin_client(cluster, "test", **idle)
    assert client.list_topics(timeout=ANSWER_S)
    stale = admin_client(
        replace(
            cluster, security=replace(cluster.security, password=Secret("the first", secured.password(user)))
        ),
        "test",
        **idle,
    )
    assert stale.list_topics(timeout=ANSWER_S)

    async def by_aiokafka() -> None:
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=cluster.bootstrap, connections_max_idle_ms=1000, **auth(cluster.security)
        )
        follow_password(consumer._client, cluster.security)
        await consumer.start()
        try:
            change_password(secured, user, "another-password")
            with_file(tmp_path, "password", "another-password")
            renewal.look()
            assert consumer._client._sasl_plain_password == "another-password"
            await asyncio.sleep(2.5)
            assert await asyncio.wait_for(consumer._client.fetch_all_metadata(), ANSWER_S)
        finally:
            await consumer.stop()

    asyncio.run(by_aiokafka())
    assert client.list_topics(timeout=ANSWER_S), "librdkafka logs in with the new password"
    assert cluster_id_of(cluster, ANSWER_S) == secured.cluster_id, "and so do sockets"
    with pytest.raises(KafkaException):
        stale.list_topics(timeout=2)


class _Endpoint(BaseHTTPRequestHandler):
    """A token endpoint that knows one client."""

    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        known = self.headers["Authorization"] == "Basic YWRtaW46dGhlLXNlY3JldA=="  # admin:the-secret
        good = known and "grant_type=client_credentials" in form and "scope=kafka" in form
        body = {"access_token": unsigned_token("admin"), "expires_in": 3600} if good else {"error": "no"}
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    server.server_close()


def by_client_credentials(endpoint: str, folder: Path, secret: str) -> dict[str, str]:
    return {
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": endpoint,
        "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "admin",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET_FILE": with_file(folder, "secret", secret),
        "KAFKA_SASL_OAUTHBEARER_SCOPE": "kafka",
    }


def test_a_token_is_asked_for_by_client_credentials_and_kept_for_all_transports(
    secured: SecuredKafka, kept: str, endpoint: str, tmp_path: Path
) -> None:
    told = by_client_credentials(endpoint, tmp_path, "the-secret")
    cluster = secured.cluster(prefix=kept, listener="SASL_SSL", mechanism="OAUTHBEARER", **told)
    asked = _Endpoint.asked
    assert cluster_id_of(cluster, ANSWER_S) == secured.cluster_id
    assert asyncio.run(_first_by_aiokafka(cluster, cluster.layout.wire_name("bars"))) == b"v0"
    assert _Endpoint.asked == asked + 1


def test_a_client_that_the_token_endpoint_refuses_is_told(
    secured: SecuredKafka, endpoint: str, tmp_path: Path
) -> None:
    told = by_client_credentials(endpoint, tmp_path, "another")
    with pytest.raises(Fatal, match="the token endpoint issued no token to admin; got '401 from") as refused:
        cluster_id_of(secured.cluster(listener="SASL_SSL", mechanism="OAUTHBEARER", **told), ANSWER_S)
    assert "another" not in str(refused.value)


def test_a_right_that_is_missing_is_fatal_in_each_transport(secured: SecuredKafka, kept: str) -> None:
    """For processes that run when it is taken away: what is said at their start is tested elsewhere.

    Faust waits for ever where a topic may not be seen: the watch over a worker's topics ends it.
    """
    nobody = secured.cluster("nobody", prefix=kept)
    outbox = Outbox(nobody, "test", timeout_s=ANSWER_S)
    with pytest.raises(Fatal, match=f"does not allow this process to write; got '{kept}.bars/0'"):
        outbox.write([Wire("bars", 0, b"K", b"v", 1_700_000_000_000, [])])
    outbox.close()
    with pytest.raises(Fatal, match=r"the cluster does not allow this: .*tape topics --acls"):
        read_topic(nobody, "bars")
    with pytest.raises(Fatal, match=f"may not see topic {kept}.bars; got 'User:nobody'"):
        describe_ids(nobody, ["bars"])
