"""How Faust's clients, which are aiokafka's, log in to a secured cluster."""

import asyncio
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials

from tapedeck.connectors.kafka.renewal import follow
from tapedeck.connectors.kafka.security import OAUTH, Security
from tapedeck.connectors.kafka.tokens import token_of


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """A token for each connection that is opened."""

    def __init__(self, security: Security) -> None:
        self._security = security

    async def token(self) -> str:
        return (await asyncio.to_thread(token_of, self._security)).text

    def extensions(self) -> dict[str, str]:
        return dict(self._security.extensions)


def credentials(security: Security) -> Credentials | None:
    """``broker_credentials`` of a Faust app; None for plaintext. Raises Fatal for unusable files."""
    context = security.ssl_context()
    if not security.sasl:
        return None if context is None else SSLCredentials(context)
    if security.mechanism == OAUTH:
        return OAuthCredentials(oauth_cb=_Tokens(security), ssl_context=context)
    return SASLCredentials(
        username=security.username,
        password=security.password.read(),
        ssl_context=context,
        mechanism=security.mechanism,
    )


def follow_password(client: Any, security: Security) -> None:
    """Let an ``AIOKafkaClient`` log in with a new password once there is one: it keeps its first."""
    if security.sasl and security.mechanism != OAUTH:
        follow(client, security.password, _tell)


def _tell(client: Any, password: str) -> None:
    client._sasl_plain_password = password
