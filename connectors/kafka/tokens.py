"""Bearer tokens for OAUTHBEARER: from a file, or by client credentials (RFC 6749, 4.4)."""

import base64
import binascii
import json
import threading
import time
from typing import NamedTuple

import requests

from tapedeck.connectors.clock import SystemClock
from tapedeck.connectors.kafka.security import Security
from tapedeck.schemas.errors import Fatal, Retry

_ANSWER_S = 10.0
_LIFETIME_S = 3600.0
"""The lifetime of a token that does not state one."""
_RENEW_AT = 0.8
"""The share of its lifetime after which a token is renewed, as in Kafka's own clients."""
_SERVER_ERROR = 500


class Token(NamedTuple):
    """``text`` is secret; ``expires_at``: epoch seconds; ``renew_at``: on the monotonic clock."""

    text: str
    expires_at: float
    renew_at: float

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at:.0f})"


_kept: dict[Security, Token] = {}
_lock = threading.Lock()


def token_of(security: Security) -> Token:
    """The token to log in with. One from an endpoint is kept for 80 % of its life; a file is read each time.

    Raises Retry if the endpoint does not answer, Fatal if it refuses or returns no token.
    """
    if security.token:
        text = security.token.read()
        return _token(text, _expiry_of(text))
    with _lock:
        kept = _kept.get(security)
        if kept is None or time.monotonic() >= kept.renew_at:
            kept = _kept[security] = _ask(security)
        return kept


def _ask(security: Security) -> Token:
    form = {"grant_type": "client_credentials"} | ({"scope": security.scope} if security.scope else {})
    url, login = security.endpoint, (security.client, security.secret.read())
    try:
        answer = requests.post(url, data=form, auth=login, timeout=_ANSWER_S, allow_redirects=False)
    except requests.RequestException as error:
        raise Retry(
            f"the token endpoint did not answer: {type(error).__name__}",
            value=url,
            remedy="check KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL; REQUESTS_CA_BUNDLE names its CA",
        ) from None
    if answer.status_code >= _SERVER_ERROR:
        raise Retry(
            "the token endpoint failed", value=f"{answer.status_code} from {url}", remedy="see its log"
        )
    try:
        found = answer.json()
        text = found["access_token"]
    except (ValueError, KeyError, TypeError):
        raise Fatal(
            f"the token endpoint issued no token to {security.client}",
            value=f"{answer.status_code} from {url}",
            remedy="check KAFKA_SASL_OAUTHBEARER_CLIENT_ID, its secret and the scope",
        ) from None
    lasts = found.get("expires_in")
    return _token(text, _now() + float(lasts) if lasts else _expiry_of(text))


def _token(text: str, expires_at: float) -> Token:
    lasts = max(0.0, expires_at - _now())
    return Token(text, expires_at, time.monotonic() + lasts * _RENEW_AT)


def _expiry_of(text: str) -> float:
    """The ``exp`` of a JSON web token (RFC 7519); an hour from now for any other token, or without one."""
    try:
        claims = text.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError, binascii.Error):
        return _now() + _LIFETIME_S


def _now() -> float:
    return SystemClock().now() / 1e6
