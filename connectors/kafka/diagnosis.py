"""Why a broker gave no answer: repeat the steps of a connection and report the first one that fails.

librdkafka retries failures, so a wrong password, a TLS port and a frozen broker all look like silence there.
"""

import socket
from contextlib import closing, suppress
from dataclasses import replace

from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.connection import Connection, Passing
from tapedeck.connectors.kafka.security import PROTOCOL, Security
from tapedeck.connectors.tls import speaks_tls
from tapedeck.schemas.errors import Fatal

_ILLEGAL_STATE = 34
_ASK_ANYWAY = "PLAIN"
_TIMED_OUT = "timed out"


def diagnose(cluster: Cluster, timeout_s: float) -> Fatal | None:
    """What is wrong with the first address of ``cluster``; None if any address answers."""
    fault: Fatal | None = None
    for address in cluster.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            found = _at(cluster, host.strip("[]"), int(port), timeout_s)
        except ValueError:
            found = Fatal(
                "an address is not of the form host:port",
                value=address,
                remedy="correct KAFKA_BOOTSTRAP_SERVERS",
            )
        if found is None:
            return None
        fault = fault or found
    return fault


def _at(cluster: Cluster, host: str, port: int, timeout_s: float) -> Fatal | None:
    where = f"{host}:{port}"
    try:
        with closing(socket.create_connection((host, port), timeout=timeout_s)):
            pass
    except socket.gaierror as error:
        return Fatal(
            f"the host of {where} cannot be resolved: {error.strerror}",
            value=host,
            remedy="correct KAFKA_BOOTSTRAP_SERVERS, or check DNS",
        )
    except TimeoutError:
        return Fatal(
            f"nothing answers at {where}: a firewall drops the packets, or the host is down",
            value=f"{timeout_s:g} s",
            remedy="check the address, the route to it and KAFKA_BOOTSTRAP_SERVERS",
        )
    except OSError as error:
        return Fatal(
            "no Kafka broker listens there: it is stopped",
            value=f"{where}: {error.strerror or error}",
            remedy="start it, or check KAFKA_BOOTSTRAP_SERVERS",
        )
    try:
        with closing(Connection(cluster, host, port, timeout_s)) as connection:
            connection.ask(MetadataRequest([], False))
    except Fatal as error:
        return _kind(cluster, host, port, timeout_s) or error
    except Passing as error:
        silent = _TIMED_OUT in str(error)  # each other way of asking would take as long again
        other = None if silent else _kind(cluster, host, port, timeout_s)
        return other or _silent(where, timeout_s, error)
    return None


def _kind(cluster: Cluster, host: str, port: int, timeout_s: float) -> Fatal | None:
    """The error for a listener of another kind than ``KAFKA_SECURITY_PROTOCOL``."""
    security, where = cluster.security, f"{host}:{port}"
    tls = speaks_tls(host, port)
    if tls and not security.tls:
        return _other(where, security, "uses TLS", "SASL_SSL" if security.sasl else "SSL (or SASL_SSL)")
    if not tls and security.tls and _speaks_plainly(cluster, host, port, timeout_s):
        plain = "SASL_PLAINTEXT" if security.sasl else "PLAINTEXT (or SASL_PLAINTEXT)"
        return _other(where, security, "is not encrypted", plain)
    if not security.sasl and (offered := _wants_login(cluster, host, port, timeout_s)):
        name = "SASL_SSL" if security.tls else "SASL_PLAINTEXT"
        return _other(where, security, f"requires a login ({offered})", f"{name}, with KAFKA_SASL_MECHANISM")
    return None


def _other(where: str, security: Security, what: str, name: str) -> Fatal:
    return Fatal(
        f"the listener at {where} {what}, but {PROTOCOL} does not say so",
        value=security.protocol,
        remedy=f"set {PROTOCOL} to {name}, or name the address of another listener",
    )


def _silent(where: str, timeout_s: float, error: Passing) -> Fatal:
    return Fatal(
        f"the Kafka broker at {where} accepts connections but has not answered within {timeout_s:g} s: "
        "it is frozen, overloaded or not Kafka",
        value=str(error),
        remedy="check its process and log, then restart it",
    )


def _speaks_plainly(cluster: Cluster, host: str, port: int, timeout_s: float) -> bool:
    """Whether a broker tells its versions in plaintext: it does so before any login."""
    plain = replace(cluster, security=Security())
    with suppress(Passing, Fatal), closing(Connection(plain, host, port, timeout_s)):
        return True
    return False


def _wants_login(cluster: Cluster, host: str, port: int, timeout_s: float) -> str:
    """The mechanisms that the listener offers; empty if it requires no login."""
    with suppress(Passing, Fatal), closing(Connection(cluster, host, port, timeout_s)) as connection:
        answer = connection.ask(SaslHandShakeRequest(_ASK_ANYWAY))
        if answer.error_code != _ILLEGAL_STATE:
            return ", ".join(sorted(answer.enabled_mechanisms)) or "SASL"
    return ""
