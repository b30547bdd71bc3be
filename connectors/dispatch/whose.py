"""Whose account is behind the credentials. Nothing that another one holds or orders is taken for our own."""

from collections.abc import Callable
from typing import TypeVar

from tapedeck.connectors.broker import AccountReply, BrokerError
from tapedeck.streams.config.accounts import Account

T = TypeVar("T")
UNIDENTIFIED = "the account behind the credentials is not the configured one, or not ACTIVE"
_ACTIVE = "ACTIVE"


class Whose:
    """What the broker said last of the account at ``base_url``; ``ask`` asks it, and may raise BrokerError.

    ``ours``: it is the configured one. ``active``: it is, and may trade.
    """

    def __init__(self, account: Account, base_url: str, ask: Callable[[], AccountReply]) -> None:
        self._number, self._ask = account.broker_account_id, ask
        self._same_url = base_url.rstrip("/") == account.base_url.rstrip("/")
        self.ours = self.active = False

    def see(self, reply: AccountReply) -> None:
        """The broker has answered."""
        self.ours = reply.number == self._number and self._same_url
        self.active = self.ours and reply.status == _ACTIVE

    def stranger(self) -> str | None:
        """Why nothing that the broker says is about our account, None if it is; asks if that is not known."""
        error = None if self.ours else self._asked()
        return None if self.ours else error or UNIDENTIFIED

    def barred(self) -> str | None:
        """Why no order may be sent, None if one may; asks if that is not known."""
        error = None if self.active else self._asked()
        return None if self.active else error or UNIDENTIFIED

    def _asked(self) -> str | None:
        reply, error = read(self._ask)
        if reply is not None:
            self.see(reply)
        return error


def read(call: Callable[[], T]) -> tuple[T | None, str | None]:
    """(answer, error) of a call that changes nothing."""
    try:
        return call(), None
    except BrokerError as error:
        return None, str(error)
