"""One cluster, as all clients get it: addresses, client id, topic prefix, and the id it must have."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tapedeck.connectors.kafka.security import OAUTH, Security
from tapedeck.connectors.kafka.tls import open_socket
from tapedeck.topics.catalogue import Layout

BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"
CLUSTER_ID = "KAFKA_CLUSTER_ID"


@dataclass(frozen=True)
class Cluster:
    """A Kafka cluster and the catalogue's layout on it. It has no connection, so it may be pickled.

    ``bootstrap``: ``host:port``, more of them separated by commas. ``expected_id``: the cluster id that must
    answer there, empty to accept any. ``security``: how to connect, and as whom.
    """

    bootstrap: str
    layout: Layout = field(default_factory=Layout)
    client_id: str = "tapedeck"
    expected_id: str = ""
    security: Security = field(default_factory=Security)

    @classmethod
    def described(cls, bootstrap: str, prefix: str, environment: Mapping[str, str]) -> "Cluster":
        """The cluster at ``bootstrap``, with KAFKA_CLUSTER_ID and the variables of Layout and Security.

        Raises ConfigInvalid if they do not fit together.
        """
        layout = Layout.described(prefix, environment)
        expected = environment.get(CLUSTER_ID, "")
        return cls(bootstrap, layout, expected_id=expected, security=Security.described(environment))

    @property
    def prefix(self) -> str:
        return self.layout.prefix

    def under(self, prefix: str) -> "Cluster":
        """The pipeline under another prefix on the same cluster."""
        return replace(self, layout=self.layout.under(prefix))

    def environment(self) -> dict[str, str]:
        """The variables by which another process finds this cluster and prefix."""
        return {
            BOOTSTRAP: self.bootstrap,
            CLUSTER_ID: self.expected_id,
            **self.layout.environment(),
            **dict(self.security.given),
        }

    def librdkafka(self, role: str, **settings: object) -> dict[str, Any]:
        """The options of a librdkafka client. ``role`` tells in the broker's logs what it is for."""
        quiet = {"log_level": 2}  # whoever waits for a lost connection reports it, once
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": f"{self.client_id}-{role}",
            **quiet,
            **self.security.librdkafka(),
            **self._tokens(),
            **settings,
        }

    def _tokens(self) -> dict[str, Any]:
        if self.security.mechanism != OAUTH:
            return {}
        from tapedeck.connectors.kafka.tokens import token_of  # noqa: PLC0415 - needed by few

        def renew(_: str) -> tuple[str, float, str, dict[str, str]]:
            token = token_of(self.security)
            principal = self.security.client or "tapedeck"
            return token.text, token.expires_at, principal, dict(self.security.extensions)

        return {"oauth_cb": renew}

    def faust_broker(self) -> str:
        """The ``broker`` of a Faust app."""
        return f"kafka://{self.bootstrap.replace(',', ';')}"

    def open_socket(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection to one broker. Raises OSError, and Fatal for invalid certificates."""
        return open_socket(self.security, host, port, timeout_s)


def accepts(address: str, timeout_s: float = 1.0) -> bool:
    """Whether anything listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s):
            return True
    except (OSError, ValueError):
        return False
