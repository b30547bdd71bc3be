"""The certificates and logins of a secured local stack, in one folder that only its owner can read."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from tapedeck.connectors.kafka.acls import ADMIN
from tapedeck.connectors.kafka.security import CLIENT_CONFIG, PASSWORD, PROTOCOL, VARIABLES, Security
from tapedeck.schemas.errors import Fatal

SECRETS = "secrets"
"""The name of the folder in a stack's folder."""
BROKER = "broker"
MECHANISM = "SCRAM-SHA-512"
_PASSWORD_BYTES = 24
_OWNER_ONLY = 0o600
_FOLDER_MODE = 0o700


NOTHING_SAID = dict.fromkeys(
    (*VARIABLES.values(), *(f"{each}_FILE" for each in VARIABLES.values()), CLIENT_CONFIG), ""
)
"""Variables that a process gets besides its login, so that settings for another cluster do not reach it."""


class Logins:
    """The certificates and logins in ``folder``; ``make`` creates what is missing and keeps the rest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def there(self) -> bool:
        """Whether ``make`` was ever called."""
        return self.folder.is_dir()

    @property
    def authority(self) -> Path:
        """The certificate that clients trust."""
        return self.folder / "ca.crt"

    def make(self, users: Iterable[str]) -> None:
        """An authority, the certificates of broker and administrator, a password for each of ``users``."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
        if not (self.folder / f"{ADMIN}.pem").is_file():
            from tapedeck.tape.local.certificates import Authority  # noqa: PLC0415 - only needed to create them

            authority = Authority.make(self.folder)
            authority.issue(BROKER, client=True)
            authority.issue(ADMIN, (), client=True)
        for user in (ADMIN, *users):
            _new_password(self.password_file(user))

    def password_file(self, user: str) -> Path:
        """The password file of ``user``."""
        return self.folder / f"{user}.password"

    def login(self, user: str) -> Security:
        """How ``user`` connects to the listener for clients. Raises Fatal for a user without a login."""
        if not self.password_file(user).is_file():
            raise Fatal(
                "the secured stack has no such login", value=user, remedy=f"its logins are in {self.folder}"
            )
        return Security.described(
            {
                PROTOCOL: "SASL_SSL",
                VARIABLES["sasl.mechanism"]: MECHANISM,
                VARIABLES["sasl.username"]: user,
                f"{PASSWORD}_FILE": str(self.password_file(user)),
                VARIABLES["ssl.ca.location"]: str(self.authority),
            }
        )

    def certified(self, name: str = ADMIN) -> Security:
        """How the owner of the certificate ``name`` connects to a listener that requires one."""
        return Security.described(
            {
                PROTOCOL: "SSL",
                VARIABLES["ssl.ca.location"]: str(self.authority),
                VARIABLES["ssl.certificate.location"]: str(self.folder / f"{name}.crt"),
                VARIABLES["ssl.key.location"]: str(self.folder / f"{name}.key"),
            }
        )


def _new_password(path: Path) -> None:
    if not path.is_file():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w") as file:
            file.write(secrets.token_urlsafe(_PASSWORD_BYTES))
