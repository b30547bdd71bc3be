"""How to connect to a cluster: plaintext or TLS, and as whom. All clients are configured from this value."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from tapedeck.connectors.kafka.properties import read_properties
from tapedeck.connectors.secrets import Secret, secret_of
from tapedeck.schemas.errors import ConfigInvalid, Fatal

PROTOCOL = "KAFKA_SECURITY_PROTOCOL"
CLIENT_CONFIG = "KAFKA_CLIENT_CONFIG"
PASSWORD = "KAFKA_SASL_PASSWORD"
PLAINTEXT = "PLAINTEXT"
PROTOCOLS = (PLAINTEXT, "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
OAUTH = "OAUTHBEARER"

VARIABLES = {
    "security.protocol": PROTOCOL,
    "sasl.mechanism": "KAFKA_SASL_MECHANISM",
    "sasl.username": "KAFKA_SASL_USERNAME",
    "sasl.password": PASSWORD,
    "ssl.ca.location": "KAFKA_SSL_CA_LOCATION",
    "ssl.certificate.location": "KAFKA_SSL_CERTIFICATE_LOCATION",
    "ssl.key.location": "KAFKA_SSL_KEY_LOCATION",
    "ssl.key.password": "KAFKA_SSL_KEY_PASSWORD",
    "ssl.endpoint.identification.algorithm": "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM",
    "oauth.endpoint": "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL",
    "oauth.client": "KAFKA_SASL_OAUTHBEARER_CLIENT_ID",
    "oauth.secret": "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET",
    "oauth.scope": "KAFKA_SASL_OAUTHBEARER_SCOPE",
    "oauth.extensions": "KAFKA_SASL_OAUTHBEARER_EXTENSIONS",
    "oauth.token": "KAFKA_SASL_OAUTHBEARER_TOKEN",
    "client.rack": "KAFKA_CLIENT_RACK",
}
"""Each setting and its variable; a variable takes precedence over ``KAFKA_CLIENT_CONFIG``."""

_NOTHING = Secret("nothing")
_SECRETS = ("sasl.password", "ssl.key.password", "oauth.secret", "oauth.token")
_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")


@dataclass(frozen=True)
class Security:
    """What a client needs besides the addresses. It has no connection, so it may be pickled.

    ``given``: the variables it was read from, for another process. ``ca_pem``, ``certificate_pem``,
    ``key_pem``: what a properties file may contain instead of paths.
    """

    protocol: str = PLAINTEXT
    mechanism: str = ""
    username: str = ""
    password: Secret = _NOTHING
    ca: str = ""
    certificate: str = ""
    key: str = ""
    key_password: Secret = _NOTHING
    checks_host: bool = True
    endpoint: str = ""
    client: str = ""
    secret: Secret = _NOTHING
    scope: str = ""
    extensions: tuple[tuple[str, str], ...] = ()
    token: Secret = _NOTHING
    rack: str = ""
    ca_pem: str = field(default="", repr=False)
    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    given: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def described(cls, environment: Mapping[str, str]) -> "Security":
        """The security settings in ``environment``. Raises ConfigInvalid for settings that do not fit
        together, Fatal for a secret that cannot be read."""
        named = environment.get(CLIENT_CONFIG, "")
        said = read_properties(Path(named).expanduser()) if named else {}
        given = {CLIENT_CONFIG: str(Path(named).expanduser().absolute())} if named else {}
        secrets = {}
        for setting, variable in VARIABLES.items():
            if setting in _SECRETS:
                told = secret_of(variable, environment)
                secrets[setting] = told or Secret(variable, said.get(setting, ""))
                if told:
                    given[f"{variable}_FILE" if told.path else variable] = told.path or told.value
            elif value := environment.get(variable, ""):
                said[setting] = str(Path(value).expanduser().absolute()) if setting in _FILES else value
                given[variable] = said[setting]
        made = cls(
            protocol=said.get("security.protocol", "").upper() or PLAINTEXT,
            mechanism=said.get("sasl.mechanism", "").upper(),
            username=said.get("sasl.username", ""),
            password=secrets["sasl.password"],
            ca=said.get("ssl.ca.location", ""),
            certificate=said.get("ssl.certificate.location", ""),
            key=said.get("ssl.key.location", "") or said.get("ssl.certificate.location", ""),
            key_password=secrets["ssl.key.password"],
            checks_host=said.get("ssl.endpoint.identification.algorithm", "https").lower() == "https",
            endpoint=said.get("oauth.endpoint", ""),
            client=said.get("oauth.client", ""),
            secret=secrets["oauth.secret"],
            scope=said.get("oauth.scope", ""),
            extensions=_extensions(said.get("oauth.extensions", "")),
            token=secrets["oauth.token"],
            rack=said.get("client.rack", ""),
            ca_pem=said.get("ssl.ca.pem", ""),
            certificate_pem=said.get("ssl.certificate.pem", ""),
            key_pem=said.get("ssl.key.pem", ""),
            given=tuple(sorted(given.items())),
        )
        made.check()
        return made

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Whether a client logs in with SASL."""
        return self.protocol.startswith("SASL_")

    @property
    def principal(self) -> str:
        """The principal that the broker sees, as far as it is known here."""
        if self.sasl:
            return f"User:{self.username or self.client or 'the subject of the token'}"
        if self.tls and (self.certificate or self.certificate_pem):
            return "the subject of the client certificate"
        return "User:ANONYMOUS"

    def check(self) -> None:
        """Raise ConfigInvalid for missing or contradictory settings, before any connection is made."""
        if self.protocol not in PROTOCOLS:
            raise ConfigInvalid(
                f"{PROTOCOL} is not one of {', '.join(PROTOCOLS)}", value=self.protocol, remedy="correct it"
            )
        logins = {
            "KAFKA_SASL_MECHANISM": self.mechanism,
            "KAFKA_SASL_USERNAME": self.username,
            PASSWORD: self.password,
        }
        if not self.sasl and (extra := [name for name, value in logins.items() if value]):
            raise ConfigInvalid(
                f"{extra[0]} is set, but {PROTOCOL} is one without logins",
                value=self.protocol,
                remedy=f"set {PROTOCOL} to SASL_SSL (or SASL_PLAINTEXT), or unset {extra[0]}",
            )
        if not self.tls and (stray := self.ca or self.certificate or (self.ca_pem and "ssl.ca.pem")):
            raise ConfigInvalid(
                f"certificates are named, but {PROTOCOL} is one without encryption",
                value=f"{self.protocol}, {stray}",
                remedy=f"set {PROTOCOL} to {'SASL_SSL' if self.sasl else 'SSL'}, or remove the certificates",
            )
        if self.sasl:
            self._check_login()
        for name in (self.ca, self.certificate, self.key) if self.tls else ():
            if name and not Path(name).is_file():
                raise ConfigInvalid(
                    "a certificate or key file does not exist", value=name, remedy="correct its path"
                )

    def _check_login(self) -> None:
        if self.mechanism not in MECHANISMS:
            raise ConfigInvalid(
                f"KAFKA_SASL_MECHANISM is not one of {', '.join(MECHANISMS)}",
                value=self.mechanism or "nothing",
                remedy="set it to what the broker's listener offers",
            )
        if self.mechanism == OAUTH:
            if bool(self.token) == bool(self.endpoint):
                raise ConfigInvalid(
                    "OAUTHBEARER needs either a token file or a token endpoint, not both",
                    value="both" if self.token else "neither",
                    remedy="set KAFKA_SASL_OAUTHBEARER_TOKEN_FILE, or "
                    "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL, _CLIENT_ID and _CLIENT_SECRET_FILE",
                )
            if self.endpoint and not (self.client and self.secret):
                raise ConfigInvalid(
                    "a token endpoint needs a client id and a client secret",
                    remedy="set KAFKA_SASL_OAUTHBEARER_CLIENT_ID and _CLIENT_SECRET_FILE",
                )
        elif not (self.username and self.password):
            missing = PASSWORD if self.username else "KAFKA_SASL_USERNAME"
            raise ConfigInvalid(
                f"{self.mechanism} needs a user name and a password",
                value=f"{missing} is not set",
                remedy=f"set KAFKA_SASL_USERNAME, and {PASSWORD} or {PASSWORD}_FILE",
            )

    def librdkafka(self) -> dict[str, Any]:
        """The options of a librdkafka client. Raises Fatal if a secret cannot be read."""
        found: dict[str, Any] = {"client.rack": self.rack} if self.rack else {}
        if self.protocol != PLAINTEXT:
            found["security.protocol"] = self.protocol
        if self.tls:
            found |= {
                "ssl.ca.location": self.ca,
                "ssl.ca.pem": self.ca_pem,
                "ssl.certificate.location": self.certificate,
                "ssl.certificate.pem": self.certificate_pem,
                "ssl.key.location": self.key,
                "ssl.key.pem": self.key_pem,
                "ssl.key.password": self.key_password.read(),
                "ssl.endpoint.identification.algorithm": "https" if self.checks_host else "none",
            }
        if self.sasl:
            found |= {"sasl.mechanism": self.mechanism}
            if self.mechanism != OAUTH:
                found |= {"sasl.username": self.username, "sasl.password": self.password.read()}
        return {key: value for key, value in found.items() if value}

    @lru_cache(maxsize=16)  # noqa: B019 - values; rereading the CAs per connection takes longer than TLS
    def ssl_context(self) -> ssl.SSLContext | None:
        """For Python's sockets; None if nothing is encrypted. The files are read once per process.

        Raises Fatal for files that are not PEM.
        """
        if not self.tls:
            return None
        try:
            made = ssl.create_default_context(cafile=self.ca or None, cadata=self.ca_pem or None)
        except (ssl.SSLError, OSError) as error:
            raise Fatal(
                f"the CA cannot be read as PEM: {_reason(error)}",
                value=self.ca or "ssl.ca.pem",
                remedy="name a file of PEM certificates in KAFKA_SSL_CA_LOCATION",
            ) from None
        made.check_hostname = self.checks_host
        if self.certificate or self.certificate_pem:
            self._load_chain(made)
        return made

    def _load_chain(self, context: ssl.SSLContext) -> None:
        try:
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key, self._key_password)
                return
            with NamedTemporaryFile(
                "w", suffix=".pem"
            ) as both:  # mode 0600: Python reads these only from files
                both.write(f"{self.key_pem}\n{self.certificate_pem}\n")
                both.flush()
                context.load_cert_chain(both.name, None, self._key_password)
        except (ssl.SSLError, OSError) as error:
            raise Fatal(
                f"the client certificate and its key cannot be used: {_reason(error)}",
                value=f"{self.certificate or 'ssl.certificate.pem'}, {self.key or 'ssl.key.pem'}",
                remedy="name a PEM certificate and the PEM key that belongs to it, with its password",
            ) from None

    def _key_password(self) -> str:
        return self.key_password.read()


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)


def _extensions(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)
