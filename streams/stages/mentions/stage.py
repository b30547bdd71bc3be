"""The mentions stage: per symbol, hour and scope who speaks of it and how, written when it changed.

State per symbol: its items (items.py). The task's own value is the label of the last watermark: what changed
since then has at least that log minute, which stands in front of a symbol's items. So a watermark looks at
each symbol, and unpacks only those with a change.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator

from tapedeck.streams.config.document import Config
from tapedeck.streams.protocol import MINUTE_US, WATERMARK_CAUSE, Batch, Drop, Out, Row, Step, Values
from tapedeck.streams.sessions import Calendar
from tapedeck.streams.stages.base import derived
from tapedeck.streams.stages.mentions.items import HOUR_US, SCOPES, Item, Items, newest_change
from tapedeck.streams.stages.mentions.rule import counted

_LATER_HOURS = 2
"""Beyond the hours for which posts are looked at again: a run of Reddit's job, and the hour itself."""
_OWN = struct.Struct("<q")


class MentionsStage:
    """Trigger ``sentiment``; a ``mentions`` record for each hour and scope that changed in a minute."""

    dead_letter_reasons: frozenset[str] = frozenset()

    def __init__(self, config: Config, calendar: Calendar) -> None:
        self._digest = config.digest
        self._kept_hours = config.reddit.revisit_h + _LATER_HOURS

    def key(self, row: Row) -> bytes:
        return row.key

    def step(self, key: bytes, state: bytes | None, batch: Batch) -> Step:
        items = self.open(state)
        reasons = [items.apply(row.body, row.log_minute) for row in batch]
        drops = [Drop(cause, reason) for cause, reason in enumerate(reasons) if reason is not None]
        return Step(items.packed(), [], drops)

    def open(self, state: bytes | None) -> Items:
        """The items in a state value."""
        return Items(state, self._kept_hours)

    def at_watermark(self, watermark: int, part: int, values: Values) -> Step:
        outs: list[Out] = []
        if values.own:
            since = _OWN.unpack(values.own)[0] // MINUTE_US
            for key, state in values.items():
                if newest_change(state) >= since:
                    outs += self._changed(key.decode(), self.open(state), since, watermark + MINUTE_US)
        return Step(own_value(watermark), outs, [])

    def _changed(self, symbol: str, items: Items, since: int, as_of: int) -> Iterator[Out]:
        """The records of the hours and scopes that changed from log minute ``since`` on, in their order."""
        by_place: dict[tuple[int, int], list[Item]] = defaultdict(list)
        for item in items:
            by_place[item.hour, item.scope].append(item)
        for (hour, scope), found in sorted(by_place.items()):
            changed = [item.event_id.hex() for item in found if item.changed >= since]
            if changed:
                counts = counted(item.adds for item in found if item.is_counted)
                body = {
                    "event_time": as_of,
                    "symbol": symbol,
                    "hour": hour * HOUR_US,
                    "scope": SCOPES[scope],
                    "as_of": as_of,
                    **counts._asdict(),
                }
                yield derived(WATERMARK_CAUSE, "mentions", body, self._digest, sorted(changed))


def own_value(watermark: int) -> bytes:
    """The task's own value after ``watermark``."""
    return _OWN.pack(watermark)
