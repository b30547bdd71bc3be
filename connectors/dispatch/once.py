"""What the inbox of an account has already: one event never gets two bodies.

A dispatcher that starts hears much again: executions of the last days, controls, signals of a minute that was
not finished, the answer to a request. The event_id is that of the first hearing, and the time would be
another one. So the ids of the inbox are read before the start.

What has happened once is not written again. What says how things stand is: the stream is connected again, an
order still works. Said again, it is an event of its own.
"""

from collections.abc import Iterable

from tapedeck.connectors.dispatch.inbox import INBOX, Body
from tapedeck.schemas.codec import decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.identity import event_id
from tapedeck.streams.protocol import SECOND_US, Message

READ_BACK_US = 10 * 24 * 3600 * SECOND_US
"""How far the inbox is read at a start. What a broker is asked about, unasked, reaches back as far."""
HAPPENED = frozenset(
    f"tapedeck.{kind}"
    for kind in (
        "InboxActivity",
        "InboxBar",
        "InboxControl",
        "InboxEarnings",
        "InboxExecution",
        "InboxHalt",
        "InboxRegime",
        "InboxSignal",
        "InboxTick",
    )
)
"""Kinds of records that tell what happened, and not how things stand."""
_MOST = 250_000
_EVENT_ID = "ce_id"


class Once:
    """The events of one account's inbox: those of the last ten days, up to the last quarter million.

    They are in two parts. When the newer one spans as much, it takes the place of the older one.
    """

    def __init__(self, account_id: str) -> None:
        self._key = account_id.encode()
        self._newer: set[str] = set()
        self._older: set[str] = set()
        self._since: int | None = None

    def learn(self, messages: Iterable[Message]) -> None:
        """Records of the inbox, oldest first; those of other accounts and unreadable ones are passed over."""
        for message in messages:
            if message.key == self._key and (known := _event_id(message)) is not None:
                self._add(known, message.timestamp * 1000)

    def fresh(self, bodies: Iterable[Body]) -> list[Body]:
        """What of ``bodies`` is to be written; it counts as written from now on."""
        found = []
        for each in bodies:
            body = each
            if self._knows(body["event_id"]) and body["payload"][0] not in HAPPENED:
                natural = (body["event_id"], str(body["event_time"]))
                body = body | {"event_id": event_id(INBOX, natural)}
            if not self._knows(body["event_id"]):
                self._add(body["event_id"], body["event_time"])
                found.append(body)
        return found

    def _knows(self, event: str) -> bool:
        return event in self._newer or event in self._older

    def _add(self, event: str, now: int) -> None:
        since = now if self._since is None else self._since
        if now - since > READ_BACK_US or len(self._newer) >= _MOST:
            self._older, self._newer, since = self._newer, set(), now
        self._since = since
        self._newer.add(event)


def _event_id(message: Message) -> str | None:
    for name, content in message.headers or ():
        if name == _EVENT_ID and content:
            return content.decode(errors="replace")
    try:
        return str(decode(INBOX, message.value)["event_id"])
    except DeadLetter:
        return None
