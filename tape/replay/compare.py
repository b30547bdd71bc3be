"""Compares a replay's decisions with the recorded ones by symbol, bar, action and reason, as ids differ."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tapedeck.connectors.recorded.window import Window, slices
from tapedeck.schemas.codec import Body, decode
from tapedeck.schemas.errors import DeadLetter
from tapedeck.streams.blocks import Source
from tapedeck.streams.sessions import iso_utc
from tapedeck.topics.catalogue import WATERMARK_KEY, topic

_SHOWN = 5


class Decision(NamedTuple):
    """One decision. ``bar_t`` in UTC microseconds."""

    bar_t: int
    symbol: str
    action: str
    reason: str

    def __str__(self) -> str:
        return f"{self.symbol} {iso_utc(self.bar_t)} {self.action} {self.reason}"


@dataclass
class Summary:
    """The result of a replay. ``verdicts`` counts proposals; ``recorded`` may be empty."""

    window: Window
    minutes: int
    signals: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    replayed: frozenset[Decision] = frozenset()
    recorded: frozenset[Decision] = frozenset()

    @property
    def agrees(self) -> bool:
        """Whether the recorded decisions were made again; False if none were recorded."""
        return bool(self.recorded) and self.recorded == self.replayed

    def __str__(self) -> str:
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items())) or "none"
        lines = [
            f"replayed {self.window}: {self.minutes} minutes",
            f"decisions {len(self.replayed)}, signals {self.signals}, shadow proposals: {told}",
            "nothing was sent",
        ]
        if not self.recorded:
            lines.append(
                "NOT COMPARED: no decision of this window was recorded, so there is nothing to compare with;"
                " replay a window that live workers decided"
            )
        elif self.agrees:
            lines.append(f"EQUAL: all {len(self.recorded)} recorded decisions were made again")
        else:
            lost, fresh = self.recorded - self.replayed, self.replayed - self.recorded
            lines.append(f"DIFFERENT: {len(lost)} only recorded, {len(fresh)} only replayed")
            lines += [f"  recorded {each}" for each in sorted(lost)[:_SHOWN]]
            lines += [f"  replayed {each}" for each in sorted(fresh)[:_SHOWN]]
        return "\n".join(lines)


def decisions(source: Source, window: Window) -> frozenset[Decision]:
    """The distinct decisions of a pipeline in the minutes of ``window``."""
    found = set()
    for body in bodies(source, "decisions", window):
        found.add(Decision(body["bar_t"], body["symbol"], body["action"], body["reason"]))
    return frozenset(found)


def bodies(source: Source, name: str, window: Window) -> list[Body]:
    """The decoded records of a watermarked topic in the minutes of ``window``."""
    found = []
    for each in slices(source, (name,), window.start, window.end):
        for message in each.messages:
            if message.key != WATERMARK_KEY:
                try:
                    found.append(decode(topic(name).schema or name, message.value))
                except DeadLetter:
                    continue
    return found
