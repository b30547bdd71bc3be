"""The triple lock of LIVE: a pure rule. Nothing in tapedeck sets any of the three.

The document says ``live_trading_enabled = true``, the process is started with ``--i-accept-live-orders``, and
the account's base URL is on the list of its mode. The dispatcher verifies the account's number besides.
"""

from collections.abc import Iterator

from tapedeck.schemas.errors import ConfigInvalid
from tapedeck.streams.config.accounts import ADDRESSES, Account, Mode, is_listed, listed

ENABLED = "live_trading_enabled"
FLAG = "--i-accept-live-orders"


def require_unlocked(account: Account, *, enabled: bool, accepted: bool) -> None:
    """Refuse an account that may not trade. ``enabled``: by the document; ``accepted``: by the process.

    SHADOW and PAPER need the right address only. Raises ConfigInvalid naming the first key that is missing.
    """
    for error in missing(account, enabled=enabled, accepted=accepted):
        raise error


def missing(account: Account, *, enabled: bool, accepted: bool) -> Iterator[ConfigInvalid]:
    """Every consent that ``account`` lacks, as the error that names it and its remedy."""
    mode, name = account.mode, account.account_id
    if not is_listed(mode, account.base_url):
        yield ConfigInvalid(
            f"accounts.{name}.base_url is not on the list of mode {mode}",
            value=account.base_url,
            remedy=f"set it to {listed(mode)}",
        )
    if mode is Mode.LIVE and not enabled:
        yield ConfigInvalid(
            f"accounts.{name}.mode is LIVE, and the document does not say {ENABLED} = true",
            value=str(mode),
            remedy='set mode = "PAPER"; orders of a LIVE account cost real money',
        )
    if mode is Mode.LIVE and not accepted:
        yield ConfigInvalid(
            f"account {name} is LIVE, and this process was not started with {FLAG}",
            value=str(mode),
            remedy=f'start `tape dispatch {name}` with {FLAG}, or set mode = "PAPER"',
        )


def is_live_address(url: str) -> bool:
    """Whether orders sent to ``url`` cost real money."""
    return url.rstrip("/") in ADDRESSES[Mode.LIVE]
