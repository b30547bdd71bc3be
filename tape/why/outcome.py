"""Where one minute ended."""

from dataclasses import dataclass
from enum import StrEnum

from tapedeck.streams.misses import Miss
from tapedeck.streams.trail import Ended
from tapedeck.tape.why.words import Words


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where the minute of the bar at ``t`` ended; for ``account`` if the market stages passed it."""

    t: int
    stage: str
    reason: str
    words: str
    account: str | None = None
    miss: Miss | None = None
    detail: str = ""

    @property
    def text(self) -> str:
        """The reason, in words and by how much."""
        told = [f"{self.reason}: {self.words}", self.detail, str(self.miss) if self.miss else ""]
        return "; ".join(each for each in told if each)


def outcome_of(t: int, ended: Ended, words: Words, account: str | None = None) -> Outcome:
    """The outcome with its words; a reason that is in no enum belongs to a dead letter."""
    told = words.of(ended.reason) if isinstance(ended.reason, StrEnum) else "the record is in dead_letters"
    return Outcome(
        t=t,
        stage=ended.place,
        reason=str(ended.reason),
        words=told,
        account=account,
        miss=ended.miss,
        detail=ended.detail,
    )
