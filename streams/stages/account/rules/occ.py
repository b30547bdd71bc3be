"""OCC option symbols: ``ROOT`` + YYMMDD + C or P + strike x 1000 in eight digits.

Which contracts are traded is in docs/domain.md#option-contracts.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from tapedeck.schemas.errors import TapeError

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
STRIKE_DIGITS = 8
_TAIL = 7 + STRIKE_DIGITS  # YYMMDD, right, strike
_ROOT = re.compile(r"[A-Z][A-Z0-9]{0,5}")
LARGEST_STRIKE = Decimal("99999.999")


class OccFault(StrEnum):
    """Why a symbol is refused, in the order of the checks."""

    LENGTH = "LENGTH"
    ROOT = "ROOT"
    DATE = "DATE"
    RIGHT = "RIGHT"
    STRIKE = "STRIKE"


class OccError(TapeError):
    """An option symbol that cannot be built or parsed; ``fault`` says which part."""

    def __init__(self, fault: OccFault, value: object) -> None:
        self.fault = fault
        super().__init__(
            f"not an OCC option symbol: {fault}",
            value=value,
            remedy="expected e.g. AAPL260220C00150000",
            reason=fault.value,
        )


class Right(StrEnum):
    CALL = "CALL"
    PUT = "PUT"


_LETTER = {Right.CALL: "C", Right.PUT: "P"}
_RIGHT = {letter: right for right, letter in _LETTER.items()}


@dataclass(frozen=True)
class Occ:
    """One listed option. ``expiry`` is days since the epoch, ``strike`` USD with at most three decimals."""

    root: str
    expiry: int
    right: Right
    strike: Decimal

    @property
    def adjusted(self) -> bool:
        """A digit in the root: the deliverable was changed by a corporate action."""
        return any(c.isdigit() for c in self.root)


def build(occ: Occ) -> str:
    """The unpadded symbol of ``occ``. Raises OccError."""
    if not _ROOT.fullmatch(occ.root):
        raise OccError(OccFault.ROOT, occ.root)
    day = date.fromordinal(occ.expiry + EPOCH_ORDINAL)
    if not 2000 <= day.year <= 2099:
        raise OccError(OccFault.DATE, day)
    if occ.right not in _LETTER:
        raise OccError(OccFault.RIGHT, occ.right)
    thousandths = occ.strike * 1000
    if not 0 < occ.strike <= LARGEST_STRIKE or thousandths != thousandths.to_integral_value():
        raise OccError(OccFault.STRIKE, occ.strike)
    return f"{occ.root}{day:%y%m%d}{_LETTER[occ.right]}{int(thousandths):0{STRIKE_DIGITS}d}"


def parse(symbol: str) -> Occ:
    """The option behind an unpadded symbol, or the padded one of 21 characters. Raises OccError."""
    if not _TAIL < len(symbol) <= _TAIL + 6:
        raise OccError(OccFault.LENGTH, symbol)
    root, tail = symbol[:-_TAIL], symbol[-_TAIL:]
    if len(symbol) == _TAIL + 6:
        root = root.rstrip(" ")
    if not _ROOT.fullmatch(root):
        raise OccError(OccFault.ROOT, symbol)
    if not (tail[:6].isascii() and tail[:6].isdigit()):
        raise OccError(OccFault.DATE, symbol)
    try:
        day = date(2000 + int(tail[:2]), int(tail[2:4]), int(tail[4:6]))
    except ValueError:
        raise OccError(OccFault.DATE, symbol) from None
    if tail[6] not in _RIGHT:
        raise OccError(OccFault.RIGHT, symbol)
    digits = tail[7:]
    if not (digits.isascii() and digits.isdigit()) or int(digits) == 0:
        raise OccError(OccFault.STRIKE, symbol)
    return Occ(root, day.toordinal() - EPOCH_ORDINAL, _RIGHT[tail[6]], Decimal(int(digits)) / 1000)
