"""Which credentials an account's requests are signed with, while they may be replaced."""

from requests import PreparedRequest
from requests.auth import AuthBase

from tapedeck.connectors.broker import Refused
from tapedeck.connectors.credentials import Credentials, Keys, as_keys

REFUSALS = (401, 403)
"""What a broker answers to credentials that are not, or no longer, valid: nothing was done."""


class Signature(AuthBase):
    """Signs the requests of one account. One instance per thread.

    ``strange``: other credentials were taken, and whose account they reach is not known yet. Whoever calls
    must ask before anything else.
    """

    def __init__(self, given: Credentials | Keys) -> None:
        self._keys = as_keys(given)
        self._used = self._keys.now()
        self._number: str | None = None
        self.strange = False

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["APCA-API-KEY-ID"] = self._used.key
        request.headers["APCA-API-SECRET-KEY"] = self._used.secret
        return request

    def renew(self, *, refused: bool = False) -> bool:
        """Take the newest credentials; whether they are other ones. ``refused``: these just were."""
        found = self._keys.after_refusal() if refused else self._keys.now()
        is_other = found != self._used
        self._used, self.strange = found, self.strange or is_other
        return is_other

    def reaches(self, number: str) -> None:
        """The broker says that the account behind them has this number; the first that it says counts."""
        self._number = self._number or number
        self.strange = number != self._number

    def demand_same(self, number: str) -> None:
        """Raises Refused if ``number`` is another account than before: nothing is sent to that one."""
        self.reaches(number)
        if self.strange:
            raise Refused(
                f"not sent: the replaced credentials reach account {number}, those before {self._number}",
                status=REFUSALS[1],
            )
