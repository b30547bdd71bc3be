"""One account document: identity, limits and their tier defaults (docs/domain.md#accounts)."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cache
from ipaddress import ip_address
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tapedeck.streams.config.groups import Group, Money, Positive, Share, refuse

EMBEDDED = "embedded"
"""Base URL of an account at the stack's own paper exchange, whatever port that has today: an address would
make the configuration's digest, and so every decision, depend on the run."""


PAPER_URL = "https://paper-api.alpaca.markets"
"""Alpaca's own paper trading."""
LIVE_URL = "https://api.alpaca.markets"
"""Alpaca with real money: no mode but LIVE may name it."""


class Mode(StrEnum):
    """What becomes of an account's orders: decided only, sent to a paper exchange, or to a real one."""

    SHADOW = "SHADOW"
    PAPER = "PAPER"
    LIVE = "LIVE"


ADDRESSES: Mapping[Mode, tuple[str, ...]] = {
    Mode.SHADOW: (PAPER_URL,),
    Mode.PAPER: (PAPER_URL,),
    Mode.LIVE: (LIVE_URL,),
}
"""The base URLs outside of this machine that an account of each mode may have."""


class Action(StrEnum):
    """What a decision comes to; all but HOLD become signals and may be traded."""

    BUY_CALL = "BUY_CALL"
    BUY_PUT = "BUY_PUT"
    BUY_STOCK = "BUY_STOCK"
    SELL_STOCK = "SELL_STOCK"
    HOLD = "HOLD"


TradedAction = Literal[Action.BUY_CALL, Action.BUY_PUT, Action.BUY_STOCK, Action.SELL_STOCK]
TRADED: tuple[TradedAction, ...] = get_args(TradedAction)


Tier = Literal["tiny", "small", "medium", "large"]
TIERS: tuple[str, ...] = ("tiny", "small", "medium", "large")
_TIER_TABLE: dict[str, tuple[Any, Any, Any, Any]] = {
    "max_contracts": (2, 3, 5, 10),
    "max_exposure": (1500, 4000, 15000, 50000),
    "max_positions": (2, 3, 4, 5),
    "max_pending_orders": (2, 3, 4, 5),
    "max_daily_loss": (100, 150, 250, 500),
    "risk_day": ("0.15", "0.12", "0.04", "0.01"),
    "risk_swing": ("0.08", "0.08", "0.06", "0.02"),
    "last_entry_day_min": (180, 120, 120, 120),
    "last_entry_swing_min": (120, 60, 60, 60),
}
_OVERNIGHT: dict[str, tuple[str, str, str, str]] = {
    "overnight_option_limit": ("200", "500", "2500", "5000"),
    "eod_min_pnl": ("0.15", "0.10", "0.10", "0.10"),
}
_MONEY = {"max_exposure", "max_daily_loss", "risk_day", "risk_swing"}


def tier_defaults(tier: str) -> dict[str, Any]:
    """The limits of a tier, as the account document would spell them."""
    column = TIERS.index(tier)
    row = {name: values[column] for name, values in _TIER_TABLE.items()}
    return {name: Decimal(value) if name in _MONEY else value for name, value in row.items()}


@cache
def _of_tier(name: str, tier: str) -> Decimal:
    return Decimal(_OVERNIGHT[name][TIERS.index(tier)])


OptionFeed = Literal["indicative", "opra"]
INDICATIVE: OptionFeed = "indicative"

Reference = Annotated[str, Field(pattern=r"^([A-Z][A-Z0-9]*(_[A-Z0-9]+)+|\.{0,2}/.+)$")]
"""A credential by reference: an environment variable with an underscore in its name, or a file's path."""


def is_loopback(url: str) -> bool:
    """Whether ``url`` is http or https to an address of this machine's loopback interface."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or host is None or parts.username is not None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_listed(mode: Mode, base_url: str) -> bool:
    """Whether an account of ``mode`` may trade at ``base_url``. An address on loopback is never LIVE."""
    is_here = base_url == EMBEDDED or is_loopback(base_url)
    return base_url in ADDRESSES[mode] or (is_here and mode is not Mode.LIVE)


def listed(mode: Mode) -> str:
    """The addresses of ``mode``, in words."""
    outside = " or ".join(map(repr, ADDRESSES[mode]))
    here = f"{EMBEDDED!r}, a loopback address such as http://127.0.0.1:8765, or "
    return outside if mode is Mode.LIVE else here + outside


class Account(Group):
    """One account. Limits that the document leaves out are those of its tier."""

    account_id: str = Field(min_length=1, max_length=32, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the account, part of every key."""
    tier: Tier
    """Which column of defaults its limits come from."""
    mode: Mode = Field(default=Mode.PAPER, strict=False)
    """SHADOW sends nothing, PAPER sends to a paper exchange. LIVE needs three more consents."""
    base_url: str
    """`embedded` for the local stack's exchange, a loopback URL, or Alpaca's for the mode."""
    broker_account_id: str = Field(min_length=1)
    """The account number that the broker must give for these credentials."""
    key_ref: Reference
    """Environment variable or file that holds the key."""
    secret_ref: Reference
    """Environment variable or file that holds the secret."""
    option_feed: OptionFeed = INDICATIVE
    """Alpaca's feed of option quotes; LIVE refuses indicative."""
    max_contracts: Positive
    """Option contracts per trade, and per underlying."""
    max_exposure: Annotated[Money, Field(gt=0)]
    """USD in positions and pending orders, at entry prices."""
    max_positions: Positive
    """Open positions, pending ones included."""
    max_pending_orders: Positive
    """Orders that may work at a time."""
    max_daily_loss: Annotated[Money, Field(gt=0)]
    """USD of loss in a session from which nothing is opened."""
    risk_day: Share
    """Share of equity at risk in one day trade."""
    risk_swing: Share
    """Share of equity at risk in one swing trade."""
    confidence_threshold: float = Field(default=0.40, ge=0, le=1)
    """Confidence that a signal needs here."""
    allowed_actions: tuple[TradedAction, ...] = TRADED
    """Actions that this account may take."""
    ticker_cooldown_minutes: Positive = 15
    """Minutes after an execution in an underlying in which it is not opened again."""
    max_trades_per_ticker_per_day: Positive = 2
    """Entries per underlying and session."""
    allow_shorting: bool = False
    """Whether SELL_STOCK without a long position opens a short."""
    last_entry_day_min: int = Field(ge=30)
    """Minutes before the close from which no day trade is opened."""
    last_entry_swing_min: int = Field(ge=60)
    """Minutes before the close from which no swing trade is opened."""

    overnight_option_limit: Annotated[Money, Field(gt=0)] | None = None
    """USD that swing options may be worth overnight; left out, the tier's."""
    eod_min_pnl: Share | None = None
    """P&L, as a fraction, that a swing option needs to stay overnight; left out, the tier's."""

    @property
    def overnight_limit(self) -> Decimal:
        """USD that swing options may be worth overnight."""
        limit = self.overnight_option_limit
        return _of_tier("overnight_option_limit", self.tier) if limit is None else limit

    @property
    def overnight_pnl(self) -> Decimal:
        """The P&L, as a fraction, that a swing option needs to stay overnight."""
        return _of_tier("eod_min_pnl", self.tier) if self.eod_min_pnl is None else self.eod_min_pnl

    @model_validator(mode="before")
    @classmethod
    def _fill_from_tier(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("tier") in TIERS:
            return tier_defaults(values["tier"]) | values
        return values

    @field_validator("base_url")
    @classmethod
    def _is_of_its_mode(cls, base_url: str, values: ValidationInfo) -> str:
        mode = values.data.get("mode")
        if mode is not None and not is_listed(mode, base_url):
            raise ValueError(f"an account in mode {mode} trades at {listed(mode)}")
        return base_url

    @model_validator(mode="after")
    def _quotes_are_real(self) -> "Account":
        refuse(
            self.mode is Mode.LIVE and self.option_feed == INDICATIVE,
            f"option_feed: LIVE refuses the {INDICATIVE} feed, of quotes that are no real ones: set opra",
        )
        return self
