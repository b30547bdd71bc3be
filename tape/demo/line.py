"""One line of the funnel."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tapedeck.tape.recording import TopicRecords


class FunnelReason(StrEnum):
    """Reasons that no stage's own enum has: what became of a record on its way into or past a stage."""

    DUPLICATE = "DUPLICATE"
    UNREADABLE = "UNREADABLE"
    LATE = "LATE"
    REVISION_AUDITED = "REVISION_AUDITED"


@dataclass(frozen=True, kw_only=True)
class FunnelLine:
    """What one stage took in and gave, and why the rest ended there. ``account`` only where it is.

    ``balanced`` is False where units vanished or came from nowhere: ``unexplained`` is how many more went in
    than can be accounted for, negative where more came out.
    """

    stage: str
    unit: str
    taken: int
    given: int
    account: str | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        return self.taken - self.given - sum(self.reasons.values())

    @property
    def balanced(self) -> bool:
        return self.unexplained == 0

    @property
    def name(self) -> str:
        """The stage, with its account where it has one."""
        return self.stage if self.account is None else f"{self.stage} {self.account}"

    def top(self, n: int | None = None) -> list[tuple[str, int]]:
        """The ``n`` most frequent reasons, all of them without ``n``."""
        return Counter(self.reasons).most_common(n)


def lost_on_arrival(records: TopicRecords) -> Counter[str]:
    """Records of a topic that are no event of their own: repeats, and what cannot be decoded."""
    return Counter(
        {FunnelReason.DUPLICATE.value: records.repeats, FunnelReason.UNREADABLE.value: records.unreadable}
    )


def told(counts: Mapping[Any, int]) -> dict[str, int]:
    """Reasons by frequency, then name; those that never happened left out."""
    return dict(sorted(((str(k), n) for k, n in counts.items() if n), key=lambda pair: (-pair[1], pair[0])))
