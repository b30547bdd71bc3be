"""The secured broker of the tests: each protocol and mechanism on its own listener."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.acls import ADMIN
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.kafka.security import PASSWORD, PROTOCOL, VARIABLES, Security
from tapedeck.connectors.kafka.users import write_users
from tapedeck.connectors.secrets import from_file
from tapedeck.tape.local.kafka import Doors, EmbeddedKafka
from tapedeck.tape.local.logins import Logins
from tapedeck.tape.local.places import cache_dir
from tapedeck.tape.local.secured import CLIENTS, INTERNAL, doors_of, option, passwords_of
from tapedeck.topics.catalogue import Layout

USERS = ("features", "signals", "dispatch-main", "sink", "operator", "nobody", "rotating")
"""The users besides the administrator. Tests grant their rights."""
ADDED = {
    "SASL_SSL": "SASL_SSL",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SSL": "SSL",
    "MUTUAL": "SSL",
    "PLAINTEXT": "PLAINTEXT",
}
"""``MUTUAL`` asks for a client certificate, ``SSL`` does not."""
_SCRAMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_MODULES = "org.apache.kafka.common.security"
_UNSECURED = f"{_MODULES}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"


class SecuredKafka:
    """A broker with the listeners of ``tape up --secure`` and those of ADDED.

    The administrator may do everything, and so may anonymous users, who connect by PLAINTEXT,
    or by SSL without a certificate. SASL_SSL and SASL_PLAINTEXT take PLAIN, both SCRAMs, and OAUTHBEARER with
    unsigned tokens, whose subject is the user.
    """

    def __init__(self, folder: Path) -> None:
        self.logins = Logins(folder / "secrets")
        self.logins.make(USERS)
        self.server = EmbeddedKafka(folder, cache_dir(), doors=self._doors())

    def start(self) -> None:
        self.server.start()
        for mechanism in _SCRAMS:
            write_users(self.server.cluster, passwords_of(self.logins, (ADMIN, *USERS)), mechanism)

    def stop(self) -> None:
        self.server.stop()

    @property
    def bootstrap(self) -> str:
        """The listener of ``tape up --secure``: SASL_SSL with only SCRAM-SHA-512."""
        return self.server.bootstrap

    @property
    def cluster_id(self) -> str:
        return self.server.cluster_id

    @property
    def ca(self) -> Path:
        return self.logins.authority

    def address(self, listener: str) -> str:
        """``host:port`` of a listener: CLIENTS, INTERNAL, or one of ADDED."""
        return self.server.address(listener)

    def password(self, user: str) -> str:
        return from_file(self.logins.password_file(user), user)

    def cluster(
        self,
        user: str = ADMIN,
        prefix: str = "",
        *,
        listener: str = CLIENTS,
        mechanism: str = "SCRAM-SHA-512",
        **told: str,
    ) -> Cluster:
        """The cluster for ``user`` at a listener; ``told`` are more of the variables, or other values.

        At MUTUAL and INTERNAL the client presents the administrator's certificate. For OAUTHBEARER name the
        token.
        """
        said = {PROTOCOL: {CLIENTS: "SASL_SSL", INTERNAL: "SSL", **ADDED}[listener]}
        if said[PROTOCOL].endswith("SSL"):
            said[VARIABLES["ssl.ca.location"]] = str(self.ca)
        if said[PROTOCOL].startswith("SASL"):
            said[VARIABLES["sasl.mechanism"]] = mechanism
            if mechanism != "OAUTHBEARER":
                said[VARIABLES["sasl.username"]] = user
                said[f"{PASSWORD}_FILE"] = str(self.logins.password_file(user))
        if listener in ("MUTUAL", INTERNAL):
            said[VARIABLES["ssl.certificate.location"]] = str(self.logins.folder / f"{ADMIN}.crt")
            said[VARIABLES["ssl.key.location"]] = str(self.logins.folder / f"{ADMIN}.key")
        return Cluster(
            self.address(listener),
            Layout(prefix),
            expected_id=self.cluster_id,
            security=Security.described({name: value for name, value in (said | told).items() if value}),
        )

    def _doors(self) -> Doors:
        own = doors_of(self.logins)
        options = dict(own.options)
        options["super.users"] += ";User:ANONYMOUS"
        options |= option("MUTUAL", "ssl.client.auth", "required")
        for listener in ("SASL_SSL", "SASL_PLAINTEXT"):
            options |= self._mechanisms(listener)
        return Doors({**own.listeners, **ADDED}, own.controller, own.between, own.security, options)

    def _mechanisms(self, listener: str) -> dict[str, str]:
        users: Sequence[str] = (ADMIN, *USERS)
        plain = " ".join(f'user_{user}="{self.password(user)}"' for user in users)
        logins = {
            "plain": f"{_MODULES}.plain.PlainLoginModule required {plain};",
            **{each.lower(): f"{_MODULES}.scram.ScramLoginModule required;" for each in _SCRAMS},
            "oauthbearer": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required "
            'unsecuredLoginStringClaim_sub="broker";',
        }
        found = option(listener, "sasl.enabled.mechanisms", ",".join(name.upper() for name in logins))
        for name, login in logins.items():
            found |= option(listener, f"{name}.sasl.jaas.config", login)
        return found | option(listener, "oauthbearer.sasl.server.callback.handler.class", _UNSECURED)


def unsigned_token(user: str, lives_s: int = 3600) -> str:
    """An OAUTHBEARER token that these listeners accept."""
    now = SystemClock().now() // 1_000_000
    parts = ({"alg": "none"}, {"sub": user, "iat": now, "exp": now + lives_s})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])
