"""The login of one connection: SASL requests over a socket, with aiokafka's authenticators."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from aiokafka.conn import SaslPlainAuthenticator, ScramAuthenticator
from aiokafka.protocol.admin import SaslAuthenticateRequest, SaslHandShakeRequest

from tapedeck.connectors.kafka.security import OAUTH, Security
from tapedeck.connectors.kafka.tokens import token_of
from tapedeck.schemas.errors import Fatal

_OK, _UNSUPPORTED, _NO_LOGIN = 0, 33, 34


def log_in(ask: Callable[[Any], Any], security: Security, where: str) -> None:
    """Log in on a connection whose API versions are known; ``ask`` sends a request and returns its answer.

    The password or token is read now. Raises Fatal if the broker refuses the mechanism or the login, and if
    it cannot prove that it knows the password.
    """
    handshake = ask(SaslHandShakeRequest(security.mechanism))
    if handshake.error_code == _NO_LOGIN:
        raise Fatal(
            f"the listener at {where} does not accept a login",
            value=security.protocol,
            remedy=f"set KAFKA_SECURITY_PROTOCOL to {'SSL' if security.tls else 'PLAINTEXT'}, "
            "or name the address of a SASL listener",
        )
    if handshake.error_code == _UNSUPPORTED or security.mechanism not in handshake.enabled_mechanisms:
        offered = ", ".join(sorted(handshake.enabled_mechanisms)) or "none"
        raise Fatal(
            f"the listener at {where} does not offer the SASL mechanism",
            value=security.mechanism,
            remedy=f"set KAFKA_SASL_MECHANISM to one that it offers: {offered}",
        )
    step = _oauth(security) if security.mechanism == OAUTH else _authenticator(security)
    said: bytes | None = None
    try:
        while (answer := step(said)) is not None:
            reply = ask(SaslAuthenticateRequest(answer[0]))
            if reply.error_code != _OK:
                raise refused(security, where, reply.error_message or "")
            said = reply.sasl_auth_bytes
    except (ValueError, KeyError, AssertionError):
        raise Fatal(
            f"the server at {where} did not prove that it knows the password of {security.principal}",
            value=security.mechanism,
            remedy="check the address: this may not be one of your brokers",
        ) from None
    if security.mechanism == OAUTH and said:  # RFC 7628: a refusal comes as text, without an error code
        raise refused(security, where, said.decode(errors="replace"))


def refused(security: Security, where: str, why: str) -> Fatal:
    """The error for a login that a broker refuses."""
    if security.mechanism == OAUTH:
        remedy = "check the token's issuer, audience and expiry, and the client's secret"
    else:
        remedy = f"check KAFKA_SASL_USERNAME and {security.password.name}"
        remedy += f" (read from {security.password.path})" if security.password.path else ""
    return Fatal(
        f"the broker at {where} refused the login of {security.principal} by {security.mechanism}",
        value=why or "no reason given",
        remedy=remedy,
    )


class _Scram(ScramAuthenticator):  # type: ignore[misc]
    """Salts a password only once: the salt of a user stays the same (RFC 5802, section 5.1)."""

    def create_salted_password(self, salt: bytes, iterations: int) -> None:
        self._salted_password = _salted(self._hashname, self._sasl_plain_password, salt, iterations)


@lru_cache(maxsize=16)
def _salted(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac(name, password, salt, iterations)


def _authenticator(security: Security) -> Callable[[bytes | None], tuple[bytes, bool] | None]:
    login = {"sasl_plain_username": security.username, "sasl_plain_password": security.password.read()}
    if security.mechanism == "PLAIN":
        return SaslPlainAuthenticator(loop=None, **login)._step  # type: ignore[no-any-return]
    made = _Scram(loop=None, sasl_mechanism=security.mechanism, **login)
    return made._step  # type: ignore[no-any-return]


def _oauth(security: Security) -> Callable[[bytes | None], tuple[bytes, bool] | None]:
    """One message with the token and its extensions (RFC 7628, KIP-342)."""
    token = token_of(security).text
    extensions = "".join(f"\x01{name}={value}" for name, value in security.extensions)
    messages = [(f"n,,\x01auth=Bearer {token}{extensions}\x01\x01".encode(), True)]
    return lambda _: messages.pop() if messages else None
