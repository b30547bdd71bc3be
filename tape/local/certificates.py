"""A small certificate authority: the certificates of a secured local stack, and those of tests.

Meant for one machine and a short life, not for a company: there is no revocation and no intermediate
authority. Keys are EC P-256 in unencrypted PKCS#8 (what OpenSSL, librdkafka and Kafka's PEM stores all read),
in files that only their owner may read.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from tapedeck.connectors.clock import SystemClock
from tapedeck.schemas.errors import Fatal

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    raise Fatal(
        "certificates need the package cryptography", remedy="pip install 'tapedeck[local]'"
    ) from error

LOCAL_HOSTS = ("localhost", "127.0.0.1")
AUTHORITY = "ca"
_DAYS = 825  # the longest that common verifiers accept for a server
_AUTHORITY_DAYS = 3_650
_OWNER_ONLY = 0o600
# To a clock that is a little slow, the certificate must already be valid.
_EARLIER = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """The files of one certificate.

    ``bundle`` is key and chain in one file, as Kafka's PEM stores require.
    """

    name: str
    certificate: Path
    key: Path
    bundle: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates into ``folder``; its own certificate, ``authority``, is what clients trust."""

    folder: Path
    authority: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, name: str = "tapedeck local authority") -> "Authority":
        """A new authority in ``folder``, which is created if missing; an older authority is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        self = cls(folder, folder / f"{AUTHORITY}.crt", folder / f"{AUTHORITY}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        start, end = _validity(_AUTHORITY_DAYS)
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            x509.CertificateBuilder(
                subject, subject, key.public_key(), x509.random_serial_number(), start, end
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_secret(self.key, _pem_of(key))
        self.authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return self

    @classmethod
    def load(cls, folder: Path) -> "Authority":
        """The authority that ``make`` created in ``folder``. Raises Fatal if there is none."""
        self = cls(folder, folder / f"{AUTHORITY}.crt", folder / f"{AUTHORITY}.key")
        if not (self.authority.is_file() and self.key.is_file()):
            raise Fatal(
                "there is no certificate authority in this folder",
                value=str(folder),
                remedy="create one first",
            )
        return self

    def issue(
        self, name: str, hosts: Sequence[str] = LOCAL_HOSTS, *, client: bool = False, days: int = _DAYS
    ) -> Certificate:
        """A certificate with the common name ``name``, for a server at ``hosts`` (names and addresses).

        With ``client`` a client may present it too, and ``hosts`` may be empty. With ``days`` below 0 it
        expired that long ago. Files of the same name are replaced.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        start, end = _validity(days)
        issuer = x509.load_pem_x509_certificate(self.authority.read_bytes())
        uses = [ExtendedKeyUsageOID.SERVER_AUTH] * bool(hosts) + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        builder = (
            x509.CertificateBuilder(
                issuer.subject, _named(name), key.public_key(), x509.random_serial_number(), start, end
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_issuer_of(issuer), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        chain = builder.sign(self._signing_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        made = Certificate(name, *(self.folder / f"{name}.{ending}" for ending in ("crt", "key", "pem")))
        _write_secret(made.key, _pem_of(key))
        _write_secret(made.bundle, _pem_of(key) + chain)
        made.certificate.write_bytes(chain)
        return made

    def _signing_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self.key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Fatal(
                "the authority's key is not an EC key",
                value=str(self.key),
                remedy="create the authority again",
            )
        return key


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issuer_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _validity(days: int) -> tuple[datetime, datetime]:
    now = datetime.fromtimestamp(SystemClock().now() // 1_000_000, UTC)
    end = now + timedelta(days=days)
    return min(now, end) - _EARLIER, end


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_secret(path: Path, content: bytes) -> None:
    """Never readable by others, not even for a moment. An existing file with a wider mode is replaced."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file:
        file.write(content)
