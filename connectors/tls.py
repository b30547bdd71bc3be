"""TLS in words: what a failed handshake means, and which of a client's files cannot be used."""

import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tapedeck.schemas.errors import Fatal

# Codes of OpenSSL's X509_verify_cert_error_string.
_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
_WRONG_HOST = {62, 64}
_PROBE_S = 5.0
_ALERT_S = 1.0


class Words(NamedTuple):
    """What is wrong, and what to do."""

    what: str
    remedy: str


class Files(NamedTuple):
    """The PEM files of one client; empty: not set. ``certificate`` may contain the key as well."""

    authority: str = ""
    certificate: str = ""
    key: str = ""

    def check(self, variables: Sequence[str]) -> None:
        """Raise Fatal naming a file that cannot be used, and which of ``variables`` named it."""
        for name, path in zip(variables, self, strict=True):
            if path and not Path(path).is_file():
                raise Fatal(
                    f"the file that {name} names does not exist", value=path, remedy="name a PEM file"
                )
        if self.key and not self.certificate:
            raise Fatal(f"{variables[2]} is set without {variables[1]}", remedy="set both or neither")
        authority, certificate, key = variables
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.authority:
            try:
                context.load_verify_locations(self.authority)
            except (ssl.SSLError, OSError) as error:
                what, remedy = (
                    f"{authority} does not hold a PEM certificate",
                    "name the authority's certificate",
                )
                raise Fatal(what, value=self.authority, remedy=f"{remedy} ({_said(error)})") from None
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key or None, password=_no_password)
            except _EncryptedKey:
                raise Fatal(
                    f"{key} holds an encrypted key",
                    value=self.key or self.certificate,
                    remedy="name a key without a passphrase, which only this user may read: "
                    "openssl pkey -in KEY -out NEW_KEY",
                ) from None
            except (ssl.SSLError, OSError) as error:
                raise Fatal(
                    f"{certificate} and {key} are not a certificate and its key: {_said(error)}",
                    value=", ".join(filter(None, (self.certificate, self.key))),
                    remedy="name PEM files that belong together",
                ) from None


class _EncryptedKey(Exception):
    """OpenSSL needs a passphrase, and would prompt for it."""


def _no_password() -> str:
    raise _EncryptedKey


def handshake_in_words(error: ssl.SSLError, server: str, trusted: str) -> Words:
    """Why ``server`` was refused, or refused us. ``trusted`` names the setting with the authority."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification_in_words(error, server, trusted)
    reason = (error.reason or "").upper()
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason or "HTTP_REQUEST" in reason:
        return Words(f"{server} does not use TLS on this port", "name its TLS port, or connect without TLS")
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return Words(f"{server} requires a client certificate", "name one and its key")
    if "ALERT_UNKNOWN_CA" in reason or "ALERT_CERTIFICATE_UNKNOWN" in reason or "BAD_CERTIFICATE" in reason:
        return Words(
            f"{server} does not trust this client's certificate",
            "use one that is signed by an authority it trusts",
        )
    if "CERTIFICATE_EXPIRED" in reason:
        return Words(f"{server} says that this client's certificate has expired", "renew the certificate")
    return Words(f"the TLS handshake with {server} failed: {_said(error)}", "check its TLS settings")


def _verification_in_words(error: ssl.SSLCertVerificationError, server: str, trusted: str) -> Words:
    said = error.verify_message
    if error.verify_code == _EXPIRED:
        return Words(f"the certificate of {server} has expired", "renew the server's certificate")
    if error.verify_code == _NOT_YET:
        return Words(f"the certificate of {server} is not yet valid", "check the clocks of both machines")
    if error.verify_code in _WRONG_HOST:
        return Words(
            f"the certificate of {server} is for another host name: {said}",
            "use a name that is in the certificate, or issue one for this name",
        )
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return Words(
            f"the certificate of {server} is signed by an authority that is not trusted here: {said}",
            f"name that authority's certificate in {trusted}",
        )
    return Words(f"the certificate of {server} is refused: {said}", "check the server's certificate")


def tls_error_in(error: BaseException) -> ssl.SSLError | None:
    """The TLS error behind ``error``, if there is one, however deeply libraries wrapped it."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or each in seen:
            continue
        if isinstance(each, ssl.SSLError):
            return each
        seen.append(each)
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return None


def probe(
    host: str, port: int, files: Files, begin: Callable[[socket.socket], None] | None = None
) -> ssl.SSLError | None:
    """Do one handshake just to learn why it fails; None if it does not fail, or not because of TLS.

    A library's error may say less than OpenSSL's own. In TLS 1.3 a server also refuses a client only after
    the handshake, and the side that writes first sees a broken connection. ``begin`` is sent before TLS
    starts.
    """
    context = ssl.create_default_context(cafile=files.authority or None)
    if files.certificate:
        context.load_cert_chain(files.certificate, files.key or None, password=_no_password)
    try:
        with socket.create_connection((host, port), _PROBE_S) as opened:
            if begin is not None:
                begin(opened)
            with context.wrap_socket(opened, server_hostname=host) as wrapped:
                wrapped.settimeout(_ALERT_S)
                wrapped.recv(1)
    except ssl.SSLError as error:
        return error
    except OSError:
        return None
    return None


def speaks_tls(host: str, port: int) -> bool:
    """Whether ``host:port`` answers TLS, even with a refusal; a port that just closes does not count."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), _PROBE_S) as opened,
            context.wrap_socket(opened, server_hostname=host),
        ):
            return True
    except OSError as error:
        return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def _said(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else error.strerror or str(error)
