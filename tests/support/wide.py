"""A configuration for many sessions in a row: nothing exits yet, so the limits must hold everything."""

from decimal import Decimal

from tapedeck.streams.config.accounts import Account
from tapedeck.streams.config.document import Config
from tapedeck.streams.config.examples import EXAMPLE_ACCOUNTS
from tapedeck.streams.config.groups import Contract

_LIMITS = {
    "max_exposure": Decimal(10_000_000),
    "max_daily_loss": Decimal(10_000_000),
    "max_positions": 200,
    "max_pending_orders": 20,
}


def wide_config() -> Config:
    """The two example accounts; contracts expire after two weeks at the earliest."""
    accounts = tuple(
        Account.model_validate(each.model_dump() | _LIMITS | {"max_contracts": 1})
        for each in EXAMPLE_ACCOUNTS
    )
    far = (15, 45)
    return Config(accounts=accounts, contract=Contract(day_dte=far, swing_dte=far, min_volume=10))
