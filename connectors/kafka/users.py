"""The users that a broker admits by SCRAM. It keeps what verifies a password, never the password itself."""

import time
from collections.abc import Mapping
from concurrent.futures import Future

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from tapedeck.connectors.kafka.clients import admin_client
from tapedeck.connectors.kafka.cluster import Cluster
from tapedeck.connectors.secrets import Secret
from tapedeck.schemas.errors import Fatal

_ITERATIONS = 8192
_ANSWER_S = 20.0
_AGAIN_S = 0.1


def write_users(keeper: Cluster, passwords: Mapping[str, Secret], mechanism: str = "SCRAM-SHA-512") -> None:
    """Give the broker the password of each user; returns when they can log in.

    ``keeper``: the cluster with a login that may alter it. Raises Fatal if the broker refuses.
    """
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(
            user,
            ScramCredentialInfo(ScramMechanism[mechanism.replace("-", "_")], _ITERATIONS),
            password.read().encode(),
        )
        for user, password in passwords.items()
    ]
    admin = admin_client(keeper, "users")
    try:
        for answer in admin.alter_user_scram_credentials(wanted, request_timeout=_ANSWER_S).values():
            answer.result(_ANSWER_S)
        _until_known(admin, {each.user for each in wanted})
    except KafkaException as error:
        raise Fatal(
            f"the broker did not accept the logins: {error.args[0].str()}",
            value=keeper.bootstrap,
            remedy="see the broker's log",
        ) from error


def _until_known(admin: AdminClient, users: set[str]) -> None:
    """Wait: a login works once the broker has caught up with the controller's log."""
    until = time.monotonic() + _ANSWER_S
    while True:
        answer = admin.describe_user_scram_credentials(None, request_timeout=_ANSWER_S)
        assert isinstance(answer, Future)
        if users <= set(answer.result(_ANSWER_S)) or time.monotonic() > until:
            return
        time.sleep(_AGAIN_S)
