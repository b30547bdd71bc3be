"""TLS on one connection to a broker, and the words for what can go wrong with it."""

import socket
import ssl

from tapedeck.connectors.kafka.security import Security
from tapedeck.connectors.tls import handshake_in_words
from tapedeck.schemas.errors import Fatal


def open_socket(security: Security, host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection, encrypted if ``security`` says so. Raises OSError, and Fatal for invalid certificates."""
    opened = socket.create_connection((host, port), timeout=timeout_s)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = security.ssl_context()
        return opened if context is None else context.wrap_socket(opened, server_hostname=host)
    except ssl.SSLError as error:
        opened.close()
        if (told := certificate_fault(error, f"{host}:{port}", security)) is not None:
            raise told from None
        raise
    except BaseException:
        opened.close()
        raise


def certificate_fault(error: ssl.SSLError, where: str, security: Security) -> Fatal | None:
    """What is wrong with the server's certificate, or ours; None if it is something else."""
    server = f"the broker at {where}"
    if isinstance(error, ssl.SSLCertVerificationError):
        words = handshake_in_words(error, server, "KAFKA_SSL_CA_LOCATION")
        return Fatal(words.what, value=security.ca or "the CAs of this machine", remedy=words.remedy)
    if "ALERT" in (error.reason or ""):
        words = handshake_in_words(error, server, "KAFKA_SSL_CA_LOCATION")
        ours = "KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION"
        remedy = f"{words.remedy}: {ours} name them"
        return Fatal(words.what, value=security.certificate or "no certificate", remedy=remedy)
    return None
