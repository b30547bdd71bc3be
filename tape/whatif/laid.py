"""One decision on given inputs: the stage computes it as for ``explain``, but on other inputs."""

from bisect import bisect_left
from collections.abc import Iterator

from tapedeck.streams.again import Begun, Body
from tapedeck.streams.columnar.block_columns import NEVER
from tapedeck.streams.compared import Decides
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message, Row, StageSpec
from tapedeck.streams.watermarks import Opening, readable_label, readable_punctuation
from tapedeck.tape.explain.lookup import DAY_US, Lookup, opened
from tapedeck.tape.explain.tree import parts_of
from tapedeck.tape.whatif.outcomes import DecisionOutcome
from tapedeck.tape.whatif.places import Places
from tapedeck.tape.whatif.tables import Context, Key
from tapedeck.topics.catalogue import WATERMARK_KEY, topic

_SPARE_US = 10 * MINUTE_US


class Joined:
    """What a symbol's decisions by ``spec`` join, in time order: one day of it is held for all symbols."""

    def __init__(self, spec: StageSpec, decides: Decides, lookup: Lookup) -> None:
        self._trigger, self._decides, self._lookup = spec.trigger, decides, lookup
        self._day: int | None = None
        self._by_key: dict[Part, dict[bytes, list[tuple[int, Message]]]] = {}
        self._minutes: dict[tuple[str, Part], list[int]] = {}

    def rows(self, name: str, symbol: str, now: int, places: Places) -> list[Row]:
        """The rows of topic ``name`` that a decision at ``now`` has seen, the newest one or days of them.

        The list is that of ``places``, any other topic that of the lookup.
        """
        key = symbol.encode()
        if name != self._decides.listed:
            part, trigger = (
                parts_of(self._lookup, each, {"symbol": symbol})[0] for each in (name, self._trigger)
            )
            found = map(opened, self._seen(part, trigger, now, key))
            return [Row(name, key, each.body, 0, 0) for each in found if each is not None]
        found_place = places.in_force(symbol, now)
        if found_place is None:
            return []
        at, place = found_place
        body = self._decides.place(at, place.on_watchlist)
        return [Row(name, key, body, 0, 0)]

    def _seen(self, part: Part, trigger: Part, now: int, key: bytes) -> list[Message]:
        """The messages of a joined partition that its trigger's partition met before ``now``."""
        if not topic(part[0]).watermarked:
            return list(self._lookup.between(part, now - DAY_US, now, key))
        if (day := now // DAY_US) != self._day:
            self._day = day
            self._by_key.clear()
            self._minutes.clear()
        joined, held = self._joined(part[0], trigger, day), self._held(part, day)
        before = bisect_left(joined, now)
        last = joined[before - 1] if before and joined[before - 1] >= now - DAY_US else now - DAY_US
        return [message for label, message in held.get(key, ()) if label < last]

    def _held(self, part: Part, day: int) -> dict[bytes, list[tuple[int, Message]]]:
        """The messages of a day and the one before by key, each with the last watermark before it."""
        found = self._by_key.get(part)
        if found is None:
            found, label = self._by_key.setdefault(part, {}), NEVER
            for message in self._of_day(part, day):
                label = max(label, readable_label(message) or NEVER)
                if message.key != WATERMARK_KEY:
                    found.setdefault(message.key or b"", []).append((label, message))
        return found

    def _joined(self, name: str, trigger: Part, day: int) -> list[int]:
        """The minutes, of a day and the one before, in which topic ``name`` was not declared absent."""
        found = self._minutes.get((name, trigger))
        if found is None:
            labels, absent = set[int](), set[int]()
            for message in self._of_day(trigger, day, WATERMARK_KEY):
                told = readable_punctuation(message)
                if isinstance(told, Opening):
                    absent |= {told.label} if name in told.absent else set()
                elif told is not None:
                    labels.add(told.label)
            found = self._minutes[name, trigger] = sorted(labels - absent)
        return found

    def _of_day(self, part: Part, day: int, key: bytes | None = None) -> Iterator[Message]:
        """The messages of a day and the one before, with some to spare: not all are in the order of time."""
        since, until = (day - 1) * DAY_US - _SPARE_US, (day + 1) * DAY_US + _SPARE_US
        return self._lookup.between(part, since, until, key)


class Laid:
    """One bar's feature with its symbol's joined inputs and the state to decide on."""

    def __init__(
        self,
        spec: StageSpec,
        decides: Decides,
        key: Key,
        feature: Body,
        context: Context,
        *,
        joined: Joined,
        places: Places,
    ) -> None:
        self._spec, self._decides, self._key = spec, decides, key
        self._context, self._joined, self._places = context, joined, places
        self._feature = decides.laid(key.feed, key.symbol, key.t, feature)
        self.decision: Body = {"symbol": key.symbol, "bar_t": key.t, "inputs": []}

    def named(self, topic: str, body: Body) -> list[Body]:
        """Nothing: the inputs of the decision are given."""
        return []

    def rows(self, record_key: bytes, since: int | None) -> Begun:
        """The rows to decide on, the feature last, with the given last signal and gap fade."""
        now, symbol = self._context.now, self._key.symbol
        joins = [join.topic for join in self._spec.joins]
        rows = [row for name in joins for row in self._joined.rows(name, symbol, now, self._places)]
        feature = Row(self._spec.trigger, record_key, self._feature, now - MINUTE_US, now)
        return Begun(
            self._decides.state_on(self._context.last_signal, self._context.fade_date), [*rows, feature]
        )


def outcome_of(body: Body) -> DecisionOutcome:
    """The fields of a decision that runs are compared by."""
    return DecisionOutcome(**{name: body[name] for name in DecisionOutcome._fields})
