"""What each record of an inbox came of, so that a trace goes on from a signal to the order and its fills.

A record that passes another one on names it by event_id. What the broker says of an order came of the record
at which it was sent, also where a tick had it asked for. That is known to the process that sent the order:
after a restart, such a record begins a trace of its own. Any other answer came of the record at which the
account asked.
"""

from collections.abc import Sequence

from tapedeck.connectors.dispatch.inbox import Body
from tapedeck.streams.protocol import Message
from tapedeck.streams.wire import Headers, caused_by, event_id_in

_NAMES = "_event_id"
"""How the field of an inbox record ends that names the record it passes on."""
_ORDER = "client_order_id"


class Causes:
    """The causes of one account's inbox records."""

    def __init__(self) -> None:
        self._orders: dict[str, Message] = {}

    def asked(self, request: Body, cause: Message | None) -> None:
        """The account made ``request`` at ``cause``: what is heard of an order later came of it."""
        if cause is not None and request["kind"] == "SUBMIT":
            self._orders[request[_ORDER]] = cause._replace(value=None)  # a chain is long, its headers are not

    def headers(self, body: Body, passed: Sequence[Message] = (), answered: Message | None = None) -> Headers:
        """The headers of a record. ``passed``: what it may pass on; ``answered``: whose answer it is."""
        content = body["payload"][1]
        cause = None
        if passed:
            named = {each for name, each in content.items() if name.endswith(_NAMES)}
            cause = next((each for each in passed if event_id_in(each.value) in named), None)
        return caused_by(body["event_id"], cause or self._orders.get(content.get(_ORDER, "")) or answered)
