"""What secures an embedded Kafka: the broker's settings, its users, and their rights.

The broker has a certificate. Its controller and its administration listener accept only clients with a
certificate, so that no password is ever in the broker's settings or on a command line. All others log in
with SCRAM-SHA-512.
"""

from collections.abc import Iterable

from tapedeck.connectors.kafka.acls import ADMIN, Rights, grants_of, write_acls
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.users import write_users
from tapedeck.connectors.secrets import Secret
from tapedeck.tape.local.kafka import Doors
from tapedeck.tape.local.logins import BROKER, MECHANISM, Logins
from tapedeck.topics.catalogue import Layout

CLIENTS = "CLIENTS"
INTERNAL = "INTERNAL"
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
    """A broker setting for one listener."""
    return {f"listener.name.{listener.lower()}.{name}": value}


def admit(keeper: Cluster, logins: Logins, wanted: dict[str, Rights], layout: Layout) -> None:
    """Give each of ``wanted`` a login and the rights for its work. The administrator may do everything.

    Raises Fatal if the broker refuses.
    """
    write_users(keeper, passwords_of(logins, wanted))
    others = {name: rights for name, rights in wanted.items() if name != ADMIN}
    write_acls(keeper, {f"User:{name}": grants_of(rights, layout) for name, rights in others.items()})


def passwords_of(logins: Logins, users: Iterable[str]) -> dict[str, Secret]:
    """The password file of each of ``users``."""
    return {user: Secret(user, path=str(logins.password_file(user))) for user in users}
