"""Half-even rounding to 10 decimals inside compiled code, as Python's ``round`` does it."""

import numpy as np
from numba import njit

_TEN_PLACES = 1e10
_SPLITTER = 134217729.0  # 2**27 + 1: cuts a double into two halves of 26 bits
_COARSE = 524288.0  # from 2**19 on doubles lie further apart than 1e-10
_UNIT_STEPS = 4503599627370496.0  # 2**52


@njit(error_model="numpy")
def round10(x: float) -> float:
    """``round(x, 10)`` to the bit (the exact value, half to even), but never -0.0; NaN stays NaN."""
    if not abs(x) < _COARSE:
        return x
    p = x * _TEN_PLACES
    cut = x * _SPLITTER
    high = cut - (cut - x)
    rest = (high * _TEN_PLACES - p) + (x - high) * _TEN_PLACES  # p + rest is the exact product
    whole = np.rint(p)
    part = p - whole
    if abs(part) == 0.5:
        if (part > 0.0) == (rest > 0.0) and rest != 0.0:
            whole += 1.0 if rest > 0.0 else -1.0
    elif abs(p) >= _UNIT_STEPS and abs(rest) == 0.5 and whole % 2.0 != 0.0:
        whole += 1.0 if rest > 0.0 else -1.0
    return float(whole / _TEN_PLACES + 0.0)
