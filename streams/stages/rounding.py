"""Half-even rounding to decimal places inside compiled code, as Python's ``round`` does it."""

from typing import Any

import numpy as np
from numba import njit

_SPLITTER = 134217729.0  # 2**27 + 1: cuts a double into two halves of 26 bits
_UNIT_STEPS = 4503599627370496.0  # 2**52


def _rounding(scale: float, coarse: float) -> Any:
    """``round`` to the places of ``scale``; from ``coarse`` on doubles lie further apart than a place."""

    @njit(error_model="numpy")
    def rounded(x: float) -> float:
        if not abs(x) < coarse:
            return x
        p = x * scale
        cut = x * _SPLITTER
        high = cut - (cut - x)
        rest = (high * scale - p) + (x - high) * scale  # p + rest is the exact product
        whole = np.rint(p)
        part = p - whole
        if abs(part) == 0.5:
            if (part > 0.0) == (rest > 0.0) and rest != 0.0:
                whole += 1.0 if rest > 0.0 else -1.0
        elif abs(p) >= _UNIT_STEPS and abs(rest) == 0.5 and whole % 2.0 != 0.0:
            whole += 1.0 if rest > 0.0 else -1.0
        return float(whole / scale + 0.0)

    return rounded


round10 = _rounding(1e10, 524288.0)
"""``round(x, 10)`` to the bit (the exact value, half to even), but never -0.0; NaN stays NaN."""
round6 = _rounding(1e6, 8589934592.0)
"""``round(x, 6)`` in the same way: scores and confidences."""
