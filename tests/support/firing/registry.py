"""Sessions by name. Each is a short script on a floor: router, dispatcher, account stage and exchange."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from tapedeck.streams.config.document import Config, from_dict
from tests.support.floor import ACCOUNT, Floor
from tests.support.paths import CONFIG

SESSIONS: dict[str, Callable[[], Floor]] = {}
Script = Callable[[], Floor]


def session(run: Script) -> Script:
    """Register a script under its name."""
    assert run.__name__ not in SESSIONS, f"two sessions {run.__name__}"
    SESSIONS[run.__name__] = run
    return run


@cache
def played(name: str) -> Floor:
    """The session ``name``, played once a process."""
    return SESSIONS[name]()


def with_limits(groups: dict[str, dict[str, Any]] | None = None, **account: Any) -> Config:
    """The floor's configuration with other ``groups`` and other limits of its account."""
    changed = [
        each.model_dump(mode="python") | (account if each.account_id == ACCOUNT else {})
        for each in CONFIG.accounts
    ]
    return from_dict({**(groups or {}), "accounts": changed})


def fallen(floor: Floor, name: str, middle: str) -> Floor:
    """The price of ``name`` moves to ``middle``, a cent to each side."""
    at = Decimal(middle)
    floor.market.price(name, f"{at - Decimal('0.01')}", f"{at + Decimal('0.01')}")
    return floor
