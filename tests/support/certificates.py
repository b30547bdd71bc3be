"""Valid and invalid server certificates, for tests of the clients' messages."""

import ssl
from functools import cached_property
from pathlib import Path

from tapedeck.tape.local.certificates import Authority, Certificate


class Certificates:
    """An authority that clients trust, one that they do not, and certificates of both."""

    def __init__(self, folder: Path) -> None:
        self.ours = Authority.make(folder / "ours", "our authority")
        self.theirs = Authority.make(folder / "theirs", "another authority")

    @property
    def trusted(self) -> str:
        """The file of the authority that clients trust."""
        return str(self.ours.authority)

    @cached_property
    def good(self) -> Certificate:
        return self.ours.issue("server")

    @cached_property
    def expired(self) -> Certificate:
        return self.ours.issue("expired", days=-1)

    @cached_property
    def elsewhere(self) -> Certificate:
        return self.ours.issue("elsewhere", ("db.elsewhere.test",))

    @cached_property
    def unknown(self) -> Certificate:
        return self.theirs.issue("server")

    @cached_property
    def client(self) -> Certificate:
        return self.ours.issue("client", (), client=True)

    @cached_property
    def stranger(self) -> Certificate:
        return self.theirs.issue("stranger", (), client=True)

    def serving(self, certificate: Certificate, *, asks_client: bool = False) -> ssl.SSLContext:
        """A server's side of TLS; ``asks_client``: a client must show a certificate of our authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        if asks_client:
            context.load_verify_locations(self.trusted)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
