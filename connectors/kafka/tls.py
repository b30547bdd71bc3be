"""TLS of one connection, and the words for what can go wrong with it."""

import socket
import ssl

from tapedeck.connectors.kafka.security import Security
from tapedeck.schemas.errors import Fatal

_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_CA = {2, 18, 19, 20, 21}
_OTHER_NAME = {62, 64}
"""OpenSSL's verification results (X509_V_ERR_...)."""
_WANTS_OURS = (
    "CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_EXPIRED",
)  # fmt: skip
"""What a server says, as an alert, of a client's certificate that it refuses or misses."""


def open_socket(security: Security, host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection, encrypted where ``security`` says so. Raises OSError, Fatal for certificates at fault."""
    opened = socket.create_connection((host, port), timeout=timeout_s)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = security.ssl_context()
        return opened if context is None else context.wrap_socket(opened, server_hostname=host)
    except ssl.SSLError as error:
        opened.close()
        told = certificate_fault(error, f"{host}:{port}", security)
        if told is None:
            raise
        raise told from None
    except BaseException:
        opened.close()
        raise


def certificate_fault(error: ssl.SSLError, where: str, security: Security) -> Fatal | None:
    """What is wrong with a certificate; None where it is something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_server(error, where, security)
    if any(word in str(error.reason) for word in _WANTS_OURS if "ALERT" in str(error.reason)):
        ours = security.certificate or "none"
        return Fatal(
            f"{where} refuses the client certificate, or asks for one: {_words(error)}",
            value=ours,
            remedy="name a certificate that its CA signed in KAFKA_SSL_CERTIFICATE_LOCATION, and its key in "
            "KAFKA_SSL_KEY_LOCATION",
        )
    return None


def _of_server(error: ssl.SSLCertVerificationError, where: str, security: Security) -> Fatal:
    code, ca = error.verify_code, security.ca or "the CAs of this machine"
    if code in (_EXPIRED, _NOT_YET):
        which = "has expired" if code == _EXPIRED else "is not valid yet"
        return Fatal(
            f"a certificate of {where} {which}",
            value=error.verify_message,
            remedy="renew it (the server's, or its CA's), and check the clock of this machine",
        )
    if code in _OTHER_NAME:
        return Fatal(
            f"the certificate of {where} is for another host name",
            value=error.verify_message,
            remedy="use a name that the certificate holds, or have it issued for this one; "
            "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM=none trusts any name",
        )
    what = "is signed by a CA that is not known here" if code in _UNKNOWN_CA else "is not trusted"
    return Fatal(
        f"the certificate of {where} {what}: {error.verify_message}",
        value=ca,
        remedy="name the CA that signed it in KAFKA_SSL_CA_LOCATION (a PEM file)",
    )


def _words(error: ssl.SSLError) -> str:
    return str(error.reason).replace("_", " ").lower()
