"""Notices by e-mail, all of one look in one message. The session is encrypted, except to this machine."""

import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import unquote, urlsplit

from tapedeck.connectors.alerts.bounded import ANSWER_S, TRY_S, Open, late, tried, within
from tapedeck.connectors.alerts.notice import Kind, Notice
from tapedeck.connectors.secrets import HIDDEN, Secret
from tapedeck.connectors.tls import handshake_in_words
from tapedeck.schemas.errors import Fatal, Retry, TapeError
from tapedeck.streams.sessions import iso_utc

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PORTS = {"smtp": 587, "smtps": 465}
_SAID_MOST = 200
_TITLE_MOST = 150
_NOT_IN_ADDRESS = frozenset(" <>\"'()[]:;,\\\r\n\t")
_LASTING = 500
"""Replies from here on are final; those below may pass."""


@dataclass(frozen=True)
class Server:
    """A mail server, from ``smtp://USER@HOST:PORT`` or ``smtps://``."""

    scheme: str
    host: str
    port: int
    user: str = ""

    @classmethod
    def described(cls, text: str, name: str) -> "Server":
        """From the variable ``name``. Raises Fatal if it is no such address, or holds a password."""
        wanted = f"write smtp://USER@HOST:PORT or smtps://USER@HOST:PORT in {name}"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise Fatal(f"{name} is not the address of a mail server", remedy=wanted) from None
        if parts.password is not None:
            remedy = "take it out, and set TAPE_SMTP_PASSWORD or TAPE_SMTP_PASSWORD_FILE"
            raise Fatal(f"{name} holds a password", remedy=remedy)
        rest = parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in _PORTS or not parts.hostname or port == 0 or rest or not text.isprintable():
            raise Fatal(f"{name} is not the address of a mail server", value=text, remedy=wanted)
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], unquote(parts.username or ""))

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, so that nobody listens on the way."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def recipients(text: str, name: str) -> tuple[str, ...]:
    """The addresses in ``text``, separated by commas. Raises Fatal for what is no address."""
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    for each in found:
        box, at, host = each.rpartition("@")
        if not (box and at and host) or not each.isascii() or _NOT_IN_ADDRESS & {*each}:
            raise Fatal(f"{name} has what is no e-mail address", value=each, remedy="write NAME@HOST")
    if not found:
        raise Fatal(f"{name} names nobody", value=text, remedy="write NAME@HOST")
    return found


@dataclass(frozen=True, kw_only=True)
class Mail:
    """Who is written to, through which server. ``sender``: empty for the login, or a name of this machine."""

    to: tuple[str, ...]
    server: Server
    password: Secret
    sender: str = ""
    try_s: float = TRY_S
    at_once: int = 1_000

    def __post_init__(self) -> None:
        if self.password.read() and not self.server.user:
            remedy = f"name the user in the address: {self.server.scheme}://USER@{self.server.host}"
            raise Fatal("a password for the mail server is set, and no user", remedy=remedy)

    def send(self, notices: Sequence[Notice]) -> None:
        """One message for all ``notices``; a recipient that is refused is an error even if others are not."""
        message, password = self._message(notices), self.password.read()

        def deliver(opened: Open) -> None:
            try:
                self._deliver(opened, message, password)
            except TapeError:
                raise
            except Exception as error:
                raise _in_words(error, self.server, password) from None

        tried(lambda: within(self.try_s, str(self.server), deliver))

    def _deliver(self, opened: Open, message: EmailMessage, password: str) -> None:
        server, context = self.server, ssl.create_default_context()
        name = socket.gethostname()  # the default looks the name up, which can take long
        client = (
            smtplib.SMTP_SSL(local_hostname=name, timeout=ANSWER_S, context=context)
            if server.scheme == "smtps"
            else smtplib.SMTP(local_hostname=name, timeout=ANSWER_S)
        )
        # Connected by hand, so that the socket can be cut while the greeting is read.
        vars(client)["_host"] = server.host
        opened.socket = lambda: client.sock
        try:
            client.connect(server.host, server.port)
            if opened.is_cut:
                return
            if server.scheme == "smtp" and not server.is_here:
                client.ehlo()
                if not client.has_extn("starttls"):
                    raise Fatal(
                        f"{server} offers no STARTTLS, and mail would travel unencrypted",
                        remedy="use smtps://, or a server that encrypts",
                    )
                client.starttls(context=context)
            if server.user:
                client.login(server.user, password)
            refused = client.send_message(message, from_addr=self._sender, to_addrs=self.to)
            if refused:
                raise Fatal(f"{server} refused {', '.join(refused)}", remedy="check the addresses")
        finally:
            client.close()

    @property
    def _sender(self) -> str:
        return self.sender or (
            self.server.user if "@" in self.server.user else f"tapedeck@{socket.gethostname()}"
        )

    def _message(self, notices: Sequence[Notice]) -> EmailMessage:
        first = notices[0]
        more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
        title = " ".join(f"{first.title}".split())[:_TITLE_MOST]
        made = EmailMessage()
        made["Subject"] = f"[tapedeck] {title}{more}"
        made["From"], made["To"] = self._sender, ", ".join(self.to)
        made["Date"] = format_datetime(_EPOCH + timedelta(microseconds=first.at))
        made["Message-ID"] = f"<{first.id}@{make_msgid(domain='tapedeck').rpartition('@')[2]}"
        made["Auto-Submitted"] = "auto-generated"
        made.set_content("\n\n".join(map(_told, notices)) + "\n")
        return made


def _told(notice: Notice) -> str:
    heading = {Kind.REPEAT: "Still so: ", Kind.WORSE: "Worse: "}.get(notice.kind, "")
    lines = [f"{heading}{notice.title}", f"    since {iso_utc(notice.since)}, seen {iso_utc(notice.at)}"]
    if notice.stage:
        lines.append(f"    first at fault: {notice.stage}")
    if notice.remedy and notice.kind is not Kind.RECOVERY:
        lines.append(f"    to mend it: {notice.remedy}")
    return "\n".join([*lines, f"    pipeline: {notice.pipeline}"])


def _in_words(error: Exception, server: Server, password: str) -> TapeError:
    """What went wrong, without the password, which a server may repeat."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return Fatal(
                f"{server} refused the login of {server.user}: {_reply(error, password)}",
                remedy="correct the user in TAPE_SMTP_URL, or the password",
            )
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            code, said = next(iter(refused.values()))
            what = f"{server} refused {', '.join(refused)}: {_quoted(code, said, password)}"
            kind = Fatal if code >= _LASTING else Retry
            return kind(what, remedy="check TAPE_ALERT_EMAIL")
        case smtplib.SMTPResponseException():
            kind = Fatal if error.smtp_code >= _LASTING else Retry
            return kind(f"{server} answered {_reply(error, password)}", remedy="look at the server's log")
        case smtplib.SMTPNotSupportedError():
            return Fatal(f"{server} offers no login", remedy="take the user out of TAPE_SMTP_URL")
        case TimeoutError():
            return late(str(server), ANSWER_S)
        case ssl.SSLError():
            words = handshake_in_words(error, str(server), "SSL_CERT_FILE")
            return Retry(words.what, remedy=words.remedy)
        case socket.gaierror():
            return Retry(f"the host of {server} is not known", remedy="check its name")
    why = getattr(error, "strerror", None) or type(error).__name__
    return Retry(f"{server} cannot be reached: {why}", remedy="check the address and the server")


def _reply(error: smtplib.SMTPResponseException, password: str) -> str:
    return _quoted(error.smtp_code, error.smtp_error, password)


def _quoted(code: int, said: bytes | str, password: str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    text = " ".join(text.split())
    if password:
        text = text.replace(password, HIDDEN)
    return f"{code} {text[:_SAID_MOST]}"
