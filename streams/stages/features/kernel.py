"""The feature kernel: one numba function that folds bars into a window and writes feature vectors.

Live calls it with one bar, rebuild with a hundred thousand; the results are bit-identical. Closes are
averaged as distances from the newest one, which are exact where prices are near each other: errors grow with
the moves, not with the price. Session sums are double-doubles; nothing is reordered (no fastmath). Formulas:
docs/domain.md#features; the bytes: ``streams.stages.features.layout``.
"""

from typing import Any

import numpy as np
from numba import njit

from tapedeck.streams.protocol import MINUTE_US
from tapedeck.streams.stages.features import layout as L
from tapedeck.streams.stages.features.checks import is_bad
from tapedeck.streams.stages.rounding import round10

# ruff: noqa: PLR0917  (numba does not support keyword-only arguments)

# numba keys its disk cache on this file alone: a change in layout, checks or rounding must change it too
COMPILED_WITH = 873461656
assert COMPILED_WITH == L.CONSTANTS, f"set COMPILED_WITH to {L.CONSTANTS}"

_jit = njit(error_model="numpy")


@_jit
def _add(f8: Any, at: int, x: float) -> None:
    """Add ``x`` to the double-double at ``at``."""
    high = f8[at]
    total = high + x
    back = total - high
    low = f8[at + 1] + ((high - (total - back)) + (x - back))
    f8[at] = total + low
    f8[at + 1] = low - (f8[at] - total)


@_jit
def _copy(i8: Any, source: int, target: int, n: int) -> None:
    for k in range(n):
        i8[target + k] = i8[source + k]


@_jit
def _turn(i8: Any, f8: Any, bar: Any) -> None:
    """Start the session of ``bar``: the current one becomes the previous, or everything is dropped."""
    follows = i8[L.H_COUNT] > 0 and i8[L.FOLD + L.B_DATE] == bar[L.I_PREV_DATE]
    kept = i8[L.FOLD + L.B_COUNT] if follows else 0
    first = i8[L.FOLD + L.B_PREV_COUNT]
    old_ring = i8[L.RING_T : L.RING_T + L.RING_COLUMNS * L.RING].copy()
    i8[L.BEFORE : L.SLOTS] = 0
    for k in range(max(0, kept - L.RING), kept):
        for column in range(L.RING_COLUMNS):
            i8[L.RING_T + column * L.RING + k % L.RING] = old_ring[column * L.RING + (first + k) % L.RING]
    if follows:
        f8[L.FOLD + L.B_PREV_FIRST_OPEN] = f8[L.FOLD + L.B_FIRST_OPEN]
        f8[L.FOLD + L.B_PREV_LAST_CLOSE] = f8[L.FOLD + L.B_LAST_CLOSE]
        _copy(i8, L.FOLD + L.B_NEW, L.FOLD + L.B_OLD, L.RECURSIVE)
    else:
        f8[L.FOLD + L.B_PREV_FIRST_OPEN] = np.nan
        f8[L.FOLD + L.B_PREV_LAST_CLOSE] = np.nan
        f8[L.FOLD + L.B_OLD : L.FOLD + L.B_OLD + L.RECURSIVE] = 0.0
    i8[L.H_COUNT] = kept
    i8[L.FOLD + L.B_DATE] = bar[L.I_DATE]
    i8[L.FOLD + L.B_OPEN] = bar[L.I_OPEN]
    i8[L.FOLD + L.B_CLOSE] = bar[L.I_CLOSE]
    i8[L.FOLD + L.B_PREV_COUNT] = kept
    i8[L.FOLD + L.B_COUNT] = 0
    f8[L.FOLD + L.B_FIRST_OPEN : L.FOLD + L.B_VALUE_HI] = np.nan
    f8[L.FOLD + L.B_VALUE_HI : L.FOLD + L.B_OLD] = 0.0
    f8[L.FOLD + L.B_NEW : L.FOLD + L.BLOCK] = 0.0


@_jit
def _seeded(value: float, x: float, n: int, window: int, take: float) -> float:
    """Fold x number ``n`` into a recursive mean: seeded by the plain mean of the first ``window``, then

    ((window - 1) old + take x) / (window - 1 + take): take 1 is Wilder's, take 2 an EMA of 2 / (window + 1).
    Until the seed is full the value is the sum.
    """
    if n < window:
        return value + x
    if n == window:
        return (value + x) / window
    keep = window - 1.0
    return (keep * value + take * x) / (keep + take)


@_jit
def _distance(value: float, fall: float, n: int, window: int) -> float:
    """Fold close number ``n`` into an EMA of 2 / (window + 1), held as its distance from the newest close;

    until the seed is full, as the sum of the distances. ``fall``: the close before less this one.
    """
    if n > window:
        return (window - 1.0) * (value + fall) / (window + 1.0)
    value += (n - 1) * fall
    return value / window if n == window else value


@_jit
def _recursive(f8: Any, at: int, n: int, close: float, last: float, true_range: float, pi: Any) -> None:
    """Fold bar number ``n`` (1 = first) of a list into the recursive indicators at ``at``."""
    if n > 1:
        w = pi[L.P_RSI]
        change = close - last
        f8[at + L.R_GAIN] = _seeded(f8[at + L.R_GAIN], max(change, 0.0), n - 1, w, 1.0)
        f8[at + L.R_LOSS] = _seeded(f8[at + L.R_LOSS], max(-change, 0.0), n - 1, w, 1.0)
    f8[at + L.R_FAST] = _distance(f8[at + L.R_FAST], last - close, n, pi[L.P_MACD_FAST])
    w = pi[L.P_MACD_SLOW]
    f8[at + L.R_SLOW] = _distance(f8[at + L.R_SLOW], last - close, n, w)
    if n >= w:
        macd = f8[at + L.R_FAST] - f8[at + L.R_SLOW]
        f8[at + L.R_SIGNAL] = _seeded(f8[at + L.R_SIGNAL], macd, n - w + 1, pi[L.P_MACD_SIGNAL], 2.0)
    f8[at + L.R_ATR] = _seeded(f8[at + L.R_ATR], true_range, n, pi[L.P_ATR], 1.0)


@_jit
def _fold_bar(i8: Any, f8: Any, index: int, pi: Any) -> None:
    """Fold the bar at ``index``, which is in ring and edge, into the fold block; keep the one before it."""
    edge = index % L.EDGE
    at = index % L.RING
    _copy(i8, L.FOLD, L.BEFORE + edge * L.BLOCK, L.BLOCK)
    t = i8[L.RING_T + at]
    high, low, close = f8[L.EDGE_HIGH + edge], f8[L.EDGE_LOW + edge], f8[L.RING_CLOSE + at]
    before = i8[L.FOLD + L.B_COUNT]
    last = close
    true_range = high - low
    move = np.nan
    if index > 0:
        back = (index - 1) % L.RING
        last = f8[L.RING_CLOSE + back]
        if before > 0:
            true_range = max(true_range, abs(high - last), abs(low - last))
            if t - i8[L.RING_T + back] <= pi[L.P_RETURN_GAP]:
                move = (close - last) / last
    f8[L.RING_RETURN + at] = move
    if i8[L.FOLD + L.B_OPEN] <= t < i8[L.FOLD + L.B_CLOSE]:
        if np.isnan(f8[L.FOLD + L.B_FIRST_OPEN]):
            f8[L.FOLD + L.B_FIRST_OPEN] = f8[L.EDGE_OPEN + edge]
        f8[L.FOLD + L.B_LAST_CLOSE] = close
        if t < i8[L.FOLD + L.B_OPEN] + pi[L.P_OPENING_RANGE]:
            if not f8[L.FOLD + L.B_OR_HIGH] >= high:
                f8[L.FOLD + L.B_OR_HIGH] = high
            if not f8[L.FOLD + L.B_OR_LOW] <= low:
                f8[L.FOLD + L.B_OR_LOW] = low
    volume = f8[L.RING_VOLUME + at]
    _add(f8, L.FOLD + L.B_VALUE_HI, (high + low + close) / 3.0 * volume)
    _add(f8, L.FOLD + L.B_VOLUME_HI, volume)
    _recursive(f8, L.FOLD + L.B_OLD, index + 1, close, last, true_range, pi)
    _recursive(f8, L.FOLD + L.B_NEW, before + 1, close, last, true_range, pi)
    i8[L.FOLD + L.B_COUNT] = before + 1


@_jit
def _put(i8: Any, f8: Any, index: int, bar: Any, prices: Any) -> None:
    at = index % L.RING
    edge = index % L.EDGE
    i8[L.RING_T + at] = bar[L.I_T]
    i8[L.RING_REVISION + at] = bar[L.I_REVISION]
    f8[L.RING_CLOSE + at] = prices[L.F_CLOSE]
    f8[L.RING_VOLUME + at] = prices[L.F_VOLUME]
    f8[L.EDGE_HIGH + edge] = prices[L.F_HIGH]
    f8[L.EDGE_LOW + edge] = prices[L.F_LOW]
    f8[L.EDGE_OPEN + edge] = prices[L.F_OPEN]


@_jit
def _make_room(i8: Any, index: int) -> None:
    """Shift the bars from ``index`` on up by one."""
    for k in range(i8[L.H_COUNT], index, -1):
        for column in range(L.RING_COLUMNS):
            base = L.RING_T + column * L.RING
            i8[base + k % L.RING] = i8[base + (k - 1) % L.RING]
        for base in (L.EDGE_HIGH, L.EDGE_LOW, L.EDGE_OPEN):
            i8[base + k % L.EDGE] = i8[base + (k - 1) % L.EDGE]
    i8[L.H_COUNT] += 1


@_jit
def _mean(f8: Any, base: int, index: int, window: int, origin: float) -> float:
    """Mean of a ring column over the ``window`` bars that end at ``index``, less ``origin``."""
    at = (index - window + 1) % L.RING
    total = 0.0
    for _ in range(window):
        total += f8[base + at] - origin
        at = at + 1 if at + 1 < L.RING else 0
    return total / window


@_jit
def _squares(f8: Any, index: int, window: int, close: float, offset: float) -> float:
    """Sum of squared deviations of the closes from their mean, which is ``close + offset``."""
    at = (index - window + 1) % L.RING
    total = 0.0
    for _ in range(window):
        off = (f8[L.RING_CLOSE + at] - close) - offset
        total += off * off
        at = at + 1 if at + 1 < L.RING else 0
    return total


@_jit
def _deviation(f8: Any, index: int, listed: int, window: int, needed: int) -> float:
    """Sample deviation of the usable returns between the last ``window`` closes; NaN where too few remain.

    One pass over differences from a member of the sample: their squares sum to at most n times the
    squared deviations, so cancellation costs two digits at most; and equal returns give exactly 0.
    """
    if listed < window:
        return np.nan
    origin = np.nan
    for k in range(window - 1):
        origin = f8[L.RING_RETURN + (index - k) % L.RING]
        if not np.isnan(origin):
            break
    at, n, total, squares = (index - window + 2) % L.RING, 0, 0.0, 0.0
    for _ in range(window - 1):
        move = f8[L.RING_RETURN + at]
        off = 0.0 if np.isnan(move) else move - origin
        n += not np.isnan(move)
        total += off
        squares += off * off
        at = at + 1 if at + 1 < L.RING else 0
    if n < max(needed, 2):
        return np.nan
    return float(np.sqrt(max(squares - total * total / n, 0.0) / (n - 1)))


@_jit
def _averages(f8: Any, index: int, n: int, pi: Any, pf: Any, out: Any) -> None:
    """Features over windows of closes and volumes; ``n`` bars are in the list."""
    close = out[L.V_CLOSE]
    for w, mean, distance in (
        (pi[L.P_SMA_SHORT], L.V_SMA_SHORT, L.V_DISTANCE_SHORT),
        (pi[L.P_SMA_LONG], L.V_SMA_LONG, L.V_DISTANCE_LONG),
    ):
        if n >= w:
            off = _mean(f8, L.RING_CLOSE, index, w, close)
            out[mean] = round10(close + off)
            out[distance] = round10(-off / (close + off))
    out[L.V_TREND] = np.sign(out[L.V_SMA_SHORT] - out[L.V_SMA_LONG])  # NaN where either is
    w = pi[L.P_BOLLINGER]
    if n >= w:
        off = _mean(f8, L.RING_CLOSE, index, w, close)
        width = pf[L.P_BAND] * np.sqrt(_squares(f8, index, w, close, off) / w)
        out[L.V_BB_UPPER] = round10(close + (off + width))
        out[L.V_BB_LOWER] = round10(close + (off - width))
        if out[L.V_BB_UPPER] != out[L.V_BB_LOWER]:
            out[L.V_BB_POSITION] = round10((width - off) / (2.0 * width))
    w = pi[L.P_VOLUME]
    if n > w:
        usual = _mean(f8, L.RING_VOLUME, index - 1, w, 0.0)
        if usual != 0.0:
            out[L.V_VOLUME_RATIO] = round10(out[L.V_VOLUME] / usual)
            out[L.V_SURGE] = 1.0 if out[L.V_VOLUME_RATIO] > pf[L.P_SURGE] else 0.0
    recent = _deviation(f8, index, n, pi[L.P_RECENT], pi[L.P_MIN_RECENT])
    baseline = _deviation(f8, index, n, pi[L.P_BASELINE], pi[L.P_MIN_BASELINE])
    out[L.V_RECENT] = round10(recent)
    out[L.V_BASELINE] = round10(baseline)
    if out[L.V_RECENT] != 0.0 and out[L.V_BASELINE] != 0.0:
        out[L.V_VOL_RATIO] = round10(recent / baseline)


@_jit
def _oscillators(f8: Any, at: int, n: int, pi: Any, out: Any) -> None:
    """Features from the recursive indicators at ``at``, into which ``n`` bars were folded."""
    if n > pi[L.P_RSI]:
        gain, loss = f8[at + L.R_GAIN], f8[at + L.R_LOSS]
        if loss == 0.0:
            out[L.V_RSI] = 50.0 if gain == 0.0 else 100.0
        else:
            out[L.V_RSI] = round10(100.0 - 100.0 / (1.0 + gain / loss))
    if n >= pi[L.P_MACD_SLOW]:
        macd = f8[at + L.R_FAST] - f8[at + L.R_SLOW]
        out[L.V_MACD] = round10(macd)
        if n - pi[L.P_MACD_SLOW] + 1 >= pi[L.P_MACD_SIGNAL]:
            out[L.V_MACD_SIGNAL] = round10(f8[at + L.R_SIGNAL])
            out[L.V_MACD_HIST] = round10(macd - f8[at + L.R_SIGNAL])
    if n >= pi[L.P_ATR]:
        out[L.V_ATR] = round10(f8[at + L.R_ATR])


@_jit
def _session(i8: Any, f8: Any, index: int, pi: Any, out: Any) -> None:
    """Features of the current session: vwap, momentum, opening range, gap."""
    close = out[L.V_CLOSE]
    if f8[L.FOLD + L.B_VOLUME_HI] != 0.0:
        out[L.V_VWAP] = round10(f8[L.FOLD + L.B_VALUE_HI] / f8[L.FOLD + L.B_VOLUME_HI])
    count = i8[L.FOLD + L.B_COUNT]
    for back, column in (
        (pi[L.P_MOMENTUM_SHORT], L.V_MOMENTUM_SHORT),
        (pi[L.P_MOMENTUM_LONG], L.V_MOMENTUM_LONG),
    ):
        if count > back:
            out[column] = round10(close / f8[L.RING_CLOSE + (index - back) % L.RING] - 1.0)
    high, low = f8[L.FOLD + L.B_OR_HIGH], f8[L.FOLD + L.B_OR_LOW]
    as_of = i8[L.RING_T + index % L.RING] + MINUTE_US
    if as_of >= i8[L.FOLD + L.B_OPEN] + pi[L.P_OPENING_RANGE] and not np.isnan(high):
        out[L.V_OR_HIGH] = round10(high)
        out[L.V_OR_LOW] = round10(low)
        out[L.V_OR_STATE] = 0.0 if close > high else (1.0 if close < low else 2.0)
    first, last = f8[L.FOLD + L.B_FIRST_OPEN], f8[L.FOLD + L.B_PREV_LAST_CLOSE]
    out[L.V_GAP] = round10((first - last) / last)
    out[L.V_PREV_MOVE] = round10(last / f8[L.FOLD + L.B_PREV_FIRST_OPEN] - 1.0)


@_jit
def _emit(i8: Any, f8: Any, index: int, cause: int, pi: Any, pf: Any, meta: Any, out: Any) -> None:
    """Write the feature vector of the bar at ``index``, the newest that the fold block holds."""
    at = index % L.RING
    count = i8[L.FOLD + L.B_COUNT]
    jump = f8[L.FOLD + L.B_FIRST_OPEN] / f8[L.FOLD + L.B_PREV_LAST_CLOSE]
    split = jump < pf[L.P_SPLIT_LOW] or jump > pf[L.P_SPLIT_HIGH]
    # after a suspected split the previous session's prices are not comparable: they leave the list
    n = count if split else index + 1
    out[:] = np.nan
    out[L.V_CLOSE] = f8[L.RING_CLOSE + at]
    out[L.V_VOLUME] = f8[L.RING_VOLUME + at]
    _averages(f8, index, n, pi, pf, out)
    _oscillators(f8, L.FOLD + (L.B_NEW if split else L.B_OLD), n, pi, out)
    _session(i8, f8, index, pi, out)
    meta[L.M_CAUSE] = cause
    meta[L.M_T] = i8[L.RING_T + at]
    meta[L.M_REVISION] = 0
    meta[L.M_BAR_REVISION] = i8[L.RING_REVISION + at]
    meta[L.M_DATE] = i8[L.FOLD + L.B_DATE]
    meta[L.M_BARS] = n
    meta[L.M_READY] = n >= pi[L.P_READY]
    meta[L.M_CROSSES] = n > count and count < pi[L.P_SMA_LONG]
    meta[L.M_SPLIT] = split


@_jit
def _place(i8: Any, bar: Any, pi: Any) -> tuple[int, int]:
    """(status, index) of a bar that is not newer than the newest: where it is, or belongs."""
    t = bar[L.I_T]
    newest = i8[L.H_COUNT] - 1
    k = newest
    oldest = max(0, i8[L.H_COUNT] - L.RING)
    while k >= oldest and i8[L.RING_T + k % L.RING] > t:
        k -= 1
    found = k >= oldest and i8[L.RING_T + k % L.RING] == t
    if found and i8[L.RING_REVISION + k % L.RING] >= bar[L.I_REVISION]:
        return L.DUPLICATE, k
    deep = i8[L.RING_T + newest % L.RING] - t > pi[L.P_ROLLBACK]
    if deep or bar[L.I_DATE] != i8[L.FOLD + L.B_DATE]:
        return L.LATE, k
    return (L.REVISED, k) if found else (L.INSERTED, k + 1)


@njit(cache=True, error_model="numpy")
def fold(
    i8: Any, f8: Any, pi: Any, pf: Any, bars: Any, prices: Any, status: Any, meta: Any, values: Any
) -> int:
    """Fold n bars of one key into a window, in order; returns the number of feature vectors written.

    ``i8``, ``f8``: the window's slots, int64 and float64 over the same memory, changed in place.
    ``pi``, ``pf``: ``layout.parameters``. ``bars`` int64 (n, 6): the ``I_`` columns; ``prices`` float64
    (n, 5): the ``F_`` columns. Written: ``status`` int64 (n), ``meta`` int64 (2n, META), ``values``
    float64 (2n, VALUES) with NaN for null, features rounded to 10 places half to even.
    """
    n_out = 0
    for row in range(len(bars)):
        bar, price = bars[row], prices[row]
        if is_bad(bar, price):
            status[row] = L.BAD
            continue
        if bar[L.I_DATE] == L.NO_DATE or bar[L.I_DATE] == L.UNKNOWN_DATE:
            status[row] = L.OUTSIDE if bar[L.I_DATE] == L.NO_DATE else L.UNKNOWN
            continue
        code, index = L.NEW, i8[L.H_COUNT]
        if index > 0 and bar[L.I_T] <= i8[L.RING_T + (index - 1) % L.RING]:
            code, index = _place(i8, bar, pi)
        status[row] = code
        if code in (L.DUPLICATE, L.LATE):
            continue
        if code == L.NEW:
            if i8[L.H_COUNT] == 0 or bar[L.I_DATE] != i8[L.FOLD + L.B_DATE]:
                _turn(i8, f8, bar)
                index = i8[L.H_COUNT]
            i8[L.H_COUNT] += 1
            i8[L.H_REVISION] = 0
        else:
            _copy(i8, L.BEFORE + (index % L.EDGE) * L.BLOCK, L.FOLD, L.BLOCK)
            i8[L.H_REVISION] += 1
            if code == L.INSERTED:
                _make_room(i8, index)
        _put(i8, f8, index, bar, price)
        _fold_bar(i8, f8, index, pi)
        if code == L.INSERTED:
            _emit(i8, f8, index, row, pi, pf, meta[n_out], values[n_out])
            n_out += 1
        for k in range(index + 1, i8[L.H_COUNT]):
            _fold_bar(i8, f8, k, pi)
        _emit(i8, f8, i8[L.H_COUNT] - 1, row, pi, pf, meta[n_out], values[n_out])
        meta[n_out, L.M_REVISION] = i8[L.H_REVISION]
        n_out += 1
    return n_out
