"""The feature window as bytes: one fixed-size value per (feed, symbol), made of 8-byte slots.

    head    format, fingerprint of the parameters, bars in the list, revision of the newest feature event
        fold    everything that folding the list up to its newest bar leaves behind, except the rings
    before  the same block as it was *before* each of the newest 17 bars: where a roll-back starts
    ring    t, revision, close, volume, return of the newest 136 bars
        edge    high, low, open of the newest 17 bars: needed to fold them again

A bar's place is its index in the list of the previous and the current session (0 = oldest), modulo the
ring's size. When a new session starts, older bars are cleared and places are renumbered, so that the
bytes are a pure function of the list and of how often its newest event was revised.

136 = the longest window (120) and the roll-back depth (16 minutes): the ring still contains the whole
window of a bar inserted 16 minutes back. 17 = the newest bar and 16 before it.

Two sets of recursive indicators run side by side. ``OLD`` is seeded where the previous session starts,
``NEW`` where the current one does. When a new session starts, ``NEW`` becomes ``OLD``.
"""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tapedeck.schemas.errors import Fatal
from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US

FORMAT = 2
SLOT_BYTES = 8

RING = 136
EDGE = 17

# head
H_FORMAT, H_FINGERPRINT, H_COUNT, H_REVISION = range(4)
HEAD = 4

# fold block: integers
B_DATE, B_OPEN, B_CLOSE, B_PREV_COUNT, B_COUNT = range(5)
# fold block: floats; unknown is NaN
B_PREV_FIRST_OPEN, B_PREV_LAST_CLOSE, B_FIRST_OPEN, B_LAST_CLOSE, B_OR_HIGH, B_OR_LOW = range(5, 11)
B_VALUE_HI, B_VALUE_LO, B_VOLUME_HI, B_VOLUME_LO = range(11, 15)
B_OLD = 15
# one set of recursive indicators: plain sums until the seed is full; fast and slow less the newest close
R_GAIN, R_LOSS, R_FAST, R_SLOW, R_SIGNAL, R_ATR = range(6)
RECURSIVE = 6
B_NEW = B_OLD + RECURSIVE
BLOCK = B_NEW + RECURSIVE

FOLD = HEAD
BEFORE = FOLD + BLOCK
RING_T = BEFORE + EDGE * BLOCK
RING_REVISION = RING_T + RING
RING_CLOSE = RING_REVISION + RING
RING_VOLUME = RING_CLOSE + RING
RING_RETURN = RING_VOLUME + RING
RING_COLUMNS = 5
EDGE_HIGH = RING_RETURN + RING
EDGE_LOW = EDGE_HIGH + EDGE
EDGE_OPEN = EDGE_LOW + EDGE
SLOTS = EDGE_OPEN + EDGE
STATE_BYTES = SLOTS * SLOT_BYTES

# parameters, integers: windows in bars, spans in microseconds
(
    P_SMA_SHORT, P_SMA_LONG, P_RECENT, P_BASELINE, P_MIN_RECENT, P_MIN_BASELINE, P_VOLUME, P_RSI, P_MACD_FAST,
    P_MACD_SLOW, P_MACD_SIGNAL, P_BOLLINGER, P_ATR, P_MOMENTUM_SHORT, P_MOMENTUM_LONG, P_OPENING_RANGE,
    P_READY, P_ROLLBACK, P_RETURN_GAP,
) = range(19)  # fmt: skip
# parameters, floats
P_SURGE, P_BAND, P_SPLIT_LOW, P_SPLIT_HIGH = range(4)

# status of one input bar
NEW, REVISED, INSERTED, DUPLICATE, LATE, OUTSIDE, UNKNOWN, BAD = range(1, 9)

# columns of an input bar: integers, then prices
I_T, I_REVISION, I_DATE, I_PREV_DATE, I_OPEN, I_CLOSE = range(6)
F_OPEN, F_HIGH, F_LOW, F_CLOSE, F_VOLUME = range(5)
PRICE_MIN, PRICE_MAX, VOLUME_MAX = 1e-6, 1e9, 1e15
"""Limits of a bar, USD and shares: what fits in a decimal, and keeps sums of squares finite."""
NO_DATE = -(1 << 31)
"""``I_DATE`` of a bar outside every session; as ``I_PREV_DATE``: there is no session before."""
UNKNOWN_DATE = NO_DATE + 1
"""``I_DATE`` of a bar beyond the calendar's horizon."""

# columns of a feature vector: integers
M_CAUSE, M_T, M_REVISION, M_BAR_REVISION, M_DATE, M_BARS, M_READY, M_CROSSES, M_SPLIT = range(9)
META = 9
# columns of a feature vector: floats, NaN = null
(
    V_CLOSE, V_VOLUME, V_SMA_SHORT, V_SMA_LONG, V_TREND, V_DISTANCE_SHORT, V_DISTANCE_LONG, V_RECENT,
    V_BASELINE, V_VOL_RATIO, V_VOLUME_RATIO, V_SURGE, V_RSI, V_MACD, V_MACD_SIGNAL, V_MACD_HIST, V_BB_UPPER,
    V_BB_LOWER, V_BB_POSITION, V_ATR, V_VWAP, V_MOMENTUM_SHORT, V_MOMENTUM_LONG, V_OR_HIGH, V_OR_LOW,
    V_OR_STATE, V_GAP, V_PREV_MOVE,
) = range(28)  # fmt: skip
VALUES = 28
OR_STATES = ("ABOVE", "BELOW", "INSIDE")
"""The opening range's states by the number that ``V_OR_STATE`` holds."""
NUMBERS = {
    "close": V_CLOSE,
    "volume": V_VOLUME,
    "sma20": V_SMA_SHORT,
    "sma50": V_SMA_LONG,
    "distance_sma20": V_DISTANCE_SHORT,
    "distance_sma50": V_DISTANCE_LONG,
    "recent_vol": V_RECENT,
    "baseline_vol": V_BASELINE,
    "vol_ratio": V_VOL_RATIO,
    "volume_ratio": V_VOLUME_RATIO,
    "rsi14": V_RSI,
    "macd": V_MACD,
    "macd_signal": V_MACD_SIGNAL,
    "macd_hist": V_MACD_HIST,
    "bb_upper": V_BB_UPPER,
    "bb_lower": V_BB_LOWER,
    "bb_position": V_BB_POSITION,
    "atr14": V_ATR,
    "vwap": V_VWAP,
    "momentum_5": V_MOMENTUM_SHORT,
    "momentum_15": V_MOMENTUM_LONG,
    "or_high": V_OR_HIGH,
    "or_low": V_OR_LOW,
    "gap_pct": V_GAP,
    "prev_move": V_PREV_MOVE,
}
"""The record fields of the float columns that are output unchanged, NaN as null."""

CONSTANTS = crc32(repr(sorted((k, v) for k, v in globals().items() if type(v) is int)).encode())
"""Changes with any number above: the kernel has the values compiled in."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def parameters(config: Config) -> tuple[Ints, Floats]:
    """The kernel's parameters, in the order of the ``P_`` names."""
    feature, bars = config.feature, config.bars

    def needed(window: int) -> int:
        # the margin keeps 2/3 of a multiple of three from rounding up by one
        return int(np.ceil(feature.min_return_share * (window - 1) - 1e-9))

    ints = [
        feature.sma_short, feature.sma_long, feature.recent, feature.baseline,
        needed(feature.recent), needed(feature.baseline), feature.volume_window, feature.rsi,
        feature.macd_fast, feature.macd_slow, feature.macd_signal, feature.bollinger, feature.atr,
        feature.momentum_short, feature.momentum_long, feature.opening_range_min * MINUTE_US,
        feature.ready_bars, bars.rollback_min * MINUTE_US, bars.max_return_gap_min * MINUTE_US,
    ]  # fmt: skip
    floats = [feature.surge, feature.bollinger_width, bars.split_low, bars.split_high]
    return np.array(ints, dtype=np.int64), np.array(floats, dtype=np.float64)


def fingerprint(config: Config) -> int:
    """A number that changes with every parameter that shapes the stored bytes."""
    feature, bars = config.feature, config.bars
    shaping = (
        feature.extended_hours, feature.rsi, feature.macd_fast, feature.macd_slow, feature.macd_signal,
        feature.atr, feature.opening_range_min, bars.max_return_gap_min,
    )  # fmt: skip
    return crc32(repr(shaping).encode())


def open_state(state: bytes | None, mark: int) -> tuple[Ints, Floats]:
    """A writable copy of ``state``, once as integers and once as floats over the same memory.

    An absent or empty state gives a fresh one. Raises Fatal if the bytes have another format or were
    folded with other parameters.
    """
    if not state:
        ints = np.zeros(SLOTS, dtype=np.int64)
        ints[H_FORMAT] = FORMAT
        ints[H_FINGERPRINT] = mark
        return ints, ints.view(np.float64)
    if len(state) % SLOT_BYTES or len(state) < HEAD * SLOT_BYTES:
        raise Fatal(
            "the feature window is not a state value",
            value=f"{len(state)} bytes",
            remedy="rebuild the features table from the bars",
        )
    stored = np.frombuffer(state, dtype=np.int64)
    if stored[H_FORMAT] != FORMAT or len(stored) != SLOTS:
        raise Fatal(
            f"the feature window has another format than {FORMAT}",
            value=f"format {stored[H_FORMAT]}, {len(state)} bytes",
            remedy="rebuild the features table from the bars",
        )
    if stored[H_FINGERPRINT] != mark:
        raise Fatal(
            "the feature window was computed with other feature parameters",
            value=int(stored[H_FINGERPRINT]),
            remedy="rebuild the features table from the bars, or go back to the earlier configuration",
        )
    ints = stored.copy()
    return ints, ints.view(np.float64)
