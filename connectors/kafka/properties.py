"""Reads a ``client.properties`` file in the spelling of Java's clients or of librdkafka.

Java has ``sasl.jaas.config`` and ``ssl.truststore.location``, librdkafka ``sasl.username`` and
``ssl.ca.location``. Both are accepted, even mixed. An unknown key is an error, because a client would
silently run without a misspelled setting.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from tapedeck.schemas.errors import ConfigInvalid

SERVERS = "bootstrap.servers"
_SAME = {
    SERVERS: SERVERS,
    "metadata.broker.list": SERVERS,
    "security.protocol": "security.protocol",
    "sasl.mechanism": "sasl.mechanism",
    "sasl.mechanisms": "sasl.mechanism",
    "sasl.username": "sasl.username",
    "sasl.password": "sasl.password",
    "client.rack": "client.rack",
    "ssl.ca.location": "ssl.ca.location",
    "ssl.ca.pem": "ssl.ca.pem",
    "ssl.truststore.certificates": "ssl.ca.pem",
    "ssl.certificate.location": "ssl.certificate.location",
    "ssl.certificate.pem": "ssl.certificate.pem",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.key.location": "ssl.key.location",
    "ssl.key.pem": "ssl.key.pem",
    "ssl.keystore.key": "ssl.key.pem",
    "ssl.key.password": "ssl.key.password",
    "ssl.endpoint.identification.algorithm": "ssl.endpoint.identification.algorithm",
    "sasl.oauthbearer.token.endpoint.url": "oauth.endpoint",
    "sasl.oauthbearer.client.id": "oauth.client",
    "sasl.oauthbearer.client.credentials.client.id": "oauth.client",
    "sasl.oauthbearer.client.secret": "oauth.secret",
    "sasl.oauthbearer.client.credentials.client.secret": "oauth.secret",
    "sasl.oauthbearer.scope": "oauth.scope",
    "sasl.oauthbearer.extensions": "oauth.extensions",
}
_STORES = {"ssl.truststore.location": "ssl.ca.location", "ssl.keystore.location": "ssl.certificate.location"}
_READ_APART = {
    "sasl.jaas.config", "ssl.truststore.type", "ssl.keystore.type", "ssl.truststore.password",
    "ssl.keystore.password", "enable.ssl.certificate.verification", "sasl.oauthbearer.method",
    "sasl.login.callback.handler.class", "sasl.oauthbearer.grant.type",
}  # fmt: skip
_NOT_OURS = {
    "acks", "auto.offset.reset", "basic.auth.credentials.source", "basic.auth.user.info",
    "batch.size", "broker.address.family", "client.dns.lookup", "client.id", "compression.type",
    "connections.max.idle.ms", "default.api.timeout.ms", "delivery.timeout.ms",
    "enable.auto.commit", "enable.idempotence", "fetch.max.bytes", "fetch.min.bytes", "group.id",
    "heartbeat.interval.ms", "isolation.level", "key.deserializer", "key.serializer", "linger.ms",
    "log_level", "max.poll.interval.ms", "max.poll.records", "message.timeout.ms",
    "metadata.max.age.ms", "reconnect.backoff.max.ms", "reconnect.backoff.ms", "request.timeout.ms",
    "retries", "retry.backoff.ms", "schema.registry.url", "session.timeout.ms",
    "socket.keepalive.enable", "ssl.enabled.protocols", "ssl.protocol", "value.deserializer",
    "value.serializer",
}  # fmt: skip
"""Settings common in such files that tapedeck chooses itself, or reads from elsewhere."""

_JAAS = re.compile(r"""(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s;]+))""")
_JAAS_NAMES = {
    "username": "sasl.username", "password": "sasl.password", "clientId": "oauth.client",
    "clientSecret": "oauth.secret", "scope": "oauth.scope",
}  # fmt: skip
_CONVERT = {
    "ssl.truststore.location": "keytool -importkeystore -srckeystore {path} -destkeystore store.p12 "
    "-deststoretype PKCS12 && openssl pkcs12 -in store.p12 -nokeys -out ca.pem",
    "ssl.keystore.location": "keytool -importkeystore -srckeystore {path} -destkeystore store.p12 "
    "-deststoretype PKCS12 && openssl pkcs12 -in store.p12 -nodes -out client.pem",
}
_CONVERT_P12 = {
    "ssl.truststore.location": "openssl pkcs12 -in {path} -nokeys -out ca.pem",
    "ssl.keystore.location": "openssl pkcs12 -in {path} -nodes -out client.pem",
}
_P12 = (".p12", ".pfx", ".pkcs12")


def read_properties(path: Path) -> dict[str, str]:
    """The settings in ``path`` by librdkafka's names, and ``oauth.*``. Paths are relative to the file.

    Raises ConfigInvalid for a file that cannot be read, an unknown key, and a key store that is not PEM.
    """
    try:
        raw = _pairs(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigInvalid(
            f"the file that KAFKA_CLIENT_CONFIG names cannot be read: {why}",
            value=str(path),
            remedy="correct the path",
        ) from None
    _refuse_unknown(raw, path)
    found = {_SAME[key]: value for key, value in raw.items() if key in _SAME}
    found |= _jaas(raw.get("sasl.jaas.config", ""), path)
    found |= _stores(raw, path)
    if raw.get("enable.ssl.certificate.verification", "true").lower() == "false":
        raise ConfigInvalid(
            "enable.ssl.certificate.verification=false would trust any server",
            value=str(path),
            remedy="remove it, and name the CA in ssl.ca.location",
        )
    return {key: _beside(path, value) if key.endswith(".location") else value for key, value in found.items()}


def _pairs(text: str) -> dict[str, str]:
    """Java's properties: ``key=value``, ``key: value`` or ``key value``, comments by ``#`` and ``!``."""
    whole = re.sub(r"\\\r?\n[ \t]*", "", text.lstrip("\ufeff"))
    found = {}
    for line in map(str.strip, whole.splitlines()):
        if line and line[0] not in "#!":
            key, _, value = re.sub(r"\s*[=:\s]\s*", "\0", line, count=1).partition("\0")
            found[key] = value.strip().replace("\\n", "\n") if "-----BEGIN" in value else value.strip()
    return found


def _refuse_unknown(raw: Mapping[str, str], path: Path) -> None:
    known = _SAME.keys() | _STORES.keys() | _READ_APART | _NOT_OURS
    if unknown := sorted(raw.keys() - known):
        near = get_close_matches(unknown[0], sorted(known), 1)
        remedy = f"did you mean {near[0]!r}?" if near else "remove it"
        raise ConfigInvalid(f"unknown key in {path}", value=", ".join(unknown), remedy=remedy)


def _jaas(config: str, path: Path) -> dict[str, str]:
    if not config:
        return {}
    if "required" not in config.split():
        raise ConfigInvalid(
            f"sasl.jaas.config in {path} is not a login module",
            remedy="write it as org.apache.kafka.common.security.scram.ScramLoginModule required "
            'username="..." password="...";',
        )
    found = {}
    for name, double, single, bare in _JAAS.findall(config):
        value = re.sub(r"\\(.)", r"\1", double or single or bare)
        if name in _JAAS_NAMES:
            found[_JAAS_NAMES[name]] = value
    return found


def _stores(raw: Mapping[str, str], path: Path) -> dict[str, str]:
    found = {}
    for key, ours in _STORES.items():
        if location := raw.get(key):
            kind = raw.get(key.replace("location", "type"), "").upper()
            if kind != "PEM" and not (not kind and _is_pem(Path(_beside(path, location)))):
                packed = kind == "PKCS12" or location.lower().endswith(_P12)
                command = (_CONVERT_P12 if packed else _CONVERT)[key].format(path=location)
                raise ConfigInvalid(
                    f"{key} in {path} is a {kind or ('PKCS12' if packed else 'JKS')} store, "
                    "which only Java reads",
                    value=location,
                    remedy=f"convert it with `{command}` and write {ours}={command.split()[-1]} instead",
                )
            found[ours] = location
    return found


def _is_pem(path: Path) -> bool:
    try:
        return b"-----BEGIN" in path.read_bytes()
    except OSError:
        return False


def _beside(path: Path, location: str) -> str:
    return str(path.absolute().parent / Path(location).expanduser())
