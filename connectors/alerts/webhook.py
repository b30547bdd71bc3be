"""Notices as signed JSON to a web address.

Each notice is a POST of its own. With a secret, a receiver checks the signature over the bytes as they came:

    expected = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    hmac.compare_digest(f"sha256={expected}", signature)

It refuses an old timestamp, so that nobody replays a notice, and drops an id that it has seen.
"""

import hashlib
import hmac
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from tapedeck.connectors.alerts.bounded import ANSWER_S, READ_MOST, TRY_S, Open, late, tried, within
from tapedeck.connectors.alerts.notice import Notice
from tapedeck.connectors.clock import Clock, SystemClock
from tapedeck.connectors.secrets import Secret
from tapedeck.connectors.tls import handshake_in_words
from tapedeck.schemas.errors import Fatal, Retry

TIMESTAMP = "X-Tapedeck-Timestamp"
"""Seconds since 1970, UTC."""
SIGNATURE = "X-Tapedeck-Signature"
IDENTITY = "X-Tapedeck-Id"
_SECOND_US = 1_000_000
_BUSY = (408, 425, 429)
_SERVER_FAULT = 500


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """``sha256=`` and the HMAC-SHA256, in hexadecimal, of the timestamp, a full stop and the body."""
    made = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={made.hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """The address and the secret of a receiver. Raises Fatal for an address that cannot be one.

    Messages name only the server: the path of such an address is often a secret.
    """

    address: Secret
    secret: Secret
    clock: Clock = field(default_factory=SystemClock)
    try_s: float = TRY_S
    at_once: int = 1

    def __post_init__(self) -> None:
        self._parts()
        self.secret.read()

    def send(self, notices: Sequence[Notice]) -> None:
        """Post each. No redirection is followed: a signed body goes to the named address only."""
        parts, secret = self._parts(), self.secret.read()
        for notice in notices:
            body = json.dumps(notice.body(), ensure_ascii=False).encode()
            timestamp = str(self.clock.now() // _SECOND_US)
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "tapedeck",
                "Connection": "close",
                IDENTITY: notice.id,
                TIMESTAMP: timestamp,
            }
            if secret:
                headers[SIGNATURE] = signature(secret, timestamp, body)
            tried(self._posting(parts, body, headers))

    def _posting(self, parts: SplitResult, body: bytes, headers: dict[str, str]) -> Callable[[], None]:
        return lambda: within(self.try_s, _server(parts), lambda opened: _post(opened, parts, body, headers))

    def _parts(self) -> SplitResult:
        """The address. Raises Fatal."""
        text = self.address.read()
        wanted = f"write https://HOST/PATH in {self.address.name}"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise Fatal(f"{self.address.name} is not a web address", remedy=wanted) from None
        plain = text.isascii() and text.isprintable() and " " not in text
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
            raise Fatal(f"{self.address.name} is not a web address", remedy=wanted)
        if parts.username is not None or parts.password is not None:
            raise Fatal(
                f"{self.address.name} holds a login, which is not sent",
                value=_server(parts),
                remedy=f"take it out; {self.secret.name} proves who sends",
            )
        return parts


def _server(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def _post(opened: Open, parts: SplitResult, body: bytes, headers: dict[str, str]) -> None:
    host, server = parts.hostname or "", _server(parts)
    made = (
        http.client.HTTPSConnection(host, parts.port, timeout=ANSWER_S, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=ANSWER_S)
    )
    try:
        opened.socket = lambda: made.sock
        made.connect()
        if opened.is_cut:
            return
        made.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        answer = made.getresponse()
        answer.read(READ_MOST)
        _judge(answer.status, server)
    except TimeoutError:
        raise late(server, ANSWER_S) from None
    except ssl.SSLError as error:
        words = handshake_in_words(error, server, "SSL_CERT_FILE")
        raise Retry(words.what, remedy=words.remedy) from None
    except socket.gaierror:
        raise Retry(f"the host of {server} is not known", remedy="check its name") from None
    except (OSError, http.client.HTTPException) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise Retry(
            f"{server} cannot be reached: {said}", remedy="check the address and the server"
        ) from None
    finally:
        made.close()


def _judge(status: int, server: str) -> None:
    """Whether the receiver took it. Raises Retry for what may pass, Fatal for what will not."""
    if 200 <= status < 300:
        return
    what = f"{server} answered {status} {http.client.responses.get(status, '')}".rstrip()
    if status >= _SERVER_FAULT or status in _BUSY:
        raise Retry(what, remedy="look at the receiver's log")
    if 300 <= status < 400:
        raise Fatal(f"{what}, and a redirection is not followed", remedy="name the final address")
    raise Fatal(what, remedy="check the path and the secret against the receiver's")
