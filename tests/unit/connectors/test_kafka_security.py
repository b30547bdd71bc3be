"""How a cluster is secured: from variables, from a properties file, or refused in words."""

import pickle
from pathlib import Path

import pytest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.properties import read_properties
from tapedeck.connectors.kafka.security import Security
from tapedeck.schemas.errors import ConfigInvalid, Fatal, TapeError

PASSWORD = "s3cr3t-of-the-test"
SCRAM = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "features",
    "KAFKA_SASL_PASSWORD": PASSWORD,
}


def written(folder: Path, *lines: str) -> Path:
    file = folder / "client.properties"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_nothing_said_is_a_plain_cluster_whose_clients_are_told_nothing_more() -> None:
    plain = Security.described({})
    assert plain == Security() and plain.librdkafka() == {} and plain.ssl_context() is None
    assert Cluster("b:1").librdkafka("x").keys() == {"bootstrap.servers", "client.id", "log_level"}


def test_variables_reach_librdkafka_and_another_process_and_no_text_shows_the_password() -> None:
    cluster = Cluster.described("b:1", "p", SCRAM)
    options = cluster.librdkafka("x")
    assert options["security.protocol"] == "SASL_PLAINTEXT" and options["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl.username"], options["sasl.password"]) == ("features", PASSWORD)
    assert cluster.environment().items() >= SCRAM.items()
    assert Cluster.described("b:1", "p", cluster.environment()) == cluster
    assert PASSWORD not in repr(cluster) + str(cluster.security)
    assert pickle.loads(pickle.dumps(cluster)) == cluster


def test_a_password_in_a_file_goes_on_as_the_file_and_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    file.chmod(0o600)
    told = {**SCRAM, "KAFKA_SASL_PASSWORD": "", "KAFKA_SASL_PASSWORD_FILE": str(file)}
    cluster = Cluster.described("b:1", "", told)
    assert cluster.librdkafka("x")["sasl.password"] == "first"
    assert cluster.environment()["KAFKA_SASL_PASSWORD_FILE"] == str(file)
    assert "KAFKA_SASL_PASSWORD" not in cluster.environment()
    file.write_text("second")
    assert cluster.librdkafka("x")["sasl.password"] == "second"
    file.write_text("")
    with pytest.raises(Fatal, match="KAFKA_SASL_PASSWORD is empty"):
        cluster.librdkafka("x")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL; got 'TLS'"),
        ({"KAFKA_SASL_USERNAME": "me"}, "KAFKA_SASL_USERNAME is set, but KAFKA_SECURITY_PROTOCOL is"),
        (SCRAM | {"KAFKA_SECURITY_PROTOCOL": "SSL"}, "set KAFKA_SECURITY_PROTOCOL to SASL_SSL"),
        (SCRAM | {"KAFKA_SASL_MECHANISM": ""}, "KAFKA_SASL_MECHANISM is not one of PLAIN"),
        (SCRAM | {"KAFKA_SASL_MECHANISM": "GSSAPI"}, "got 'GSSAPI'"),
        (SCRAM | {"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD is not set"),
        (SCRAM | {"KAFKA_SASL_USERNAME": ""}, "KAFKA_SASL_USERNAME is not set"),
        (SCRAM | {"KAFKA_SASL_PASSWORD_FILE": "p"}, "KAFKA_SASL_PASSWORD_FILE are both set"),
        (SCRAM | {"KAFKA_SSL_CA_LOCATION": "/ca.pem"}, "is one without encryption"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/no/ca"}, "not exist; got '/no/ca'"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
            "needs either a token file or a token endpoint",
        ),
        (
            {
                "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
                "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "https://idp/token",
            },
            "needs a client id and a client secret",
        ),
        ({"KAFKA_CLIENT_CONFIG": "/no/client.properties"}, "KAFKA_CLIENT_CONFIG names cannot be read"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_together_are_refused_before_any_connection(
    told: dict[str, str], said: str
) -> None:
    with pytest.raises(TapeError) as refused:
        Security.described(told)
    assert said in str(refused.value) and PASSWORD not in str(refused.value)
    assert refused.value.remedy


JAVA = (
    "# as Confluent Cloud gives it",
    "bootstrap.servers=pkc.example:9092",
    "security.protocol=SASL_SSL",
    "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\",
    f"    username='me' password=\"{PASSWORD}\";",
    "sasl.mechanism=PLAIN",
    "client.dns.lookup=use_all_dns_ips",
    "session.timeout.ms=45000",
    "acks=all",
    "client.id=ccloud-python-client",
)
LIBRDKAFKA = (
    "bootstrap.servers = pkc.example:9092",
    "security.protocol: sasl_ssl",
    "sasl.mechanisms PLAIN",
    "sasl.username=me",
    f"sasl.password={PASSWORD}",
)


@pytest.mark.parametrize("lines", [JAVA, LIBRDKAFKA], ids=["java", "librdkafka"])
def test_a_properties_file_is_understood_in_either_spelling(lines: tuple[str, ...], tmp_path: Path) -> None:
    file = written(tmp_path, *lines)
    assert read_properties(file)["bootstrap.servers"] == "pkc.example:9092"
    found = Security.described({"KAFKA_CLIENT_CONFIG": str(file)})
    assert (found.protocol, found.mechanism, found.username) == ("SASL_SSL", "PLAIN", "me")
    assert found.password.read() == PASSWORD and PASSWORD not in repr(found)
    assert found.given == (("KAFKA_CLIENT_CONFIG", str(file)),)


def test_a_variable_has_precedence_over_the_properties_file(tmp_path: Path) -> None:
    file = written(tmp_path, *JAVA)
    found = Security.described({"KAFKA_CLIENT_CONFIG": str(file), "KAFKA_SASL_USERNAME": "other"})
    assert found.username == "other" and found.password.read() == PASSWORD


def test_an_unknown_key_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    file = written(tmp_path, *LIBRDKAFKA, "sasl.pasword=x")
    with pytest.raises(ConfigInvalid, match=r"'sasl.pasword'; did you mean 'sasl.password'"):
        read_properties(file)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("ssl.truststore.location=trust.jks",), "is a JKS store, which only Java reads; got 'trust.jks'; "
         "convert it with `keytool -importkeystore -srckeystore trust.jks"),
        (("ssl.truststore.location=trust.p12", "ssl.truststore.type=PKCS12"),
         "`openssl pkcs12 -in trust.p12 -nokeys -out ca.pem` and write ssl.ca.location=ca.pem"),
        (("ssl.keystore.location=me.p12",), "`openssl pkcs12 -in me.p12 -nodes -out client.pem`"),
        (("ssl.keystore.location=me.jks",), "-out client.pem`"),
        (("enable.ssl.certificate.verification=false",), "would trust any server"),
        (("sasl.jaas.config=me:secret",), "is not a login module"),
    ],
)  # fmt: skip
def test_what_only_java_reads_is_refused_with_the_command_that_converts_it(
    lines: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read_properties(written(tmp_path, "security.protocol=SSL", *lines))
    assert said in str(refused.value)


def test_a_pem_store_of_java_and_paths_beside_the_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    file = written(
        tmp_path, "security.protocol=SSL", "ssl.truststore.location=ca.pem", "ssl.truststore.type=PEM",
        "ssl.endpoint.identification.algorithm=",
    )  # fmt: skip
    found = Security.described({"KAFKA_CLIENT_CONFIG": str(file)})
    assert found.ca == str(tmp_path / "ca.pem") and not found.checks_host
    assert found.librdkafka()["ssl.endpoint.identification.algorithm"] == "none"
