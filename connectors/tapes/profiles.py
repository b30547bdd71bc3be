"""The synthetic market's figures for each of its 28 stocks. They are round and invented."""

from typing import NamedTuple

from tapedeck.schemas.errors import Fatal


class Profile(NamedTuple):
    """``price`` in dollars, ``day_vol`` the deviation of a day's return, ``shares`` a day in millions,
    ``beta`` the share of the market's move, ``gappy`` the chance that a minute has no trade."""

    price: float
    day_vol: float
    shares: float
    beta: float
    gappy: float = 0.001


PROFILES = {
    "NVDA": Profile(186.0, 0.024, 180.0, 1.7),
    "AMD": Profile(212.0, 0.029, 40.0, 1.8),
    "META": Profile(655.0, 0.019, 14.0, 1.3),
    "GOOGL": Profile(312.0, 0.017, 30.0, 1.1),
    "AVGO": Profile(334.0, 0.025, 22.0, 1.5),
    "CRM": Profile(192.0, 0.020, 8.0, 1.2),
    "MSFT": Profile(402.0, 0.014, 25.0, 1.0),
    "QCOM": Profile(141.0, 0.020, 9.0, 1.3),
    "NOW": Profile(106.0, 0.024, 12.0, 1.2),
    "ORCL": Profile(162.0, 0.027, 20.0, 1.4),
    "JPM": Profile(304.0, 0.014, 9.0, 1.0),
    "UNH": Profile(288.0, 0.020, 8.0, 0.6, 0.004),
    "LLY": Profile(1036.0, 0.019, 3.0, 0.6, 0.008),
    "XOM": Profile(149.0, 0.013, 16.0, 0.6),
    "CVX": Profile(181.0, 0.013, 9.0, 0.6),
    "PFE": Profile(27.4, 0.012, 45.0, 0.5),
    "BAC": Profile(53.6, 0.014, 40.0, 1.0),
    "WMT": Profile(131.0, 0.011, 18.0, 0.5),
    "PG": Profile(158.0, 0.010, 8.0, 0.4),
    "HD": Profile(386.0, 0.014, 4.0, 0.9, 0.004),
    "CAT": Profile(742.0, 0.018, 3.5, 1.1, 0.006),
    "DE": Profile(604.0, 0.016, 1.6, 0.9, 0.012),
    "GS": Profile(918.0, 0.016, 2.2, 1.2, 0.010),
    "RTX": Profile(199.0, 0.013, 5.0, 0.6, 0.004),
    "HON": Profile(239.0, 0.012, 4.0, 0.8, 0.006),
    "MRK": Profile(119.0, 0.013, 11.0, 0.4, 0.002),
    "BMY": Profile(60.2, 0.013, 12.0, 0.4, 0.002),
    "MMM": Profile(166.0, 0.014, 3.5, 0.8, 0.008),
}


def profile(symbol: str) -> Profile:
    """The profile of one stock. Raises Fatal for a symbol that the synthetic market does not have."""
    try:
        return PROFILES[symbol]
    except KeyError:
        raise Fatal(
            "the synthetic market has no such symbol", value=symbol, remedy=f"it has {' '.join(PROFILES)}"
        ) from None
