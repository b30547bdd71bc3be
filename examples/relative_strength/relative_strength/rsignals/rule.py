"""The rule: one bar and the symbol's strength to an action, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from relative_strength.parameters import Parameters


class RsReason(StrEnum):
    """The outcome of a bar: two that act, the others say why nothing is done."""

    OUTPERFORMS = "OUTPERFORMS"
    UNDERPERFORMS = "UNDERPERFORMS"
    OTHER_FEED = "OTHER_FEED"
    DECIDED = "DECIDED"
    OLD_STRENGTH = "OLD_STRENGTH"
    OUTSIDE_SESSION = "OUTSIDE_SESSION"
    NO_STRENGTH = "NO_STRENGTH"
    IN_LINE = "IN_LINE"
    AGAINST_TREND = "AGAINST_TREND"
    COOLDOWN = "COOLDOWN"


WORDS: Mapping[StrEnum, str] = {
    RsReason.OUTPERFORMS: "a call: the symbol is much stronger than the universe, and its trend is up",
    RsReason.UNDERPERFORMS: "a put: the symbol is much weaker than the universe, and its trend is down",
    RsReason.OTHER_FEED: "the feature is of another feed than the configured one",
    RsReason.DECIDED: "this bar or a newer one was decided already",
    RsReason.OLD_STRENGTH: "the same strength or a newer one was there already",
    RsReason.OUTSIDE_SESSION: "the bar is not of the regular session",
    RsReason.NO_STRENGTH: "no fresh strength of the symbol is known",
    RsReason.IN_LINE: "the symbol moves with the universe",
    RsReason.AGAINST_TREND: "the symbol's own trend points the other way",
    RsReason.COOLDOWN: "the symbol's last signal is too recent",
}
ACTIONS = {RsReason.OUTPERFORMS: ("BUY_CALL", "BULL"), RsReason.UNDERPERFORMS: ("BUY_PUT", "BEAR")}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bar. ``strength`` is a fraction, None where none is fresh; ``trend`` 1, 0 or -1; ``since_signal``
    the minutes since the last signal, None where there was none."""

    in_session: bool
    strength: float | None
    trend: int | None
    since_signal: float | None


def judge(case: Case, rules: Parameters) -> tuple[RsReason, float]:
    """The reason and the confidence, which is 0 where nothing is done. The first check that fails decides."""
    if not case.in_session:
        return RsReason.OUTSIDE_SESSION, 0.0
    if case.strength is None:
        return RsReason.NO_STRENGTH, 0.0
    if abs(case.strength) < rules.threshold:
        return RsReason.IN_LINE, 0.0
    side = 1 if case.strength > 0 else -1
    if case.trend != side:
        return RsReason.AGAINST_TREND, 0.0
    if case.since_signal is not None and case.since_signal < rules.cooldown_min:
        return RsReason.COOLDOWN, 0.0
    confidence = min(1.0, abs(case.strength) / (2 * rules.threshold))
    return (RsReason.OUTPERFORMS if side > 0 else RsReason.UNDERPERFORMS), round(confidence, 6)
