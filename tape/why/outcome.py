"""Where one minute ended."""

from dataclasses import dataclass
from enum import StrEnum

from tapedeck.streams.misses import Miss
from tapedeck.tape.why.words import Words

STAGES = ("bars", "features", "scores", "watchlist", "decisions", "proposals", "orders", "executions")
"""Where a minute can end, in order."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where the minute whose bar stands at ``t`` ended, for ``account`` where the market stages passed it."""

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


class Ending:
    """Makes outcomes, with the words of the pipeline's reasons."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def __call__(
        self,
        t: int,
        stage: str,
        reason: StrEnum | str,
        *,
        account: str | None = None,
        miss: Miss | None = None,
        detail: str = "",
    ) -> Outcome:
        """The outcome with its words; a reason that no enum has is a dead letter's."""
        told = self._words.of(reason) if isinstance(reason, StrEnum) else "the record lies in dead_letters"
        return Outcome(
            t=t, stage=stage, reason=str(reason), words=told, account=account, miss=miss, detail=detail
        )


def named(reason: str, *enums: type[StrEnum]) -> StrEnum | str:
    """``reason`` as a member of the first of ``enums`` that has it; as text where none has."""
    for enum in enums:
        if reason in enum.__members__:
            return enum[reason]
    return str(reason)
