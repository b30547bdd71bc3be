"""The alert sinks that the environment names."""

from collections.abc import Mapping
from typing import NamedTuple

from tapedeck.connectors.alerts.mail import Mail, Server, recipients
from tapedeck.connectors.alerts.notice import Sink
from tapedeck.connectors.alerts.webhook import Webhook
from tapedeck.connectors.secrets import secret_of
from tapedeck.schemas.errors import Fatal

WEBHOOK, WEBHOOK_SECRET = "TAPE_ALERT_WEBHOOK", "TAPE_ALERT_WEBHOOK_SECRET"
EMAIL, SENDER = "TAPE_ALERT_EMAIL", "TAPE_ALERT_SENDER"
SMTP, SMTP_PASSWORD = "TAPE_SMTP_URL", "TAPE_SMTP_PASSWORD"
REPEAT = "TAPE_ALERT_REPEAT_S"
DEFAULT_REPEAT_S = 3_600
LEAST_REPEAT_S = 60
_SECOND_US = 1_000_000


class Sinks(NamedTuple):
    """The sinks that can be used, by the variable that names each, and why others cannot."""

    usable: Mapping[str, Sink]
    refused: Mapping[str, Fatal]


def sinks_in(environment: Mapping[str, str]) -> Sinks:
    """What the environment names. A sink with a wrong setting stops no other: it is in ``refused``."""
    usable: dict[str, Sink] = {}
    refused: dict[str, Fatal] = {}
    for name, make in ((WEBHOOK, _webhook), (EMAIL, _mail)):
        if environment.get(name) or environment.get(f"{name}_FILE"):
            try:
                usable[name] = make(environment)
            except Fatal as error:
                refused[name] = error
    return Sinks(usable, refused)


def repeat_us(environment: Mapping[str, str]) -> int:
    """After how many micros a red alert is told again; 0 for never. Raises Fatal for a wrong number."""
    text = environment.get(REPEAT) or str(DEFAULT_REPEAT_S)
    seconds = int(text) if text.isdecimal() and len(text) < 10 else -1
    if seconds < 0 or 0 < seconds < LEAST_REPEAT_S:
        remedy = f"write {LEAST_REPEAT_S} or more seconds, or 0 for never"
        raise Fatal(f"{REPEAT} is not a time", value=text, remedy=remedy)
    return seconds * _SECOND_US


def _webhook(environment: Mapping[str, str]) -> Sink:
    return Webhook(address=secret_of(WEBHOOK, environment), secret=secret_of(WEBHOOK_SECRET, environment))


def _mail(environment: Mapping[str, str]) -> Sink:
    address, sender = environment.get(SMTP, ""), environment.get(SENDER, "")
    if not address:
        raise Fatal(f"{EMAIL} is set without {SMTP}", remedy="write smtp://USER@HOST:PORT there")
    return Mail(
        to=recipients(environment.get(EMAIL, ""), EMAIL),
        server=Server.described(address, SMTP),
        password=secret_of(SMTP_PASSWORD, environment),
        sender=recipients(sender, SENDER)[0] if sender else "",
    )
