"""What makes an embedded Kafka a secured one: certificates, logins, and the broker's settings for them.

Everything lies in one folder that only its owner may enter. The broker proves itself by a certificate; its
controller, and whoever looks after the broker, are let in by certificates alone, so that no password ever
stands in the broker's settings or on a command line. Everybody else logs in with SCRAM-SHA-512.
"""

import os
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.security import PASSWORD, PROTOCOL, VARIABLES, Security
from tapedeck.connectors.secrets import from_file
from tapedeck.schemas.errors import Fatal
from tapedeck.tape.local.certificates import Authority
from tapedeck.tape.local.kafka import Doors

ADMIN = "admin"
CLIENTS = "CLIENTS"
INTERNAL = "INTERNAL"
MECHANISM = "SCRAM-SHA-512"
_BROKER = "broker"
_ITERATIONS = 8192
_PASSWORD_BYTES = 24
_ANSWER_S = 20.0
_AGAIN_S = 0.1
_OWNER_ONLY = 0o600
_FOLDER_MODE = 0o700
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Secrets:
    """The certificates and logins in ``folder``; ``make`` makes what is missing, and keeps what is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def there(self) -> bool:
        """Whether ``make`` was ever called."""
        return self.folder.is_dir()

    @property
    def authority(self) -> Path:
        """The certificate that clients trust."""
        return self.folder / "ca.crt"

    def make(self, users: Iterable[str]) -> None:
        """An authority, the certificates of broker and administrator, a password for each of ``users``."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
        if not (self.folder / f"{ADMIN}.pem").is_file():
            authority = Authority.make(self.folder)
            authority.issue(_BROKER, client=True)
            authority.issue(ADMIN, (), client=True)
        for user in (ADMIN, *users):
            _new_password(self.password_file(user))

    def password_file(self, user: str) -> Path:
        """Where the password of ``user`` stands."""
        return self.folder / f"{user}.password"

    def login(self, user: str) -> Security:
        """How ``user`` reaches the listener for clients."""
        return Security.described(
            {
                PROTOCOL: "SASL_SSL",
                VARIABLES["sasl.mechanism"]: MECHANISM,
                VARIABLES["sasl.username"]: user,
                f"{PASSWORD}_FILE": str(self.password_file(user)),
                VARIABLES["ssl.ca.location"]: str(self.authority),
            }
        )

    def certified(self, name: str = ADMIN) -> Security:
        """How the owner of the certificate ``name`` reaches a listener that asks for one."""
        return Security.described(
            {
                PROTOCOL: "SSL",
                VARIABLES["ssl.ca.location"]: str(self.authority),
                VARIABLES["ssl.certificate.location"]: str(self.folder / f"{name}.crt"),
                VARIABLES["ssl.key.location"]: str(self.folder / f"{name}.key"),
            }
        )

    def doors(self) -> Doors:
        """The listeners of a secured broker, and its settings."""
        options = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / f"{_BROKER}.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{ADMIN};User:{_BROKER}",
            **option("CONTROLLER", "ssl.client.auth", "required"),
            **option(INTERNAL, "ssl.client.auth", "required"),
            **option(CLIENTS, "sasl.enabled.mechanisms", MECHANISM),
            **option(CLIENTS, f"{MECHANISM.lower()}.sasl.jaas.config", _SCRAM_LOGIN),
        }
        listeners = {CLIENTS: "SASL_SSL", INTERNAL: "SSL"}
        return Doors(listeners, "SSL", INTERNAL, self.certified(), options)


def option(listener: str, name: str, value: str) -> dict[str, str]:
    """A broker's setting that holds for one listener."""
    return {f"listener.name.{listener.lower()}.{name}": value}


def write_users(keeper: Cluster, known: Secrets, users: Iterable[str], mechanism: str = MECHANISM) -> None:
    """Give the broker the passwords of ``users``, as they stand in their files; returns when they hold.

    ``keeper`` is the cluster for whoever looks after it. Raises Fatal where the broker refuses.
    """
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(
            user,
            ScramCredentialInfo(ScramMechanism[mechanism.replace("-", "_")], _ITERATIONS),
            from_file(known.password_file(user), user).encode(),
        )
        for user in users
    ]
    admin = AdminClient(keeper.librdkafka("users"))
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


def _new_password(path: Path) -> None:
    if not path.is_file():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w") as file:
            file.write(secrets.token_urlsafe(_PASSWORD_BYTES))
