"""One decision on given inputs: the stage computes it as for ``explain``, but on other inputs."""

from itertools import takewhile

from tapedeck.streams.again import Begun, Body
from tapedeck.streams.compared import Decides
from tapedeck.streams.merge import Part
from tapedeck.streams.protocol import MINUTE_US, Message, Row, StageSpec
from tapedeck.streams.watermarks import Opening, readable_label
from tapedeck.tape.explain.lookup import DAY_US, Lookup, opened
from tapedeck.tape.explain.tree import parts_of
from tapedeck.tape.whatif.outcomes import DecisionOutcome
from tapedeck.tape.whatif.places import Places
from tapedeck.tape.whatif.tables import Context, Key
from tapedeck.topics.catalogue import topic


class Joined:
    """The joined inputs of a symbol's decision by ``spec``: places of one run, other topics of ``lookup``."""

    def __init__(self, spec: StageSpec, decides: Decides, lookup: Lookup, places: Places) -> None:
        self._trigger, self._decides, self._lookup, self._places = spec.trigger, decides, lookup, places

    def rows(self, name: str, symbol: str, now: int) -> list[Row]:
        """The rows of topic ``name`` that a decision at ``now`` has seen, the newest one or days of them."""
        key = symbol.encode()
        if name != self._decides.listed:
            part, trigger = (
                parts_of(self._lookup, each, {"symbol": symbol})[0] for each in (name, self._trigger)
            )
            found = map(opened, self._seen(part, trigger, now, key))
            return [Row(name, key, each.body, 0, 0) for each in found if each is not None]
        found_place = self._places.in_force(symbol, now)
        if found_place is None:
            return []
        at, place = found_place
        body = self._decides.place(at, place.on_watchlist)
        return [Row(name, key, body, 0, 0)]

    def _seen(self, part: Part, trigger: Part, now: int, key: bytes) -> list[Message]:
        """The messages of a joined partition that its trigger's partition met before ``now``."""
        if not topic(part[0]).watermarked:
            return list(self._lookup.between(part, now - DAY_US, now, key))
        last = self._joined_to(part[0], trigger, now)
        start, end = self._lookup.offset_at(part, now - DAY_US), self._lookup.ends(part)[1]

        def is_before(message: Message) -> bool:
            label = readable_label(message)
            return label is None or label < last

        return list(takewhile(is_before, self._lookup.messages(part, start, end, key)))

    def _joined_to(self, name: str, trigger: Part, now: int) -> int:
        """The last minute before ``now`` in which the topic was joined: no opening declared it absent."""
        absent: int | None = None
        for each in self._lookup.back(trigger, self._lookup.offset_at(trigger, now + MINUTE_US)):
            if each.label < now - DAY_US:
                break
            if each.label >= now or each.label == absent:
                continue
            if isinstance(each, Opening) and name in each.absent:
                absent = each.label
            else:
                return each.label
        return now - DAY_US


class Laid:
    """One bar's feature with its symbol's joined inputs and the state to decide on."""

    def __init__(
        self, spec: StageSpec, decides: Decides, key: Key, feature: Body, context: Context, *, joined: Joined
    ) -> None:
        self._spec, self._decides, self._key = spec, decides, key
        self._context, self._joined = context, joined
        self._feature = decides.laid(key.feed, key.symbol, key.t, feature)
        self.decision: Body = {"symbol": key.symbol, "bar_t": key.t, "inputs": []}

    def named(self, topic: str, body: Body) -> list[Body]:
        """Nothing: the inputs of the decision are given."""
        return []

    def rows(self, record_key: bytes, since: int | None) -> Begun:
        """The rows to decide on, the feature last, with the given last signal and gap fade."""
        now, joins = self._context.now, [join.topic for join in self._spec.joins]
        rows = [row for name in joins for row in self._joined.rows(name, self._key.symbol, now)]
        feature = Row(self._spec.trigger, record_key, self._feature, now - MINUTE_US, now)
        return Begun(
            self._decides.state_on(self._context.last_signal, self._context.fade_date), [*rows, feature]
        )


def outcome_of(body: Body) -> DecisionOutcome:
    """The fields of a decision that runs are compared by."""
    return DecisionOutcome(**{name: body[name] for name in DecisionOutcome._fields})
