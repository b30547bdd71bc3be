"""What makes an embedded Kafka a secured one: the broker's settings, its users, and what each may do.

The broker proves itself by a certificate. Its controller, and whoever looks after the broker, let in holders
of a certificate alone, so that no password ever stands in the broker's settings or on a command line.
Everybody else logs in with SCRAM-SHA-512.
"""

import time
from collections.abc import Iterable
from concurrent.futures import Future

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from tapedeck.connectors.kafka.acls import ADMIN, Rights, grants_of, write_acls
from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.secrets import from_file
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.kafka import Doors
from tapedeck.tape.local.logins import BROKER, MECHANISM, Logins
from tapedeck.topics.catalogue import Layout

CLIENTS = "CLIENTS"
INTERNAL = "INTERNAL"
_ITERATIONS = 8192
_ANSWER_S = 20.0
_AGAIN_S = 0.1
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


def doors_of(logins: Logins) -> Doors:
    """The listeners of a secured broker, and its settings."""
    options = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(logins.folder / f"{BROKER}.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(logins.authority),
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{ADMIN};User:{BROKER}",
        **option("CONTROLLER", "ssl.client.auth", "required"),
        **option(INTERNAL, "ssl.client.auth", "required"),
        **option(CLIENTS, "sasl.enabled.mechanisms", MECHANISM),
        **option(CLIENTS, f"{MECHANISM.lower()}.sasl.jaas.config", _SCRAM_LOGIN),
    }
    listeners = {CLIENTS: "SASL_SSL", INTERNAL: "SSL"}
    return Doors(listeners, "SSL", INTERNAL, logins.certified(), options)


def option(listener: str, name: str, value: str) -> dict[str, str]:
    """A broker's setting that holds for one listener."""
    return {f"listener.name.{listener.lower()}.{name}": value}


def admit(keeper: Cluster, logins: Logins, wanted: dict[str, Rights], layout: Layout) -> None:
    """Let each of ``wanted`` log in, and do what it is there for: the administrator may do everything.

    Raises Fatal where the broker refuses.
    """
    write_users(keeper, logins, wanted)
    others = {name: rights for name, rights in wanted.items() if name != ADMIN}
    write_acls(keeper, {f"User:{name}": grants_of(rights, layout) for name, rights in others.items()})


def write_users(keeper: Cluster, logins: Logins, users: Iterable[str], mechanism: str = MECHANISM) -> None:
    """Give the broker the passwords of ``users``, as they stand in their files; returns when they hold.

    ``keeper`` is the cluster for whoever looks after it. Raises Fatal where the broker refuses.
    """
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(
            user,
            ScramCredentialInfo(ScramMechanism[mechanism.replace("-", "_")], _ITERATIONS),
            from_file(logins.password_file(user), user).encode(),
        )
        for user in users
    ]
    admin = admin_client(keeper, "users")
    try:
        for answer in admin.alter_user_scram_credentials(wanted, request_timeout=_ANSWER_S).values():
            answer.result(_ANSWER_S)
        _until_known(admin, {each.user for each in wanted})
    except KafkaException as error:
        raise Fatal(
            f"the broker did not take the logins: {error.args[0].str()}",
            value=keeper.bootstrap,
            remedy="look into the broker's log",
        ) from error


def _until_known(admin: AdminClient, users: set[str]) -> None:
    """A login holds once the broker has followed the controller's log."""
    until = time.monotonic() + _ANSWER_S
    while True:
        answer = admin.describe_user_scram_credentials(None, request_timeout=_ANSWER_S)
        assert isinstance(answer, Future)
        if users <= set(answer.result(_ANSWER_S)) or time.monotonic() > until:
            return
        time.sleep(_AGAIN_S)
